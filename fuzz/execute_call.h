// execute_call.h: what the files of the executor share and nobody else sees: its state, and the allocator
// calls with everything that is checked about one call (execute_call.c). execute.c runs records with them,
// execute_threads.c on their threads.
#ifndef HEAPARENA_FUZZ_EXECUTE_CALL_H
#define HEAPARENA_FUZZ_EXECUTE_CALL_H

#include "fuzz/execute.h"

typedef struct executor {
  const fuzz_subject *subject;
  const fuzz_options *options;
  fuzz_state *state;
  fuzz_shadow shadow;
  fuzz_program program;
  uint32_t op;           // record that runs
  unsigned thread;       // on which it runs
  bool limited;          // failing maps by RLIMIT_AS are armed
  uint64_t failures;     // fuzz_os.failures before the call
  unsigned forks;        // made by this program
  uintptr_t freed;       // block that was freed, for MISUSE; 0: none in this program
  bool child;            // of such a fork
  uint64_t base_objects; // live blocks by the subject's own count before the program
  uint64_t base_bytes;
  uint64_t base_inuse; // bytes of pages that it held then, purged
  unsigned quiet;      // programs, from this one on, that may not purge
} executor;

#define FUZZ_PAIR_SLOT FUZZ_SLOTS // of blocks that live for one record only

// Each makes the call for the record, checks what it did, and takes a block into the shadow or out of it.
// False: the oracle found a fault. The slot is empty for allocations, holds a block for the others.
bool fuzz_call_allocate(executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot, size_t size);
bool fuzz_call_reallocate(executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot);
bool fuzz_call_free(executor *x, fuzz_op_kind kind, uint32_t slot, const fuzz_op *op);
bool fuzz_call_free_null(executor *x);
// Whether it is time for a purge. The page faults of the programs behind it would cost more than all else: so in a
// campaign the more programs pass until the next one the more memory went back. Trials always may.
bool fuzz_call_may_purge(const executor *x);
bool fuzz_call_purge(executor *x);
// A wrong call that the allocator has to report; nothing for those that do not promise it. The slot may be empty.
bool fuzz_call_misuse(executor *x, const fuzz_op *op, uint32_t slot);
// The usable size asked again, and all of it written.
bool fuzz_call_usable(executor *x, const fuzz_op *op, uint32_t slot);
// The allocator's heap check and counters against the shadow; when nothing is live, it must hold no pages. No other
// thread runs.
bool fuzz_call_check_heap(executor *x);
bool fuzz_call_check_counters(executor *x);

// Counts a record that calls nothing itself (fork, a thread's end) and puts it into the log.
void fuzz_call_note(executor *x, fuzz_op_kind kind, size_t size);

// The record's size, folded to what one program may have live.
size_t fuzz_call_size(const executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot);

// ---- Threads (execute_threads.c) ----

// Runs `step` for record `op` on that thread (0: the caller) and returns what it returned, when it is done.
// Starts the thread when it does not run.
bool fuzz_threads_run(executor *x, unsigned thread, uint32_t op, bool (*step)(executor *x, uint32_t op));
bool fuzz_threads_running(unsigned thread);
bool fuzz_threads_any(void); // beside the caller
// Ends the thread (its blocks stay) and waits until it is gone.
void fuzz_threads_end(unsigned thread);
void fuzz_threads_end_all(void);
// In a child of fork: the others are gone.
void fuzz_threads_forget(void);

#endif

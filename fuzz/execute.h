// execute.h: runs a program on a subject under the eyes of the shadow.
//
// Records run one after another, each on the thread it names: real threads that hand a token on, exactly one of
// which runs at any moment. So a program with threads does the same each time it runs. At the end all live
// blocks are checked and freed, other threads end, and the heap must be empty: the next program finds it as
// this one did, and no process is started anew for it.
//
// A process runs one program at a time. Everything that a post-mortem needs (what was done last, on which
// block) is kept in a fuzz_state, which may lie in memory shared with another process.
#ifndef HEAPARENA_FUZZ_EXECUTE_H
#define HEAPARENA_FUZZ_EXECUTE_H

#include "fuzz/shadow.h"

// What the executor was doing: tells a fault inside the allocator from one while touching a block.
typedef enum fuzz_phase { FUZZ_PHASE_IDLE, FUZZ_PHASE_CALL, FUZZ_PHASE_TOUCH } fuzz_phase;

typedef struct fuzz_state {
  volatile uint32_t phase; // fuzz_phase
  volatile uint32_t op;    // record that runs
  volatile int32_t block;  // slot that is touched, -1: none
  fuzz_verdict verdict;
  uint64_t histogram[FUZZ_OP_KINDS]; // records run that did something, by kind, since the state was cleared
  uint64_t skipped[FUZZ_OP_KINDS];   // records that had nothing to do here (no such call, no such ability)
  uint64_t programs;
} fuzz_state;

// One allocator call that was made, with the values it really had: what reproducers are written from.
typedef struct fuzz_event {
  uint32_t op;
  uint8_t kind; // fuzz_op_kind; runs appear as their single calls
  uint8_t thread;
  uint16_t slot; // FUZZ_SLOTS: the block of a pair
  uint8_t fill;
  bool failed; // returned NULL (or an error number)
  size_t size, count, alignment;
} fuzz_event;

typedef struct fuzz_log {
  fuzz_event *events;
  size_t count, capacity; // events beyond capacity are counted, not kept
} fuzz_log;

typedef struct fuzz_options {
  uint32_t oracles;     // enabled ones, FUZZ_ALL_ORACLES usually
  bool threads;         // records run on their threads; else all on the calling one
  bool forks;           // FORK records fork
  bool failures;        // FAIL_MAP records arm failing system calls
  bool schedule;        // threads are interleaved inside calls, as RACE records say (schedule.h)
  bool feedback;        // tells feedback.h what it sees
  bool permits;         // what permitted.h lets pass is no finding
  uint32_t check_every; // the allocator's heap check and counters at the end of every n-th program; 0: only
                        // where the program says so
  fuzz_log *log;        // every call made, or NULL
} fuzz_options;

// Runs the program. Returns true if nothing was found; else state->verdict says what. After a fault the
// subject's heap is not to be used any more.
bool fuzz_execute(fuzz_program program, const fuzz_subject *subject, const fuzz_options *options,
                  fuzz_state *state);

// A verdict for a process that died by `signal` with this state (0: it did not end in time).
void fuzz_verdict_of_death(fuzz_state *state, int signal);

#endif

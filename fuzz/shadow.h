// shadow.h: the oracle. It, not the allocator, knows what is live: each block's address, requested and usable
// size, alignment, pattern and owner. Whatever the allocator does is held against it, before and after each call.
//
// Every check belongs to a named oracle, and each can be switched off: a planted bug proves its oracle only
// when the same program passes with that oracle off (planted tests do just that).
//
// A check that fails fills the verdict (the first one stays) and returns false; the caller ends the run. No
// function here allocates; the tables come from fuzz_arena.
//
// Ideas: ArcHeap (shadow copies, overlap), rpmalloc's stress test (patterns to the last usable byte),
// glibc's tst-malloc-too-large (errno of impossible sizes).
#ifndef HEAPARENA_FUZZ_SHADOW_H
#define HEAPARENA_FUZZ_SHADOW_H

#include "fuzz/op_program.h"
#include "fuzz/pattern.h"
#include "fuzz/subject.h"

#define FUZZ_LOOK   4u            // blocks that are looked at together
#define FUZZ_SPARSE ((size_t)512) // larger blocks are written and checked in samples, unless told otherwise

// The oracles. fuzz_oracle_name gives the name by which reports and --oracles call them.
typedef enum fuzz_oracle {
  FUZZ_ORACLE_OVERLAP,      // "overlap": a returned block shares bytes (usable ones) with a live one
  FUZZ_ORACLE_ALIGNMENT,    // "alignment": below what the call or the size demands
  FUZZ_ORACLE_USABLE,       // "usable": usable size below the requested, or it changed while nothing was done
  FUZZ_ORACLE_WRITABLE,     // "writable": a fault while writing or reading bytes that are ours
  FUZZ_ORACLE_ZEROED,       // "zeroed": calloc returned a byte that is not zero
  FUZZ_ORACLE_CONTENTS,     // "contents": a live block's bytes changed
  FUZZ_ORACLE_REALLOC,      // "realloc": the first min(old, new) bytes were not kept
  FUZZ_ORACLE_FAILED,       // "failed": a failed call changed something (a block, a size, *memptr)
  FUZZ_ORACLE_ERRNO,        // "errno": not what the standard says after a failure, or changed by free
  FUZZ_ORACLE_REFUSED,      // "refused": a small request failed though the system refused nothing
  FUZZ_ORACLE_IMPOSSIBLE,   // "impossible": a request that no system can meet was met
  FUZZ_ORACLE_HEAP,         // "heap": the allocator's own check found faults
  FUZZ_ORACLE_COUNTERS,     // "counters": its live blocks or bytes are not the shadow's
  FUZZ_ORACLE_EMPTY,        // "empty": blocks are live, says the allocator, after all were freed
  FUZZ_ORACLE_FORK,         // "fork": the child of a fork found a fault or ended badly
  FUZZ_ORACLE_CRASH,        // "crash": a signal inside the allocator
  FUZZ_ORACLE_HANG,         // "hang": an operation did not end in time
  FUZZ_ORACLE_DIFFERENTIAL, // "differential": allocators disagree about what a call must do
  FUZZ_ORACLE_DEADLOCK,     // "deadlock": every thread waits for a lock or a wake-up (target schedule)
  FUZZ_ORACLE_LIVELOCK,     // "livelock": threads run and run, and no call ends (target schedule)
  FUZZ_ORACLE_MISUSE,       // "misuse": a wrong call was not reported, once, or something that was right was
  FUZZ_ORACLES
} fuzz_oracle;

// As --oracles and findings name it.
const char *fuzz_oracle_name(fuzz_oracle oracle);
// The paragraph that explains to people which rule was broken and why it matters.
const char *fuzz_oracle_rule(fuzz_oracle oracle);
// Turns "all,-errno" or "overlap,contents" into a set of bits (1 << oracle). False for an unknown name, which
// is then in `why`.
bool fuzz_oracles_parse(const char *text, uint32_t *set, char *why, size_t why_size);
#define FUZZ_ALL_ORACLES ((1u << FUZZ_ORACLES) - 1)

// What a run found. Plain data without pointers that own anything: it may lie in memory shared with a parent.
typedef struct fuzz_verdict {
  bool failed;
  fuzz_oracle oracle;
  uint32_t op;          // number of the record at which it showed
  int32_t block, other; // slots involved, -1: none
  int32_t signal;       // of a crash, else 0
  char text[256];       // one line: what was expected, what was seen
} fuzz_verdict;

// A live block as the shadow knows it.
typedef struct fuzz_block {
  uintptr_t address; // 0: the slot is empty
  size_t requested, usable;
  size_t alignment; // as asked for; 1 if the call has none
  uint32_t born;    // number of the record that made it
  uint8_t seed;     // of its pattern
  uint8_t owner;    // thread that allocated it
  bool whole;       // every byte has the pattern, not only samples
  bool aligned;     // from aligned_alloc: free_aligned_sized may take it
  bool resized;     // from realloc or reallocarray of a block
} fuzz_block;

// What is written of a large block: FUZZ_PROBE bytes at each of some offsets.
#define FUZZ_PROBE       FUZZ_PATTERN_SAME
#define FUZZ_PROBES_MOST 8u
typedef struct fuzz_probes {
  unsigned count; // 0: every byte is
  size_t at[FUZZ_PROBES_MOST];
  const uint8_t *expected[FUZZ_PROBES_MOST];
} fuzz_probes;

typedef struct fuzz_shadow {
  fuzz_block blocks[FUZZ_SLOTS + 1]; // one more for the block of a pair that is never in a slot
  fuzz_probes probes[FUZZ_SLOTS + 1];
  // The live blocks once more, in no order and without gaps: lower halves of their first byte's address and of the one
  // behind them. The search for overlap looks at all of them, without a branch, which is faster than an ordered table.
  _Alignas(64) uint32_t starts[FUZZ_SLOTS + FUZZ_LOOK];
  _Alignas(64) uint32_t ends[FUZZ_SLOTS + FUZZ_LOOK];
  uint16_t slots[FUZZ_SLOTS + FUZZ_LOOK];
  uint16_t places[FUZZ_SLOTS + 1];     // of a slot's block in the three tables
  uint64_t taken[FUZZ_SLOTS / 64 + 1]; // bits: slots with a block
  uint32_t live;                       // blocks
  uint32_t large;                      // of them: too large for the look at halves of addresses
  size_t live_bytes, live_usable;
  uint32_t enabled; // oracles, bits
  uint32_t op;      // number of the record that runs, for verdicts
  fuzz_verdict *verdict;
} fuzz_shadow;

// Empties the shadow. `verdict` is cleared and receives the first fault.
void fuzz_shadow_reset(fuzz_shadow *shadow, uint32_t enabled, fuzz_verdict *verdict);

// Reports a fault: fills the verdict if the oracle is enabled and nothing was found before. Returns false if it
// was reported, true if the oracle is off: checks end with `return fuzz_shadow_fail(...)`.
__attribute__((format(printf, 5, 6))) bool fuzz_shadow_fail(fuzz_shadow *shadow, fuzz_oracle oracle,
                                                            int block, int other, const char *format, ...);

// A block was returned for `requested` bytes: checks alignment, usable size and overlap, takes it into `slot`
// and writes its pattern over all usable bytes (samples of large ones). `zeroed`: it came from calloc. The slot
// must be empty. False: a fault was found; the block is not in the shadow then.
typedef struct fuzz_request {
  uint32_t slot;
  size_t requested, alignment;
  uint8_t seed, owner;
  bool whole, zeroed, aligned, resized;
} fuzz_request;
bool fuzz_shadow_add(fuzz_shadow *shadow, const fuzz_subject *subject, void *block,
                     const fuzz_request *request);

// The first slot from `slot` on that has a block, FUZZ_SLOTS + 1 if none has.
uint32_t fuzz_shadow_next(const fuzz_shadow *shadow, uint32_t slot);
// Whether the byte belongs to a live block.
bool fuzz_shadow_holds(const fuzz_shadow *shadow, uintptr_t address);

// Checks that the block's bytes are what was written.
bool fuzz_shadow_verify(fuzz_shadow *shadow, uint32_t slot);
bool fuzz_shadow_verify_all(fuzz_shadow *shadow);
// Checks that a block that moved or was resized kept what it had: the first `kept` bytes at `now` are `old`'s.
bool fuzz_shadow_kept(fuzz_shadow *shadow, const fuzz_block *old, const void *now, size_t kept, int slot);
// The block leaves the shadow: before it is freed or reallocated.
fuzz_block fuzz_shadow_remove(fuzz_shadow *shadow, uint32_t slot);
// Puts back a block that was removed: the call that should have taken it failed.
void fuzz_shadow_restore(fuzz_shadow *shadow, uint32_t slot, const fuzz_block *block);
// After a failed call for slot `own`: its block, if it has one, and some others have their contents and usable sizes.
bool fuzz_shadow_unchanged(fuzz_shadow *shadow, const fuzz_subject *subject, uint32_t own);

#endif

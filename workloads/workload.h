// workload.h: what a workload is, and the few services that the worker program gives to all of them.
//
// A workload is one file in this room with one `const ha_workload`, listed in catalog.c. The worker runs it
// once:
//   * prepare, not timed: tables, random numbers, a trace decoded; memory of its own from ha_map(), never from
//     the heap
//   * fill, not timed, and few have one: what is live before the work begins, made on the thread that owns it
//   * body, timed: called once on each of run->threads threads, released together; number 0 is the main thread
//   * finish, not timed: frees what is live, checks what can only be checked at the end
// With run->verify the same functions run again after the measurement, in a smaller size and not timed, and
// every block is filled and read back in full; otherwise only its ends are touched, as a program would.
#ifndef HEAPARENA_WORKLOADS_WORKLOAD_H
#define HEAPARENA_WORKLOADS_WORKLOAD_H

#include "adapters/alloc.h"

#include <stdatomic.h>

// What a text parameter may be, written HA_WORDS(...) or HA_FRACTION(least, most).
typedef struct ha_allowed {
  const char *const *words; // these, up to a NULL; NULL: a decimal number in the inclusive range
  double least, most;
} ha_allowed;
#define HA_WORDS(...)                (&(const ha_allowed){.words = (const char *const[]){__VA_ARGS__, NULL}})
#define HA_FRACTION(lowest, highest) (&(const ha_allowed){.least = (lowest), .most = (highest)})

// One parameter of a workload, given as NAME:key=value after the workload's name.
typedef struct ha_param {
  const char *key;
  const char *fallback; // default, as text
  const char *help;     // one line with the unit
  // Numbers: the inclusive range. Both 0: the value is text.
  uint64_t least, most;
  const ha_allowed *allowed; // text: what it may be; NULL: anything, checked by prepare()
} ha_param;

typedef struct ha_run ha_run;

// What one thread counted; the runner adds them up. Filled by body().
typedef struct ha_tally {
  uint64_t operations; // allocations + reallocations + frees that went to the allocator
  uint64_t
      checksum; // over what was done (sizes, order), so that equal runs show equal sums; XORed over threads
  const char *failure; // NULL, or what went wrong: a constant string
} ha_tally;

typedef struct ha_workload {
  const char *name;
  const char *summary;    // one line
  const char *explain;    // a paragraph for newcomers: what it stresses, what to look at in the result
  const ha_param *params; // ends with a NULL key
  bool scales;            // takes its thread count from --threads; else it sets run->threads in prepare()
  bool mutator;           // a mutator program (gc/): runs over collectors too
  // prepare returns false after ha_fail() on bad parameters or lack of memory.
  bool (*prepare)(ha_run *run);
  // NULL, or called on each thread before the clock starts, on all of them at once: makes what body() finds.
  // That is live and resident, but its operations are not counted. After a failure of its own, which it says
  // in tally->failure, body() does nothing.
  void (*fill)(ha_run *run, unsigned thread, ha_tally *tally);
  void (*body)(ha_run *run, unsigned thread, ha_tally *tally);
  bool (*finish)(ha_run *run); // false after ha_fail() when a final check failed
} ha_workload;

#define HA_MOST_COUNTERS 24

struct ha_run {
  const ha_alloc *alloc;
  const ha_workload *workload;
  unsigned threads;
  uint64_t seed;
  double scale; // multiplies the amount of work (operations), not its shape (live set, sizes); > 0
  bool verify;
  void *state;            // the workload's own, from ha_map()
  uint64_t harness_bytes; // mapped by ha_map() and not unmapped: not the allocator's doing
  // Requested bytes live now and at their peak, kept through ha_live: exact for one thread, exact to
  // HA_LIVE_STEP operations per thread for several. Replays set the peak from the trace.
  _Atomic int64_t live_bytes;
  _Atomic int64_t live_peak;
  // Time in body() that is not the workload's: all its threads waited for the harness. Of the wall clock, and
  // of the processor's.
  _Atomic uint64_t paused_ns, paused_cpu_ns;
  char note[512];            // extra facts for the result, "key=value key=value", no spaces in values
  char why[512];             // set by ha_fail()
  const char *const *values; // parsed parameters, by index in workload->params
  // Figures of the workload's own, for the result (ha_count()).
  struct {
    const char *name;
    double value;
  } counters[HA_MOST_COUNTERS];
  size_t counter_count;
  // Set by body() where another program did the work: its figures instead of this process's.
  const struct ha_measurement *external;
};

// Adds a figure to the result under `name`, a constant string. Beyond HA_MOST_COUNTERS they are left out.
void ha_count(ha_run *run, const char *name, double value);

// Parameters by key; that the value is allowed was checked before prepare().
uint64_t ha_param_number(const ha_run *run, const char *key);
const char *ha_param_text(const ha_run *run, const char *key);
// The place of the value among its HA_WORDS, from 0.
unsigned ha_param_word(const ha_run *run, const char *key);

// Zeroed, resident memory from mmap, counted in run->harness_bytes; NULL after ha_fail(). Lives until the
// process ends.
void *ha_map(ha_run *run, size_t bytes);

// Records why prepare, body or finish cannot go on (printf-like); returns false. The first reason is kept.
bool ha_fail(ha_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

// One thread's count of live requested bytes, passed on to the run every HA_LIVE_STEP changes so that threads
// do not fight for one counter. Start it as {.run = run} and flush it when the thread's work is done.
#define HA_LIVE_STEP 256
typedef struct ha_live {
  ha_run *run;
  int64_t change; // since the last flush
  int64_t high;   // highest value of `change` since then
  unsigned steps;
} ha_live;

// Passes the change on to the run, and the highest value with it.
void ha_live_flush(ha_live *live);

// Counts `bytes` more or, below 0, fewer.
static inline void ha_live_add(ha_live *live, int64_t bytes) {
  live->change += bytes;
  if (live->change > live->high)
    live->high = live->change;
  if (++live->steps == HA_LIVE_STEP)
    ha_live_flush(live);
}

// Small fast random numbers (SplitMix64 by Steele, Lea, Flood 2014); state is any seed.
static inline uint64_t ha_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Uniform in [0, bound), bound >= 1 (Lemire's multiply-shift; bias below 2^-32 for bounds below 2^32).
static inline uint64_t ha_random_below(uint64_t *state, uint64_t bound) {
  return (uint64_t)(((unsigned __int128)ha_random(state) * bound) >> 64);
}

// Whether a failed block check is a failure: the null allocator's blocks are all the same memory.
static inline bool ha_keeps_contents(const ha_run *run) {
  return !(run->alloc->traits & HA_TRAIT_SHARED_BLOCKS);
}

// Marks a fresh block, and checks the mark before it is freed: the ends only, or with `whole` every byte.
// `tag` is any number that the caller can tell again. A wrong mark means that two blocks overlapped or that
// the allocator wrote into a live block. Blocks of size 0 pass.
void ha_block_mark_whole(void *block, size_t size, uint64_t tag);
bool ha_block_check_whole(const void *block, size_t size, uint64_t tag);

// Writes what ha_block_check finds again: first and last byte, or with `whole` all of it.
static inline void ha_block_mark(void *block, size_t size, uint64_t tag, bool whole) {
  if (size == 0)
    return;
  unsigned char *bytes = block;
  if (whole) {
    ha_block_mark_whole(block, size, tag);
    return;
  }
  bytes[0] = (unsigned char)tag;
  bytes[size - 1] = (unsigned char)tag;
}

// Whether the mark of this tag is still there.
static inline bool ha_block_check(const void *block, size_t size, uint64_t tag, bool whole) {
  if (size == 0)
    return true;
  const unsigned char *bytes = block;
  if (whole)
    return ha_block_check_whole(block, size, tag);
  return bytes[0] == (unsigned char)tag && bytes[size - 1] == (unsigned char)tag;
}

#endif

// timeline.h: the memory of a process over time, watched from another one.
//
// A sampler thread would make the process multi-threaded and its malloc slower (glibc takes no locks in a
// process that never had a second thread), and a forked child would share the program's pages and so change
// what is measured. The sampler is therefore this program started anew (heaparena-worker --sample), without
// the allocator; it reads /proc of its parent, and the two share one block of memory, below.
//
// The parent tells the sampler when a phase begins (ha_timeline_tell), which takes a sample at that moment
// and then one every interval, more often at first.
#ifndef HEAPARENA_WORKLOADS_TIMELINE_H
#define HEAPARENA_WORKLOADS_TIMELINE_H

#include "adapters/decorate.h"
#include "workloads/workload.h"

#include <sys/types.h>

enum {
  HA_TIMELINE_POINTS = 4096, // when they are full, every second goes and the interval doubles
  HA_TIMELINE_AFTER = 2048,
};

// One look at the process. Bytes; -1: not known, or not read this time. Without the harness's tables.
typedef struct ha_timeline_point {
  uint64_t ns; // since the body began, or since everything was freed
  int64_t rss;
  int64_t pss;
  int64_t live;   // requested by the program
  int64_t usable; // what it got for that
  int64_t huge;   // in transparent huge pages
} ha_timeline_point;

typedef enum ha_timeline_phase {
  HA_TIMELINE_STARTING, // the sampler is not there yet
  HA_TIMELINE_READY,    // it waits for the body
  HA_TIMELINE_BODY,
  HA_TIMELINE_FREEING, // the body has ended, finish() frees what is live
  HA_TIMELINE_FREED,   // nothing is live
  HA_TIMELINE_STOP,
} ha_timeline_phase;

// Shared by the two processes. Sampler's fields may be read by the parent when a phase was acknowledged.
typedef struct ha_timeline {
  ha_run run; // the run itself: the sampler reads run.live_bytes and run.harness_bytes
  // Written by the parent, before the phase that needs it.
  bool counted;          // `counts` are kept
  bool live_from_counts; // requested bytes are those of `counts`, for the workload does not count them
  uint64_t interval_ns;
  uint64_t body_ns, freed_ns;    // CLOCK_MONOTONIC
  _Atomic uint32_t phase;        // futex; the parent writes it
  _Atomic uint32_t acknowledged; // futex; the sampler writes it
  // Written by the sampler.
  ha_timeline_point points[HA_TIMELINE_POINTS];
  ha_timeline_point after[HA_TIMELINE_AFTER];
  uint32_t point_count, after_count;
  ha_timeline_point peak; // the point with the most live bytes during the body
  int64_t huge_peak;
  double rss_sum, body_length; // resident bytes times nanoseconds, over the body; its nanoseconds
  // Written by the threads of the workload.
  ha_counts counts[HA_DECORATED_THREADS];
} ha_timeline;

// The shared memory, and the sampler of this process; the run of `t` is a copy of *run. NULL after ha_fail().
ha_timeline *ha_timeline_start(ha_run *run, uint64_t interval_ms, pid_t *sampler);

// Begins a phase and waits for the sampler's sample of that moment. False if the sampler is gone.
bool ha_timeline_tell(ha_timeline *t, ha_timeline_phase phase, pid_t sampler);

// The sampler's whole life; fd is that of the shared memory. Returns the exit status.
int ha_timeline_sample(int fd);

// ---- Inside the sampler, apart for its test.

// Appends a point; halves the number of points when they are full, and doubles the interval.
void ha_timeline_add(ha_timeline *t, const ha_timeline_point *point);

#endif

// runner.h: runs one workload over one allocator in this process, once, and measures it.
#ifndef HEAPARENA_WORKLOADS_RUNNER_H
#define HEAPARENA_WORKLOADS_RUNNER_H

#include "workloads/workload.h"

// Figures of one timed pass. Bytes and seconds.
typedef struct ha_measurement {
  double wall_seconds; // from the release of the threads to the end of the last
  double cpu_seconds;  // of all threads, over the same time
  double user_seconds; // as the kernel counts it (ticks of a few ms on some kernels)
  double system_seconds;
  uint64_t operations;
  uint64_t checksum;        // XOR of the threads'
  uint64_t start_rss_bytes; // resident before fill() and the first operation, the harness's tables included
  uint64_t peak_rss_bytes;  // highest resident size during the pass (VmHWM)
  uint64_t harness_bytes;   // of these: the harness's tables
  uint64_t peak_live_bytes; // requested
  uint64_t minor_faults;
  uint64_t major_faults;
  unsigned threads;
} ha_measurement;

// prepare, fill, body (timed), finish. Returns false when the workload failed; run->why says how. run->workload,
// values, alloc, threads, seed, scale and verify are set by the caller. Call from the main thread.
bool ha_run_once(ha_run *run, ha_measurement *out);

// What another pass than that of time does around the body, on the main thread: `starts` when all threads are
// there and wait, `ended` when the last has ended and before finish() frees what is live. With `sees_fill`, for
// those who draw memory over time, `starts` comes before fill().
typedef struct ha_observer {
  void (*starts)(void *argument);
  void (*ended)(void *argument);
  void *argument;
  bool sees_fill;
} ha_observer;

// As ha_run_once(), observed.
bool ha_run_observed(ha_run *run, ha_measurement *out, const ha_observer *observer);

#endif

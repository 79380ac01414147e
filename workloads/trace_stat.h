// trace_stat.h: what `heaparena-trace stat` tells of a trace: distributions, and each thread's part.
#ifndef HEAPARENA_WORKLOADS_TRACE_STAT_H
#define HEAPARENA_WORKLOADS_TRACE_STAT_H

#include "workloads/trace.h"
#include "workloads/trace_bucket.h"

typedef struct ha_stat_law {
  uint64_t buckets[HA_BUCKETS], count, least, most;
  double sum;
} ha_stat_law;

typedef struct ha_stat_thread {
  uint64_t operations, allocations, reallocs, frees, remote_frees; // remote: of blocks that another allocated
  uint64_t requested_bytes;
  uint64_t live_bytes, live_peak; // of the blocks that it allocated
  uint64_t first_ns, last_ns;
} ha_stat_thread;

typedef struct ha_trace_stat {
  ha_trace_totals totals;
  uint64_t never_freed;     // objects
  uint64_t resizes, refers; // reallocs that succeeded; these and frees
  uint64_t fresh;           // allocations with no freed block of their size class to reuse
  ha_stat_law sizes;        // requested by allocations and reallocs, bytes
  ha_stat_law lifetimes;    // of freed objects, operations of the whole trace
  ha_stat_law lifetimes_ns; // the same, in time
  ha_stat_law reuse;        // operations since the newest free of the same size class that nobody reused yet
  ha_trace_thread *names;   // of the threads below; from malloc, as these
  ha_stat_thread *threads;
  size_t thread_count;
} ha_trace_stat;

// Reads `path` through. False with one line in `why`.
bool ha_trace_stat_read(const char *path, ha_trace_stat *stat, char *why, size_t why_size);
void ha_trace_stat_free(ha_trace_stat *stat);

// The value below which that share (0 to 1) of the counted lie, exact to a quarter of an octave.
double ha_stat_quantile(const ha_stat_law *law, double share);

// Print to stdout, for people and for programs. False if it cannot be written.
bool ha_trace_stat_print(const char *path, const ha_trace_stat *stat);
bool ha_trace_stat_print_json(const char *path, const ha_trace_stat *stat);

#endif

// trace_info.h: what `heaparena-trace info` tells of a trace, beyond its stored totals.
#ifndef HEAPARENA_WORKLOADS_TRACE_INFO_H
#define HEAPARENA_WORKLOADS_TRACE_INFO_H

#include "workloads/trace.h"

// Counts by power of two: [0] of zero, [i] of 2^(i-1) .. 2^i - 1.
#define HA_INFO_BUCKETS 65

typedef struct ha_trace_info {
  ha_trace_totals totals;
  uint64_t clock_start_ns;
  uint64_t bytes;                      // of the file; 0 for standard input
  uint64_t sizes[HA_INFO_BUCKETS];     // requested by allocations and reallocs that succeeded, bytes
  uint64_t lifetimes[HA_INFO_BUCKETS]; // of freed objects, in operations of the whole trace
  uint64_t never_freed;                // objects
  char *meta;                          // from malloc, as are the threads; ha_trace_info_free returns them
  ha_trace_thread *threads;
  size_t thread_count;
} ha_trace_info;

// Reads `path` through. False with one line in `why`.
bool ha_trace_info_read(const char *path, ha_trace_info *info, char *why, size_t why_size);
void ha_trace_info_free(ha_trace_info *info);

// The texts of META's "remark: ..." lines as a JSON array, a new reference.
struct json_t *ha_trace_remarks_json(const char *meta);
// Size of a file, 0 if it has none.
uint64_t ha_trace_file_bytes(const char *path);

// Print the info to stdout, for people and for programs.
void ha_trace_info_print(const char *path, const ha_trace_info *info);
bool ha_trace_info_print_json(const char *path, const ha_trace_info *info);

#endif

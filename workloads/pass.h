// pass.h: the ways in which a worker can measure a workload. Each runs it once, in a process of its own:
//
//   time          wall and processor time, peak memory; nothing else is watched (pass.c)
//   latency       every call to the allocator timed by itself (pass_latency.c)
//   timeline      memory over time, and after everything was freed (pass_timeline.c)
//   instructions  instructions executed, counted by callgrind: the same figure on every machine of a kind
//                 (pass_instructions.c)
//   map           the heap drawn page by page, for `heaparena map` (pass_map.c)
//
// Watching costs time: the wall time of a pass other than the first is not to be compared with anything.
#ifndef HEAPARENA_WORKLOADS_PASS_H
#define HEAPARENA_WORKLOADS_PASS_H

#include "workloads/gbench.h"
#include "workloads/runner.h"

#include <stdio.h>

typedef struct ha_pass_options {
  const char *allocator; // its spec, for a pass that starts this program anew
  uint64_t interval_ms;  // timeline: between two looks at the process
  uint64_t after_ms;     // timeline and map: how long it is watched after everything was freed
  uint64_t map_frames;   // map: see ha_map_options
  uint64_t map_every;
} ha_pass_options;

typedef struct ha_pass {
  const char *name;
  // Before anything else, the allocator opened: false, with a line in `why`, if this pass cannot be had here.
  // May execute the program anew, with `argv`. NULL: nothing to be prepared.
  bool (*prepare)(char *const argv[], char *why, size_t why_size);
  // Runs the workload of *run once and adds this pass's counters to `sample`. False after ha_fail().
  bool (*measure)(ha_run *run, const ha_pass_options *options, ha_measurement *out, hg_sample *sample);
  // Writes what no counter holds, as one JSON object, after a measure() that returned true. NULL: nothing.
  void (*detail)(FILE *out);
} ha_pass;

extern const ha_pass ha_pass_time;
extern const ha_pass ha_pass_latency;
extern const ha_pass ha_pass_timeline;
extern const ha_pass ha_pass_instructions;
extern const ha_pass ha_pass_map;

// The pass with that name, or NULL.
const ha_pass *ha_pass_find(const char *name);

// pass->detail into the file `path`; false if it could not be written. Truncates the file even where the pass
// has no detail: "{}".
bool ha_pass_write_detail(const ha_pass *pass, const char *path);

#endif

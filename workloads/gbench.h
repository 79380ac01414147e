// gbench.h: Google Benchmark for C programs, as far as heaparena needs it.
//
// Google Benchmark cannot be used from C (its issue 592). This shim lets a C function be the benchmark: one
// iteration is one whole pass of work (millions of operations), timed by the caller's own clocks, so that no
// call crosses the shim per operation and the library's per-thread time arithmetic (wrong in 1.7) is not
// used. The result is the library's own JSON.
#ifndef HEAPARENA_WORKLOADS_GBENCH_H
#define HEAPARENA_WORKLOADS_GBENCH_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HG_MAX_COUNTERS 48

typedef struct hg_counter {
  const char *name; // constant string
  double value;
} hg_counter;

// What one pass reports.
typedef struct hg_sample {
  double wall_seconds; // becomes real_time
  hg_counter counters[HG_MAX_COUNTERS];
  size_t counter_count;
  char label[768];   // "key=value key=value": facts that are not numbers
  const char *error; // NULL, or the pass failed and this says why (error_occurred, error_message)
} hg_sample;

// Adds a counter; `name` is a constant string. At most HG_MAX_COUNTERS, further ones are left out.
static inline void hg_count(hg_sample *sample, const char *name, double value) {
  if (sample->counter_count == HG_MAX_COUNTERS)
    return;
  sample->counters[sample->counter_count].name = name;
  sample->counters[sample->counter_count++].value = value;
}

typedef struct hg_context {
  const char *key;
  const char *value;
} hg_context;

typedef void (*hg_pass)(void *argument, hg_sample *sample);

// Runs `pass(argument, ...)` as the benchmark `name`, `iterations` >= 1 times, and writes the JSON to `path`,
// with the `context` pairs in its context. Counters and label are those of the last iteration. Returns false
// if the file could not be written or no benchmark ran. Not thread-safe; call once per process.
bool hg_run(const char *name, hg_pass pass, void *argument, unsigned iterations, const hg_context *context,
            size_t context_count, const char *path);

// Version of Google Benchmark in use, "1.7.1" or "unknown".
const char *hg_version(void);

#ifdef __cplusplus
}
#endif

#endif

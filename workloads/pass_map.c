// pass_map.c: pictures of the heap while a workload runs (heap_map.h). Calls are served one at a time, so that
// each frame is of one moment: its times mean nothing.
#include "workloads/pass.h"

#include "adapters/decorate.h"
#include "workloads/heap_map.h"

#include <time.h>

static void came(void *context, void *block, size_t requested) {
  (void)context;
  ha_map_came(block, requested);
}

static void went(void *context, void *block, size_t requested) {
  (void)context;
  ha_map_went(block, requested);
}

static void take_frame(void *phase) {
  ha_map_frame(phase);
}

static void frame(const char *phase) {
  ha_addresses_locked(take_frame, (char *)phase); // NOLINT: it is read only
}

static void starts(void *argument) {
  (void)argument;
  frame("before the work");
}

static void ended(void *argument) {
  (void)argument;
  frame("at the end of the work");
}

static bool measure(ha_run *run, const ha_pass_options *options, ha_measurement *out, hg_sample *sample) {
  const ha_alloc *plain = run->alloc;
  const ha_map_options map = {.frames = (unsigned)options->map_frames, .every = options->map_every};
  if (plain->traits & HA_TRAIT_SHARED_BLOCKS)
    return ha_fail(run, "%s hands out one block to everybody: there is no heap to draw", plain->name);
  const ha_alloc *watched = ha_decorate_addresses(plain, &(ha_address_watcher){.came = came, .went = went});
  if (!watched || !ha_map_start(plain, &map))
    return ha_fail(run, "the map cannot be started: no memory");
  run->alloc = watched;
  bool good = ha_run_observed(run, out, &(ha_observer){.starts = starts, .ended = ended, .sees_fill = true});
  run->alloc = plain;
  if (!good)
    return false;
  frame("when everything was freed");
  if (options->after_ms > 0) {
    nanosleep(&(struct timespec){.tv_sec = (time_t)(options->after_ms / 1000),
                                 .tv_nsec = (long)(options->after_ms % 1000) * 1000000},
              NULL);
    frame("some time after that");
  }
  hg_count(sample, "map_after_ms", (double)options->after_ms);
  return true;
}

static void detail(FILE *out) {
  fputs("{\"map\":", out);
  ha_map_print(out);
  fputs("}\n", out);
}

const ha_pass ha_pass_map = {.name = "map", .measure = measure, .detail = detail};

// drain.c: a heap is built, all of it is freed, and the process stays: does its memory go back to the system?
//
// Blocks are freed at random. Then the process idles, and the resident size is noted at once, after 100 ms, 1
// s and 5 s, in bytes without the harness's own tables. Stresses: the return of memory, in time and amount. A
// good allocator is near the size of an empty process after a second, without having given pages back so
// eagerly that the work before was slow. One that only works inside of calls to malloc and free keeps all of
// it, since none comes. The waiting is no part of the time that is measured, and the verification pass does
// not wait. Idea: the after-free curve (100 ms, 1 s, 5 s) of mimalloc-pprof's suite.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct drain {
  const uint32_t *sizes;
  uint64_t capacity, limit; // slots a thread, bytes a thread
  uint32_t *order;          // of the frees
  ha_slot *slots;
} drain;

static const ha_param params[] = {
    {"live", "128", "bytes to build and free, per thread, MiB", 1, 1 << 20, NULL},
    {"wait", "5", "seconds to wait after the last free", 0, 3600, NULL},
    HA_SIZE_PARAMS("lognormal", "16", "65536"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool drain_prepare(ha_run *run) {
  drain *d = ha_map(run, sizeof *d);
  if (!d)
    return false;
  run->state = d;
  uint64_t random = run->seed;
  // There are no operations to repeat, so scale makes the heap smaller, though never larger.
  d->limit = ha_param_number(run, "live") * HA_MIB;
  if (run->scale < 1)
    d->limit = (uint64_t)((double)d->limit * run->scale) + 1;
  d->sizes = ha_sizes_draw(run, &random);
  if (!d->sizes)
    return false;
  d->capacity = (uint64_t)((double)d->limit / ha_sizes_mean(d->sizes)) + 1;
  if (d->capacity > UINT32_MAX)
    return ha_fail(run, "%s: more than 2^32 blocks: choose less", run->workload->name);
  double live =
      (double)run->threads * (double)(d->limit + d->capacity * (sizeof(ha_slot) + sizeof(uint32_t)));
  if (!ha_fits(run, live, live))
    return false;
  d->order = ha_map(run, d->capacity * sizeof *d->order);
  d->slots = d->order ? ha_map(run, d->capacity * run->threads * sizeof(ha_slot)) : NULL;
  if (!d->slots)
    return false;
  ha_shuffle(d->order, (uint32_t)d->capacity, &random);
  return true;
}

static void drain_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const drain *d = run->state;
  ha_slot *slots = d->slots + d->capacity * thread;
  ha_thread self = ha_thread_begin(run, thread);
  uint64_t first = ha_random(&self.random);
  bool good = true;
  for (uint64_t i = 0; good && i < d->capacity; i++)
    good = ha_slot_take(&self, &slots[i], d->sizes[(first + i) % HA_SIZES], i);
  for (uint64_t i = 0; good && i < d->capacity; i++)
    good = ha_slot_drop(&self, &slots[d->order[i]]);
  ha_thread_end(&self, tally);
}

static void note_resident(ha_run *run, const char *when) {
  uint64_t resident = ha_resident_bytes();
  size_t used = strlen(run->note);
  snprintf(run->note + used, sizeof run->note - used, "%srss_after_%s=%llu", used ? " " : "", when,
           (unsigned long long)(resident > run->harness_bytes ? resident - run->harness_bytes : 0));
}

static void sleep_ms(unsigned ms) {
  struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

static bool drain_finish(ha_run *run) {
  static const struct {
    unsigned ms; // after the last free
    const char *name;
  } points[] = {{0, "0ms"}, {100, "100ms"}, {1000, "1s"}, {5000, "5s"}};
  drain *d = run->state;
  if (run->verify || run->why[0])
    return ha_slots_clear(run, d->slots, d->capacity * run->threads);
  uint64_t wait = ha_param_number(run, "wait") * 1000;
  unsigned waited = 0;
  for (size_t i = 0; i < sizeof points / sizeof points[0] && points[i].ms <= wait; i++) {
    sleep_ms(points[i].ms - waited);
    waited = points[i].ms;
    note_resident(run, points[i].name);
  }
  if (wait > waited) {
    sleep_ms((unsigned)wait - waited);
    note_resident(run, "wait");
  }
  return true;
}

const ha_workload ha_workload_drain = {
    .name = "drain",
    .summary = "a heap is built and freed, the process stays: RSS after 100 ms, 1 s and 5 s",
    .explain =
        "Builds a heap of 128 MiB, frees all of it in random order, and waits for five seconds. The point is "
        "in the "
        "notes of the result, rss_after_100ms, rss_after_1s and rss_after_5s: what the process still holds "
        "while it is idle. Time covers building and freeing only. An allocator may keep memory on purpose "
        "because it "
        "expects more work; whether that is good depends on who else needs the machine.",
    .params = params,
    .scales = true,
    .prepare = drain_prepare,
    .body = drain_body,
    .finish = drain_finish,
};

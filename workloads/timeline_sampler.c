// timeline_sampler.c: the process that watches its parent for timeline.h. It sleeps until the next sample is
// due or the parent begins a phase. Resident size comes from /proc/PID/statm at every sample; what only
// smaps_rollup knows costs the kernel a walk over all pages, during which the parent cannot map memory, so it
// is read only as often as keeps that below a twentieth of the time.
#include "workloads/timeline.h"

#include "adapters/ticks.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MS               ((uint64_t)1000000) // in nanoseconds
#define ROLLUP_SHARE     20        // a look into smaps_rollup rests for this many times of what it took
#define BEGINNING        20        // so many intervals are divided by as much: short runs have a curve, too
#define AFTER_FINE_NS    (10 * MS) // between samples in the first second after all was freed
#define AFTER_COARSE_NS  (50 * MS)
#define AFTER_FINE_UNTIL (1000 * MS)

typedef struct sampler {
  ha_timeline *t;
  int statm, rollup; // of the parent, kept open
  int64_t page;
  uint64_t rollup_due; // CLOCK_MONOTONIC
} sampler;

static bool read_text(int fd, char *text, size_t size) {
  ssize_t n = fd >= 0 ? pread(fd, text, size - 1, 0) : -1;
  if (n <= 0)
    return false;
  text[n] = '\0';
  return true;
}

static int64_t rollup_bytes(const char *text, const char *key) {
  const char *line = strstr(text, key);
  return line ? strtoll(line + strlen(key), NULL, 10) * 1024 : -1;
}

static void read_rollup(sampler *s, ha_timeline_point *point, int64_t harness) {
  char text[4096];
  uint64_t begin = ha_ticks_of_clock();
  bool known = begin >= s->rollup_due && read_text(s->rollup, text, sizeof text);
  point->pss = known ? rollup_bytes(text, "\nPss:") - harness : -1;
  point->huge = known ? rollup_bytes(text, "\nAnonHugePages:") : -1;
  if (!known)
    return;
  uint64_t end = ha_ticks_of_clock();
  s->rollup_due = end + ROLLUP_SHARE * (end - begin);
  if (point->huge > s->t->huge_peak)
    s->t->huge_peak = point->huge;
}

// Returns the memory that the counting itself took.
static int64_t read_heap(const ha_timeline *t, ha_timeline_point *point) {
  point->live = t->live_from_counts ? -1 : atomic_load_explicit(&t->run.live_bytes, memory_order_relaxed);
  point->usable = -1;
  if (!t->counted)
    return 0;
  ha_counted sum = ha_counting_sum(t->counts);
  point->usable = sum.usable_bytes < 0 ? 0 : sum.usable_bytes; // a free may be seen before its allocation
  if (t->live_from_counts)
    point->live = sum.requested_bytes < 0 ? 0 : sum.requested_bytes;
  return (int64_t)sum.own_bytes;
}

// False: the parent is gone.
static bool look(sampler *s, uint64_t since, ha_timeline_point *point) {
  char text[256];
  if (!read_text(s->statm, text, sizeof text))
    return false;
  const char *resident = strchr(text, ' '); // total, resident, ... in pages
  int64_t harness = (int64_t)s->t->run.harness_bytes + read_heap(s->t, point);
  point->ns = ha_ticks_of_clock() - since;
  point->rss = resident ? strtoll(resident, NULL, 10) * s->page - harness : -1;
  read_rollup(s, point, harness);
  return true;
}

static bool sample_body(sampler *s, ha_timeline_phase phase, bool begins) {
  ha_timeline *t = s->t;
  ha_timeline_point point;
  if (!look(s, t->body_ns, &point))
    return false;
  if (phase == HA_TIMELINE_FREEING && !begins && !t->live_from_counts)
    point.live = -1; // finish() frees without counting
  const ha_timeline_point *before = t->point_count ? &t->points[t->point_count - 1] : &point;
  double since = (double)(point.ns - before->ns), between = (double)(before->rss + point.rss) / 2;
  ha_timeline_add(t, &point);
  if (phase != HA_TIMELINE_BODY && !begins)
    return true;
  t->rss_sum += between * since;
  t->body_length = (double)point.ns;
  // Where live bytes are not known, the largest heap is the one that takes most memory.
  int64_t height = point.live >= 0 ? point.live : point.rss;
  int64_t highest = t->peak.live >= 0 ? t->peak.live : t->peak.rss;
  if (t->point_count == 1 || height > highest)
    t->peak = point;
  return true;
}

static bool sample_after(sampler *s) {
  ha_timeline *t = s->t;
  ha_timeline_point point;
  if (!look(s, t->freed_ns, &point))
    return false;
  if (t->after_count < HA_TIMELINE_AFTER)
    t->after[t->after_count++] = point;
  return true;
}

static bool sample(sampler *s, ha_timeline_phase phase, bool begins) {
  switch (phase) {
  case HA_TIMELINE_BODY:
  case HA_TIMELINE_FREEING:
    return sample_body(s, phase, begins);
  case HA_TIMELINE_FREED:
    return sample_after(s);
  default:
    return true;
  }
}

static uint64_t interval(const ha_timeline *t, ha_timeline_phase phase, uint64_t now) {
  switch (phase) {
  case HA_TIMELINE_BODY:
  case HA_TIMELINE_FREEING:
    return now - t->body_ns < BEGINNING * t->interval_ns ? t->interval_ns / BEGINNING : t->interval_ns;
  case HA_TIMELINE_FREED:
    return now - t->freed_ns < AFTER_FINE_UNTIL ? AFTER_FINE_NS : AFTER_COARSE_NS;
  default:
    return 1000 * MS;
  }
}

// Sleeps until `due` or until the phase is another than `phase`.
static void rest(ha_timeline *t, ha_timeline_phase phase, uint64_t due) {
  struct timespec until = {.tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000)};
  // BITSET: the time is a point on CLOCK_MONOTONIC, not a length.
  syscall(SYS_futex, &t->phase, FUTEX_WAIT_BITSET, phase, &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void watch(sampler *s) {
  ha_timeline *t = s->t;
  ha_timeline_phase told = HA_TIMELINE_STARTING;
  uint64_t due = 0;
  while (told != HA_TIMELINE_STOP) {
    ha_timeline_phase phase = (ha_timeline_phase)atomic_load(&t->phase);
    uint64_t now = ha_ticks_of_clock();
    if (phase != told || now >= due) {
      if (!sample(s, phase, phase != told))
        return;
      due = now + interval(t, phase, now);
    }
    if (phase != told) {
      told = phase;
      atomic_store(&t->acknowledged, phase);
      syscall(SYS_futex, &t->acknowledged, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    rest(t, phase, due);
  }
}

int ha_timeline_sample(int fd) {
  char path[64];
  pid_t parent = getppid();
  sampler s = {.page = sysconf(_SC_PAGESIZE)};
  s.t = mmap(NULL, sizeof *s.t, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (s.t == MAP_FAILED)
    return 2;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)parent);
  s.statm = open(path, O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)parent);
  s.rollup = open(path, O_RDONLY | O_CLOEXEC); // may be forbidden: PSS and huge pages are then not known
  s.t->huge_peak = -1;
  watch(&s);
  return 0;
}

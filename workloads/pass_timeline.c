// pass_timeline.c: memory while the body runs, while finish() frees what is live, and for some seconds
// afterwards, seen by another process (timeline.h). Figures are of the process without the harness's tables.
#include "workloads/pass.h"

#include "adapters/ticks.h"
#include "workloads/timeline.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>

static ha_timeline *watched; // kept for the detail
static pid_t sampler;

static void starts(void *argument) {
  (void)argument;
  watched->body_ns = ha_ticks_of_clock();
  if (!ha_timeline_tell(watched, HA_TIMELINE_BODY, sampler))
    ha_fail(&watched->run, "the sampler that watches the process ended before its time");
}

static bool nothing_is_live(void) {
  watched->freed_ns = ha_ticks_of_clock();
  return ha_timeline_tell(watched, HA_TIMELINE_FREED, sampler);
}

static void ended(void *argument) {
  (void)argument;
  ha_timeline_tell(watched, HA_TIMELINE_FREEING, sampler);
  // A body that frees all it made is done now; its finish() may only wait (drain).
  if (!watched->live_from_counts && atomic_load(&watched->run.live_bytes) == 0)
    nothing_is_live();
}

static void sleep_until(uint64_t ns) {
  struct timespec until = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
  }
}

// The first sample at or after that time; -1 if it was not watched for so long.
static int64_t rss_after(const ha_timeline *t, uint64_t ms) {
  for (uint32_t i = 0; i < t->after_count; i++)
    if (t->after[i].ns >= ms * 1000000)
      return t->after[i].rss;
  return -1;
}

static void count_known(hg_sample *sample, const char *name, int64_t value) {
  if (value >= 0)
    hg_count(sample, name, (double)value);
}

static void fill(const ha_timeline *t, uint64_t after_ms, hg_sample *sample) {
  static const struct {
    uint64_t ms;
    const char *name;
  } moments[] = {{100, "rss_after_free_100ms_bytes"},
                 {1000, "rss_after_free_1s_bytes"},
                 {5000, "rss_after_free_5s_bytes"}};
  int64_t start = t->point_count ? t->points[0].rss : 0;
  int64_t growth = t->peak.rss - start;
  count_known(sample, "rss_start_bytes", start);
  for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++)
    if (moments[i].ms <= after_ms)
      count_known(sample, moments[i].name, rss_after(t, moments[i].ms));
  if (t->body_length > 0)
    hg_count(sample, "rss_mean_bytes", t->rss_sum / t->body_length);
  count_known(sample, "huge_pages_peak_bytes", t->huge_peak);
  // At the moment when most was live. Blocks that were not touched make the second less than 1.
  if (t->peak.usable > 0 && t->peak.live > 0)
    hg_count(sample, "internal_fragmentation", (double)t->peak.usable / (double)t->peak.live);
  if (t->peak.usable > 0 && growth > 0)
    hg_count(sample, "external_fragmentation", (double)growth / (double)t->peak.usable);
}

static bool watch(ha_timeline *t, const ha_pass_options *options, ha_measurement *out) {
  const ha_alloc *plain = t->run.alloc;
  // A replay counts no live bytes while it runs.
  t->live_from_counts = strcmp(t->run.workload->name, "trace") == 0;
  const ha_alloc *counting = ha_decorate_counting(plain, t->counts, t->live_from_counts);
  t->counted = counting != NULL;
  if (counting)
    t->run.alloc = counting;
  bool good =
      ha_run_observed(&t->run, out, &(ha_observer){.starts = starts, .ended = ended, .sees_fill = true});
  t->run.alloc = plain;
  if (good &&
      (t->freed_ns || nothing_is_live())) // a little longer, so that a sample falls after the last moment
    sleep_until(t->freed_ns + (options->after_ms + options->after_ms / 50 + 1) * 1000000);
  ha_timeline_tell(t, HA_TIMELINE_STOP, sampler);
  waitpid(sampler, NULL, 0);
  return good;
}

static bool measure(ha_run *run, const ha_pass_options *options, ha_measurement *out, hg_sample *sample) {
  watched = ha_timeline_start(run, options->interval_ms, &sampler);
  if (!watched)
    return false;
  bool good = watch(watched, options, out);
  memcpy(run, &watched->run, sizeof *run); // the failure's text and the workload's note are in it
  fill(watched, options->after_ms, sample);
  return good;
}

static void write_known(FILE *out, const char *name, int64_t value) {
  if (value >= 0)
    fprintf(out, ",\"%s\":%lld", name, (long long)value);
  else
    fprintf(out, ",\"%s\":null", name);
}

static void detail(FILE *out) {
  const ha_timeline *t = watched;
  fprintf(out, "{\"timeline\":{\"interval_ms\":%llu,\"points\":[",
          (unsigned long long)t->interval_ns / 1000000);
  for (uint32_t i = 0; i < t->point_count; i++) {
    const ha_timeline_point *p = &t->points[i];
    fprintf(out, "%s\n{\"ms\":%.3f", i ? "," : "", (double)p->ns / 1e6);
    write_known(out, "rss", p->rss);
    write_known(out, "pss", p->pss);
    write_known(out, "live", p->live);
    write_known(out, "usable", p->usable);
    write_known(out, "huge", p->huge);
    fputc('}', out);
  }
  fprintf(out, "],\"free_at_ms\":%.3f,\"after_free\":[", (double)(t->freed_ns - t->body_ns) / 1e6);
  for (uint32_t i = 0; i < t->after_count; i++) {
    fprintf(out, "%s\n{\"ms\":%.3f", i ? "," : "", (double)t->after[i].ns / 1e6);
    write_known(out, "rss", t->after[i].rss);
    fputc('}', out);
  }
  fputs("]}}\n", out);
}

const ha_pass ha_pass_timeline = {.name = "timeline", .measure = measure, .detail = detail};

// trace_stat_print.c: prints the figures of trace_stat.c.
#include "workloads/trace_json.h"
#include "workloads/trace_stat.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define CURVE_ROWS   16 // in the text
#define MOST_THREADS 32 // in the text
#define BAR_CHARS    40

static const struct {
  const char *name;
  double share;
} quantiles[] = {{"p10", 0.1}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

static const struct {
  const char *key, *title;
  size_t place;
} laws[] = {
    {"sizes", "size requested, bytes", offsetof(ha_trace_stat, sizes)},
    {"lifetimes", "lifetime, operations", offsetof(ha_trace_stat, lifetimes)},
    {"lifetimes_ns", "lifetime, ns", offsetof(ha_trace_stat, lifetimes_ns)},
    {"reuse_distance", "reuse distance, operations", offsetof(ha_trace_stat, reuse)},
};

static const ha_stat_law *law_at(const ha_trace_stat *stat, size_t index) {
  return (const ha_stat_law *)(const void *)((const char *)stat + laws[index].place);
}

static double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : (double)part / (double)whole;
}

static double mean(const ha_stat_law *law) {
  return law->count == 0 ? 0 : law->sum / (double)law->count;
}

// ---- For people ----

static void print_laws(const ha_trace_stat *stat) {
  printf("\n%-28s %10s %10s", "", "count", "least");
  for (size_t q = 0; q < sizeof quantiles / sizeof *quantiles; q++)
    printf(" %10s", quantiles[q].name);
  printf(" %12s %12s\n", "most", "mean");
  for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
    const ha_stat_law *law = law_at(stat, i);
    printf("%-28s %10" PRIu64 " %10" PRIu64, laws[i].title, law->count, law->least);
    for (size_t q = 0; q < sizeof quantiles / sizeof *quantiles; q++)
      printf(" %10.0f", ha_stat_quantile(law, quantiles[q].share));
    printf(" %12" PRIu64 " %12.1f\n", law->most, mean(law));
  }
}

static void print_curve(const ha_trace_totals *totals) {
  static const char bar[BAR_CHARS + 1] = "########################################";
  unsigned step = totals->curve_points / CURVE_ROWS + 1;
  printf("\nLive bytes after that many operations\n");
  for (unsigned i = step - 1; i < totals->curve_points; i += step)
    printf("  %14" PRIu64 "  %14" PRIu64 "  %.*s\n", (i + 1) * totals->curve_step, totals->curve[i],
           (int)(share(totals->curve[i], totals->live_bytes_peak) * BAR_CHARS), bar);
}

static void print_threads(const ha_trace_stat *stat) {
  printf("\n%6s %-16s %7s %12s %12s %10s %12s %12s %14s %14s %10s %10s\n", "thread", "name", "process",
         "operations", "allocations", "reallocs", "frees", "of others", "bytes", "live peak", "first, s",
         "last, s");
  for (size_t i = 0; i < stat->thread_count && i < MOST_THREADS; i++) {
    const ha_stat_thread *one = &stat->threads[i];
    printf("%6zu %-16.16s %7u %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64
           " %14" PRIu64 " %14" PRIu64 " %10.3f %10.3f\n",
           i, stat->names[i].name, stat->names[i].process, one->operations, one->allocations, one->reallocs,
           one->frees, one->remote_frees, one->requested_bytes, one->live_peak, (double)one->first_ns * 1e-9,
           (double)one->last_ns * 1e-9);
  }
  if (stat->thread_count > MOST_THREADS)
    printf("and %zu more: --json has them all\n", stat->thread_count - MOST_THREADS);
}

bool ha_trace_stat_print(const char *path, const ha_trace_stat *stat) {
  const ha_trace_totals *totals = &stat->totals;
  printf("%s: %" PRIu64 " operations, %" PRIu64 " objects, %" PRIu64 " threads, %.3f s\n", path,
         totals->operations, totals->objects, totals->threads, (double)totals->duration_ns * 1e-9);
  printf("  live bytes, peak           %" PRIu64 " in at most %" PRIu64 " objects\n", totals->live_bytes_peak,
         totals->live_objects_peak);
  printf("  never freed                %" PRIu64 " objects (%.1f %%), %" PRIu64 " bytes\n", stat->never_freed,
         100 * share(stat->never_freed, totals->objects), totals->live_bytes_end);
  printf("  by another thread          %" PRIu64 " of %" PRIu64 " frees and reallocs (%.2f %%)\n",
         totals->remote_frees, stat->refers, 100 * share(totals->remote_frees, stat->refers));
  printf("  no freed block to reuse    %" PRIu64 " of %" PRIu64 " blocks (%.1f %%), by quarters of octaves\n",
         stat->fresh, stat->fresh + stat->reuse.count,
         100 * share(stat->fresh, stat->fresh + stat->reuse.count));
  print_laws(stat);
  print_curve(totals);
  print_threads(stat);
  return fflush(stdout) == 0;
}

// ---- For programs ----

static json_t *law_json(const ha_stat_law *law) {
  json_t *object = json_object(), *buckets = json_array();
  json_object_set_new(object, "count", ha_json_count(law->count));
  json_object_set_new(object, "least", ha_json_count(law->least));
  json_object_set_new(object, "most", ha_json_count(law->most));
  json_object_set_new(object, "mean", json_real(mean(law)));
  for (size_t q = 0; q < sizeof quantiles / sizeof *quantiles; q++)
    json_object_set_new(object, quantiles[q].name, json_real(ha_stat_quantile(law, quantiles[q].share)));
  for (unsigned i = 0; i < HA_BUCKETS; i++) {
    uint64_t from = (uint64_t)ha_bucket_start(i);
    if (law->buckets[i] != 0)
      json_array_append_new(buckets, json_pack("{s:o,s:o}", "from", ha_json_count(from), "count",
                                               ha_json_count(law->buckets[i])));
  }
  json_object_set_new(object, "buckets", buckets);
  return object;
}

static json_t *thread_json(const ha_trace_stat *stat, size_t index) {
  const ha_stat_thread *one = &stat->threads[index];
  const ha_figure rows[] = {
      {"thread", index},
      {"process", stat->names[index].process},
      {"parent", stat->names[index].parent},
      {"operations", one->operations},
      {"allocations", one->allocations},
      {"reallocs", one->reallocs},
      {"frees", one->frees},
      {"remote_frees", one->remote_frees},
      {"requested_bytes", one->requested_bytes},
      {"live_bytes_peak", one->live_peak},
      {"first_ns", one->first_ns},
      {"last_ns", one->last_ns},
  };
  json_t *object = json_object(), *name = json_string(stat->names[index].name);
  ha_json_figures(object, rows, sizeof rows / sizeof *rows);
  json_object_set_new(object, "name", name == NULL ? json_string("?") : name); // not UTF-8
  return object;
}

static json_t *curve_json(const ha_trace_totals *totals) {
  json_t *list = json_array();
  for (unsigned i = 0; i < totals->curve_points; i++)
    json_array_append_new(list,
                          json_pack("{s:o,s:o}", "operation", ha_json_count((i + 1) * totals->curve_step),
                                    "live_bytes", ha_json_count(totals->curve[i])));
  return list;
}

bool ha_trace_stat_print_json(const char *path, const ha_trace_stat *stat) {
  const ha_trace_totals *totals = &stat->totals;
  const ha_figure rows[] = {
      {"operations", totals->operations},
      {"objects", totals->objects},
      {"duration_ns", totals->duration_ns},
      {"live_bytes_peak", totals->live_bytes_peak},
      {"live_objects_peak", totals->live_objects_peak},
      {"live_bytes_end", totals->live_bytes_end},
      {"never_freed", stat->never_freed},
      {"reallocs", stat->resizes},
      {"remote_frees", totals->remote_frees},
      {"not_reusing", stat->fresh},
  };
  json_t *object = json_object(), *threads = json_array();
  json_t *name = json_string(path);
  json_object_set_new(object, "file", name == NULL ? json_string("?") : name);
  ha_json_figures(object, rows, sizeof rows / sizeof *rows);
  json_object_set_new(object, "remote_share", json_real(share(totals->remote_frees, stat->refers)));
  for (size_t i = 0; i < sizeof laws / sizeof *laws; i++)
    json_object_set_new(object, laws[i].key, law_json(law_at(stat, i)));
  json_object_set_new(object, "curve", curve_json(totals));
  for (size_t i = 0; i < stat->thread_count; i++)
    json_array_append_new(threads, thread_json(stat, i));
  json_object_set_new(object, "threads", threads);
  bool printed = json_dumpf(object, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
  json_decref(object);
  return printed;
}

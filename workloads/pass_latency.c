// pass_latency.c: the workload over the timing decorator (adapters/decorate.h), whose histograms are read
// when the body has ended: what finish() frees is not in them.
#include "workloads/pass.h"

#include "adapters/decorate.h"
#include "workloads/latency_first.h"

#include <string.h>

// As they appear in the result; the order is that of ha_call and of the columns below.
static const char *const call_names[HA_CALLS] = {"malloc", "free", "realloc"};

enum { SHARES = 4 };
static const struct {
  double share;
  const char *name; // in the detail
  const char *counter[HA_CALLS];
} shares[SHARES] = {
    {0.5, "p50", {"latency_malloc_p50_ns", "latency_free_p50_ns", "latency_realloc_p50_ns"}},
    {0.99, "p99", {"latency_malloc_p99_ns", "latency_free_p99_ns", "latency_realloc_p99_ns"}},
    {0.999, "p999", {"latency_malloc_p999_ns", "latency_free_p999_ns", "latency_realloc_p999_ns"}},
    {0.9999, "p9999", {"latency_malloc_p9999_ns", "latency_free_p9999_ns", "latency_realloc_p9999_ns"}},
};
static const char *const most_counters[HA_CALLS] = {"latency_malloc_max_ns", "latency_free_max_ns",
                                                    "latency_realloc_max_ns"};

// Static: more than a stack should hold, and kept for the detail.
static ha_latency taken;
static ha_latency_clock clock_used;

static double ns_of(uint64_t ticks) {
  return (double)ticks * clock_used.ns_per_tick;
}

static void starts(void *argument) {
  (void)argument;
  ha_latency_take(&taken); // what prepare() may have allocated is not the body's
  memset(&taken, 0, sizeof taken);
}

static void ended(void *argument) {
  (void)argument;
  ha_latency_take(&taken);
}

static bool measure(ha_run *run, const ha_pass_options *options, ha_measurement *out, hg_sample *sample) {
  const ha_alloc *plain = run->alloc;
  run->alloc = ha_decorate_latency(plain, &clock_used);
  if (!run->alloc) {
    run->alloc = plain;
    return ha_fail(run, "no memory for the latency histograms");
  }
  bool good = ha_run_observed(run, out, &(ha_observer){.starts = starts, .ended = ended});
  run->alloc = plain;
  for (unsigned call = 0; call < HA_CALLS; call++) {
    const ha_histogram *h = &taken.calls[call];
    for (unsigned i = 0; h->count && i < SHARES; i++)
      hg_count(sample, shares[i].counter[call], ns_of(ha_histogram_percentile(h, shares[i].share)));
    if (h->count)
      hg_count(sample, most_counters[call], ns_of(h->max));
  }
  hg_count(sample, "latency_overhead_ns", clock_used.overhead_ns);
  double first = good ? ha_first_allocation_ns(options->allocator) : -1;
  if (first >= 0)
    hg_count(sample, "time_to_first_allocation_ns", first);
  return good;
}

static void write_histogram(FILE *out, const ha_histogram *h) {
  const char *comma = "";
  for (unsigned i = 0; i < HA_HISTOGRAM_BUCKETS; i++) {
    if (!h->buckets[i])
      continue;
    uint64_t upper = ha_histogram_upper(i);
    fprintf(out, "%s[%.2f,%llu]", comma, ns_of(upper < h->max ? upper : h->max),
            (unsigned long long)h->buckets[i]);
    comma = ",";
  }
}

static void detail(FILE *out) {
  fprintf(out, "{\"latency\":{\"unit\":\"ns\",\"overhead_ns\":%.2f,\"calls\":{", clock_used.overhead_ns);
  const char *comma = "";
  for (unsigned call = 0; call < HA_CALLS; call++) {
    const ha_histogram *h = &taken.calls[call];
    if (!h->count)
      continue;
    fprintf(out, "%s\n\"%s\":{\"count\":%llu", comma, call_names[call], (unsigned long long)h->count);
    for (unsigned i = 0; i < SHARES; i++)
      fprintf(out, ",\"%s\":%.2f", shares[i].name, ns_of(ha_histogram_percentile(h, shares[i].share)));
    fprintf(out, ",\"max\":%.2f,\"histogram\":[", ns_of(h->max));
    write_histogram(out, h);
    fputs("]}", out);
    comma = ",";
  }
  fputs("}}}\n", out);
}

const ha_pass ha_pass_latency = {.name = "latency", .measure = measure, .detail = detail};

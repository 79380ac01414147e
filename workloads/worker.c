// worker.c: heaparena-worker, the program that `heaparena run` starts once for every sample.
//
//   heaparena-worker --list                                 what there is, as JSON
//   heaparena-worker --explain WORKLOAD                     one workload, as JSON
//   heaparena-worker --probe --allocator SPEC               what this allocator is, as JSON
//   heaparena-worker --classes --allocator SPEC             its waste by request size, as JSON
//   heaparena-worker --allocator SPEC --workload SPEC --out FILE [--threads N] [--seed N] [--scale X]
//   [--verify] [--pass time|latency|timeline|instructions|map] [--detail FILE] [--interval-ms N] [--after-ms N]
//   [--map-frames N] [--map-every N]
//
// FILE gets Google Benchmark's JSON with one benchmark; the file of --detail what a pass (pass.h) saw beyond
// its counters. Exit status: 0 measured; 1 the workload failed (FILE says why); 2 bad usage or something is
// not there, one line on stderr. A malloc-replacing library is preloaded by starting itself again
// (registry.h). Two more options are for programs that this one starts: --first-allocation, --sample FD.
#include "adapters/registry.h"
#include "workloads/catalog.h"
#include "workloads/class_waste.h"
#include "workloads/gbench.h"
#include "workloads/heap_map.h"
#include "workloads/latency_first.h"
#include "workloads/listing.h"
#include "workloads/pass.h"
#include "workloads/timeline.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

// The verification pass does this share of the measured work; traces are always whole.
#define VERIFY_SHARE 0.05

typedef struct options {
  bool list, probe, classes, verify, first_allocation, sample;
  const char *allocator, *workload, *out, *explain, *detail;
  uint64_t threads, seed, sample_fd;
  double scale;
  const ha_pass *pass;
  ha_pass_options watch;
} options;

static int refuse(const char *what) {
  fprintf(stderr, "heaparena-worker: %s\n", what);
  return 2;
}

static bool parse_count(const char *text, uint64_t most, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 0);
  *out = value;
  return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value <= most;
}

static const char *parse_pass_value(options *o, const char *key, const char *value) {
  if (strcmp(key, "--pass") == 0) {
    o->pass = ha_pass_find(value);
    return o->pass ? NULL : "--pass: choose one of time, latency, timeline, instructions, map";
  }
  if (strcmp(key, "--interval-ms") == 0)
    return parse_count(value, 60000, &o->watch.interval_ms) && o->watch.interval_ms > 0
               ? NULL
               : "--interval-ms: give a number from 1 to 60000";
  if (strcmp(key, "--after-ms") == 0)
    return parse_count(value, 60000, &o->watch.after_ms) ? NULL : "--after-ms: give a number up to 60000";
  if (strcmp(key, "--map-frames") == 0)
    return parse_count(value, HA_MAP_FRAMES_MOST, &o->watch.map_frames) &&
                   o->watch.map_frames >= HA_MAP_FRAMES_LEAST
               ? NULL
               : "--map-frames: give a number from 8 to 120";
  if (strcmp(key, "--map-every") == 0)
    return parse_count(value, 1000000000, &o->watch.map_every) && o->watch.map_every > 0
               ? NULL
               : "--map-every: give a number of operations from 1 to 1000000000";
  if (strcmp(key, "--sample") == 0) {
    o->sample = true;
    return parse_count(value, 1023, &o->sample_fd) ? NULL : "--sample: give a file descriptor";
  }
  return "unknown option; see the first lines of workloads/worker.c, or use the heaparena command";
}

static const char *parse_value(options *o, const char *key, const char *value) {
  if (strcmp(key, "--allocator") == 0)
    o->allocator = value;
  else if (strcmp(key, "--workload") == 0)
    o->workload = value;
  else if (strcmp(key, "--out") == 0)
    o->out = value;
  else if (strcmp(key, "--explain") == 0)
    o->explain = value;
  else if (strcmp(key, "--detail") == 0)
    o->detail = value;
  else if (strcmp(key, "--threads") == 0)
    return parse_count(value, 1024, &o->threads) && o->threads > 0
               ? NULL
               : "--threads: give a number from 1 to 1024";
  else if (strcmp(key, "--seed") == 0)
    return parse_count(value, UINT64_MAX, &o->seed) ? NULL : "--seed: give a whole number";
  else if (strcmp(key, "--scale") == 0) {
    char *end;
    o->scale = strtod(value, &end);
    return *value && *end == '\0' && isfinite(o->scale) && o->scale > 0 && o->scale <= 1e6
               ? NULL
               : "--scale: give a number above 0, at most 1e6";
  } else
    return parse_pass_value(o, key, value);
  return NULL;
}

static const char *parse(options *o, int argc, char *argv[]) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--list") == 0)
      o->list = true;
    else if (strcmp(argv[i], "--probe") == 0)
      o->probe = true;
    else if (strcmp(argv[i], "--classes") == 0)
      o->classes = true;
    else if (strcmp(argv[i], "--verify") == 0)
      o->verify = true;
    else if (strcmp(argv[i], "--first-allocation") == 0)
      o->first_allocation = true;
    else if (i + 1 == argc)
      return "an option lacks its value, or is unknown";
    else {
      const char *wrong = parse_value(o, argv[i], argv[i + 1]);
      if (wrong)
        return wrong;
      i++;
    }
  }
  if (o->list || o->explain || o->sample)
    return NULL;
  if (!o->allocator)
    return "--allocator is missing";
  o->watch.allocator = o->allocator;
  return o->probe || o->classes || o->first_allocation || (o->workload && o->out)
             ? NULL
             : "--workload and --out are needed";
}

static void fill_sample(hg_sample *sample, const ha_measurement *m) {
  // What the tables compare: the process without the harness's own tables.
  double memory = (double)m->peak_rss_bytes - (double)m->harness_bytes;
  // What the work made resident, against the least that could hold it.
  double growth = (double)m->peak_rss_bytes - (double)m->start_rss_bytes;
  sample->wall_seconds = m->wall_seconds;
  hg_count(sample, "operations", (double)m->operations);
  hg_count(sample, "ops_per_second", m->wall_seconds > 0 ? (double)m->operations / m->wall_seconds : 0);
  hg_count(sample, "wall_seconds", m->wall_seconds);
  hg_count(sample, "cpu_seconds", m->cpu_seconds);
  hg_count(sample, "user_seconds", m->user_seconds);
  hg_count(sample, "system_seconds", m->system_seconds);
  hg_count(sample, "peak_rss_bytes", (double)m->peak_rss_bytes);
  hg_count(sample, "start_rss_bytes", (double)m->start_rss_bytes);
  hg_count(sample, "harness_bytes", (double)m->harness_bytes);
  hg_count(sample, "memory_bytes", memory);
  hg_count(sample, "peak_live_bytes", (double)m->peak_live_bytes);
  hg_count(sample, "rss_over_live", m->peak_live_bytes ? growth / (double)m->peak_live_bytes : 0);
  hg_count(sample, "minor_faults", (double)m->minor_faults);
  hg_count(sample, "major_faults", (double)m->major_faults);
  hg_count(sample, "worker_threads", m->threads);
}

// The run as given on the command line, and the storage of its failure's text.
typedef struct job {
  const options *o;
  const ha_alloc *alloc;
  ha_run measured;
  ha_run verified;
} job;

static void prepare_run(const job *j, ha_run *run, bool verify) {
  run->alloc = j->alloc;
  run->threads = (unsigned)j->o->threads;
  run->seed = j->o->seed;
  run->scale = j->o->scale * (verify ? VERIFY_SHARE : 1.0);
  run->verify = verify;
}

static void label(hg_sample *sample, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void label(hg_sample *sample, const char *format, ...) {
  size_t used = strlen(sample->label);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sample->label + used, sizeof sample->label - used, format, arguments);
  va_end(arguments);
}

static void pass(void *argument, hg_sample *sample) {
  job *j = argument;
  ha_measurement m;
  memset(&m, 0, sizeof m);
  prepare_run(j, &j->measured, false);
  if (!j->o->pass->measure(&j->measured, &j->o->watch, &m, sample))
    sample->error = j->measured.why;
  fill_sample(sample, &m);
  for (size_t i = 0; i < j->measured.counter_count; i++)
    hg_count(sample, j->measured.counters[i].name, j->measured.counters[i].value);
  label(sample, "pass_checksum=0x%016llx", (unsigned long long)m.checksum);
  if (j->measured.note[0])
    label(sample, " %s", j->measured.note);
  if (sample->error || !j->o->verify)
    return;
  ha_measurement ignored;
  prepare_run(j, &j->verified, true);
  bool good = ha_run_once(&j->verified, &ignored);
  label(sample, " verified=%s", good ? "yes" : "no");
  if (j->verified.note[0])
    label(sample, " %s", j->verified.note);
  if (!good)
    sample->error = j->verified.why;
}

static int run(const options *o, const ha_alloc *alloc) {
  // Static: several hundred bytes of text each, kept until the process ends.
  static job j;
  j.o = o;
  j.alloc = alloc;
  if (!ha_catalog_parse(&j.measured, o->workload))
    return refuse(j.measured.why);
  if ((alloc->traits & HA_TRAIT_COLLECTOR) && !j.measured.workload->mutator)
    return refuse("a collector serves the gc-... workloads only");
  j.verified.workload = j.measured.workload;
  j.verified.values = j.measured.values;
  const hg_context context[] = {
      {"allocator", alloc->name},
      {"allocator_version", alloc->version},
      {"allocator_library", alloc->library ? alloc->library : ""},
      {"workload", o->workload},
      {"benchmark_version", hg_version()},
  };
  if (!hg_run(j.measured.workload->name, pass, &j, 1, context, sizeof context / sizeof context[0], o->out)) {
    fprintf(stderr, "heaparena-worker: %s: cannot be written\n", o->out);
    return 2;
  }
  const char *why = j.measured.why[0] ? j.measured.why : j.verified.why;
  if (*why) {
    fprintf(stderr, "heaparena-worker: %s\n", why);
    return 1;
  }
  if (o->detail && !ha_pass_write_detail(o->pass, o->detail)) {
    fprintf(stderr, "heaparena-worker: %s: cannot be written\n", o->detail);
    return 2;
  }
  return 0;
}

static int explain(const char *name) {
  static ha_run unused; // for its message
  return ha_list_workload(stdout, name, &unused) ? 0 : refuse(unused.why);
}

int main(int argc, char *argv[]) {
  static options o = {.threads = 1,
                      .seed = 1,
                      .scale = 1.0,
                      .pass = &ha_pass_time,
                      .watch = {.interval_ms = 5, .after_ms = 5000, .map_frames = 60, .map_every = 1}};
  const char *wrong = parse(&o, argc, argv);
  if (wrong)
    return refuse(wrong);
  if (o.list)
    return ha_list_all(stdout) ? 0 : 1;
  if (o.explain)
    return explain(o.explain);
  // A worker that hangs must not outlive the command that waits for it, however that ends.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (o.sample)
    return ha_timeline_sample((int)o.sample_fd);
  char why[1024];
  const ha_alloc *alloc = ha_open(o.allocator, argv, why, sizeof why);
  if (!alloc)
    return refuse(why);
  if (o.first_allocation)
    return ha_first_allocation_answer(alloc);
  if (o.probe)
    return ha_list_probe(stdout, alloc) ? 0 : 1;
  if (o.classes)
    return ha_class_waste_print(stdout, alloc) ? 0 : 1;
  if (o.pass->prepare && !o.pass->prepare(argv, why, sizeof why))
    return refuse(why);
  return run(&o, alloc);
}

// worker.c: heaparena-worker, the program that `heaparena run` starts once for every sample.
//
//   heaparena-worker --list                                 what there is, as JSON
//   heaparena-worker --probe --allocator SPEC               what this allocator is, as JSON
//   heaparena-worker --allocator SPEC --workload SPEC --out FILE [--threads N] [--seed N] [--scale X]
//   [--verify]
//
// FILE gets Google Benchmark's JSON with one benchmark. Exit status: 0 measured; 1 the workload failed (FILE
// says why); 2 bad usage, one line on stderr. A malloc-replacing library is preloaded by starting itself
// again (registry.h).
#include "adapters/registry.h"
#include "workloads/catalog.h"
#include "workloads/gbench.h"
#include "workloads/listing.h"
#include "workloads/runner.h"

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
  bool list, probe, verify;
  const char *allocator, *workload, *out;
  uint64_t threads, seed;
  double scale;
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

static const char *parse_value(options *o, const char *key, const char *value) {
  if (strcmp(key, "--allocator") == 0)
    o->allocator = value;
  else if (strcmp(key, "--workload") == 0)
    o->workload = value;
  else if (strcmp(key, "--out") == 0)
    o->out = value;
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
    return "unknown option; see the first lines of workloads/worker.c, or use the heaparena command";
  return NULL;
}

static const char *parse(options *o, int argc, char *argv[]) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--list") == 0)
      o->list = true;
    else if (strcmp(argv[i], "--probe") == 0)
      o->probe = true;
    else if (strcmp(argv[i], "--verify") == 0)
      o->verify = true;
    else if (i + 1 == argc)
      return "an option lacks its value, or is unknown";
    else {
      const char *wrong = parse_value(o, argv[i], argv[i + 1]);
      if (wrong)
        return wrong;
      i++;
    }
  }
  if (o->list)
    return NULL;
  if (!o->allocator)
    return "--allocator is missing";
  return o->probe || (o->workload && o->out) ? NULL : "--workload and --out are needed";
}

static void count(hg_sample *sample, const char *name, double value) {
  sample->counters[sample->counter_count++] = (hg_counter){name, value};
}

static void fill_sample(hg_sample *sample, const ha_measurement *m) {
  // What the tables compare: the process without the harness's own tables.
  double memory = (double)m->peak_rss_bytes - (double)m->harness_bytes;
  // What the work made resident, against the least that could hold it.
  double growth = (double)m->peak_rss_bytes - (double)m->start_rss_bytes;
  sample->wall_seconds = m->wall_seconds;
  count(sample, "operations", (double)m->operations);
  count(sample, "ops_per_second", m->wall_seconds > 0 ? (double)m->operations / m->wall_seconds : 0);
  count(sample, "wall_seconds", m->wall_seconds);
  count(sample, "cpu_seconds", m->cpu_seconds);
  count(sample, "user_seconds", m->user_seconds);
  count(sample, "system_seconds", m->system_seconds);
  count(sample, "peak_rss_bytes", (double)m->peak_rss_bytes);
  count(sample, "start_rss_bytes", (double)m->start_rss_bytes);
  count(sample, "harness_bytes", (double)m->harness_bytes);
  count(sample, "memory_bytes", memory);
  count(sample, "peak_live_bytes", (double)m->peak_live_bytes);
  count(sample, "rss_over_live", m->peak_live_bytes ? growth / (double)m->peak_live_bytes : 0);
  count(sample, "minor_faults", (double)m->minor_faults);
  count(sample, "major_faults", (double)m->major_faults);
  count(sample, "worker_threads", m->threads);
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
  prepare_run(j, &j->measured, false);
  if (!ha_run_once(&j->measured, &m))
    sample->error = j->measured.why;
  fill_sample(sample, &m);
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
  if (*why)
    fprintf(stderr, "heaparena-worker: %s\n", why);
  return *why ? 1 : 0;
}

int main(int argc, char *argv[]) {
  static options o = {.threads = 1, .seed = 1, .scale = 1.0};
  const char *wrong = parse(&o, argc, argv);
  if (wrong)
    return refuse(wrong);
  if (o.list)
    return ha_list_all(stdout) ? 0 : 1;
  // A worker that hangs must not outlive the command that waits for it, however that ends.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char why[1024];
  const ha_alloc *alloc = ha_open(o.allocator, argv, why, sizeof why);
  if (!alloc)
    return refuse(why);
  if (o.probe)
    return ha_list_probe(stdout, alloc) ? 0 : 1;
  return run(&o, alloc);
}

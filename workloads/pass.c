// pass.c: the passes by name, and the plain one: see pass.h.
#include "workloads/pass.h"

#include <string.h>

static bool measure_time(ha_run *run, const ha_pass_options *options, ha_measurement *out,
                         hg_sample *sample) {
  (void)options;
  (void)sample;
  return ha_run_once(run, out);
}

const ha_pass ha_pass_time = {.name = "time", .measure = measure_time};

const ha_pass *ha_pass_find(const char *name) {
  static const ha_pass *const passes[] = {
      &ha_pass_time, &ha_pass_latency, &ha_pass_timeline, &ha_pass_instructions, &ha_pass_map,
  };
  for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++)
    if (strcmp(passes[i]->name, name) == 0)
      return passes[i];
  return NULL;
}

bool ha_pass_write_detail(const ha_pass *pass, const char *path) {
  FILE *out = fopen(path, "we");
  if (!out)
    return false;
  if (pass->detail)
    pass->detail(out);
  else
    fputs("{}\n", out);
  bool good = ferror(out) == 0;
  return fclose(out) == 0 && good;
}

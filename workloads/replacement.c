// replacement.c: see replacement.h.
#include "workloads/replacement.h"

bool ha_replacement_prepare(ha_run *run, ha_replacement *r) {
  uint64_t random = run->seed;
  r->live = ha_param_number(run, "live");
  r->replace = ha_scaled(run, "ops");
  r->sizes = ha_sizes_draw(run, &random);
  if (!r->sizes)
    return false;
  double mean = ha_sizes_mean(r->sizes);
  double live = (double)r->live * run->threads * (mean + sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)r->replace * run->threads * mean))
    return false;
  r->slots = ha_map(run, r->live * run->threads * sizeof(ha_slot));
  return r->slots != NULL;
}

bool ha_replacement_clear(ha_run *run, const ha_replacement *r) {
  return ha_slots_clear(run, r->slots, r->live * run->threads);
}

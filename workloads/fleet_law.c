// fleet_law.c: see fleet_law.h.
#include "workloads/fleet_law.h"

#include "workloads/workload.h"

#include <math.h>

void ha_fleet_law_make(ha_fleet_law *law, unsigned profile) {
  unsigned first = profile == HA_FLEET_ALL ? 0 : ha_fleet_first[profile];
  unsigned end = ha_fleet_first[profile == HA_FLEET_ALL ? HA_FLEET_PROFILES : profile + 1];
  law->bins = ha_fleet_bins + first;
  law->count = end - first;
  double allocations = 0, objects = 0, asked = 0, live = 0;
  for (unsigned i = 0; i < law->count; i++) {
    allocations += law->bins[i].alloc_share;
    objects += law->bins[i].live_share;
    asked += law->bins[i].alloc_share * law->bins[i].mean;
    live += law->bins[i].live_share * law->bins[i].mean;
  }
  double reach = 0;
  for (unsigned i = 0; i < law->count; i++) {
    reach += law->bins[i].alloc_share / allocations;
    law->reach[i] = reach;
    law->live[i] = law->bins[i].live_share / objects;
  }
  law->reach[law->count - 1] = 1;
  law->mean_asked = asked / allocations;
  law->mean_live = live / objects;
}

unsigned ha_fleet_draw_bin(const ha_fleet_law *law, uint64_t *random) {
  double point = (double)(ha_random(random) >> 11) / 9007199254740992.0; // in [0, 1)
  unsigned low = 0, high = law->count - 1;
  while (low < high) { // the first bin that reaches beyond the point
    unsigned middle = (low + high) / 2;
    if (law->reach[middle] > point)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

uint32_t ha_fleet_bin_least(const ha_fleet_bin *bin) {
  return (uint32_t)(bin->most * M_SQRT1_2) + 1;
}

// Evenly from [least, mean] or from [mean, most], so often the one or the other that the mean comes out.
uint32_t ha_fleet_draw_size(const ha_fleet_bin *bin, uint64_t *random) {
  uint32_t least = ha_fleet_bin_least(bin);
  if (ha_random_below(random, bin->most - least) < bin->most - bin->mean)
    return least + (uint32_t)ha_random_below(random, bin->mean - least + 1);
  return bin->mean + (uint32_t)ha_random_below(random, bin->most - bin->mean + 1);
}

double ha_fleet_lifetime(const ha_fleet_law *law, unsigned bin, double objects) {
  double share = law->reach[bin] - (bin ? law->reach[bin - 1] : 0);
  return objects * law->live[bin] / share;
}

// fleet_law.h: draws requests as one of the ten server profiles makes them (fleet_profiles.h), or all ten
// mixed.
#ifndef HEAPARENA_WORKLOADS_FLEET_LAW_H
#define HEAPARENA_WORKLOADS_FLEET_LAW_H

#include "workloads/fleet_profiles.h"

#define HA_FLEET_MOST_BINS 400 // all ten profiles together

typedef struct ha_fleet_law {
  const ha_fleet_bin *bins;
  unsigned count;
  double mean_live;                 // bytes, of a live object
  double mean_asked;                // bytes, of a request
  double reach[HA_FLEET_MOST_BINS]; // alloc_share summed up to and with each bin, ending at 1
  double live[HA_FLEET_MOST_BINS];  // live_share, adding up to 1
} ha_fleet_law;

// profile: 0 to HA_FLEET_PROFILES - 1, or HA_FLEET_ALL.
void ha_fleet_law_make(ha_fleet_law *law, unsigned profile);

// The bin of the next allocation.
unsigned ha_fleet_draw_bin(const ha_fleet_law *law, uint64_t *random);

// A size in that bin; the sizes of a bin have the bin's mean.
uint32_t ha_fleet_draw_size(const ha_fleet_bin *bin, uint64_t *random);

// Smallest request of a bin, bytes.
uint32_t ha_fleet_bin_least(const ha_fleet_bin *bin);

// Mean lifetime of a bin's objects in allocations, in a heap of `objects` live ones.
double ha_fleet_lifetime(const ha_fleet_law *law, unsigned bin, double objects);

#endif

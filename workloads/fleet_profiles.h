// fleet_profiles.h: request sizes and lifetimes of ten server programs, as figures.
//
// Source: google/fleetbench (fleetbench/tcmalloc/distributions, Apache-2.0), which publishes what sampled
// malloc profiles of ten server programs showed. Its per-size figures are condensed here into bins of half an
// octave; sizes above 64 MiB are dropped. A bin's mean lifetime, in allocations and up to a constant that is
// the number of live objects, is live_share / alloc_share (Little's law).
#ifndef HEAPARENA_WORKLOADS_FLEET_PROFILES_H
#define HEAPARENA_WORKLOADS_FLEET_PROFILES_H

#include <stdint.h>

#define HA_FLEET_PROFILES 10
#define HA_FLEET_ALL      HA_FLEET_PROFILES // the number that stands for all ten in equal parts

typedef struct ha_fleet_bin {
  uint32_t most;      // largest request of the bin, bytes; the smallest is just above most / sqrt(2)
  uint32_t mean;      // mean request, bytes
  double alloc_share; // of the profile's allocations
  double live_share;  // of the profile's live objects
} ha_fleet_bin;

// All bins, profile after profile; those of profile p are [ha_fleet_first[p], ha_fleet_first[p + 1]).
extern const ha_fleet_bin ha_fleet_bins[];
extern const unsigned ha_fleet_first[HA_FLEET_PROFILES + 1];

#endif

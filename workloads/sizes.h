// sizes.h: size laws, the distributions that synthetic workloads draw request sizes from. A law is drawn into
// a table before the clock starts, so that the timed loop reads sizes instead of computing logarithms.
#ifndef HEAPARENA_WORKLOADS_SIZES_H
#define HEAPARENA_WORKLOADS_SIZES_H

#include "workloads/workload.h"

#define HA_SIZES 65536 // entries of a table: a power of two

// What "law" may be; sizes.c goes by the order.
#define HA_SIZE_LAWS                                                                                         \
  HA_WORDS("fixed", "even", "lognormal", "pareto", "measured", "fleet0", "fleet1", "fleet2", "fleet3",       \
           "fleet4", "fleet5", "fleet6", "fleet7", "fleet8", "fleet9")

// Parameter descriptions for a workload's table: "law", "min", "max" with the given defaults.
#define HA_SIZE_PARAMS(law, least_default, most_default)                                                     \
  {"law", law, "law that sizes in [min, max] are drawn by; fixed: always min", 0, 0, HA_SIZE_LAWS},          \
      {"min", least_default, "smallest request, bytes", 1, (uint64_t)1 << 30, NULL}, {                       \
    "max", most_default, "largest request, bytes", 1, (uint64_t)1 << 30, NULL                                \
  }

// Draws HA_SIZES sizes by the run's parameters law, min and max:
//   - fixed: always min
//   - even: every size in [min, max] alike
//   - lognormal: most requests small, median 64 bytes, sigma 1.2 (the shape of server fleets, fleetbench), cut
//     to the range
//   - pareto: density ~ size^-2 (the inverse-square law of glibc's benchtests), cut to the range
//   - measured: ten servers' requests in equal parts (fleet_profiles.h), cut to the range
//   - fleet0 to fleet9: one of these ten alone
// NULL after ha_fail() on min > max.
const uint32_t *ha_sizes_draw(ha_run *run, uint64_t *random);

// Mean of a drawn table, bytes.
double ha_sizes_mean(const uint32_t *sizes);

// The size after `size` in a walk over the size classes that allocators commonly have: multiples of 16 up to
// 128, then four to each doubling. Every class of such an allocator is met.
uint32_t ha_sizes_next_class(uint32_t size);

#endif

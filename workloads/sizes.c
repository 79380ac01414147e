// sizes.c: see sizes.h.
#include "workloads/sizes.h"

#include "workloads/fleet_law.h"

#include <math.h>

#define LOGNORMAL_MEDIAN 64.0
#define LOGNORMAL_SIGMA  1.2
#define TRIES            64 // draws until one lies within the range

// Uniform in (0, 1].
static double unit(uint64_t *random) {
  return ((double)(ha_random(random) >> 11) + 1.0) / 9007199254740992.0;
}

static double draw_even(double least, double most, uint64_t *random) {
  return least + floor(unit(random) * (most - least + 1.0) * (1.0 - 1e-12));
}

// Box and Muller's normal numbers.
static double draw_lognormal(double least, double most, uint64_t *random) {
  for (unsigned tries = 0; tries < TRIES; tries++) {
    double normal = sqrt(-2.0 * log(unit(random))) * cos(2.0 * M_PI * unit(random));
    double size = LOGNORMAL_MEDIAN * exp(LOGNORMAL_SIGMA * normal);
    if (size >= least && size <= most)
      return size;
  }
  return draw_even(least, most, random); // the range lies far from the median
}

// Inverse of the distribution function of density ~ x^-2 on [least, most].
static double draw_pareto(double least, double most, uint64_t *random) {
  double u = unit(random);
  return 1.0 / ((1.0 - u) / least + u / most);
}

static double draw_fixed(double least, double most, uint64_t *random) {
  (void)most;
  (void)random;
  return least;
}

static bool draw_fleet(ha_run *run, unsigned profile, uint32_t *table, uint64_t *random) {
  ha_fleet_law *fleet = ha_map(run, sizeof *fleet);
  if (!fleet)
    return false;
  uint32_t least = (uint32_t)ha_param_number(run, "min");
  uint32_t most = (uint32_t)ha_param_number(run, "max");
  ha_fleet_law_make(fleet, profile);
  for (size_t i = 0; i < HA_SIZES; i++) {
    unsigned tries = 0;
    do
      table[i] = ha_fleet_draw_size(&fleet->bins[ha_fleet_draw_bin(fleet, random)], random);
    while ((table[i] < least || table[i] > most) && ++tries < TRIES);
    if (tries == TRIES) // the range lies where hardly any requests are
      table[i] = (uint32_t)draw_even(least, most, random);
  }
  return true;
}

// By their place in HA_SIZE_LAWS; behind these are "measured" and the fleets.
static double (*const draws[])(double least, double most, uint64_t *random) = {draw_fixed, draw_even,
                                                                               draw_lognormal, draw_pareto};
enum { MEASURED = sizeof draws / sizeof draws[0], FLEET0 };

const uint32_t *ha_sizes_draw(ha_run *run, uint64_t *random) {
  unsigned law = ha_param_word(run, "law");
  double least = (double)ha_param_number(run, "min");
  double most = (double)ha_param_number(run, "max");
  if (least > most) {
    ha_fail(run, "%s: min=%.0f is above max=%.0f", run->workload->name, least, most);
    return NULL;
  }
  uint32_t *table = ha_map(run, HA_SIZES * sizeof *table);
  if (!table)
    return NULL;
  if (law >= MEASURED)
    return draw_fleet(run, law == MEASURED ? HA_FLEET_ALL : law - FLEET0, table, random) ? table : NULL;
  for (size_t i = 0; i < HA_SIZES; i++)
    table[i] = (uint32_t)draws[law](least, most, random);
  return table;
}

double ha_sizes_mean(const uint32_t *sizes) {
  double sum = 0;
  for (size_t i = 0; i < HA_SIZES; i++)
    sum += sizes[i];
  return sum / HA_SIZES;
}

uint32_t ha_sizes_next_class(uint32_t size) {
  if (size < 128)
    return size + 16;
  return size + (1u << (29 - __builtin_clz(size))); // a quarter of the power of two at or below
}

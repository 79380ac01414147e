// sizes.c: see sizes.h.
#include "workloads/sizes.h"

#include "workloads/fleet_law.h"

#include <math.h>
#include <string.h>

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

static bool draw_fleet(ha_run *run, const char *law, uint32_t *table, uint64_t *random) {
  ha_fleet_law *fleet = ha_map(run, sizeof *fleet);
  if (!fleet)
    return false;
  uint32_t least = (uint32_t)ha_param_number(run, "min");
  uint32_t most = (uint32_t)ha_param_number(run, "max");
  ha_fleet_law_make(fleet, strcmp(law, "measured") == 0 ? HA_FLEET_ALL : (unsigned)(law[5] - '0'));
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

static bool is_fleet(const char *law) {
  return strcmp(law, "measured") == 0 ||
         (strncmp(law, "fleet", 5) == 0 && law[5] >= '0' && law[5] <= '9' && law[6] == '\0');
}

static const struct {
  const char *name;
  double (*draw)(double least, double most, uint64_t *random);
} laws[] = {
    {"fixed", draw_fixed}, {"even", draw_even}, {"lognormal", draw_lognormal}, {"pareto", draw_pareto}};

const uint32_t *ha_sizes_draw(ha_run *run, uint64_t *random) {
  const char *law = ha_param_text(run, "law");
  double least = (double)ha_param_number(run, "min");
  double most = (double)ha_param_number(run, "max");
  if (least > most) {
    ha_fail(run, "%s: min=%.0f is above max=%.0f", run->workload->name, least, most);
    return NULL;
  }
  size_t index = 0;
  while (index < sizeof laws / sizeof laws[0] && strcmp(law, laws[index].name) != 0)
    index++;
  if (index == sizeof laws / sizeof laws[0] && !is_fleet(law)) {
    ha_fail(run, "%s: law=%s: the laws are fixed, even, lognormal, pareto, measured, fleet0 to fleet9",
            run->workload->name, law);
    return NULL;
  }
  uint32_t *table = ha_map(run, HA_SIZES * sizeof *table);
  if (!table)
    return NULL;
  if (is_fleet(law))
    return draw_fleet(run, law, table, random) ? table : NULL;
  for (size_t i = 0; i < HA_SIZES; i++)
    table[i] = (uint32_t)laws[index].draw(least, most, random);
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

// fleet_program.c: see fleet_program.h.
#include "workloads/fleet_program.h"

#include <math.h>

// A list of slots for each step: those whose objects die then. Indexes are raised by one, 0 ends a list.
typedef struct calendar {
  uint32_t *first; // steps of them
  uint32_t *next;  // of each slot
  uint32_t steps;
} calendar;

// What is being made, and the slots that are free again, last freed first.
typedef struct maker {
  const ha_fleet_law *law;
  ha_fleet_program *program;
  uint64_t *random;
  calendar calendar;
  uint32_t *vacant;
  uint32_t vacancies;
} maker;

// Steps until the death of an object, 1 or more, with the given mean (at least 1). Infinite means come out
// large.
static double draw_lifetime(double mean, uint64_t *random) {
  double u = ((double)(ha_random(random) >> 11) + 0.5) / 9007199254740992.0; // in (0, 1)
  return mean <= 1 ? 1 : 1 + floor(log(u) / log1p(-1 / mean));
}

static void give_birth(maker *m, unsigned bin, uint32_t now) {
  ha_fleet_program *p = m->program;
  uint32_t slot = m->vacancies ? m->vacant[--m->vacancies] : p->slots++;
  p->ops[p->count++] = (ha_fleet_op){.slot = slot, .size = ha_fleet_draw_size(&m->law->bins[bin], m->random)};
  double death = now + draw_lifetime(ha_fleet_lifetime(m->law, bin, p->objects), m->random);
  if (death >= m->calendar.steps)
    return; // outlives the program
  m->calendar.next[slot] = m->calendar.first[(uint32_t)death];
  m->calendar.first[(uint32_t)death] = slot + 1;
}

static void let_die(maker *m, uint32_t now) {
  for (uint32_t slot = m->calendar.first[now]; slot; slot = m->calendar.next[slot - 1]) {
    m->program->ops[m->program->count++] = (ha_fleet_op){.slot = slot - 1, .size = 0};
    m->vacant[m->vacancies++] = slot - 1;
  }
}

// Each bin gets its share of the objects; rounding passes what is left of one bin on to the next, so that the
// bins whose share is below one object get theirs together. The order is shuffled.
static void draw_heap(const ha_fleet_law *law, uint32_t *bins, uint32_t objects, uint64_t *random) {
  double due = 0;
  uint32_t filled = 0;
  for (unsigned bin = 0; bin < law->count; bin++) {
    due += law->live[bin] * objects;
    while (filled < objects && (filled + 0.5 < due || bin == law->count - 1))
      bins[filled++] = bin;
  }
  for (uint32_t i = objects; i > 1; i--) {
    uint32_t j = (uint32_t)ha_random_below(random, i);
    uint32_t other = bins[j];
    bins[j] = bins[i - 1];
    bins[i - 1] = other;
  }
}

double ha_fleet_program_bytes(double objects, double steps) {
  return (objects + steps) * (2 * sizeof(ha_fleet_op) + 3 * sizeof(uint32_t));
}

bool ha_fleet_program_make(ha_run *run, const ha_fleet_law *law, uint32_t objects, uint32_t steps,
                           uint64_t *random, ha_fleet_program *program) {
  uint64_t births = (uint64_t)objects + steps; // and at most as many deaths
  *program = (ha_fleet_program){.ops = ha_map(run, 2 * births * sizeof(ha_fleet_op)), .objects = objects};
  maker m = {.law = law, .program = program, .random = random, .calendar = {.steps = steps}};
  uint32_t *bins = program->ops ? ha_map(run, objects * sizeof *bins) : NULL;
  m.calendar.first = bins ? ha_map(run, steps * sizeof(uint32_t)) : NULL;
  m.calendar.next = m.calendar.first ? ha_map(run, births * sizeof(uint32_t)) : NULL;
  m.vacant = m.calendar.next ? ha_map(run, births * sizeof(uint32_t)) : NULL;
  if (!m.vacant)
    return false;
  draw_heap(law, bins, objects, random);
  for (uint32_t i = 0; i < objects; i++)
    give_birth(&m, bins[i], 0);
  for (uint32_t now = 0; now < steps; now++) {
    let_die(&m, now);
    give_birth(&m, ha_fleet_draw_bin(law, random), now);
  }
  return true;
}

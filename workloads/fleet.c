// fleet.c: the heap of a server program: sizes and lifetimes as measured in ten of them, scaled to a chosen
// size.
//
// The heap starts in its steady state, then objects are allocated as the profile says and die after their
// time: sizes by the profile's share of allocations, lifetimes such that its share of live objects comes out
// (fleet_program.h). The list of operations is made before the clock starts; the body only follows it.
// Stresses: what servers do to an allocator: most requests are small and die soon, most bytes are in few
// large or long-lived objects. A good allocator is fast for the former and tight for the latter.
// Figures: google/fleetbench, Apache-2.0, ten profiles of Google's fleet; see fleet_profiles.h.
// Not in the profiles and so not in here: threads and who frees what, the order of requests, distributions of
// lifetimes around their means, alignment.
#include "workloads/fleet_program.h"
#include "workloads/kit.h"

// What one thread follows; the run's state is an array of them.
typedef struct fleet {
  ha_fleet_program program;
  ha_slot *slots;
} fleet;

#define FLEET_PARAMS(name, profile)                                                                          \
  static const ha_param name[] = {                                                                           \
      {"profile", profile, "which server: 0 to 9, or 10 for the ten mixed", 0, HA_FLEET_ALL, NULL},          \
      {"heap", "48", "live bytes per thread, MiB", 1, 1 << 17, NULL},                                        \
      {"ops", "1200000", "allocations per thread after the heap is built", 1, 1000000000, NULL},             \
      {NULL, NULL, NULL, 0, 0, NULL},                                                                        \
  }

static bool make_thread(ha_run *run, const ha_fleet_law *law, uint32_t objects, unsigned thread) {
  uint64_t random = run->seed + 1000003u * ((uint64_t)thread + 1);
  fleet *f = (fleet *)run->state + thread;
  if (!ha_fleet_program_make(run, law, objects, (uint32_t)ha_scaled(run, "ops"), &random, &f->program))
    return false;
  f->slots = ha_map(run, f->program.slots * sizeof(ha_slot));
  return f->slots != NULL;
}

static bool fleet_prepare(ha_run *run) {
  ha_fleet_law *law = ha_map(run, sizeof *law);
  run->state = law ? ha_map(run, run->threads * sizeof(fleet)) : NULL;
  if (!run->state)
    return false;
  ha_fleet_law_make(law, (unsigned)ha_param_number(run, "profile"));
  double heap = (double)(ha_param_number(run, "heap") * HA_MIB);
  double objects = heap / law->mean_live + 1, steps = (double)ha_scaled(run, "ops"), threads = run->threads;
  if (objects + steps >= UINT32_MAX)
    return ha_fail(run, "%s: more than 2^32 objects: choose less", run->workload->name);
  double tables = ha_fleet_program_bytes(objects, steps) + 2 * objects * sizeof(ha_slot);
  if (!ha_fits(run, threads * (heap + tables), threads * (heap + tables + steps * law->mean_asked)))
    return false;
  bool good = true;
  for (unsigned thread = 0; good && thread < run->threads; thread++)
    good = make_thread(run, law, (uint32_t)objects, thread);
  return good;
}

static void fleet_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const fleet *f = (const fleet *)run->state + thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t i = 0; good && i < f->program.count; i++) {
    const ha_fleet_op *op = &f->program.ops[i];
    ha_slot *slot = &f->slots[op->slot];
    good = op->size ? ha_slot_take(&self, slot, op->size, i) : ha_slot_drop(&self, slot);
  }
  ha_thread_end(&self, tally);
}

static bool fleet_finish(ha_run *run) {
  const fleet *f = run->state;
  bool good = true;
  for (unsigned thread = 0; thread < run->threads; thread++)
    good = ha_slots_clear(run, f[thread].slots, f[thread].program.slots) && good;
  return good;
}

#define EXPLAIN                                                                                              \
  "Allocates and frees as a server program of Google's fleet was seen to do: its request sizes, its share "  \
  "of live objects of each size, and lifetimes that follow from both, on a heap scaled to 48 MiB. Look at "  \
  "time and at RSS over live together: it is the closest to a server that a synthetic workload here gets. "  \
  "Threads do not share objects, and lifetimes are spread geometrically around their means, which real "     \
  "ones are "                                                                                                \
  "not: record a program of your own to be sure. "

#define FLEET(number, workload_name, what, why)                                                              \
  FLEET_PARAMS(params##number, #number);                                                                     \
  const ha_workload ha_workload_fleet##number = {                                                            \
      .name = (workload_name),                                                                               \
      .summary = (what),                                                                                     \
      .explain = (why),                                                                                      \
      .params = params##number,                                                                              \
      .scales = true,                                                                                        \
      .prepare = fleet_prepare,                                                                              \
      .body = fleet_body,                                                                                    \
      .finish = fleet_finish,                                                                                \
  }

FLEET(10, "fleet", "ten servers' sizes and lifetimes, mixed", EXPLAIN "The ten profiles take equal parts.");
FLEET(0, "fleet0", "server profile 0: mean request 482 bytes, live object 780 bytes",
      EXPLAIN "Heap in life: 29 GiB.");
FLEET(1, "fleet1", "server profile 1: mean request 197 bytes, live object 127 bytes",
      EXPLAIN "Heap in life: 93 MiB.");
FLEET(2, "fleet2", "server profile 2: mean request 208 bytes, live object 987 bytes",
      EXPLAIN "Heap in life: 12 GiB.");
FLEET(3, "fleet3", "server profile 3: mean request 498 bytes, live object 217 bytes",
      EXPLAIN "Heap in life: 3.5 GiB.");
FLEET(4, "fleet4", "server profile 4: mean request 385 bytes, live object 222 bytes",
      EXPLAIN "Heap in life: 1.1 GiB.");
FLEET(5, "fleet5", "server profile 5: mean request 313 bytes, live object 205 bytes",
      EXPLAIN "Heap in life: 616 MiB.");
FLEET(6, "fleet6", "server profile 6: mean request 640 bytes, live object 132 bytes",
      EXPLAIN "Heap in life: 6.7 GiB.");
FLEET(7, "fleet7", "server profile 7: mean request 369 bytes, live object 863 bytes",
      EXPLAIN "Heap in life: 62 GiB.");
FLEET(8, "fleet8", "server profile 8: mean request 1333 bytes, live object 8625 bytes",
      EXPLAIN "Heap in life: 8.6 GiB.");
FLEET(9, "fleet9", "server profile 9: mean request 342 bytes, live object 181 bytes",
      EXPLAIN "Heap in life: 15 GiB.");

// oneclass.c: all threads want blocks of one size, and swap them through a table that they share.
//
// A thread allocates a block, exchanges it for whatever lies at a random place of the table, and frees what
// it got: with N threads (N-1)/N of the frees are remote, in no order, all in one size class. Stresses:
// everything that an allocator has only once per size class: its list of partly free pages, its lock, its
// queue of remote frees. A good allocator keeps threads apart even here; one with a lock per class shows
// the same time per operation times the number of threads.
// Idea: snmalloc's contention test.
#include "workloads/kit.h"

#define MOST_PLACES (1u << 24)

typedef struct oneclass {
  uint64_t swaps, places;
  uint32_t size;
  _Atomic(void *) *table; // a block at place i is marked with i
} oneclass;

static const ha_param params[] = {
    {"ops", "3000000", "blocks that each thread swaps", 1, 10000000000, NULL},
    {"places", "16384", "places of the shared table", 1, MOST_PLACES, NULL},
    {"size", "64", "size of every block, bytes", 1, 1 << 20, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool oneclass_prepare(ha_run *run) {
  oneclass *o = ha_map(run, sizeof *o);
  if (!o)
    return false;
  run->state = o;
  o->swaps = ha_scaled(run, "ops");
  o->places = ha_param_number(run, "places");
  o->size = (uint32_t)ha_param_number(run, "size");
  double live = (double)o->places * (o->size + sizeof(void *));
  if (!ha_fits(run, live, (double)o->swaps * run->threads * o->size))
    return false;
  o->table = ha_map(run, o->places * sizeof *o->table);
  return o->table != NULL;
}

static void oneclass_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const oneclass *o = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t i = 0; good && i < o->swaps; i++) {
    uint64_t place = ha_random_below(&self.random, o->places);
    ha_slot mine;
    if (!ha_slot_take(&self, &mine, o->size, place))
      break;
    mine.block = atomic_exchange_explicit(&o->table[place], mine.block, memory_order_acq_rel);
    good = !mine.block || ha_slot_drop(&self, &mine);
  }
  ha_thread_end(&self, tally);
}

// What remains in the table: how many there are does not depend on the order of the threads.
static bool oneclass_finish(ha_run *run) {
  oneclass *o = run->state;
  bool good = true;
  for (uint64_t i = 0; i < o->places; i++) {
    ha_slot left = {.block = atomic_load(&o->table[i]), .size = o->size, .tag = (uint32_t)i};
    good = ha_slots_clear(run, &left, 1) && good;
  }
  return good;
}

const ha_workload ha_workload_oneclass = {
    .name = "oneclass",
    .summary = "threads swap blocks of one size through a shared table",
    .explain =
        "All threads allocate blocks of one size, swap them at random places of a shared table and free what "
        "they get, "
        "so that most frees are remote and all of them meet in one size class. Compare time at 1 and at more "
        "threads: an allocator with one lock or one queue per class slows down with each thread. The swap "
        "itself costs every allocator the same.",
    .params = params,
    .scales = true,
    .prepare = oneclass_prepare,
    .body = oneclass_body,
    .finish = oneclass_finish,
};

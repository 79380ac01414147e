// falseshare.c: do small objects of different threads end up in one cache line? Active: malloc itself gives
// two threads blocks of one line. Passive: a thread frees blocks that another one made, and gets their lines
// as its own.
//
// Each thread allocates a few tiny objects, writes to each of them many times, frees them, and starts again.
// In the passive case it begins with objects that thread 0 allocated side by side for all. Stresses: nothing
// but placement: two processors that write to one line take it from each other at every write, which makes
// the writes many times slower. A good allocator gives each thread lines of its own, and sends freed blocks
// back to the thread that owns the line.
// Idea: cache-thrash and cache-scratch of Berger, McKinley, Blumofe and Wilson, "Hoard", ASPLOS 2000.
#include "workloads/kit.h"

#include <sched.h>

typedef struct falseshare {
  uint64_t rounds, writes, objects;
  uint32_t size;
  bool passive;
  ha_slot *slots;     // objects * threads
  _Atomic int handed; // passive: 0 not yet, 1 thread 0 has allocated for all, -1 it failed
} falseshare;

static const ha_param params[] = {
    {"ops", "200000", "rounds per thread: allocate, write, free", 1, 1000000000, NULL},
    {"objects", "8", "objects that a thread holds at once", 1, 10000, NULL},
    {"writes", "120", "writes to each object in a round", 1, 1000000, NULL},
    {"size", "8", "size of an object, bytes", 8, 4096, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool prepare(ha_run *run, bool passive) {
  falseshare *f = ha_map(run, sizeof *f);
  if (!f)
    return false;
  run->state = f;
  f->passive = passive;
  f->rounds = ha_scaled(run, "ops");
  f->objects = ha_param_number(run, "objects");
  f->writes = ha_param_number(run, "writes");
  f->size = (uint32_t)ha_param_number(run, "size");
  double objects = (double)f->objects * run->threads;
  if (!ha_fits(run, objects * (f->size + 16), objects * (double)f->rounds * (f->size + 16)))
    return false;
  f->slots = ha_map(run, f->objects * run->threads * sizeof(ha_slot));
  return f->slots != NULL;
}

static bool active_prepare(ha_run *run) {
  return prepare(run, false);
}
static bool passive_prepare(ha_run *run) {
  return prepare(run, true);
}

// An object of the first thread next to one of the second, and so on. The others wait until all are there.
static bool hand_out(ha_thread *self, falseshare *f, unsigned thread) {
  bool good = true;
  if (thread > 0) {
    int handed;
    while ((handed = atomic_load_explicit(&f->handed, memory_order_acquire)) == 0)
      sched_yield();
    return handed > 0; // thread 0 says why
  }
  for (uint64_t i = 0; good && i < f->objects * self->run->threads; i++) {
    uint64_t owner = i % self->run->threads;
    good = ha_slot_take(self, &f->slots[owner * f->objects + i / self->run->threads], f->size, i);
  }
  atomic_store_explicit(&f->handed, good ? 1 : -1, memory_order_release);
  return good;
}

// Writes to all objects in turn, as threads do that work on several, and reads the last writes back.
static bool work_on(ha_thread *self, const falseshare *f, const ha_slot *slots) {
  for (uint64_t n = 1; n <= f->writes; n++)
    for (uint64_t i = 0; i < f->objects; i++)
      *(volatile uint64_t *)slots[i].block = n + i;
  for (uint64_t i = 0; i < f->objects; i++) {
    if (*(volatile uint64_t *)slots[i].block != f->writes + i && ha_keeps_contents(self->run))
      return ha_give_up(self, "a live block lost its contents");
    ha_block_mark(slots[i].block, f->size, slots[i].tag, self->run->verify);
  }
  return true;
}

static bool one_round(ha_thread *self, const falseshare *f, ha_slot *slots, uint64_t round) {
  for (uint64_t i = 0; i < f->objects; i++)
    if (!slots[i].block && !ha_slot_take(self, &slots[i], f->size, round + i))
      return false;
  if (!work_on(self, f, slots))
    return false;
  for (uint64_t i = 0; i < f->objects; i++)
    if (!ha_slot_drop(self, &slots[i]))
      return false;
  return true;
}

static void falseshare_body(ha_run *run, unsigned thread, ha_tally *tally) {
  falseshare *f = run->state;
  ha_slot *slots = f->slots + f->objects * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = !f->passive || hand_out(&self, f, thread);
  for (uint64_t round = 0; good && round < f->rounds; round++)
    good = one_round(&self, f, slots, round);
  ha_thread_end(&self, tally);
}

static bool falseshare_finish(ha_run *run) {
  falseshare *f = run->state;
  return ha_slots_clear(run, f->slots, f->objects * run->threads);
}

const ha_workload ha_workload_falseshare_active = {
    .name = "falseshare-active",
    .summary = "does malloc give two threads blocks of one cache line?",
    .explain =
        "Each thread allocates a few 8-byte objects, writes to them many times and frees them. If the "
        "allocator gave "
        "threads neighbouring blocks, the processors would fight for the line and time would multiply. "
        "Compare the "
        "time at 2 threads with that at 1: it should be the same. Today's allocators mostly pass, so expect "
        "little difference; with one thread it measures writes.",
    .params = params,
    .scales = true,
    .prepare = active_prepare,
    .body = falseshare_body,
    .finish = falseshare_finish,
};

const ha_workload ha_workload_falseshare_passive = {
    .name = "falseshare-passive",
    .summary = "does a thread that frees another's block get its cache line?",
    .explain = "One thread allocates tiny objects side by side and gives one to each thread in turn; each "
               "frees its own and "
               "allocates anew. An allocator that puts a freed block into the freeing thread's cache hands "
               "the shared lines "
               "out again, and every write is slow from then on. Compare the time at 2 threads with that at "
               "1, and with "
               "falseshare-active.",
    .params = params,
    .scales = true,
    .prepare = passive_prepare,
    .body = falseshare_body,
    .finish = falseshare_finish,
};

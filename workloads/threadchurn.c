// threadchurn.c: many short-lived threads, each of which leaves live blocks behind.
//
// Threads follow one another; each frees the blocks that the one before left, allocates a few hundred, frees
// most of them and ends with the rest alive. Stresses: the cost of a thread's first allocation and of its
// end, and what becomes of its caches and half-used pages. A good allocator sets a thread up in a microsecond
// and lets the next thread go on in the memory of the last one; a poor one leaks a little with each, which
// shows in memory. Idea: Leijen's mstress and mleak, the thread churn of mimalloc-pprof's suite.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#include <pthread.h>

typedef struct threadchurn {
  const uint32_t *sizes;
  uint64_t lives, blocks, left; // threads in a chain, blocks each allocates, blocks each leaves
  ha_slot *slots;               // blocks * chains
} threadchurn;

static const ha_param params[] = {
    {"lives", "2000", "threads that follow one another, per thread of the run", 1, 100000000, NULL},
    {"blocks", "300", "blocks that each allocates", 1, 10000000, NULL},
    {"left", "20", "blocks that it leaves alive, percent", 0, 100, NULL},
    HA_SIZE_PARAMS("lognormal", "8", "8192"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

// One chain of threads: the counts and random numbers go on from life to life.
typedef struct chain {
  ha_thread *self;
  ha_slot *slots;
} chain;

static bool threadchurn_prepare(ha_run *run) {
  threadchurn *t = ha_map(run, sizeof *t);
  if (!t)
    return false;
  run->state = t;
  uint64_t random = run->seed;
  t->lives = ha_scaled(run, "lives");
  t->blocks = ha_param_number(run, "blocks");
  t->left = t->blocks * ha_param_number(run, "left") / 100;
  t->sizes = ha_sizes_draw(run, &random);
  if (!t->sizes)
    return false;
  double mean = ha_sizes_mean(t->sizes), blocks = (double)t->blocks * run->threads;
  if (!ha_fits(run, blocks * (mean + sizeof(ha_slot)), blocks * (double)t->lives * mean))
    return false;
  t->slots = ha_map(run, t->blocks * run->threads * sizeof(ha_slot));
  return t->slots != NULL;
}

static bool live_once(const chain *c) {
  const threadchurn *t = c->self->run->state;
  for (uint64_t i = 0; i < t->blocks; i++)
    if (c->slots[i].block && !ha_slot_drop(c->self, &c->slots[i]))
      return false;
  uint64_t first = ha_random(&c->self->random);
  for (uint64_t i = 0; i < t->blocks; i++)
    if (!ha_slot_take(c->self, &c->slots[i], t->sizes[(first + i) % HA_SIZES], first + i))
      return false;
  for (uint64_t i = t->left; i < t->blocks; i++) { // what stays lies between what goes
    uint64_t victim = (i * 7 + first) % t->blocks;
    while (!c->slots[victim].block)
      victim = (victim + 1) % t->blocks;
    if (!ha_slot_drop(c->self, &c->slots[victim]))
      return false;
  }
  return true;
}

static void *life(void *argument) {
  const chain *c = argument;
  const ha_alloc *alloc = c->self->alloc;
  if (alloc->thread_start)
    alloc->thread_start();
  live_once(c);
  if (alloc->thread_exit)
    alloc->thread_exit();
  return NULL;
}

static void threadchurn_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const threadchurn *t = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  chain c = {.self = &self, .slots = t->slots + t->blocks * thread};
  for (uint64_t i = 0; i < t->lives && !self.tally.failure; i++) {
    pthread_t next;
    if (pthread_create(&next, NULL, life, &c) != 0)
      ha_give_up(&self, "a thread could not be started");
    else
      pthread_join(next, NULL);
  }
  ha_thread_end(&self, tally);
}

static bool threadchurn_finish(ha_run *run) {
  threadchurn *t = run->state;
  return ha_slots_clear(run, t->slots, t->blocks * run->threads);
}

const ha_workload ha_workload_threadchurn = {
    .name = "threadchurn",
    .summary = "thousands of short-lived threads, each leaves live blocks to the next",
    .explain =
        "Starts threads one after the other; each frees what the last one left, allocates some hundred "
        "blocks and ends "
        "with a fifth of them alive. Time holds the start of each thread, which costs some ten microseconds "
        "with any "
        "allocator, and the allocator's own set-up and clean-up for it. Memory is the point: it must not "
        "grow with the number of threads (raise lives to see).",
    .params = params,
    .scales = true,
    .prepare = threadchurn_prepare,
    .body = threadchurn_body,
    .finish = threadchurn_finish,
};

// larson.c: a server whose objects outlive the thread that made them ("bleeding").
//
// Each of N chains of threads owns a table of live objects; a thread replaces random objects of its table for
// a while, then ends, and a new thread takes a table over and goes on. With several chains the tables also
// move from chain to chain between rounds, so most frees are of objects that another, often ended, thread
// allocated. Stresses: remote frees, adoption of the memory of threads that ended, thread start-up cost. A
// good allocator lets a new thread use what old ones left, so that memory stays flat over the rounds. Idea:
// Larson and Krishnan, "Memory allocation for long-running server applications", ISMM 1998. Theirs runs for a
// fixed time; this one does a fixed number of operations, which varies far less between runs.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#include <pthread.h>

typedef struct larson {
  const uint32_t *sizes;
  uint64_t live;    // objects in a table
  uint64_t replace; // replacements a thread makes before it ends
  uint64_t rounds;  // threads that follow one another in a chain
  ha_slot *tables;  // one for each chain
  pthread_barrier_t round_ends;
} larson;

static const ha_param params[] = {
    {"live", "5000", "objects per table, one table per thread", 1, 10000000, NULL},
    {"ops", "100000", "replacements that each thread makes before it ends", 1, 1000000000, NULL},
    {"rounds", "24", "threads that follow one another, a count", 1, 100000, NULL},
    HA_SIZE_PARAMS("even", "8", "1000"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool larson_prepare(ha_run *run) {
  larson *l = ha_map(run, sizeof *l);
  if (!l)
    return false;
  run->state = l;
  uint64_t random = run->seed;
  l->live = ha_param_number(run, "live");
  l->replace = ha_param_number(run, "ops");
  l->rounds = (uint64_t)((double)ha_param_number(run, "rounds") * run->scale);
  if (l->rounds == 0) { // less than a round is asked for: one short one
    l->rounds = 1;
    l->replace = (uint64_t)((double)l->replace * run->scale) + 1;
  }
  l->sizes = ha_sizes_draw(run, &random);
  if (!l->sizes)
    return false;
  double mean = ha_sizes_mean(l->sizes);
  double live = (double)l->live * run->threads * (mean + sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)l->replace * (double)l->rounds * run->threads * mean))
    return false;
  l->tables = ha_map(run, l->live * run->threads * sizeof(ha_slot));
  if (!l->tables)
    return false;
  if (pthread_barrier_init(&l->round_ends, NULL, run->threads) != 0)
    return ha_fail(run, "cannot make a barrier for %u threads", run->threads);
  return true;
}

// One thread's life in a chain: the chain's own counts and random numbers go from thread to thread.
typedef struct stint {
  ha_thread *self;
  ha_slot *table;
} stint;

static bool put(ha_thread *self, ha_slot *o, uint64_t number) {
  const larson *l = self->run->state;
  return ha_slot_take(self, o, l->sizes[number % HA_SIZES], number >> 32);
}

static void replace_objects(const stint *s) {
  const larson *l = s->self->run->state;
  for (uint64_t i = 0; i < l->replace && !s->self->tally.failure; i++) {
    uint64_t number = ha_random(&s->self->random);
    ha_slot *o = &s->table[(uint64_t)(((unsigned __int128)number * l->live) >> 64)];
    if (!o->block) // the table came from a chain that had failed
      ha_give_up(s->self, "malloc returned NULL in another chain of threads");
    else if (ha_slot_drop(s->self, o))
      put(s->self, o, number);
  }
}

static void *live_and_end(void *argument) {
  stint *s = argument;
  const ha_alloc *alloc = s->self->alloc;
  if (alloc->thread_start)
    alloc->thread_start();
  replace_objects(s);
  if (alloc->thread_exit)
    alloc->thread_exit();
  return NULL;
}

// The chain's own thread only starts the next one and waits for it.
static void larson_body(ha_run *run, unsigned thread, ha_tally *tally) {
  larson *l = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  stint s = {.self = &self, .table = l->tables + l->live * thread};
  for (uint64_t i = 0; i < l->live && !self.tally.failure; i++)
    put(&self, &s.table[i], ha_random(&self.random));
  for (uint64_t round = 0; round < l->rounds; round++) {
    // Every chain comes here every round, even after a failure, or the others would wait for ever.
    pthread_barrier_wait(&l->round_ends);
    s.table = l->tables + l->live * ((thread + round) % run->threads);
    pthread_t next;
    if (self.tally.failure)
      continue;
    if (pthread_create(&next, NULL, live_and_end, &s) != 0) {
      ha_give_up(&self, "a thread could not be started");
      continue;
    }
    pthread_join(next, NULL);
  }
  ha_thread_end(&self, tally);
}

static bool larson_finish(ha_run *run) {
  larson *l = run->state;
  pthread_barrier_destroy(&l->round_ends);
  return ha_slots_clear(run, l->tables, l->live * run->threads);
}

const ha_workload ha_workload_larson = {
    .name = "larson",
    .summary = "a server: objects outlive the threads that made them, remote frees",
    .explain =
        "Threads replace random objects in a table, end, and leave the table to their successors, as the "
        "worker "
        "threads of a server do. Most frees are of objects that another thread allocated. "
        "Time shows the cost of remote frees and of new threads; memory that grows with the rounds shows an "
        "allocator that cannot reuse what ended threads left behind.",
    .params = params,
    .scales = true,
    .prepare = larson_prepare,
    .body = larson_body,
    .finish = larson_finish,
};

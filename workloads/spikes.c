// spikes.c: a server's steady heap under queries whose memory comes and goes in spikes.
//
// Each query allocates some thousand blocks; three queries overlap, and when the oldest ends its blocks go,
// in the order of allocation, except for one in ten that takes the place of an old block of the steady heap.
// One query in fifty is ten times as large. Stresses: room for the largest query and what becomes of it
// afterwards, blocks of the steady heap that end up among short-lived ones. A good allocator's peak is little
// above the largest moment of live bytes, and its time for an ordinary query does not depend on the large one
// before it. Idea: tcmalloc's empirical driver (a query every 10 ms that lives for 30 ms, locality 0.9).
#include "workloads/kit.h"
#include "workloads/sizes.h"

#define SPIKE_EVERY 50u // queries
#define SPIKE_TIMES 10u

typedef struct spikes {
  const uint32_t *sizes;
  uint64_t steady, query, overlap, queries; // blocks, blocks, queries at once, queries a thread
  uint64_t slots_a_thread;
  ha_slot *slots; // a thread: steady, then for each overlapping query SPIKE_TIMES * query
} spikes;

static const ha_param params[] = {
    {"steady", "100000", "blocks of the steady heap, per thread", 1, 100000000, NULL},
    {"query", "2000", "blocks of an ordinary query; one in 50 has ten times as many", 1, 10000000, NULL},
    {"overlap", "3", "queries that are under way at once", 1, 1000, NULL},
    {"ops", "1000", "queries per thread", 1, 1000000000, NULL},
    HA_SIZE_PARAMS("lognormal", "8", "32768"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool spikes_prepare(ha_run *run) {
  spikes *s = ha_map(run, sizeof *s);
  if (!s)
    return false;
  run->state = s;
  uint64_t random = run->seed;
  s->steady = ha_param_number(run, "steady");
  s->query = ha_param_number(run, "query");
  s->overlap = ha_param_number(run, "overlap");
  s->queries = ha_scaled(run, "ops");
  s->slots_a_thread = s->steady + s->overlap * s->query * SPIKE_TIMES;
  s->sizes = ha_sizes_draw(run, &random);
  if (!s->sizes)
    return false;
  double mean = ha_sizes_mean(s->sizes), threads = run->threads;
  double live = threads * (double)s->slots_a_thread * (mean + sizeof(ha_slot));
  if (!ha_fits(run, live, live + threads * (double)s->queries * (double)s->query * 1.2 * mean))
    return false;
  s->slots = ha_map(run, s->slots_a_thread * run->threads * sizeof(ha_slot));
  return s->slots != NULL;
}

// The query that used this place ends.
static bool end_query(ha_thread *self, const spikes *s, ha_slot *steady, ha_slot *blocks) {
  for (uint64_t i = 0; i < s->query * SPIKE_TIMES && blocks[i].block; i++) {
    ha_slot *goes = &blocks[i];
    if (i % 10 == 9) { // it stays, an old block goes
      ha_slot *old = &steady[ha_random_below(&self->random, s->steady)];
      ha_slot moved = *old;
      *old = *goes;
      *goes = moved;
    }
    if (!ha_slot_drop(self, goes))
      return false;
  }
  return true;
}

static bool begin_query(ha_thread *self, const spikes *s, ha_slot *blocks, uint64_t number) {
  uint64_t first = ha_random(&self->random);
  uint64_t count = number % SPIKE_EVERY == SPIKE_EVERY / 2 ? s->query * SPIKE_TIMES : s->query;
  for (uint64_t i = 0; i < count; i++)
    if (!ha_slot_take(self, &blocks[i], s->sizes[(first + i) % HA_SIZES], first + i))
      return false;
  return true;
}

static void spikes_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const spikes *s = run->state;
  ha_slot *steady = s->slots + s->slots_a_thread * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t i = 0; good && i < s->steady; i++)
    good = ha_slot_take(&self, &steady[i], s->sizes[(i + (uint64_t)thread * 7919) % HA_SIZES], i);
  for (uint64_t n = 0; good && n < s->queries; n++) {
    ha_slot *blocks = steady + s->steady + n % s->overlap * s->query * SPIKE_TIMES;
    good = end_query(&self, s, steady, blocks) && begin_query(&self, s, blocks, n);
  }
  ha_thread_end(&self, tally);
}

static bool spikes_finish(ha_run *run) {
  spikes *s = run->state;
  return ha_slots_clear(run, s->slots, s->slots_a_thread * run->threads);
}

const ha_workload ha_workload_spikes = {
    .name = "spikes",
    .summary = "queries with spiky transient memory over a steady heap",
    .explain = "A heap of 100,000 lasting blocks serves queries that each allocate 2,000 blocks and free "
               "them soon after, "
               "except for a tenth that replaces lasting ones; one query in fifty is ten times as large. "
               "Look at RSS over "
               "live, which shows what the spikes leave behind, and at time, the everyday of a "
               "request-driven server. "
               "Queries follow one another without pause, so that returning memory in idle time does not "
               "show: see drain.",
    .params = params,
    .scales = true,
    .prepare = spikes_prepare,
    .body = spikes_body,
    .finish = spikes_finish,
};

// msgpass.c: messages go from producers through proxies to consumers, as in a service made of stages.
//
// Producers allocate messages and hand them in batches to proxies, in turn. A proxy passes every other
// message on as it is and re-encodes the rest: it allocates a new one and frees the old. Consumers read and
// free. Stresses: remote frees in chains: a proxy frees what producers allocated while it allocates for
// others, so that no thread's allocations and frees balance by themselves. A good allocator sends memory home
// in batches and stays as small as the queues are deep. Idea: snmalloc's message-passing test (producers,
// proxies, consumers).
#include "workloads/ring.h"
#include "workloads/sizes.h"

typedef struct msgpass {
  const uint32_t *sizes;
  uint64_t producers, proxies, consumers;
  uint64_t batches; // that each producer makes
  ha_rings rings;   // first those from each producer to each proxy, then from each proxy to each consumer
} msgpass;

static const ha_param params[] = {
    {"producers", "1", "threads that allocate messages", 1, 64, NULL},
    {"proxies", "1", "threads that pass messages on, half of them as new ones", 1, 64, NULL},
    {"consumers", "1", "threads that free messages", 1, 64, NULL},
    {"ops", "2000000", "messages that each producer sends", 1, 10000000000, NULL},
    {"batch", "32", "messages handed over at once", 1, 1024, NULL},
    {"depth", "16", "batches that fit into a queue", 1, 65536, NULL},
    HA_SIZE_PARAMS("lognormal", "16", "4096"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool msgpass_prepare(ha_run *run) {
  msgpass *m = ha_map(run, sizeof *m);
  if (!m)
    return false;
  run->state = m;
  uint64_t random = run->seed;
  uint64_t batch = ha_param_number(run, "batch"), depth = ha_param_number(run, "depth");
  m->producers = ha_param_number(run, "producers");
  m->proxies = ha_param_number(run, "proxies");
  m->consumers = ha_param_number(run, "consumers");
  run->threads = (unsigned)(m->producers + m->proxies + m->consumers);
  // Each producer serves every proxy alike and each proxy every consumer, so that all know what comes to
  // them.
  uint64_t turn = m->proxies * m->consumers;
  m->batches = (ha_scaled(run, "ops") / batch / turn + 1) * turn;
  m->sizes = ha_sizes_draw(run, &random);
  if (!m->sizes)
    return false;
  uint64_t rings = m->producers * m->proxies + m->proxies * m->consumers;
  double mean = ha_sizes_mean(m->sizes);
  return ha_fits(run, (double)(rings * depth * batch) * mean,
                 1.5 * (double)(m->producers * m->batches * batch) * mean) &&
         ha_rings_make(run, &m->rings, rings, batch, depth);
}

static ha_ring *to_proxy(const msgpass *m, uint64_t producer, uint64_t proxy) {
  return &m->rings.ring[producer * m->proxies + proxy];
}

static ha_ring *to_consumer(const msgpass *m, uint64_t proxy, uint64_t consumer) {
  return &m->rings.ring[m->producers * m->proxies + proxy * m->consumers + consumer];
}

static bool produce(ha_thread *self, const msgpass *m, uint64_t producer) {
  for (uint64_t n = 0; n < m->batches; n++) {
    ha_ring *ring = to_proxy(m, producer, n % m->proxies);
    ha_slot *batch = ha_ring_room(&m->rings, ring);
    if (!batch)
      return true; // another thread says why
    for (uint64_t i = 0; i < m->rings.batch; i++)
      if (!ha_slot_take(self, &batch[i], m->sizes[(n * m->rings.batch + i + producer * 7919) % HA_SIZES],
                        n + i))
        return false;
    ha_ring_send(ring);
  }
  return true;
}

// Moves one message on: the odd ones are written anew.
static bool pass_on(ha_thread *self, ha_slot *from, ha_slot *to, uint64_t i) {
  if (i % 2)
    return ha_slot_take(self, to, from->size, from->tag + 1) && ha_slot_drop(self, from);
  *to = *from;
  from->block = NULL;
  return ha_slot_intact(self, to);
}

static bool proxy(ha_thread *self, const msgpass *m, uint64_t proxy) {
  uint64_t batches = m->batches / m->proxies * m->producers;
  for (uint64_t n = 0; n < batches; n++) {
    ha_ring *in = to_proxy(m, n % m->producers, proxy);
    ha_ring *out = to_consumer(m, proxy, n % m->consumers);
    ha_slot *from = ha_ring_next(&m->rings, in);
    ha_slot *to = from ? ha_ring_room(&m->rings, out) : NULL;
    if (!to)
      return true;
    for (uint64_t i = 0; i < m->rings.batch; i++)
      if (!pass_on(self, &from[i], &to[i], i))
        return false;
    ha_ring_send(out);
    ha_ring_done(in);
  }
  return true;
}

static bool consume(ha_thread *self, const msgpass *m, uint64_t consumer) {
  uint64_t from_each = m->batches / m->proxies * m->producers / m->consumers;
  for (uint64_t n = 0; n < from_each * m->proxies; n++) {
    ha_ring *ring = to_consumer(m, n % m->proxies, consumer);
    ha_slot *batch = ha_ring_next(&m->rings, ring);
    if (!batch)
      return true;
    for (uint64_t i = 0; i < m->rings.batch; i++)
      if (!ha_slot_drop(self, &batch[i]))
        return false;
    ha_ring_done(ring);
  }
  return true;
}

static void msgpass_body(ha_run *run, unsigned thread, ha_tally *tally) {
  msgpass *m = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  bool good;
  if (thread < m->producers)
    good = produce(&self, m, thread);
  else if (thread < m->producers + m->proxies)
    good = proxy(&self, m, thread - m->producers);
  else
    good = consume(&self, m, thread - m->producers - m->proxies);
  if (!good)
    ha_rings_stop(&m->rings);
  ha_thread_end(&self, tally);
}

static bool msgpass_finish(ha_run *run) {
  msgpass *m = run->state;
  return ha_rings_clear(run, &m->rings); // only after a failure is anything left
}

const ha_workload ha_workload_msgpass = {
    .name = "msgpass",
    .summary = "messages from producers through proxies to consumers",
    .explain = "Messages pass through three kinds of threads; the middle ones pass half of them on as they "
               "are and write the "
               "other half anew, so that each thread allocates and frees for others. Time shows the cost of "
               "remote frees "
               "in a chain; memory beyond the queues' depth shows blocks that do not find their way back. "
               "The number of "
               "threads is its own: on fewer processors, waiting for one's turn is part of the time.",
    .params = params,
    .scales = false,
    .prepare = msgpass_prepare,
    .body = msgpass_body,
    .finish = msgpass_finish,
};

// prodcons.c: producers allocate, consumers free. No block is ever freed by the thread that allocated it.
//
// Producers fill batches of blocks and hand them over through bounded queues (one for each producer and
// consumer, lock-free, so that the queue costs next to nothing); consumers read the blocks and free them.
// Stresses: the way of a remote free back to where it can be used again. An allocator that parks freed memory
// at the consumer grows without bound, one with a central lock is slow; a good one returns memory in batches.
// Idea: Lever and Boreham, "malloc() performance in a multithreaded Linux environment", USENIX Freenix 2000.
#include "workloads/ring.h"
#include "workloads/sizes.h"

typedef struct prodcons {
  const uint32_t *sizes;
  uint64_t producers, consumers;
  uint64_t batches; // that each producer makes
  ha_rings rings;   // one for each producer and consumer
} prodcons;

static const ha_param params[] = {
    {"producers", "1", "threads that allocate", 1, 256, NULL},
    {"consumers", "1", "threads that free", 1, 256, NULL},
    {"ops", "3000000", "blocks that each producer allocates", 1, 10000000000, NULL},
    {"batch", "64", "blocks handed over at once", 1, 1024, NULL},
    {"depth", "16", "batches that fit into a queue", 1, 65536, NULL},
    HA_SIZE_PARAMS("lognormal", "8", "4096"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool prodcons_prepare(ha_run *run) {
  prodcons *p = ha_map(run, sizeof *p);
  if (!p)
    return false;
  run->state = p;
  uint64_t random = run->seed;
  uint64_t batch = ha_param_number(run, "batch");
  uint64_t depth = ha_param_number(run, "depth");
  p->producers = ha_param_number(run, "producers");
  p->consumers = ha_param_number(run, "consumers");
  p->batches = ha_scaled(run, "ops") / batch + 1;
  run->threads = (unsigned)(p->producers + p->consumers);
  p->sizes = ha_sizes_draw(run, &random);
  if (!p->sizes)
    return false;
  double mean = ha_sizes_mean(p->sizes);
  uint64_t rings = p->producers * p->consumers;
  return ha_fits(run, (double)(rings * depth * batch) * mean,
                 (double)(p->producers * p->batches * batch) * mean) &&
         ha_rings_make(run, &p->rings, rings, batch, depth);
}

static bool produce(ha_thread *self, prodcons *p, uint64_t producer) {
  for (uint64_t n = 0; n < p->batches; n++) {
    ha_ring *ring = &p->rings.ring[producer * p->consumers + n % p->consumers];
    ha_slot *batch = ha_ring_room(&p->rings, ring);
    if (!batch)
      return true; // another thread says why
    for (uint64_t i = 0; i < p->rings.batch; i++) {
      uint32_t size = p->sizes[(n * p->rings.batch + i + producer * 7919) % HA_SIZES];
      if (!ha_slot_take(self, &batch[i], size, n + i))
        return false; // the batch is not handed over: finish() frees it
    }
    ha_ring_send(ring);
  }
  return true;
}

static bool consume(ha_thread *self, prodcons *p, uint64_t consumer) {
  for (uint64_t n = 0; n < p->batches * p->producers; n++) {
    // Producer n mod P sends its m-th batch to consumer m mod C: this consumer knows which come to it.
    uint64_t producer = n % p->producers;
    if (n / p->producers % p->consumers != consumer)
      continue;
    ha_ring *ring = &p->rings.ring[producer * p->consumers + consumer];
    ha_slot *batch = ha_ring_next(&p->rings, ring);
    if (!batch)
      return true;
    for (uint64_t i = 0; i < p->rings.batch; i++)
      if (!ha_slot_drop(self, &batch[i]))
        return false;
    ha_ring_done(ring);
  }
  return true;
}

static void prodcons_body(ha_run *run, unsigned thread, ha_tally *tally) {
  prodcons *p = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = thread < p->producers ? produce(&self, p, thread) : consume(&self, p, thread - p->producers);
  if (!good)
    ha_rings_stop(&p->rings);
  ha_thread_end(&self, tally);
}

static bool prodcons_finish(ha_run *run) {
  prodcons *p = run->state;
  return ha_rings_clear(run, &p->rings); // only after a failure is anything left
}

const ha_workload ha_workload_prodcons = {
    .name = "prodcons",
    .summary = "producers allocate, consumers free: every free is remote",
    .explain = "Some threads allocate blocks and pass them in batches to other threads, which read and free "
               "them, as in a "
               "pipeline of stages. Time shows what a remote free costs and whether its "
               "memory finds its way back to the allocating thread; memory above the depth of the queues "
               "shows that it "
               "does not.",
    .params = params,
    .scales = false,
    .prepare = prodcons_prepare,
    .body = prodcons_body,
    .finish = prodcons_finish,
};

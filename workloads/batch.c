// batch.c: many allocations, then as many frees, in the order of allocation, its reverse, or at random.
//
// Stresses: how free lists grow and shrink beyond a thread's cache, and how much the order of frees matters.
// A good allocator fills and empties its cache in bulk and does not touch freed memory more than it must;
// random order costs every allocator cache misses, in metadata or in the blocks. Idea: the batches of
// mimalloc-pprof's suite and of glibc's bench-malloc-simple (LIFO and FIFO).
#include "workloads/kit.h"
#include "workloads/sizes.h"

typedef struct batch {
  const uint32_t *sizes;
  uint64_t rounds, blocks;
  uint32_t *order; // in which the blocks of a batch are freed
  ha_slot *slots;  // blocks * threads
} batch;

#define BATCH_PARAMS(order)                                                                                  \
  {                                                                                                          \
    {"blocks", "20000", "blocks in a batch, per thread", 1, 100000000, NULL},                                \
        {"ops", "6000000", "allocations per thread", 1, 10000000000, NULL},                                  \
        {"order", order, "order of the frees", 0, 0, HA_WORDS("fifo", "lifo", "random")},                    \
        HA_SIZE_PARAMS("lognormal", "8", "4096"), {NULL, NULL, NULL, 0, 0, NULL},                            \
  }

static const ha_param fifo_params[] = BATCH_PARAMS("fifo");
static const ha_param lifo_params[] = BATCH_PARAMS("lifo");
static const ha_param random_params[] = BATCH_PARAMS("random");

static void fill_order(const batch *b, unsigned order, uint64_t *random) {
  uint32_t count = (uint32_t)b->blocks;
  for (uint32_t i = 0; i < count; i++)
    b->order[i] = order == 0 ? i : count - 1 - i;
  if (order == 2)
    ha_shuffle(b->order, count, random);
}

static bool batch_prepare(ha_run *run) {
  batch *b = ha_map(run, sizeof *b);
  if (!b)
    return false;
  run->state = b;
  uint64_t random = run->seed;
  b->blocks = ha_param_number(run, "blocks");
  b->rounds = ha_scaled(run, "ops") / b->blocks + 1;
  b->sizes = ha_sizes_draw(run, &random);
  if (!b->sizes)
    return false;
  double mean = ha_sizes_mean(b->sizes), blocks = (double)b->blocks * run->threads;
  if (!ha_fits(run, blocks * (mean + sizeof(ha_slot)), blocks * mean * (double)b->rounds))
    return false;
  b->order = ha_map(run, b->blocks * sizeof *b->order);
  b->slots = b->order ? ha_map(run, b->blocks * run->threads * sizeof(ha_slot)) : NULL;
  if (!b->slots)
    return false;
  fill_order(b, ha_param_word(run, "order"), &random);
  return true;
}

static void batch_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const batch *b = run->state;
  ha_slot *slots = b->slots + b->blocks * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t round = 0; good && round < b->rounds; round++) {
    uint64_t first = ha_random(&self.random);
    for (uint64_t i = 0; good && i < b->blocks; i++)
      good = ha_slot_take(&self, &slots[i], b->sizes[(first + i) % HA_SIZES], first + i);
    for (uint64_t i = 0; good && i < b->blocks; i++)
      good = ha_slot_drop(&self, &slots[b->order[i]]);
  }
  ha_thread_end(&self, tally);
}

static bool batch_finish(ha_run *run) {
  batch *b = run->state;
  return ha_slots_clear(run, b->slots, b->blocks * run->threads);
}

#define EXPLAIN                                                                                              \
  "Allocates a batch of blocks, then frees all of them, over and over. Batches are larger than any "         \
  "thread's cache, so time shows what it costs to get blocks into the cache and out of it again in bulk. "   \
  "Compare batch, batch-lifo and batch-random: they differ in the order of the frees alone. "

#define BATCH(workload_name, what, why, its_params)                                                          \
  {                                                                                                          \
    .name = (workload_name), .summary = (what), .explain = (why), .params = (its_params), .scales = true,    \
    .prepare = batch_prepare, .body = batch_body, .finish = batch_finish,                                    \
  }

const ha_workload ha_workload_batch =
    BATCH("batch", "a batch of allocations, then frees, oldest first",
          EXPLAIN "Here the oldest block goes first, as with a queue of work.", fifo_params);
const ha_workload ha_workload_batch_lifo =
    BATCH("batch-lifo", "a batch of allocations, then frees, newest first",
          EXPLAIN "Here the newest block goes first, the order that free lists like best.", lifo_params);
const ha_workload ha_workload_batch_random =
    BATCH("batch-random", "a batch of allocations, then frees in random order",
          EXPLAIN "Here the order is random, so that each free goes to another page than the one before.",
          random_params);

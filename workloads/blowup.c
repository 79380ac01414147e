// blowup.c: a heap of fixed size goes from thread to thread, and nobody gives back what the last one used.
//
// Threads in a chain take turns: each frees all that the one before allocated, allocates as much anew, and
// waits while the next does the same. All threads stay alive, only one works at a time, and the live bytes
// never exceed one thread's worth. Stresses: what becomes of memory freed by a thread that did not allocate
// it. An allocator that keeps it for the freeing or the allocating thread alone needs the live bytes times
// the number of threads: the blow-up that Hoard was built against. A good one stays near the live bytes.
// Idea: blow-up in Berger and others, "Hoard", ASPLOS 2000; allocbench's blowup, 100 MiB in chained threads.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#include <pthread.h>

typedef struct blowup {
  const uint32_t *sizes;
  uint64_t limit, turns, capacity; // bytes, turns of all threads together, slots
  ha_slot *slots;
  pthread_mutex_t lock;
  pthread_cond_t turned;
  uint64_t turn; // whose turn it is, mod threads; UINT64_MAX after a failure. Guarded by lock
} blowup;

static const ha_param params[] = {
    {"live", "24", "live bytes, MiB", 1, 1 << 20, NULL},
    {"chain", "8", "threads that take turns", 1, 1024, NULL},
    {"turns", "16", "turns, a count of all threads together", 1, 1000000, NULL},
    HA_SIZE_PARAMS("lognormal", "16", "8192"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool blowup_prepare(ha_run *run) {
  blowup *b = ha_map(run, sizeof *b);
  if (!b)
    return false;
  run->state = b;
  uint64_t random = run->seed;
  b->limit = ha_param_number(run, "live") * HA_MIB;
  b->turns = ha_scaled(run, "turns");
  run->threads = (unsigned)ha_param_number(run, "chain");
  b->sizes = ha_sizes_draw(run, &random);
  if (!b->sizes)
    return false;
  b->capacity = (uint64_t)(1.1 * (double)b->limit / ha_sizes_mean(b->sizes)) + 1024;
  double live = (double)b->limit + (double)b->capacity * sizeof(ha_slot);
  if (!ha_fits(run, live, live + (double)b->turns * (double)b->limit))
    return false;
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->turned, NULL);
  b->slots = ha_map(run, b->capacity * sizeof(ha_slot));
  return b->slots != NULL;
}

static void pass_turn(blowup *b, uint64_t turn) {
  pthread_mutex_lock(&b->lock);
  b->turn = turn;
  pthread_cond_broadcast(&b->turned);
  pthread_mutex_unlock(&b->lock);
}

// Waits until it is turn number `turn`; false if another thread failed.
static bool await_turn(blowup *b, uint64_t turn) {
  pthread_mutex_lock(&b->lock);
  while (b->turn != turn && b->turn != UINT64_MAX)
    pthread_cond_wait(&b->turned, &b->lock);
  bool mine = b->turn == turn;
  pthread_mutex_unlock(&b->lock);
  return mine;
}

static bool take_over(ha_thread *self, const blowup *b) {
  for (uint64_t i = 0; i < b->capacity; i++)
    if (b->slots[i].block && !ha_slot_drop(self, &b->slots[i]))
      return false;
  uint64_t first = ha_random(&self->random), live = 0;
  for (uint64_t i = 0; i < b->capacity && live < b->limit; i++) {
    uint32_t size = b->sizes[(first + i) % HA_SIZES];
    if (!ha_slot_take(self, &b->slots[i], size, first + i))
      return false;
    live += size;
  }
  // The next thread has its own count: without this, what it frees could be counted before what this one
  // allocated.
  ha_live_flush(&self->live);
  return true;
}

static void blowup_body(ha_run *run, unsigned thread, ha_tally *tally) {
  blowup *b = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  for (uint64_t turn = thread; turn < b->turns; turn += run->threads) {
    if (!await_turn(b, turn))
      break;
    bool good = take_over(&self, b);
    pass_turn(b, good ? turn + 1 : UINT64_MAX);
    if (!good)
      break;
  }
  // All stay until the last turn is over, so that no thread's memory is adopted because it ended.
  await_turn(b, b->turns);
  ha_thread_end(&self, tally);
}

static bool blowup_finish(ha_run *run) {
  blowup *b = run->state;
  pthread_cond_destroy(&b->turned);
  pthread_mutex_destroy(&b->lock);
  return ha_slots_clear(run, b->slots, b->capacity);
}

const ha_workload ha_workload_blowup = {
    .name = "blowup",
    .summary = "fragmentation: a heap of fixed size is replaced by one thread after another",
    .explain =
        "Eight threads take turns; each frees everything that the last one allocated and allocates as much "
        "anew, so that "
        "24 MiB are live at any time. Look at peak memory: near 24 MiB, freed memory can be used by any "
        "thread; near "
        "eight times that, each thread keeps its own. Only one thread works at a time, so time is that of "
        "remote frees and of fresh pages, without any contention.",
    .params = params,
    .scales = false,
    .prepare = blowup_prepare,
    .body = blowup_body,
    .finish = blowup_finish,
};

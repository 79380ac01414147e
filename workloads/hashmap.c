// hashmap.c: a hash table grows by doubling, is thinned out and filled again, and is cleared.
//
// Entries are blocks of mixed sizes (key and value together); the table of buckets is a block of its own,
// from calloc, which doubles whenever it is full: all entries are then entered into the new one and the old
// one is freed. Stresses: a few large blocks of doubling size (up to 2 MiB here) among many small ones,
// calloc of large blocks, frees in an order that has nothing to do with allocation. A good allocator gives a
// freed table's memory back or uses it for entries, and does not clear pages that the kernel just cleared.
// Idea: the resize pattern of Redis and of C++ unordered_map; the figures are ours.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#define FIRST_CAPACITY 64u

typedef struct hashmap {
  const uint32_t *sizes;
  uint64_t entries, rounds;
  ha_slot *slots; // entries * threads: the entry with number i
} hashmap;

// One thread's table. Entry number i belongs into bucket i * odd mod capacity, which no other i < capacity
// has.
typedef struct table {
  ha_slot *entries;
  uint64_t *buckets; // number of the entry + 1, 0: empty
  uint64_t capacity;
} table;

static const ha_param params[] = {
    {"entries", "200000", "entries of the full table, per thread", 64, 100000000, NULL},
    {"ops", "2400000", "entries added per thread", 1, 10000000000, NULL},
    HA_SIZE_PARAMS("lognormal", "16", "2048"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool hashmap_prepare(ha_run *run) {
  hashmap *h = ha_map(run, sizeof *h);
  if (!h)
    return false;
  run->state = h;
  uint64_t random = run->seed;
  h->entries = ha_param_number(run, "entries");
  h->rounds = ha_scaled(run, "ops") / (2 * h->entries) + 1; // a round adds each entry about twice
  h->sizes = ha_sizes_draw(run, &random);
  if (!h->sizes)
    return false;
  double mean = ha_sizes_mean(h->sizes), entries = (double)h->entries * run->threads;
  double live = entries * (mean + sizeof(ha_slot) + 6 * sizeof(uint64_t)); // the old and the new table
  if (!ha_fits(run, live, live + 2 * entries * (double)h->rounds * (mean + 2 * sizeof(uint64_t))))
    return false;
  h->slots = ha_map(run, h->entries * run->threads * sizeof(ha_slot));
  return h->slots != NULL;
}

static uint64_t *bucket(const table *t, uint64_t i) {
  return &t->buckets[(i * 0x9e3779b97f4a7c15u) & (t->capacity - 1)];
}

static bool make_buckets(ha_thread *self, table *t, uint64_t capacity) {
  t->buckets = self->alloc->calloc(capacity, sizeof *t->buckets);
  if (!t->buckets)
    return ha_give_up(self, "calloc returned NULL");
  t->capacity = capacity;
  ha_live_add(&self->live, (int64_t)(capacity * sizeof *t->buckets));
  self->tally.operations++;
  return true;
}

static void drop_buckets(ha_thread *self, table *t) {
  self->alloc->free(t->buckets);
  t->buckets = NULL;
  ha_live_add(&self->live, -(int64_t)(t->capacity * sizeof *t->buckets));
  self->tally.operations++;
}

static bool holds(ha_thread *self, const table *t, uint64_t i, uint64_t expected) {
  if (*bucket(t, i) == expected || !ha_keeps_contents(self->run))
    return true;
  return ha_give_up(self, "the table of buckets lost its contents");
}

// Moves the first `count` entries, which are all there, into a table of twice the capacity.
static bool double_capacity(ha_thread *self, table *t, uint64_t count) {
  table old = *t;
  bool good = make_buckets(self, t, old.capacity * 2);
  for (uint64_t i = 0; good && i < count; i++) {
    good = holds(self, &old, i, i + 1) && holds(self, t, i, 0);
    *bucket(t, i) = i + 1;
  }
  drop_buckets(self, &old);
  return good;
}

static bool add(ha_thread *self, table *t, uint64_t i, uint64_t number) {
  const hashmap *h = self->run->state;
  if (!holds(self, t, i, 0) || !ha_slot_take(self, &t->entries[i], h->sizes[number % HA_SIZES], number))
    return false;
  *bucket(t, i) = i + 1;
  return true;
}

static bool take_out(ha_thread *self, table *t, uint64_t i) {
  if (!holds(self, t, i, i + 1) || !ha_slot_drop(self, &t->entries[i]))
    return false;
  *bucket(t, i) = 0;
  return true;
}

// From empty to full, random entries replaced as often as there are entries, and back to empty.
static bool round_trip(ha_thread *self, table *t, uint64_t entries) {
  if (!make_buckets(self, t, FIRST_CAPACITY))
    return false;
  bool good = true;
  for (uint64_t i = 0; good && i < entries; i++)
    good = (i < t->capacity || double_capacity(self, t, i)) && add(self, t, i, ha_random(&self->random));
  for (uint64_t n = 0; good && n < entries; n++) {
    uint64_t number = ha_random(&self->random);
    uint64_t i = (uint64_t)(((unsigned __int128)number * entries) >> 64);
    good = t->entries[i].block ? take_out(self, t, i) : add(self, t, i, number);
  }
  for (uint64_t i = 0; good && i < entries; i++)
    if (t->entries[i].block)
      good = take_out(self, t, i);
  if (t->buckets)
    drop_buckets(self, t);
  return good;
}

static void hashmap_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const hashmap *h = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  table t = {.entries = h->slots + h->entries * thread};
  bool good = true;
  for (uint64_t round = 0; good && round < h->rounds; round++)
    good = round_trip(&self, &t, h->entries);
  ha_thread_end(&self, tally);
}

static bool hashmap_finish(ha_run *run) {
  hashmap *h = run->state;
  return ha_slots_clear(run, h->slots, h->entries * run->threads);
}

const ha_workload ha_workload_hashmap = {
    .name = "hashmap",
    .summary = "a hash table that doubles, is thinned out, refilled and cleared",
    .explain =
        "Fills a hash table with small entries; the array of buckets doubles as it grows, up to a few MiB, "
        "and the old "
        "array is freed. Then random entries go and come back, and all are removed. Time mixes small blocks "
        "with clearing and freeing large ones; peak RSS shows whether the memory of outgrown arrays is "
        "used again. Cache misses in the table itself are part of the time and alike for all.",
    .params = params,
    .scales = true,
    .prepare = hashmap_prepare,
    .body = hashmap_body,
    .finish = hashmap_finish,
};

// lru.c: a cache with a byte limit that evicts what was used least recently, while fashion and sizes drift.
//
// Four of five requests go to a window of popular keys that moves on slowly; a miss allocates the value
// and evicts the oldest until it fits. The sizes drift too: values grow to four times and shrink back, as
// when a service changes what it caches. Stresses: long-run fragmentation: evicted blocks leave holes of
// yesterday's sizes for tomorrow's requests. A good allocator keeps RSS near the byte limit through the whole
// drift, which a few seconds of a benchmark only begin to show; raise ops for more. Idea: memcached and the
// object caches of browsers; the drift of sizes is where slab caches are known to suffer.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#define SIZE_STEPS UINT64_C(768) // between the smallest sizes and those four times as large

typedef struct lru {
  const uint32_t *sizes;
  uint64_t keys, limit, requests; // limit: bytes
  ha_slot *values;                // keys * threads, empty: not cached
  uint32_t *links;                // (keys + 1) * 2 * threads
} lru;

// One thread's cache. The links make a ring through the cached keys, newest after key number `keys`, its
// head.
typedef struct cache {
  const lru *l;
  ha_slot *values;
  uint32_t (*link)[2]; // [0] the next older, [1] the next newer
  uint64_t bytes;
} cache;

static const ha_param params[] = {
    {"keys", "400000", "keys that may be asked for, per thread", 10, 1000000000, NULL},
    {"limit", "24", "size of the cache per thread, MiB", 1, 1 << 20, NULL},
    {"ops", "3000000", "requests per thread", 1, 10000000000, NULL},
    HA_SIZE_PARAMS("lognormal", "16", "16384"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool lru_prepare(ha_run *run) {
  lru *l = ha_map(run, sizeof *l);
  if (!l)
    return false;
  run->state = l;
  uint64_t random = run->seed;
  l->keys = ha_param_number(run, "keys");
  l->limit = ha_param_number(run, "limit") * HA_MIB;
  l->requests = ha_scaled(run, "ops");
  if (ha_param_number(run, "max") * 4 > l->limit)
    return ha_fail(run, "%s: a value of 4 times max must fit into the limit", run->workload->name);
  l->sizes = ha_sizes_draw(run, &random);
  if (!l->sizes)
    return false;
  double tables = (double)l->keys * run->threads * (sizeof(ha_slot) + 2 * sizeof(uint32_t));
  double asked = (double)l->requests * run->threads * ha_sizes_mean(l->sizes) * 2.5;
  if (!ha_fits(run, tables + (double)l->limit * run->threads, tables + asked))
    return false;
  l->values = ha_map(run, l->keys * run->threads * sizeof(ha_slot));
  l->links = l->values ? ha_map(run, (l->keys + 1) * run->threads * 2 * sizeof(uint32_t)) : NULL;
  return l->links != NULL;
}

static void link_newest(cache *c, uint32_t key) {
  uint32_t head = (uint32_t)c->l->keys;
  c->link[key][0] = c->link[head][0];
  c->link[key][1] = head;
  c->link[c->link[head][0]][1] = key;
  c->link[head][0] = key;
}

static void unlink_key(cache *c, uint32_t key) {
  c->link[c->link[key][0]][1] = c->link[key][1];
  c->link[c->link[key][1]][0] = c->link[key][0];
}

static bool evict_oldest(ha_thread *self, cache *c) {
  uint32_t oldest = c->link[c->l->keys][1];
  unlink_key(c, oldest);
  c->bytes -= c->values[oldest].size;
  return ha_slot_drop(self, &c->values[oldest]);
}

// The n-th request: which key, by popularity.
static uint32_t choose_key(const lru *l, uint64_t n, uint64_t number) {
  if (number % 5 == 0)
    return (uint32_t)((number >> 8) % l->keys);
  uint64_t window = l->keys / 10;
  return (uint32_t)((n / 16 + (number >> 8) % window) % l->keys); // moves on by a key every 16 requests
}

// The n-th request's size if it misses: 1 to 4 times the law's, up and down twice in a run.
static uint32_t choose_size(const lru *l, uint64_t n, uint64_t number) {
  uint64_t at = SIZE_STEPS * 4 * n / (l->requests + 1) % (2 * SIZE_STEPS); // two rises and two falls
  uint64_t factor = 256 + (at < SIZE_STEPS ? at : 2 * SIZE_STEPS - at);    // 256ths
  return (uint32_t)(l->sizes[(number >> 32) % HA_SIZES] * factor / 256);
}

static bool request(ha_thread *self, cache *c, uint64_t n) {
  uint64_t number = ha_random(&self->random);
  uint32_t key = choose_key(c->l, n, number);
  if (c->values[key].block) {
    unlink_key(c, key);
    link_newest(c, key);
    return ha_slot_intact(self, &c->values[key]);
  }
  uint32_t size = choose_size(c->l, n, number);
  while (c->bytes + size > c->l->limit)
    if (!evict_oldest(self, c))
      return false;
  if (!ha_slot_take(self, &c->values[key], size, number))
    return false;
  c->bytes += size;
  link_newest(c, key);
  return true;
}

static void lru_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const lru *l = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  cache c = {.l = l,
             .values = l->values + l->keys * thread,
             .link = (uint32_t(*)[2])(l->links + (l->keys + 1) * 2 * thread)};
  c.link[l->keys][0] = c.link[l->keys][1] = (uint32_t)l->keys;
  bool good = true;
  for (uint64_t n = 0; good && n < l->requests; n++)
    good = request(&self, &c, n);
  ha_thread_end(&self, tally);
}

static bool lru_finish(ha_run *run) {
  lru *l = run->state;
  return ha_slots_clear(run, l->values, l->keys * run->threads);
}

const ha_workload ha_workload_lru = {
    .name = "lru",
    .summary = "a cache with a byte limit, least recently used goes first, sizes drift",
    .explain =
        "Keeps values in a cache of fixed bytes; misses allocate a value and evict the oldest ones. What is "
        "popular "
        "and how large it is drift during the run, so that new values do not fit the holes of old ones. Look "
        "at RSS "
        "over live: it is the fragmentation that makes caches restart at night. Time holds the cache's own "
        "look-ups too, which are alike for all.",
    .params = params,
    .scales = true,
    .prepare = lru_prepare,
    .body = lru_body,
    .finish = lru_finish,
};

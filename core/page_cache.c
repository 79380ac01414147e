// Free page runs by length. See page_cache.h.
#include "core/page_cache.h"

#include "core/levels.h"
#include "core/page_alloc.h"

// The build whose schedules a fuzzer replays has two: in which shard a thread's runs are must not depend on how many
// threads there were before.
#ifndef PAGE_CACHE_SHARDS
#define PAGE_CACHE_SHARDS 8
#endif

enum { RUNS_MAX = 1024, NOBODY = 0, SHARDS = PAGE_CACHE_SHARDS };

// A run's first page number, and below it the next run's index: half the memory of two members. Index 0 means the
// end of a list.
static uint64_t runs[RUNS_MAX] GM_TABLE;

static uintptr_t run_start(uint16_t run) {
  return (uintptr_t)(runs[run] >> 16) << GM_PAGE_SHIFT;
}

static uint16_t run_next(uint16_t run) {
  return (uint16_t)runs[run];
}

static void set_run(uint16_t run, uintptr_t start, uint16_t next) {
  runs[run] = (uint64_t)(start >> GM_PAGE_SHIFT) << 16 | next;
}

static uint16_t unused;      // list of runs that were used and are not now
static uint16_t touched = 1; // runs from here on were never used
static size_t cached_pages;
static uint64_t put_count;

static struct shard {
  uint64_t nonempty; // bit n - 1: first[n] is not empty
  uint64_t last_put; // `put_count` then
  uint16_t first[PAGE_CACHE_RUN_MAX + 1];
} shards[SHARDS] GM_TABLE;

static_assert(PAGE_CACHE_RUN_MAX == 64, "nonempty has one bit per length");

// Shard 0 is for threads without a number.
static __thread unsigned own_shard __attribute__((tls_model("initial-exec")));

void page_cache_use_shard(unsigned number) {
  own_shard = number % (SHARDS - 1) + 1;
}

// The shard's shortest run of at least npages; 0: it has none.
static size_t length_in(const struct shard *shard, size_t npages) {
  uint64_t fitting = shard->nonempty >> (npages - 1);
  return fitting == 0 ? 0 : npages + (size_t)__builtin_ctzll(fitting);
}

static uintptr_t take_from(struct shard *shard, size_t length) {
  uint16_t run = shard->first[length];
  uintptr_t start = run_start(run);
  shard->first[length] = run_next(run);
  if (shard->first[length] == NOBODY)
    shard->nonempty &= ~((uint64_t)1 << (length - 1));
  set_run(run, 0, unused);
  unused = run;
  cached_pages -= length;
  return start;
}

// The caller's shard, or among the others with a fitting run the one that was put to last; *length is the run's.
static struct shard *shard_with(size_t npages, size_t most, size_t *length) {
  struct shard *found = NULL;
  for (unsigned i = 0; i < SHARDS; i++) {
    struct shard *shard = &shards[(own_shard + i) % SHARDS];
    size_t its = length_in(shard, npages);
    if (its == 0 || its > most || (found != NULL && shard->last_put < found->last_put))
      continue;
    found = shard;
    *length = its;
    if (i == 0)
      break;
  }
  return found;
}

uintptr_t page_cache_take(size_t *npages, size_t most) {
  if (*npages > PAGE_CACHE_RUN_MAX || cached_pages < *npages)
    return 0;
  size_t length = 0;
  struct shard *shard = shard_with(*npages, most, &length);
  if (shard == NULL)
    return 0;
  *npages = length;
  return take_from(shard, length);
}

bool page_cache_put(uintptr_t start, size_t npages) {
  if (!GM_LEVEL_PAGE_CACHE || npages > PAGE_CACHE_RUN_MAX)
    return false;
  uint16_t run = unused;
  if (run != NOBODY)
    unused = run_next(run);
  else if (touched < RUNS_MAX)
    run = touched++;
  else
    return false;
  struct shard *shard = &shards[own_shard];
  shard->last_put = ++put_count;
  set_run(run, start, shard->first[npages]);
  shard->first[npages] = run;
  shard->nonempty |= (uint64_t)1 << (npages - 1);
  cached_pages += npages;
  return true;
}

size_t page_cache_pages(void) {
  return cached_pages;
}

void page_cache_flush(void) {
  for (struct shard *shard = shards; shard < shards + SHARDS; shard++)
    while (shard->nonempty != 0) {
      size_t npages = (size_t)__builtin_ctzll(shard->nonempty) + 1;
      uintptr_t start = take_from(shard, npages);
      page_alloc_free(start, npages);
    }
}

int page_cache_check(void (*visit)(uintptr_t start, size_t npages, void *context), void *context) {
  int faults = 0;
  size_t pages = 0;
  for (const struct shard *shard = shards; shard < shards + SHARDS; shard++)
    for (size_t npages = 1; npages <= PAGE_CACHE_RUN_MAX; npages++) {
      faults += (shard->first[npages] != NOBODY) != ((shard->nonempty >> (npages - 1) & 1) != 0);
      for (uint16_t run = shard->first[npages]; run != NOBODY; run = run_next(run)) {
        pages += npages;
        visit(run_start(run), npages, context);
      }
    }
  return faults + (pages != cached_pages);
}

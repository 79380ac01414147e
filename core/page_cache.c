// Free page runs by length. See page_cache.h.
#include "core/page_cache.h"

#include "core/levels.h"
#include "core/page_alloc.h"

enum { RUNS_MAX = 1024, NOBODY = 0 };

// Index 0 means the end of a list.
static struct {
  uintptr_t start;
  uint16_t next;
} runs[RUNS_MAX];

static uint16_t unused;      // list of runs that were used and are not now
static uint16_t touched = 1; // runs from here on were never used
static uint16_t first[PAGE_CACHE_RUN_MAX + 1];
static uint64_t nonempty; // bit n - 1: first[n] is not empty
static size_t cached_pages;

static_assert(PAGE_CACHE_RUN_MAX == 64, "nonempty has one bit per length");

uintptr_t page_cache_take(size_t *npages, size_t most) {
  if (*npages > PAGE_CACHE_RUN_MAX)
    return 0;
  uint64_t fitting = nonempty >> (*npages - 1);
  if (fitting == 0)
    return 0;
  size_t length = *npages + (size_t)__builtin_ctzll(fitting);
  if (length > most)
    return 0;
  uint16_t run = first[length];
  first[length] = runs[run].next;
  if (first[length] == NOBODY)
    nonempty &= ~((uint64_t)1 << (length - 1));
  runs[run].next = unused;
  unused = run;
  cached_pages -= length;
  *npages = length;
  return runs[run].start;
}

bool page_cache_put(uintptr_t start, size_t npages) {
  if (!GM_LEVEL_PAGE_CACHE || npages > PAGE_CACHE_RUN_MAX)
    return false;
  uint16_t run = unused;
  if (run != NOBODY)
    unused = runs[run].next;
  else if (touched < RUNS_MAX)
    run = touched++;
  else
    return false;
  runs[run].start = start;
  runs[run].next = first[npages];
  first[npages] = run;
  nonempty |= (uint64_t)1 << (npages - 1);
  cached_pages += npages;
  return true;
}

size_t page_cache_pages(void) {
  return cached_pages;
}

void page_cache_flush(void) {
  while (nonempty != 0) {
    size_t npages = (size_t)__builtin_ctzll(nonempty) + 1;
    uintptr_t start = page_cache_take(&npages, npages);
    page_alloc_free(start, npages);
  }
}

int page_cache_check(void (*visit)(uintptr_t start, size_t npages, void *context), void *context) {
  int faults = 0;
  size_t pages = 0;
  for (size_t npages = 1; npages <= PAGE_CACHE_RUN_MAX; npages++) {
    faults += (first[npages] != NOBODY) != ((nonempty >> (npages - 1) & 1) != 0);
    for (uint16_t run = first[npages]; run != NOBODY; run = runs[run].next) {
      pages += npages;
      visit(runs[run].start, npages, context);
    }
  }
  return faults + (pages != cached_pages);
}

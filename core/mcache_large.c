// Large blocks kept by a thread. See mcache_large.h.
#include "core/mcache_large.h"

#include "core/levels.h"
#include "core/mheap.h"

static_assert(MCACHE_LARGE_MAX < 64, "nonempty has one bit per length");

struct mspan *mcache_large_take(struct mcache *cache, size_t npages) {
  struct mcache_large *large = &cache->large;
  if (npages > MCACHE_LARGE_MAX)
    return NULL;
  large->limit = cache == &mcache_none ? 0 : MCACHE_LARGE_PAGES;
  uint64_t fitting = large->nonempty >> npages;
  if (fitting == 0)
    return NULL;
  size_t length = npages + (size_t)__builtin_ctzll(fitting);
  if (length > npages + npages / 8)
    return NULL;
  struct mspan *span = large->first[length];
  large->first[length] = span->next;
  if (span->next == NULL)
    large->nonempty &= ~((uint64_t)1 << length);
  large->pages -= length;
  GM_SHARED_STORE(&large->taken, large->taken + 1);
  GM_SHARED_STORE(&large->taken_bytes, large->taken_bytes + span->object_size);
  span->next = NULL;
  span->needs_zero = true;
  mspan_set_owner(span, NULL);
  atomic_store_explicit(&span->taken_count, 1, memory_order_relaxed);
  mspan_set_state(span->states, OBJECT_LIVE);
  return span;
}

bool mcache_large_keep(struct mcache *cache, struct mspan *span) {
  if (!GM_LEVEL_LARGE_CACHE)
    return false;
  struct mcache_large *large = &cache->large;
  size_t npages = span->npages;
  if (npages > MCACHE_LARGE_MAX || npages > large->limit)
    return false;
  if (large->pages + npages > large->limit) {
    mcache_large_empty(cache);
    large->limit = MCACHE_LARGE_PAGES;
  }
  mspan_set_owner(span, cache);
  span->next = large->first[npages];
  large->first[npages] = span;
  large->nonempty |= (uint64_t)1 << npages;
  large->pages += npages;
  GM_SHARED_STORE(&large->kept, large->kept + 1);
  return true;
}

void mcache_large_empty(struct mcache *cache) {
  struct mcache_large *large = &cache->large;
  large->limit = 0;
  while (large->nonempty != 0) {
    unsigned length = (unsigned)__builtin_ctzll(large->nonempty);
    struct mspan *span = large->first[length];
    large->first[length] = span->next;
    if (span->next == NULL)
      large->nonempty &= ~((uint64_t)1 << length);
    large->pages -= length;
    span->next = NULL;
    mspan_set_owner(span, NULL);
    // It was counted as a free when it was kept.
    GM_SHARED_STORE(&large->kept, large->kept - 1);
    mheap_free_span(span);
  }
}

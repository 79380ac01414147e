// Locks and walks over the whole heap. See heap_walk.h.
#include "core/heap_walk.h"

#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/mheap.h"

void heap_lock_all(void) {
  mcache_registry_lock();
  mcache_fallback_lock();
  for (unsigned i = 0; i < SPAN_CLASS_COUNT; i++)
    lock_acquire(&gm_heap.central[i].lock, LOCK_RANK_CENTRAL);
  mheap_lock();
}

void heap_unlock_all(void) {
  mheap_unlock();
  for (unsigned i = SPAN_CLASS_COUNT; i-- > 0;)
    lock_release(&gm_heap.central[i].lock, LOCK_RANK_CENTRAL);
  mcache_fallback_unlock();
  mcache_registry_unlock();
}

void heap_walk_spans(void (*visit)(struct mspan *span, void *context), void *context) {
  for (struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    for (size_t page = 0; page < ARENA_PAGES; page++) {
      struct mspan *span = atomic_load_explicit(&arena->spans[page], memory_order_acquire);
      if (span != NULL && span != &mspan_returned && span->start == arena->base + (page << GM_PAGE_SHIFT))
        visit(span, context);
    }
}

// The hot paths, inlined into gm_malloc and gm_free as well as into the exported malloc and free, so that
// neither costs a second call. The overview of the allocator is in malloc.c.
#ifndef GOMALLOC_MALLOC_INLINE_H
#define GOMALLOC_MALLOC_INLINE_H

#include "core/heap_arena.h"
#include "core/mcache.h"

// Slow paths, in malloc.c.
void *malloc_small_slow(struct mcache *cache, struct mcache_slot *slot);
void *malloc_large(size_t size);
void free_not_a_block(uintptr_t address, struct mspan *span);
void free_remote(uintptr_t address, struct mspan *span, uint64_t index);
void free_twice(uintptr_t address, struct mspan *span);

GM_INLINE void *malloc_inline(size_t size) {
  struct mcache *cache = mcache_current;
  size_t size_class = 0;
  if (GM_LIKELY(size <= SIZE_CLASS_FINE_MAX))
    size_class = size_class_fine[(size + 7) >> 3];
  else if (GM_LIKELY(size <= SIZE_CLASS_MAX))
    size_class = size_class_coarse[(size - SIZE_CLASS_FINE_MAX + 127) >> 7];
  else
    return malloc_large(size);
  struct mcache_slot *slot = &cache->slots[size_class]; // the noscan half: see make_span_class
  uint64_t bits = slot->alloc_cache;
  if (GM_UNLIKELY(bits == 0))
    return malloc_small_slow(cache, slot);
  return mcache_slot_take(slot, bits);
}

// A free of the owner: plain loads and stores (relaxed atomics, because other threads' checks read the same
// words).
GM_INLINE void free_local(struct mcache *cache, struct mspan *span, uint64_t index, uintptr_t address) {
  uint64_t w = index / 64;
  struct span_word *word = &span->words[w];
  uint64_t free_bits = atomic_load_explicit(&word->free, memory_order_relaxed);
  uint64_t taken = free_bits | atomic_load_explicit(&word->claimed, memory_order_relaxed) |
                   atomic_load_explicit(&word->remote, memory_order_relaxed);
  if (GM_UNLIKELY((taken >> (index % 64) & 1) != 0)) {
    free_twice(address, span);
    return;
  }
  atomic_store_explicit(&word->free, free_bits | (uint64_t)1 << (index % 64), memory_order_relaxed);
  uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
  atomic_store_explicit(&span->summary, summary | (uint64_t)1 << (w % 64), memory_order_relaxed);
  uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed) - 1;
  atomic_store_explicit(&span->taken_count, taken_count, memory_order_relaxed);
  // The first free object of a span that may have been full, or the last one.
  if (GM_UNLIKELY(summary == 0 || taken_count == 0))
    mcache_span_changed(cache, span);
}

GM_INLINE void free_inline(void *pointer) {
  uintptr_t address = (uintptr_t)pointer;
  struct mcache *cache = mcache_current;
  struct mspan *span = heap_arena_span_of(address);
  if (GM_UNLIKELY(span == NULL)) { // NULL comes here too: no arena has address 0
    free_not_a_block(address, NULL);
    return;
  }
  uint64_t index = mspan_divide(span, address);
  if (GM_UNLIKELY(index >= span->object_count)) {
    free_not_a_block(address, span);
    return;
  }
  if (GM_UNLIKELY(atomic_load_explicit(&span->owner, memory_order_relaxed) != cache)) {
    free_remote(address, span, index);
    return;
  }
  free_local(cache, span, index, address);
}

#endif

// The hot paths, inlined into gm_malloc and gm_free as well as into the exported malloc and free, so that
// neither costs a second call. The overview of the allocator is in malloc.c.
#ifndef GOMALLOC_MALLOC_INLINE_H
#define GOMALLOC_MALLOC_INLINE_H

#include "core/heap_arena.h"
#include "core/mcache.h"

// Slow paths, in malloc.c.
void *malloc_small_slow(struct mcache *cache, size_t size_class);
void *malloc_slow(size_t size);
void free_not_a_block(uintptr_t address, struct mspan *span);
void free_remote(uintptr_t address, struct mspan *span, uint64_t index);
void free_twice(uintptr_t address, struct mspan *span);

// An object of the class: from the slot's stack or active span, otherwise by the slow path. NULL with
// ENOMEM.
GM_INLINE void *malloc_of_class(struct mcache *cache, size_t size_class) {
  struct mcache_slot *slot = &cache->slots[size_class]; // the noscan half: see make_span_class
  if (GM_LIKELY(!mcache_stack_is_empty(slot)))
    return mcache_stack_pop(slot);
  uint64_t bits = slot->alloc_cache;
  return GM_LIKELY(bits != 0) ? mcache_slot_take(slot, bits) : malloc_small_slow(cache, size_class);
}

// The body of gm_malloc and malloc.
GM_INLINE void *malloc_inline(size_t size) {
  struct mcache *cache = mcache_current;
  if (!GM_LEVEL_TINY && size < GM_MIN_ALIGN)
    size = GM_MIN_ALIGN;
  struct mcache_slot *slot;
  if (GM_LIKELY(size <= SIZE_CLASS_FINE_MAX))
    slot = mcache_fine_slot(cache, size);
  else if (GM_LIKELY(size <= SIZE_CLASS_MAX))
    slot = &cache->slots[size_class_of(size)];
  else
    return malloc_slow(size);
  if (GM_LIKELY(!mcache_stack_is_empty(slot)))
    return mcache_stack_pop(slot);
  uint64_t bits = slot->alloc_cache;
  return GM_LIKELY(bits != 0) ? mcache_slot_take(slot, bits) : malloc_slow(size);
}

// The body of gm_free and free. What is no live block's address is reported, never applied.
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
  if (GM_UNLIKELY(GM_SHARED_LOAD(&span->owner) != cache)) {
    free_remote(address, span, index);
    return;
  }
  // The owner's free: plain loads and stores.
  uint8_t *state = &span->states[index];
  if (GM_UNLIKELY(mspan_state(state) != OBJECT_LIVE)) {
    free_twice(address, span);
    return;
  }
  struct mcache_slot *slot = span->slot;
  struct cached_object *top = slot->top;
  if (GM_UNLIKELY(top == slot->limit)) { // full, or closed: the object goes back to its span
    cache->passed_by++;
    if (GM_UNLIKELY(mspan_put_back(span, index)))
      mcache_span_changed(cache, span);
    return;
  }
  mspan_set_state(state, OBJECT_CACHED);
  top[1] = (struct cached_object){pointer, state};
  slot->top = top + 1;
}

#endif

// Arena tables. See heap_arena.h.
#include "core/heap_arena.h"

#include "core/mspan.h"
#include "core/sys_mem.h"

#include <string.h>

static_assert(ARENA_SIZE % CHUNK_SIZE == 0, "an arena is whole chunks");

// 32 MiB of zero address space; one page of it describes 32 GiB.
_Atomic(struct heap_arena *) heap_arena_map[ARENA_MAP_COUNT];

static struct heap_arena *arenas;

struct heap_arena *heap_arena_first(void) {
  return arenas;
}

struct heap_arena *heap_arena_add(uintptr_t base) {
  GM_ASSERT((base & (ARENA_SIZE - 1)) == 0 && base >> GM_ADDR_BITS == 0);
  // Not from persistent_alloc: the tables are 66 KiB, touched here and there.
  struct heap_arena *arena = sys_alloc(gm_align_up(sizeof *arena, GM_PAGE_SIZE));
  if (arena == NULL)
    return NULL;
  arena->base = base;
  for (size_t i = 0; i < ARENA_CHUNKS; i++)
    memset(arena->chunks[i].allocated, 0xff, sizeof arena->chunks[i].allocated);
  arena->next = arenas;
  arenas = arena;
  atomic_store_explicit(&heap_arena_map[base >> ARENA_SHIFT], arena, memory_order_release);
  return arena;
}

void heap_arena_set_spans(uintptr_t start, size_t npages, struct mspan *span) {
  for (size_t i = 0; i < npages; i++) {
    uintptr_t address = start + (i << GM_PAGE_SHIFT);
    struct heap_arena *arena = heap_arena_of(address);
    atomic_store_explicit(&arena->spans[(address >> GM_PAGE_SHIFT) & (ARENA_PAGES - 1)], span,
                          memory_order_release);
  }
}

struct mspan *heap_arena_find_span(uintptr_t address) {
  struct mspan *span = heap_arena_span_of(address);
  uintptr_t page = gm_align_down(address, GM_PAGE_SIZE);
  while (span == NULL || span == &mspan_returned) {
    if (page == 0 || heap_arena_of(page - 1) == NULL)
      return NULL;
    page -= GM_PAGE_SIZE;
    span = heap_arena_span_of(page);
  }
  bool inside = address >= span->start && address - span->start < span->npages << GM_PAGE_SHIFT;
  return inside ? span : NULL;
}

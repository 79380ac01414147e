// Arena tables. See heap_arena.h.
#include "core/heap_arena.h"

#include "core/errors.h"
#include "core/mspan.h"
#include "core/options.h"
#include "core/sys_mem.h"

#include <string.h>

static_assert(ARENA_SIZE % CHUNK_SIZE == 0, "an arena is whole chunks");
static_assert(sizeof(struct heap_arena) <= ARENA_SIZE / LINEAR_BITMAP_RATIO,
              "it fits its share of the bitmap area");
static_assert(sizeof(arena_span) == sizeof(void *), "an entry of the spans area");

// 32 MiB of zero address space; one page of it describes 32 GiB.
_Atomic(arena_span *) heap_arena_map[ARENA_MAP_COUNT];

static struct heap_arena *arenas;

struct heap_arena *heap_arena_first(void) {
  return arenas;
}

// The layout of this process, from the first arena on.
static void choose_layout(uintptr_t hint) {
  options_load();
  bool linear = gm_option_get(&gm_options.layout) == GM_LAYOUT_LINEAR;
  if (linear && !heap_linear_reserve(hint)) {
    errors_warn("gomalloc: no address space for the linear layout; using the sparse one\n");
    atomic_store_explicit(&gm_options.layout, GM_LAYOUT_SPARSE, memory_order_relaxed);
  }
  atomic_store_explicit(&gm_options.layout_chosen, true, memory_order_release);
}

uintptr_t heap_arena_reserve(uintptr_t hint, size_t size) {
  if (!atomic_load_explicit(&gm_options.layout_chosen, memory_order_relaxed))
    choose_layout(hint);
  if (heap_linear.arena_size != 0)
    return heap_linear_take(size);
  uintptr_t base = (uintptr_t)sys_reserve_aligned(hint, size, ARENA_SIZE);
  if (base != 0 && base + size > (uintptr_t)1 << GM_ADDR_BITS) {
    sys_free(base, size);
    return 0;
  }
  return base;
}

// Zeroed memory for an arena's table of spans and its struct.
static struct heap_arena *make_tables(uintptr_t base) {
  if (base - heap_linear.arena < heap_linear.arena_size) {
    void *spans = NULL;
    void *bitmap = NULL;
    if (!heap_linear_map_tables(base, &spans, &bitmap))
      return NULL;
    struct heap_arena *arena = bitmap;
    arena->spans = spans;
    return arena;
  }
  // Not from persistent_alloc: the tables are 66 KiB, touched here and there.
  struct heap_arena_tables *tables = sys_alloc(gm_align_up(sizeof *tables, GM_PAGE_SIZE));
  if (tables == NULL)
    return NULL;
  tables->arena.spans = tables->spans;
  return &tables->arena;
}

struct heap_arena *heap_arena_add(uintptr_t base) {
  GM_ASSERT((base & (ARENA_SIZE - 1)) == 0 && base >> GM_ADDR_BITS == 0);
  struct heap_arena *arena = make_tables(base);
  if (arena == NULL)
    return NULL;
  arena->base = base;
  for (size_t i = 0; i < ARENA_CHUNKS; i++)
    memset(arena->chunks[i].allocated, 0xff, sizeof arena->chunks[i].allocated);
  arena->next = arenas;
  arenas = arena;
  atomic_store_explicit(&heap_arena_map[base >> ARENA_SHIFT], arena->spans, memory_order_release);
  return arena;
}

void heap_arena_set_spans(uintptr_t start, size_t npages, struct mspan *span) {
  for (size_t i = 0; i < npages; i++) {
    uintptr_t address = start + (i << GM_PAGE_SHIFT);
    arena_span *spans = heap_arena_spans_of(address);
    atomic_store_explicit(&spans[(address >> GM_PAGE_SHIFT) & (ARENA_PAGES - 1)], span, memory_order_release);
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

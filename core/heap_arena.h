// The map from an address to its span: 64 MiB arenas, found through a table over 2^48 addresses, each with a
// table of its pages' spans and the page allocator's bitmaps (Go: heapArena and mheap.arenas, spanOf in
// mheap.go; as on linux/amd64 the first of Go's two levels has one entry, so the map is: arena index ->
// the arena's table of spans -> span).
//
// Two layouts lie behind it (GOMALLOC_LAYOUT):
//   sparse  arenas are reserved one by one, anywhere; each gets its tables from the kernel. The default.
//   linear  all arenas are one reservation, and so are their tables (heap_linear.h).
//
// Ownership: arenas are never unmapped. Threads: lookups take no lock (acquire loads, paired with the release
// stores of whoever publishes an arena or a span); changes are made under the heap lock. Errors: NULL.
#ifndef GOMALLOC_HEAP_ARENA_H
#define GOMALLOC_HEAP_ARENA_H

#include "core/heap_linear.h"

#include <stdatomic.h>

// 4,194,304 arenas of 64 MiB are 256 TiB.
#define ARENA_SHIFT     26
#define ARENA_SIZE      ((size_t)1 << ARENA_SHIFT)
#define ARENA_PAGES     (ARENA_SIZE >> GM_PAGE_SHIFT)
#define ARENA_MAP_COUNT ((size_t)1 << (GM_ADDR_BITS - ARENA_SHIFT))

// The page allocator's unit: 512 pages, 4 MiB.
#define CHUNK_PAGES_SHIFT 9
#define CHUNK_PAGES       (1U << CHUNK_PAGES_SHIFT)
#define CHUNK_WORDS       (CHUNK_PAGES / 64)
#define CHUNK_SHIFT       (GM_PAGE_SHIFT + CHUNK_PAGES_SHIFT)
#define CHUNK_SIZE        ((size_t)1 << CHUNK_SHIFT)
#define ARENA_CHUNKS      (ARENA_PAGES / CHUNK_PAGES)

struct mspan;

// One bit per page. Bits of pages that were never given to the page allocator say allocated.
struct page_chunk {
  uint64_t allocated[CHUNK_WORDS];
  uint64_t scavenged[CHUNK_WORDS]; // not backed by memory (Prepared), reads zero; only for free pages
};

// The span of a page, or NULL; small spans fill all their pages, large ones the first only (a block's address
// is the only thing that may be looked up). Pages of a span that went back to the page heap say
// &mspan_returned.
typedef _Atomic(struct mspan *) arena_span;

struct heap_arena {
  arena_span *spans; // ARENA_PAGES of them
  struct page_chunk chunks[ARENA_CHUNKS];
  uintptr_t base;
  size_t retained;         // free pages that are not scavenged
  struct heap_arena *next; // all arenas, newest first
};

// In the sparse layout the arena's struct follows its table of spans.
struct heap_arena_tables {
  arena_span spans[ARENA_PAGES];
  struct heap_arena arena;
};

extern _Atomic(arena_span *) heap_arena_map[ARENA_MAP_COUNT];

// The table of the arena that holds an address below 2^GM_ADDR_BITS, or NULL; addresses above share the
// entries of those below.
GM_INLINE arena_span *heap_arena_spans_of(uintptr_t address) {
  // Masked, not compared: an address outside the map finds some other arena's span at most, and cannot be the
  // start of one of its objects.
  uintptr_t index = (address >> ARENA_SHIFT) & (ARENA_MAP_COUNT - 1);
  return atomic_load_explicit(&heap_arena_map[index], memory_order_acquire);
}

// The arena of an address, or NULL, with the same caution. For the page heap; free() does without.
GM_INLINE struct heap_arena *heap_arena_of(uintptr_t address) {
  arena_span *spans = heap_arena_spans_of(address);
  if (spans == NULL)
    return NULL;
  struct heap_arena *linear = heap_linear_bitmap_of(spans);
  return linear != NULL ? linear : &((struct heap_arena_tables *)spans)->arena;
}

// The span whose page holds `address`, or NULL. Not for pages inside large spans: see heap_arena_find_span.
GM_INLINE struct mspan *heap_arena_span_of(uintptr_t address) {
  arena_span *spans = heap_arena_spans_of(address);
  if (GM_UNLIKELY(spans == NULL))
    return NULL;
  return atomic_load_explicit(&spans[(address >> GM_PAGE_SHIFT) & (ARENA_PAGES - 1)], memory_order_acquire);
}

// As heap_arena_span_of, and also right for addresses inside large spans, where it walks back: for error
// messages.
GM_COLD struct mspan *heap_arena_find_span(uintptr_t address);

// Address space for arenas: `size` bytes (a multiple of ARENA_SIZE) at a multiple of ARENA_SIZE below
// 2^GM_ADDR_BITS, Reserved. At `hint` if it can be, else anywhere. 0 when there is none. The first call reads
// the options and fixes the layout. Heap lock held.
uintptr_t heap_arena_reserve(uintptr_t hint, size_t size);

// Makes [base, base + ARENA_SIZE) known. NULL when the kernel refuses memory for the tables. Heap lock held.
struct heap_arena *heap_arena_add(uintptr_t base);

// Sets the map for pages [start, start + npages). Heap lock held.
void heap_arena_set_spans(uintptr_t start, size_t npages, struct mspan *span);

// All arenas, for walks under the heap lock.
struct heap_arena *heap_arena_first(void);

#endif

// The heap's 64 MiB arenas, and the map from an address to its span (Go: heapArena and mheap.arenas, spanOf in
// mheap.go). As on linux/amd64 the first of Go's two levels has one entry. The second is two tables here:
//
//   heap_arena_map   arena number -> the arena's struct, over 2^48 addresses: for the page heap
//   heap_pages       page number -> span: for free(), which so needs one step where Go takes two. It is address
//                    space for every page there can be, 256 GiB, of which 64 KiB for each arena become memory
//                    as they are written; all else reads zero. An arena's `spans` is its part of it.
//
// Where address space is limited, heap_pages is smaller and a page's number is taken modulo its size; arenas are
// then placed so that no two share entries. An address of no arena may find some arena's span there: whoever
// looks up an address that may not be the heap's compares it with what the span covers, as mspan_divide does.
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
// &mspan_returned, until all of the chunk is with the system: then NULL.
typedef _Atomic(struct mspan *) arena_span;

struct heap_arena {
  arena_span *spans; // ARENA_PAGES of them, in heap_pages
  struct page_chunk chunks[ARENA_CHUNKS];
  // Pages whose entry said &mspan_returned when heap_arena_forget_spans dropped it.
  uint64_t forgotten[ARENA_CHUNKS][CHUNK_WORDS];
  uintptr_t base;
  size_t retained;         // free pages that are not scavenged
  struct heap_arena *next; // all arenas, newest first
};

extern _Atomic(struct heap_arena *) heap_arena_map[ARENA_MAP_COUNT];

// `mask` is the number of entries, a power of two, less one. Before the first arena: one entry, NULL.
struct heap_pages {
  arena_span *entries;
  uintptr_t mask;
};

extern struct heap_pages heap_pages;

#define HEAP_PAGES_MAX ((size_t)1 << (GM_ADDR_BITS - GM_PAGE_SHIFT))

// The arena of an address below 2^GM_ADDR_BITS, or NULL; addresses above share the entries of those below.
GM_INLINE struct heap_arena *heap_arena_of(uintptr_t address) {
  uintptr_t index = (address >> ARENA_SHIFT) & (ARENA_MAP_COUNT - 1);
  return atomic_load_explicit(&heap_arena_map[index], memory_order_acquire);
}

// The span whose page holds `address`, or NULL; for an address of no arena possibly a span elsewhere. Not for
// pages inside large spans: see heap_arena_find_span.
GM_INLINE struct mspan *heap_arena_span_of(uintptr_t address) {
  // The mask first: while the first arena is made, a larger mask with the old entries would be wrong.
  uintptr_t page = (address >> GM_PAGE_SHIFT) & GM_SHARED_LOAD(&heap_pages.mask);
  atomic_signal_fence(memory_order_acquire);
  return atomic_load_explicit(&GM_SHARED_LOAD(&heap_pages.entries)[page], memory_order_acquire);
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

// Gives the map's memory for a chunk back to the system: all its pages are there already. Heap lock held.
void heap_arena_forget_spans(struct heap_arena *arena, unsigned chunk);

// Whether the page was a span's and the map has forgotten it. Any thread may ask.
GM_COLD bool heap_arena_was_span(uintptr_t address);

// All arenas, for walks under the heap lock.
struct heap_arena *heap_arena_first(void);

#endif

// The page heap: spans from pages and back, arenas from the system, the mcentrals (Go: mheap.go).
//
// Ownership: a span handed out belongs to the caller until mheap_free_span. Threads: any; one lock
// (LOCK_RANK_HEAP). Errors: NULL when the system refuses memory; errno is not touched. Units: pages of
// GM_PAGE_SIZE.
#ifndef GOMALLOC_MHEAP_H
#define GOMALLOC_MHEAP_H

#include "core/lock.h"
#include "core/mcentral.h"
#include "core/mspan.h"
#include "core/span_keep.h"

// The mcentrals are a cache line each, so that threads on different classes do not disturb each other.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct mheap {
  struct gm_lock lock; // alone in its line, which those who wait for it look at
  // Go's sweep generation: the swept lists of collected classes are chosen by it (mcentral.h). The collector advances
  // it by 2 per cycle while the world is stopped.
  uint32_t sweep_generation __attribute__((aligned(GM_CACHE_LINE)));

  // Counters under the lock, in pages or events.
  size_t mapped_pages; // handed to the page allocator
  size_t in_use_pages; // in spans
  uint64_t large_mallocs;
  uint64_t large_frees;
  uint64_t large_bytes; // ever handed out in large objects, growth in place included
  size_t span_count;
  size_t collected_pages; // of in_use_pages: in SPAN_COLLECTED spans

  struct mcentral central[SPAN_CLASS_COUNT];
};

extern struct mheap gm_heap;

// A span of free objects of `class` (not a large one). Its owner is NULL.
struct mspan *mheap_alloc_small(span_class class);

// A span of one object of npages > 0 pages that starts at a multiple of `align` (a power of two).
struct mspan *mheap_alloc_large(size_t npages, size_t align);

// A span for a collector's objects (SPAN_COLLECTED) with `state_bytes` of memory at its `states`, at most
// SPAN_CELLS_MAX, their content undefined. All its pages are in the arena map.
struct mspan *mheap_alloc_collected(size_t npages, size_t state_bytes);

// Takes such a span back; `state_bytes` as then.
void mheap_free_collected(struct mspan *span, size_t state_bytes);

// Grows (in place) or shrinks a large span. False when the following pages are not free.
bool mheap_resize_large(struct mspan *span, size_t npages);

// Takes a large span back if its block is live and starts at `address`; false when it was freed before. The
// heap lock decides between two threads that free the same block at once.
bool mheap_free_large(struct mspan *span, uintptr_t address);

// Takes the pages of a small span whose objects are all free; the struct stays its owner's. Heap lock held.
void mheap_take_pages(struct mspan *span);

// Takes the span back, of a hollow one only the struct; the caller holds no pointer to it afterwards.
void mheap_free_span(struct mspan *span);

// Takes spans that threads keep for their next mallocs (span_keep_collect). Returns how many pages they had. Heap lock
// held.
size_t mheap_take_kept(size_t most, enum span_keep_which which);

// Returns every free page, and the structs of spans that are gone, to the system. Returns the pages' bytes.
size_t mheap_release_all(void);

// Returns some structs of spans that are gone to the system; false when there are none. Heap lock held.
bool mheap_release_structs(void);

// Holds the structs' counts against their lists; returns the number of differences. Heap lock held.
int mheap_check_structs(void);

// The heap's lock, for those who call several of the functions above as one step.
void mheap_lock(void);
void mheap_unlock(void);

#endif

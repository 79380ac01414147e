// The page allocator: which pages of the heap are free, first fit by address, in O(log n) (Go: mpagealloc.go,
// mpallocbits.go).
//
// A bitmap of 512 pages (a chunk, kept in the heap arena) is a leaf. Above it lies a radix tree of five
// levels whose entries summarise what is free below them: the free pages at the start, the longest free run,
// the free pages at the end. 16384 root entries cover 16 GiB each; every level below splits into eight.
// Instead of Go's five flat arrays, reserved for the whole address space (600 MiB, which a limit on address
// space would refuse), the four lower levels of each root entry are one block, made when the heap first
// enters those 16 GiB.
//
// Units: pages of GM_PAGE_SIZE. Threads: the caller holds the heap lock. Errors: 0 (no address) when nothing
// fits.
#ifndef GOMALLOC_PAGE_ALLOC_H
#define GOMALLOC_PAGE_ALLOC_H

#include "core/heap_arena.h"

// Makes room for the summaries of [start, start + npages), whole chunks. False when the kernel refuses memory.
bool page_alloc_cover(uintptr_t start, size_t npages);

// Adds the free, scavenged pages of [start, start + npages), whole chunks of arenas that exist, which
// page_alloc_cover made room for.
void page_alloc_grow(uintptr_t start, size_t npages);

// Takes npages > 0 consecutive pages at the lowest address that fits, or 0. *scavenged gets the number of
// pages among them that were scavenged; those are Ready afterwards.
uintptr_t page_alloc_find(size_t npages, size_t *scavenged);

// Takes exactly [start, start + npages) if all of it is free; false otherwise. For growing a block in place.
bool page_alloc_take_at(uintptr_t start, size_t npages, size_t *scavenged);

// Gives back pages that are Ready.
void page_alloc_free(uintptr_t start, size_t npages);

// Returns up to `npages` free pages to the system (rounded up to whole runs), highest addresses first.
// Returns pages.
size_t page_alloc_scavenge(size_t npages);

// Takes a run of at most `most` free pages that are backed by memory, at a high address; *start gets its
// address. Returns its length, 0 when there is none. To be given back to the system without the heap lock.
size_t page_alloc_take_retained(size_t most, uintptr_t *start);

// Frees pages that page_alloc_take_retained took and the caller made Prepared.
void page_alloc_give_scavenged(uintptr_t start, size_t npages);

// When at least half of the chunk's pages are free and scavenged: tells the system that none of them is needed, for
// huge pages bring pages that nobody asked for. False when it is less.
bool page_alloc_drop_scavenged(uintptr_t chunk);

// Takes back a page_alloc_find whose pages were all scavenged and were not touched since. False, and nothing
// done, when they are not in one chunk.
bool page_alloc_undo(uintptr_t start, size_t npages);

struct page_alloc_counts {
  size_t free;      // pages that could be handed out
  size_t scavenged; // those of them that are not backed by memory
};

// The counts now.
struct page_alloc_counts page_alloc_counts(void);

// Recomputes all summaries and counts from the bitmaps; returns the number of differences and reports each.
int page_alloc_check(void);

#endif

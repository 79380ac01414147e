// Free page runs kept by their length, in front of the page allocator (Go: mpagecache.go, whose caches hold
// 64 pages of a chunk). What a program frees it mostly asks for again soon, in the same size: taking such a
// run is a few instructions, where the page allocator searches and updates its summaries. The runs stay
// marked as allocated in the page allocator's bitmaps, and their content is old.
//
// The last run freed is taken first, for the processor's cache; and each thread's runs are kept in one of a few shards
// and its own shard is asked first, because memory that another processor wrote last is dear. The cache is small beside the heap, because
// its pages cannot join their neighbours; when it is over its limit all of it goes back to the page
// allocator.
//
// Units: pages. Threads: the caller holds the heap lock. Errors: 0 or false when there is nothing, or no
// room.
#ifndef GOMALLOC_PAGE_CACHE_H
#define GOMALLOC_PAGE_CACHE_H

#include "core/base.h"

// Runs of up to this many pages are kept.
#define PAGE_CACHE_RUN_MAX 64

// Takes a run of at least npages and at most `most` pages; *npages gets its length. 0 when there is none.
uintptr_t page_cache_take(size_t *npages, size_t most);

// Keeps a run. False when it is too long, or when there is no room for more runs.
bool page_cache_put(uintptr_t start, size_t npages);

// Pages in the cache.
size_t page_cache_pages(void);

// The calling thread's runs go to a shard by this number, and it asks there first. Without the heap lock.
void page_cache_use_shard(unsigned number);

// Gives all runs to the page allocator.
void page_cache_flush(void);

// Holds the counts against the lists and calls visit for each run; returns the number of differences.
int page_cache_check(void (*visit)(uintptr_t start, size_t npages, void *context), void *context);

#endif

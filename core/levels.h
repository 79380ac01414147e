// The levels between a request and the page heap, as switches: `heaparena run --ablate` measures gomalloc with one of
// them left out, to show what each buys. ablation.cmake builds those libraries; every other build has all levels, and
// a level that is there costs nothing here, for the compiler sees a constant.
//
// A library without a level is as correct as the whole: it passes the same conformance test.
#ifndef GOMALLOC_LEVELS_H
#define GOMALLOC_LEVELS_H

// Requests below 16 bytes share blocks of 16; without: each gets 16 bytes (malloc_inline.h, size_class.h).
#ifndef GM_LEVEL_TINY
#define GM_LEVEL_TINY 1
#endif

// A thread has a cache of its own; without: all use the shared one under its lock, and every free is a remote one
// (mcache_thread.c).
#ifndef GM_LEVEL_MCACHE
#define GM_LEVEL_MCACHE 1
#endif

// A class has a stack of freed objects; without: they go back to their spans, one bit each (mcache.c).
#ifndef GM_LEVEL_STACK
#define GM_LEVEL_STACK 1
#endif

// A thread keeps large blocks that it freed; without: they go to the page heap (mcache_large.c).
#ifndef GM_LEVEL_LARGE_CACHE
#define GM_LEVEL_LARGE_CACHE 1
#endif

// Spans that ended threads left serve others; without: new spans come straight from the page heap, and what ended
// threads left waits until it is empty or somebody frees an object in it (mcentral.c).
#ifndef GM_LEVEL_MCENTRAL
#define GM_LEVEL_MCENTRAL 1
#endif

// Free page runs are kept by length; without: each goes to the page allocator and its summary tree
// (page_cache.c).
#ifndef GM_LEVEL_PAGE_CACHE
#define GM_LEVEL_PAGE_CACHE 1
#endif

#endif

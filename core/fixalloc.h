// Memory for gomalloc's own structures: persistent_alloc never gives back, fixalloc recycles objects of one
// size through a free list (Go: mfixalloc.go and persistentalloc in malloc.go).
//
// Memory of a fixalloc stays memory of that fixalloc for ever, so a stale pointer to a freed struct still
// points at a struct of the same type. The span lookup of free() relies on it.
//
// Units: bytes. Threads: the caller holds the heap lock (or is alone, in tests). Errors: NULL when the kernel
// refuses memory.
#ifndef GOMALLOC_FIXALLOC_H
#define GOMALLOC_FIXALLOC_H

#include "core/base.h"

// Zeroed memory at a multiple of `align` (a power of two, at most GM_PAGE_SIZE).
void *persistent_alloc(size_t size, size_t align);
// Bytes that persistent_alloc took from the kernel.
size_t persistent_reserved(void);

struct fixalloc {
  size_t size;     // bytes per object, a multiple of GM_CACHE_LINE
  void *free_list; // freed objects, linked through their first word
  size_t in_use;   // objects handed out and not freed
};

// An allocator of objects of `size` bytes; it has no memory before the first is asked for.
void fixalloc_init(struct fixalloc *fixed, size_t size);
// A cache-line aligned object; its content is undefined.
void *fixalloc_alloc(struct fixalloc *fixed);
void fixalloc_free(struct fixalloc *fixed, void *object);

#endif

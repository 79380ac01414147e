// Memory for gomalloc's own structures: persistent_alloc never gives back, fixalloc recycles objects of one
// size (Go: mfixalloc.go and persistentalloc in malloc.go). Go's keeps what it has; here a slab whose objects are
// all free goes back to the system when fixalloc_release is called, so that a program that freed everything does
// not keep a byte for each block that it once had.
//
// Addresses of a fixalloc stay addresses of that fixalloc for ever, so a stale pointer to a freed struct still
// points at a struct of the same type, or at zeros. The span lookup of free() relies on it.
//
// Units: bytes. Threads: the caller holds the heap lock (or is alone, in tests). Errors: NULL when the kernel
// refuses memory.
#ifndef GOMALLOC_FIXALLOC_H
#define GOMALLOC_FIXALLOC_H

#include "core/base.h"

// Zeroed memory at a multiple of `align` (a power of two, at most GM_PAGE_SIZE).
void *persistent_alloc(size_t size, size_t align);
// Bytes that persistent_alloc, and all fixallocs, took from the kernel.
size_t persistent_reserved(void);

// Objects come from slabs of so many bytes at a multiple of as many; the first cache line leads to the slab's
// struct, which lies elsewhere. The first few objects are persistent memory instead, so that a small program does not
// have a page of memory for each kind of struct.
#define FIXALLOC_SLAB ((size_t)16 << 10)

struct fixalloc_slab {
  uintptr_t start; // of the objects
  uint32_t room;   // how many there are
  uint32_t in_use; // objects handed out and not freed
  void *free_list; // freed objects, linked through their first word
  uint32_t made;   // objects handed out since the slab came from the system: what lies behind was not touched
  struct fixalloc_slab *next; // on its list; `previous` only on `partial`
  struct fixalloc_slab *previous;
  struct fixalloc_slab *older; // all slabs of the fixalloc
};

#define FIXALLOC_STARTER_BYTES 1024

struct fixalloc {
  size_t size;                   // bytes per object, a multiple of GM_CACHE_LINE
  size_t in_use;                 // objects handed out and not freed
  struct fixalloc_slab starter;  // the persistent objects: as many as fit into FIXALLOC_STARTER_BYTES, or one
  struct fixalloc_slab *partial; // some objects in use, some free; what got room last comes first
  struct fixalloc_slab *empty;   // none in use
  struct fixalloc_slab *released; // none in use, and not backed by memory
  struct fixalloc_slab *newest;   // of all slabs
};

// An allocator of objects of `size` bytes, which fit in a slab; it has no memory before the first is asked
// for.
void fixalloc_init(struct fixalloc *fixed, size_t size);
// A cache-line aligned object; its content is undefined.
void *fixalloc_alloc(struct fixalloc *fixed);
void fixalloc_free(struct fixalloc *fixed, void *object);

// Gives one slab without objects in use back to the system; false when there is none.
bool fixalloc_release(struct fixalloc *fixed);

// Holds the counts against the lists; returns the number of differences.
int fixalloc_check(const struct fixalloc *fixed);

#endif

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

// Objects come from slabs of so many bytes at a multiple of as many; a slab's struct is its first cache line, and goes
// back to the system with it. The first few objects are persistent memory instead, so that a small program does not
// have a page of memory for each kind of struct.
#define FIXALLOC_SLAB ((size_t)16 << 10)

struct fixalloc_slab {
  uintptr_t start;            // of the objects
  uint32_t room;              // how many there are
  uint32_t in_use;            // objects handed out and not freed
  void *free_list;            // freed objects, linked through their first word
  struct fixalloc_slab *next; // on its list; `previous` only on `partial`
  struct fixalloc_slab *previous;
  struct fixalloc_area *area; // that it lies in
  uint32_t made; // objects handed out since the slab came from the system: what lies behind was not touched
};

// Address space for slabs of one fixalloc, all that is left of those that were given back: so what a large heap leaves
// behind is a few words for each of these.
struct fixalloc_area {
  uintptr_t start;
  uint32_t room;                       // slabs
  uint32_t made;                       // slabs that were ever used
  uint64_t released;                   // bit n: slab n was used and is not backed by memory
  struct fixalloc_area *next_released; // on `released`
  struct fixalloc_area *older;         // all of the fixalloc
};

#define FIXALLOC_STARTER_BYTES 1024

struct fixalloc {
  size_t size;                   // bytes per object, a multiple of GM_CACHE_LINE
  size_t in_use;                 // objects handed out and not freed
  struct fixalloc_slab starter;  // the persistent objects: as many as fit into FIXALLOC_STARTER_BYTES, or one
  struct fixalloc_slab *partial; // some objects in use, some free; what got room last comes first
  struct fixalloc_slab *empty;   // none in use
  struct fixalloc_area *released; // areas with slabs that are not backed by memory
  struct fixalloc_area *newest;   // of all areas
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

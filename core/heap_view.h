// What every page of the heap is at one moment, for those who draw it: which span, or which state of
// address space (sys_mem.h). White-box: adapters find the function in libgomalloc.so by its name.
//
// Idea: Go's heapdump.go and the runtime's arena bitmaps, seen from the page heap down.
#ifndef GOMALLOC_HEAP_VIEW_H
#define GOMALLOC_HEAP_VIEW_H

#include "core/base.h"

enum gm_view_state {
  GM_VIEW_RESERVED, // address space of an arena that the page allocator never got
  GM_VIEW_PREPARED, // free, not backed by memory: never used, or given back to the system
  GM_VIEW_READY,    // free, kept for reuse
  GM_VIEW_SPAN,     // in a span
};

// A run of pages that are alike. Units: bytes, objects.
struct gm_view_range {
  uintptr_t start;
  size_t size;
  enum gm_view_state state;
  // Of spans, else 0. size_class 0: one large object, or, with object_size 0, a collector's objects.
  unsigned size_class;
  size_t object_size;
  uint64_t objects;      // that have room
  uint64_t live_objects; // handed out and not freed; exact if no other thread allocates or frees
};

// Calls visit for every range of every arena; within an arena first the spans, then the rest, each by
// address; arenas in no order. Ranges do not overlap. All heap locks are held meanwhile: visit must neither
// allocate nor free. Returns the number of ranges. Any thread; costs a look at every page and every object's
// state.
size_t gm_heap_view(void (*visit)(const struct gm_view_range *range, void *context), void *context);

#endif

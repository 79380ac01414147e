// Copying what is reachable out of one range to the top of a space, by Cheney's algorithm: "A nonrecursive
// list compacting algorithm" (CACM 13(11), 1970). The copied objects are their own queue: those between
// `scan` and the space's top still hold references into the range. An object that was copied leaves its new
// address, plus 1, in place of its header.
//
// The target must have room for everything in the range: the caller sees to that before it begins, so that
// nothing can run out half-way. Units: bytes. Threads: the world is stopped.
#ifndef GOMALLOC_GC_EVACUATE_H
#define GOMALLOC_GC_EVACUATE_H

#include "core/gc/linear_space.h"

struct evacuation {
  struct gc_heap *heap;
  uintptr_t from; // the range that is left
  size_t bytes;
  uintptr_t to;   // where the next copy goes
  uintptr_t scan; // copies below this have been looked through
  uint64_t objects;
};

// Begins an evacuation of [from, from + bytes) to `space`'s top.
struct evacuation evacuation_begin(struct gc_heap *heap, uintptr_t from, size_t bytes,
                                   const struct linear_space *space);

// Makes *slot lead to the copy, if it leads into the range; copies the object if that was not done.
void evacuation_slot(struct evacuation *evacuation, void **slot);

// Evacuates from all roots, then follows the copies until none holds a reference into the range. Then `space`
// holds the copies, and the figures count them as moved.
void evacuation_run(struct evacuation *evacuation, struct linear_space *space);

#endif

// Mark and compact over one range of linear memory: what is reachable is found, then slid down over the gaps,
// keeping its order. The whole of markcompact, and the old generation of generational.
//
//   1. mark: from the roots, depth first over a stack; every live object's words get their bits (mark_bits.h)
//   2. sum: how many live words stand in front of each group of 64
//   3. slide: in order of addresses, each live object's references are rewritten and the object is moved down
//
// Where an object goes follows from the bits alone: base + 8 x the live words in front of it. So one pass
// over the live objects does, which need no room for a forwarding address, and every reference is rewritten
// exactly once. Idea: the sliding of LISP-2 (Knuth 2.5 exercise 33), with the bitmap and offset table of
// Compressor (Kermany and Petrank, PLDI 2006).
//
// A collection takes no memory: bits, sums and the mark stack for the worst case (every object of 16 bytes
// reachable) are reserved with the heap, and the system backs what is touched. So it cannot run out half-way.
//
// Units: bytes. Threads: the world is stopped.
#ifndef GOMALLOC_GC_COMPACT_H
#define GOMALLOC_GC_COMPACT_H

#include "core/gc/collector.h"
#include "core/gc/mark_bits.h"

struct compactor {
  struct gc_heap *heap;
  uintptr_t base;
  size_t bytes; // of the range
  struct mark_bits marks;
  uintptr_t *stack; // headers of objects that are marked and not scanned
  size_t depth;
  void *memory; // of the tables
  size_t memory_bytes;
  uint64_t live_objects;
};

// False and a line in `why` when the system gives no address space.
bool compactor_open(struct compactor *compactor, struct gc_heap *heap, uintptr_t base, size_t bytes,
                    char *why, size_t why_size);
void compactor_close(struct compactor *compactor);

// Where objects lie: [start, end), start at a multiple of 512 bytes from the compactor's base.
struct compact_range {
  uintptr_t start;
  uintptr_t end;
};

// Collects: objects lie in the `count` ranges, which rise, and afterwards from base to the returned address.
// All bits are clear before and after. Updates live_bytes, live_objects and moved_bytes of the heap's
// figures.
uintptr_t compactor_run(struct compactor *compactor, const struct compact_range *ranges, size_t count);

#endif

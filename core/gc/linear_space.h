// The memory of a collector over a linear (bump) region, and the walk over the objects in it.
//
//   base ........ top ........ fresh ........ end
//   | objects     | dirty      | zero         |
//
// Objects stand one behind the other from `base` to `top`, each behind its header (mutator.h), a multiple of
// 8 bytes. Threads take pieces at `top` and hand out objects inside them without asking (gc_thread.cursor and
// limit); what a thread leaves of its piece becomes a filler, an object of type 0, so that the walk finds its
// way. Memory between top and fresh held objects once; it is cleared in pieces when it is taken, just before
// its use, so that clearing also fetches it into the cache. Memory above fresh was never written since the
// system gave it.
//
// Under AddressSanitizer the dirty memory is poisoned: a reference to where an object was before it moved is
// found at its first use. With options.verify it is filled with GC_STALE_BYTE instead.
//
// Units: bytes. Threads: the heap's only mutator. Errors: false when there is no room; nothing has changed
// then.
#ifndef GOMALLOC_GC_LINEAR_SPACE_H
#define GOMALLOC_GC_LINEAR_SPACE_H

#include "core/gc/collector.h"

#define LINEAR_CHUNK      ((size_t)32 << 10) // what a thread takes at a time
#define LINEAR_MOST_BYTES ((size_t)32 << 30) // 2^32 words of 8 bytes: compact.c counts them in 32 bits
#define GC_STALE_BYTE     0xd5

struct linear_space {
  uintptr_t base;
  uintptr_t top;
  uintptr_t fresh;
  uintptr_t end;
};

// What a thread of a linear collector carries: gc_thread.collector_thread.
struct linear_thread {
  uintptr_t piece;     // where its piece began; allocations since then are not in the figures
  uint64_t until_next; // allocations until a stress collection
};

// Makes [base, end) an empty space whose memory reads zero.
void linear_open(struct linear_space *space, uintptr_t base, size_t bytes);

// Reserves and maps address space: NULL when the system refuses. linear_unmap() gives it back.
void *linear_map(size_t bytes);
void linear_unmap(void *start, size_t bytes);

// Gives `bytes` at the top, cleared, or returns 0 when they would go beyond `bound`, which is at most
// space->end.
uintptr_t linear_take(struct linear_space *space, size_t bytes, uintptr_t bound);

// Gives the memory above `keep` back to the system, as far as it is dirty.
void linear_trim(struct linear_space *space, uintptr_t keep);

// The objects above `top` are gone: makes that memory dirty and no longer readable where that can be checked.
// `was` is the top before.
void linear_evacuated(struct linear_space *space, uintptr_t top, uintptr_t was, bool verify);

// Ends the thread's piece: what it holds of the space goes back, or becomes a filler; counts its allocations.
void linear_retire(struct gc_thread *thread, struct linear_space *space);

// The same for all threads of the heap.
void linear_retire_all(struct gc_heap *heap, struct linear_space *space);

// Hands the thread an object of `whole` bytes (header included) from a new piece that ends at `bound` at
// most; the piece is a chunk, or just the object with options.stress. NULL when there is no room.
void *linear_refill(struct gc_thread *thread, struct linear_space *space, const struct gc_type *type,
                    size_t count, size_t whole, uintptr_t bound);

// Header of the object that `reference` names, and back.
GM_INLINE gc_header *linear_header(void *reference) {
  return (gc_header *)reference - 1;
}

// The type that a header names, and the number of elements it says.
GM_INLINE const struct gc_type *linear_type(const struct gc_heap *heap, gc_header header) {
  return &heap->types[(header >> GC_HEADER_TYPE_SHIFT) & (GC_MOST_TYPES - 1)];
}

// Elements of an array.
GM_INLINE size_t linear_count(gc_header header) {
  return header >> GC_HEADER_COUNT_SHIFT;
}

// The header of an object of `count` elements.
GM_INLINE gc_header linear_make_header(const struct gc_type *type, size_t count) {
  return (gc_header)count << GC_HEADER_COUNT_SHIFT | (gc_header)type->id << GC_HEADER_TYPE_SHIFT;
}

// Bytes of an object with its header; of a filler the count is in words of 8 bytes, header included.
GM_INLINE size_t linear_whole(const struct gc_type *type, gc_header header) {
  return type->id == 0 ? linear_count(header) * 8 : gc_whole_bytes(linear_count(header) * type->size);
}

// Visits each place of a reference in an object.
#define LINEAR_EACH_FIELD(object, type, count, field, body)                                                  \
  do {                                                                                                       \
    unsigned char *element_ = (object);                                                                      \
    for (size_t element_index_ = 0; element_index_ < (count); element_index_++, element_ += (type)->size)    \
      for (uint32_t pointer_index_ = 0; pointer_index_ < (type)->pointer_count; pointer_index_++) {          \
        void **field /* NOLINT(bugprone-macro-parentheses): declares it */ =                                 \
            (void **)(element_ + (type)->pointers[pointer_index_]);                                          \
        body;                                                                                                \
      }                                                                                                      \
  } while (0)

// Walks the objects of [space->base, space->top), fillers left out, in order.
typedef void linear_visit(void *object, const struct gc_type *type, size_t count, void *argument);
void linear_walk(struct gc_heap *heap, const struct linear_space *space, linear_visit *visit, void *argument);

// Checks the spaces of a heap (the pieces of its threads are retired): headers are sound, objects fill the
// spaces, and every reference of objects and roots into [low, high) is the start of an object. Faults, each
// said on stderr.
uint64_t linear_check(struct gc_heap *heap, const struct linear_space *const *spaces, size_t count);

// One line on stderr about a fault at `address`.
void linear_say(const struct gc_heap *heap, const char *what, uintptr_t address);

#endif

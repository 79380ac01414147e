// See evacuate.h.
#include "core/gc/evacuate.h"

#include "core/gc/poison.h"

#define FORWARDED 1u

struct evacuation evacuation_begin(struct gc_heap *heap, uintptr_t from, size_t bytes,
                                   const struct linear_space *space) {
  gc_unpoison(space->top, space->fresh - space->top);
  return (struct evacuation){
      .heap = heap, .from = from, .bytes = bytes, .to = space->top, .scan = space->top};
}

GM_INLINE void follow(struct evacuation *evacuation, void **slot) {
  uintptr_t at = (uintptr_t)*slot - GC_HEADER_BYTES;
  if (at - evacuation->from >= evacuation->bytes)
    return;
  gc_header header = *(gc_header *)at;
  if (header & FORWARDED) {
    *slot = (void *)(header - FORWARDED);
    return;
  }
  size_t whole = linear_whole(linear_type(evacuation->heap, header), header);
  uintptr_t to = evacuation->to;
  // Most objects are a few words: copied here, without a call.
  if (whole <= 64)
    for (size_t i = 0; i < whole; i += 8)
      *(uint64_t *)(to + i) = *(const uint64_t *)(at + i);
  else
    memcpy((void *)to, (const void *)at, whole);
  evacuation->to = to + whole;
  evacuation->objects++;
  *(gc_header *)at = (to + GC_HEADER_BYTES) | FORWARDED;
  *slot = (void *)(to + GC_HEADER_BYTES);
}

void evacuation_slot(struct evacuation *evacuation, void **slot) {
  follow(evacuation, slot);
}

static void follow_root(void **slot, void *argument) {
  follow(argument, slot);
}

void evacuation_run(struct evacuation *evacuation, struct linear_space *space) {
  gc_each_root(evacuation->heap, follow_root, evacuation);
  while (evacuation->scan < evacuation->to) {
    gc_header header = *(gc_header *)evacuation->scan;
    const struct gc_type *type = linear_type(evacuation->heap, header);
    LINEAR_EACH_FIELD((unsigned char *)evacuation->scan + GC_HEADER_BYTES, type, linear_count(header), field,
                      follow(evacuation, field));
    evacuation->scan += linear_whole(type, header);
  }
  evacuation->heap->figures.moved_bytes += evacuation->to - space->top;
  space->top = evacuation->to;
  if (space->fresh < space->top)
    space->fresh = space->top;
  gc_poison(space->top, space->fresh - space->top);
}

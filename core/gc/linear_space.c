// See linear_space.h.
#include "core/gc/linear_space.h"

#include "core/errors.h"
#include "core/gc/poison.h"
#include "core/sys_mem.h"

void linear_open(struct linear_space *space, uintptr_t base, size_t bytes) {
  *space = (struct linear_space){.base = base, .top = base, .fresh = base, .end = base + bytes};
}

void *linear_map(size_t bytes) {
  void *start = sys_reserve(0, bytes);
  if (!start)
    return NULL;
  if (!sys_map((uintptr_t)start, bytes)) {
    sys_free((uintptr_t)start, bytes);
    return NULL;
  }
  sys_used((uintptr_t)start, bytes);
  return start;
}

void linear_unmap(void *start, size_t bytes) {
  gc_unpoison((uintptr_t)start, bytes);
  sys_free((uintptr_t)start, bytes);
}

uintptr_t linear_take(struct linear_space *space, size_t bytes, uintptr_t bound) {
  uintptr_t at = space->top;
  if (bound < at || bound - at < bytes)
    return 0;
  gc_unpoison(at, bytes);
  if (at < space->fresh) {
    size_t dirty = space->fresh - at;
    memset((void *)at, 0, dirty < bytes ? dirty : bytes);
  }
  space->top = at + bytes;
  if (space->fresh < space->top)
    space->fresh = space->top;
  return at;
}

void linear_trim(struct linear_space *space, uintptr_t keep) {
  uintptr_t from = gm_align_up(keep > space->top ? keep : space->top, GM_PAGE_SIZE);
  uintptr_t to = gm_align_up(space->fresh, GM_PAGE_SIZE);
  if (to > space->end)
    to = space->end;
  if (from >= to)
    return;
  sys_unused(from, to - from);
  sys_used(from, to - from);
  space->fresh = from;
}

void linear_evacuated(struct linear_space *space, uintptr_t top, uintptr_t was, bool verify) {
  if (verify && was > top)
    memset((void *)top, GC_STALE_BYTE, was - top);
  if (space->fresh > top)
    gc_poison(top, space->fresh - top);
  space->top = top;
}

void linear_retire(struct gc_thread *thread, struct linear_space *space) {
  struct linear_thread *own = thread->collector_thread;
  if (!thread->cursor)
    return;
  uintptr_t cursor = (uintptr_t)thread->cursor;
  size_t left = (size_t)(thread->limit - thread->cursor);
  thread->heap->figures.allocated_bytes += cursor - own->piece;
  if (cursor + left == space->top) {
    gc_poison(cursor, left);
    space->top = cursor;
  } else if (left > 0)
    *(gc_header *)cursor = (gc_header)(left / 8) << GC_HEADER_COUNT_SHIFT;
  thread->cursor = thread->limit = NULL;
}

void linear_retire_all(struct gc_heap *heap, struct linear_space *space) {
  for (unsigned i = 0; i < GC_MOST_THREADS; i++)
    if (heap->threads[i])
      linear_retire(heap->threads[i], space);
}

void *linear_refill(struct gc_thread *thread, struct linear_space *space, const struct gc_type *type,
                    size_t count, size_t whole, uintptr_t bound) {
  linear_retire(thread, space);
  size_t piece = whole;
  if (thread->heap->options.stress == 0 && whole < LINEAR_CHUNK && bound > space->top &&
      bound - space->top >= whole)
    piece = bound - space->top < LINEAR_CHUNK ? gm_align_down(bound - space->top, 8) : LINEAR_CHUNK;
  uintptr_t at = linear_take(space, piece, bound);
  if (at == 0)
    return NULL;
  ((struct linear_thread *)thread->collector_thread)->piece = at;
  thread->cursor = (unsigned char *)at + whole;
  thread->limit = (unsigned char *)at + piece;
  *(gc_header *)at = linear_make_header(type, count);
  return (gc_header *)at + 1;
}

void linear_walk(struct gc_heap *heap, const struct linear_space *space, linear_visit *visit,
                 void *argument) {
  for (uintptr_t at = space->base; at < space->top;) {
    gc_header header = *(gc_header *)at;
    const struct gc_type *type = linear_type(heap, header);
    if (type->id != 0)
      visit((gc_header *)at + 1, type, linear_count(header), argument);
    at += linear_whole(type, header);
  }
}

void linear_say(const struct gc_heap *heap, const char *what, uintptr_t address) {
  char line[160];
  struct text_buffer text = {line, sizeof line - 2, 0};
  text_append(&text, "gc: ");
  text_append(&text, heap->collector->name);
  text_append(&text, ": ");
  text_append(&text, what);
  text_append(&text, " at ");
  text_append_hex(&text, address);
  text_append(&text, "\n");
  text_write_stderr(&text);
}

// See compact.h.
#include "core/gc/compact.h"

#include "core/gc/linear_space.h"
#include "core/gc/poison.h"

#include <stdio.h>

// An object is at least a header and a word: at most one in 16 bytes.
#define LEAST_OBJECT 16

bool compactor_open(struct compactor *compactor, struct gc_heap *heap, uintptr_t base, size_t bytes,
                    char *why, size_t why_size) {
  size_t tables = mark_bits_bytes(bytes / 8);
  size_t stack = gm_align_up(bytes / LEAST_OBJECT * sizeof(uintptr_t), GM_PAGE_SIZE);
  *compactor = (struct compactor){.heap = heap, .base = base, .bytes = bytes, .memory_bytes = tables + stack};
  compactor->memory = linear_map(tables + stack);
  if (!compactor->memory) {
    (void)snprintf(why, why_size, "the system gives no address space for the mark tables (%zu bytes)",
                   tables + stack);
    return false;
  }
  mark_bits_open(&compactor->marks, compactor->memory, bytes / 8);
  compactor->stack = (uintptr_t *)((uintptr_t)compactor->memory + tables);
  return true;
}

void compactor_close(struct compactor *compactor) {
  linear_unmap(compactor->memory, compactor->memory_bytes);
}

GM_INLINE size_t word_of(const struct compactor *compactor, uintptr_t address) {
  return (address - compactor->base) / 8;
}

// Marks the object that `reference` names, and puts it on the stack if it holds references itself.
GM_INLINE void mark(struct compactor *compactor, void *reference) {
  uintptr_t at = (uintptr_t)reference - GC_HEADER_BYTES;
  if (at - compactor->base >= compactor->bytes)
    return; // NULL, or not of this heap
  size_t word = word_of(compactor, at);
  if (mark_bits_get(&compactor->marks, word))
    return;
  gc_header header = *(gc_header *)at;
  const struct gc_type *type = linear_type(compactor->heap, header);
  mark_bits_set(&compactor->marks, word, linear_whole(type, header) / 8);
  compactor->live_objects++;
  if (type->pointer_count > 0)
    compactor->stack[compactor->depth++] = at;
}

static void mark_root(void **slot, void *argument) {
  mark(argument, *slot);
}

static void mark_all(struct compactor *compactor) {
  gc_each_root(compactor->heap, mark_root, compactor);
  while (compactor->depth > 0) {
    gc_header *at = (gc_header *)compactor->stack[--compactor->depth];
    const struct gc_type *type = linear_type(compactor->heap, *at);
    LINEAR_EACH_FIELD((unsigned char *)(at + 1), type, linear_count(*at), field, mark(compactor, *field));
  }
}

GM_INLINE void forward(const struct compactor *compactor, void **slot) {
  uintptr_t at = (uintptr_t)*slot - GC_HEADER_BYTES;
  if (at - compactor->base < compactor->bytes)
    *slot = (void *)(compactor->base + 8 * mark_bits_rank(&compactor->marks, word_of(compactor, at)) +
                     GC_HEADER_BYTES);
}

static void forward_root(void **slot, void *argument) {
  forward(argument, slot);
}

// Slides the live objects of words [word, end) down to `to`; returns where the last of them ends.
static uintptr_t slide(struct compactor *compactor, size_t word, size_t end, uintptr_t to) {
  word = mark_bits_next(&compactor->marks, word, end);
  while (word < end) {
    uintptr_t from = compactor->base + 8 * word;
    gc_header header = *(gc_header *)from;
    const struct gc_type *type = linear_type(compactor->heap, header);
    size_t whole = linear_whole(type, header);
    LINEAR_EACH_FIELD((unsigned char *)from + GC_HEADER_BYTES, type, linear_count(header), field,
                      forward(compactor, field));
    if (to != from) {
      // Between the objects there may be poison: what is moved over it must be accessible first.
      gc_unpoison(to, whole);
      memmove((void *)to, (void *)from, whole);
      compactor->heap->figures.moved_bytes += whole;
    }
    to += whole;
    word = mark_bits_next(&compactor->marks, word + whole / 8, end);
  }
  return to;
}

uintptr_t compactor_run(struct compactor *compactor, const struct compact_range *ranges, size_t count) {
  struct mark_bits *marks = &compactor->marks;
  uintptr_t top = compactor->base;
  size_t live = 0;
  compactor->live_objects = 0;
  mark_all(compactor);
  for (size_t i = 0; i < count; i++)
    live = mark_bits_sum(marks, word_of(compactor, ranges[i].start), word_of(compactor, ranges[i].end), live);
  gc_each_root(compactor->heap, forward_root, compactor);
  for (size_t i = 0; i < count; i++)
    top = slide(compactor, word_of(compactor, ranges[i].start), word_of(compactor, ranges[i].end), top);
  for (size_t i = 0; i < count; i++)
    mark_bits_clear(marks, word_of(compactor, ranges[i].start), word_of(compactor, ranges[i].end));
  GM_CHECK(top == compactor->base + 8 * live);
  compactor->heap->figures.live_bytes = 8 * live;
  compactor->heap->figures.live_objects = compactor->live_objects;
  return top;
}

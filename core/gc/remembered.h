// The remembered set: the fields of old objects that may hold references into the nursery. The barrier
// (gc_store) reports a field when such a reference is stored; a minor collection takes these fields for
// roots.
//
// A field is listed once, however often it is stored to: a bit for each word of the heap says that it is. The
// bits are those of the compactor, which needs them only during a whole collection, and that empties this set
// first. Idea: sequential store buffers (Hosking, Moss, Stefanovic, OOPSLA 1992), made exact.
//
// Threads: the heap's only mutator, or the world stopped.
#ifndef GOMALLOC_GC_REMEMBERED_H
#define GOMALLOC_GC_REMEMBERED_H

#include "core/gc/mark_bits.h"

struct remembered {
  uintptr_t base; // of the heap
  struct mark_bits *marks;
  void ***fields;
  size_t count;
  size_t bytes; // of the list: room for every word of the heap, touched as far as it is used
};

// False when the system gives no address space.
bool remembered_open(struct remembered *set, struct mark_bits *marks, uintptr_t base, size_t heap_bytes);
void remembered_close(struct remembered *set);

// The field's bit: its distance from the heap's base in words.
GM_INLINE size_t remembered_word(const struct remembered *set, const void *field) {
  return ((uintptr_t)field - set->base) / sizeof(void *);
}

// Lists a field of an object of the heap.
GM_INLINE void remembered_add(struct remembered *set, void **field) {
  size_t word = remembered_word(set, field);
  uint64_t bit = 1ull << (word % 64);
  if (set->marks->bits[word / 64] & bit)
    return;
  set->marks->bits[word / 64] |= bit;
  set->fields[set->count++] = field;
}

// Whether a field is listed.
GM_INLINE bool remembered_has(const struct remembered *set, void **field) {
  return mark_bits_get(set->marks, remembered_word(set, field));
}

// Empties the set and clears its bits.
void remembered_clear(struct remembered *set);

#endif

// See remembered.h.
#include "core/gc/remembered.h"

#include "core/gc/linear_space.h"

bool remembered_open(struct remembered *set, struct mark_bits *marks, uintptr_t base, size_t heap_bytes) {
  *set = (struct remembered){.base = base, .marks = marks, .bytes = heap_bytes};
  set->fields = linear_map(heap_bytes);
  return set->fields != NULL;
}

void remembered_close(struct remembered *set) {
  linear_unmap((void *)set->fields, set->bytes);
}

void remembered_clear(struct remembered *set) {
  for (size_t i = 0; i < set->count; i++) {
    size_t word = remembered_word(set, (const void *)set->fields[i]);
    set->marks->bits[word / 64] &= ~(1ull << (word % 64));
  }
  set->count = 0;
}

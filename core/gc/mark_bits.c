// See mark_bits.h.
#include "core/gc/mark_bits.h"

#include <string.h>

static size_t groups_of(size_t words) {
  return (words + 63) / 64;
}

size_t mark_bits_bytes(size_t words) {
  return gm_align_up(groups_of(words) * (sizeof(uint64_t) + sizeof(uint32_t)), GM_PAGE_SIZE);
}

void mark_bits_open(struct mark_bits *marks, void *memory, size_t words) {
  marks->bits = memory;
  marks->before = (uint32_t *)(marks->bits + groups_of(words));
  marks->words = words;
}

void mark_bits_set(struct mark_bits *marks, size_t word, size_t count) {
  uint64_t *group = &marks->bits[word / 64];
  size_t shift = word % 64;
  if (shift + count <= 64) {
    *group |= (count == 64 ? ~0ull : (1ull << count) - 1) << shift;
    return;
  }
  *group++ |= ~0ull << shift;
  for (count -= 64 - shift; count >= 64; count -= 64)
    *group++ = ~0ull;
  if (count > 0)
    *group |= (1ull << count) - 1;
}

void mark_bits_clear(struct mark_bits *marks, size_t from, size_t end) {
  if (from < end)
    memset(marks->bits + from / 64, 0, (groups_of(end) - from / 64) * sizeof *marks->bits);
}

size_t mark_bits_sum(struct mark_bits *marks, size_t from, size_t end, size_t before) {
  uint32_t sum = (uint32_t)before;
  for (size_t i = from / 64; i < groups_of(end); i++) {
    marks->before[i] = sum;
    sum += mark_bits_count(marks->bits[i]);
  }
  return sum;
}

size_t mark_bits_next(const struct mark_bits *marks, size_t word, size_t end) {
  if (word >= end)
    return end;
  size_t i = word / 64;
  uint64_t group = marks->bits[i] & ~0ull << (word % 64);
  while (group == 0) {
    if (++i >= groups_of(end))
      return end;
    group = marks->bits[i];
  }
  size_t found = i * 64 + (size_t)__builtin_ctzll(group);
  return found < end ? found : end;
}

// One bit for each word of 8 bytes of a linear heap, and what mark-compact asks of them. Marking sets the
// bits of all words of an object, so that the number of set bits below an address is the number of live words
// below it.
//
// Units: words of 8 bytes, counted from the heap's base. Threads: one.
#ifndef GOMALLOC_GC_MARK_BITS_H
#define GOMALLOC_GC_MARK_BITS_H

#include "core/base.h"

struct mark_bits {
  uint64_t *bits;
  uint32_t *before; // live words in front of each group of 64 words; filled by mark_bits_sum()
  size_t words;     // that the bits cover
};

// Bytes of one block of memory for both tables of a heap of `words`.
size_t mark_bits_bytes(size_t words);
// Lays the tables out in zeroed memory of that size.
void mark_bits_open(struct mark_bits *marks, void *memory, size_t words);

// Sets the bits [word, word + count).
void mark_bits_set(struct mark_bits *marks, size_t word, size_t count);
// Clears the bits [from, end); both are rounded to groups, outwards.
void mark_bits_clear(struct mark_bits *marks, size_t from, size_t end);
// Counts for mark_bits_rank(), over the bits [from, end), rounded likewise, given `before` set bits in front
// of them; returns the number of set bits then. What lies between ranges that are summed holds no set bits.
size_t mark_bits_sum(struct mark_bits *marks, size_t from, size_t end, size_t before);
// The first set bit at or above `word` and below `end`; `end` if there is none.
size_t mark_bits_next(const struct mark_bits *marks, size_t word, size_t end);

// Whether the bit of `word` is set.
GM_INLINE bool mark_bits_get(const struct mark_bits *marks, size_t word) {
  return (marks->bits[word / 64] >> (word % 64) & 1) != 0;
}

// Set bits of a word. The x86-64 that we compile for has no instruction for it, and a call costs more.
GM_INLINE unsigned mark_bits_count(uint64_t group) {
  group -= group >> 1 & 0x5555555555555555u;
  group = (group & 0x3333333333333333u) + (group >> 2 & 0x3333333333333333u);
  group = (group + (group >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (unsigned)(group * 0x0101010101010101u >> 56);
}

// Set bits below `word`.
GM_INLINE size_t mark_bits_rank(const struct mark_bits *marks, size_t word) {
  uint64_t below = marks->bits[word / 64] & ((1ull << (word % 64)) - 1);
  return marks->before[word / 64] + mark_bits_count(below);
}

#endif

// pattern.h: what the shadow fills blocks with, and how it looks whether that is still there.
//
// The byte at an offset is a function of the block's seed and the offset, taken from a table of chance: so writing is a
// copy and checking a comparison, at the C library's speed. A copy of another block does not pass, nor of another place
// in the same one: blocks begin at places of the table of their own, which differ modulo 16 for 16 seeds in a row, and
// the table is gone through with a period that is no multiple of any alignment.
//
// Threads: the table is made by fuzz_pattern_prepare, once, and never changes.
#ifndef HEAPARENA_FUZZ_PATTERN_H
#define HEAPARENA_FUZZ_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FUZZ_PATTERN_SEEDS  128u
#define FUZZ_PATTERN_PERIOD ((size_t)65521) // a prime
#define FUZZ_PATTERN_FIRST                                                                                   \
  ((size_t)16 << 10) // where blocks begin: what small blocks need stays in a nearby cache
#define FUZZ_PATTERN_MOST ((size_t)8 << 10) // bytes that are written or checked at once

extern uint8_t fuzz_pattern_table[FUZZ_PATTERN_FIRST + FUZZ_PATTERN_PERIOD + FUZZ_PATTERN_MOST];
extern uint16_t fuzz_pattern_start[FUZZ_PATTERN_SEEDS];

// Makes the table. Call before the others; again is harmless.
void fuzz_pattern_prepare(void);

// The bytes that a block of this seed (below FUZZ_PATTERN_SEEDS) has from this offset on, FUZZ_PATTERN_MOST of them.
static inline const uint8_t *fuzz_pattern_at(uint8_t seed, size_t offset) {
  return fuzz_pattern_table + fuzz_pattern_start[seed] + offset % FUZZ_PATTERN_PERIOD;
}

// The first offset in [from, to) whose byte is not the pattern's, or `to`; at most FUZZ_PATTERN_MOST bytes.
static inline size_t fuzz_pattern_check(const uint8_t *block, size_t from, size_t to, uint8_t seed) {
  const uint8_t *expected = fuzz_pattern_at(seed, from);
  if (from >= to || memcmp(block + from, expected, to - from) == 0)
    return to;
  while (block[from] == *expected)
    from++, expected++;
  return from;
}

// Bits that differ in FUZZ_PATTERN_SAME bytes, gathered without a call and a branch: 0 when they are the same.
#define FUZZ_PATTERN_SAME ((size_t)64)
typedef uint64_t fuzz_lanes __attribute__((vector_size(16)));
static inline uint64_t fuzz_pattern_differs(const uint8_t *block, const uint8_t *expected) {
  fuzz_lanes a[FUZZ_PATTERN_SAME / sizeof(fuzz_lanes)], b[FUZZ_PATTERN_SAME / sizeof(fuzz_lanes)];
  memcpy(a, block, sizeof a);
  memcpy(b, expected, sizeof b);
  fuzz_lanes differ = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
  return differ[0] | differ[1];
}

// The first offset in [from, to) whose byte is not zero, or `to`.
#define FUZZ_ZEROS ((size_t)4 << 10) // compared at once
extern const uint8_t fuzz_zeros[FUZZ_ZEROS];
static inline size_t fuzz_zero_check(const uint8_t *block, size_t from, size_t to) {
  for (size_t size; from < to; from += size) {
    size = to - from < FUZZ_ZEROS ? to - from : FUZZ_ZEROS;
    if (memcmp(block + from, fuzz_zeros, size) != 0)
      break;
  }
  while (from < to && block[from] == 0)
    from++;
  return from;
}

#endif

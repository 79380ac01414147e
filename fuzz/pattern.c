// pattern.c: see pattern.h.
#include "fuzz/pattern.h"

#include "fuzz/mutate.h"

// A period, and what blocks that begin in it, or at its end, see of the next one.
uint8_t fuzz_pattern_table[FUZZ_PATTERN_FIRST + FUZZ_PATTERN_PERIOD + FUZZ_PATTERN_MOST];
uint16_t fuzz_pattern_start[FUZZ_PATTERN_SEEDS];
const uint8_t fuzz_zeros[FUZZ_ZEROS];

void fuzz_pattern_prepare(void) {
  static bool made;
  if (made)
    return;
  uint64_t chance = 1;
  for (size_t at = 0; at < sizeof fuzz_pattern_table; at++)
    fuzz_pattern_table[at] = at < FUZZ_PATTERN_PERIOD ? (uint8_t)fuzz_chance(&chance, 256)
                                                      : fuzz_pattern_table[at - FUZZ_PATTERN_PERIOD];
  for (unsigned seed = 0; seed < FUZZ_PATTERN_SEEDS; seed++)
    fuzz_pattern_start[seed] = (uint16_t)(fuzz_chance(&chance, FUZZ_PATTERN_FIRST / 16) * 16 + seed % 16);
  made = true;
}

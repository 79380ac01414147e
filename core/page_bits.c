// Bitmaps of a chunk's pages. See page_bits.h.
#include "core/page_bits.h"

// The bits of word `index` that lie in [first, end).
static uint64_t word_mask(unsigned index, unsigned first, unsigned end) {
  uint64_t mask = UINT64_MAX;
  if (index == first / 64)
    mask &= UINT64_MAX << (first % 64);
  if (index == end / 64)
    mask &= ((uint64_t)1 << (end % 64)) - 1;
  return mask;
}

// The last word that [first, end) touches.
static unsigned last_word(unsigned end) {
  return (end - 1) / 64;
}

void page_bits_set(uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count) {
  for (unsigned i = first / 64; i <= last_word(first + count); i++)
    bits[i] |= word_mask(i, first, first + count);
}

void page_bits_clear(uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count) {
  for (unsigned i = first / 64; i <= last_word(first + count); i++)
    bits[i] &= ~word_mask(i, first, first + count);
}

bool page_bits_all_clear(const uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count) {
  for (unsigned i = first / 64; i <= last_word(first + count); i++)
    if ((bits[i] & word_mask(i, first, first + count)) != 0)
      return false;
  return true;
}

bool page_bits_all_set(const uint64_t bits[CHUNK_WORDS]) {
  for (unsigned i = 0; i < CHUNK_WORDS; i++)
    if (bits[i] != UINT64_MAX)
      return false;
  return true;
}

// First page in [from, to) whose bit, xored with `flip`, is set; `to` when none.
static unsigned next_bit(const uint64_t bits[CHUNK_WORDS], unsigned from, unsigned to, uint64_t flip) {
  if (from >= to)
    return to;
  for (unsigned i = from / 64; i <= last_word(to); i++) {
    uint64_t word = (bits[i] ^ flip) & word_mask(i, from, to);
    if (word != 0)
      return i * 64 + (unsigned)__builtin_ctzll(word);
  }
  return to;
}

unsigned page_bits_next_run(const uint64_t bits[CHUNK_WORDS], unsigned from, unsigned to, unsigned *length) {
  unsigned first = next_bit(bits, from, to, 0);
  *length = next_bit(bits, first, to, UINT64_MAX) - first;
  return first;
}

unsigned page_bits_find(const uint64_t bits[CHUNK_WORDS], unsigned npages, unsigned *first_clear) {
  unsigned at = next_bit(bits, 0, CHUNK_PAGES, UINT64_MAX);
  *first_clear = at;
  while (at < CHUNK_PAGES) {
    unsigned end = next_bit(bits, at, CHUNK_PAGES, 0);
    if (end - at >= npages)
      return at;
    at = next_bit(bits, end, CHUNK_PAGES, UINT64_MAX);
  }
  return CHUNK_PAGES;
}

// Longest run of clear bits inside any one word when it is longer than `best`; else `best`. All words go
// through each step together, which compilers turn into vector instructions.
static unsigned longest_inside(const uint64_t bits[CHUNK_WORDS], unsigned best) {
  uint64_t runs[CHUNK_WORDS]; // after the first loop: bits that start a run longer than `best`
  for (unsigned i = 0; i < CHUNK_WORDS; i++)
    runs[i] = ~bits[i];
  for (unsigned left = best, step = 1; left > 0; step *= 2) {
    unsigned shift = step < left ? step : left;
    for (unsigned i = 0; i < CHUNK_WORDS; i++)
      runs[i] &= runs[i] >> shift;
    left -= shift;
  }
  for (;; best++) {
    uint64_t any = 0;
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
      any |= runs[i];
      runs[i] &= runs[i] >> 1;
    }
    if (any == 0)
      return best;
  }
}

// A run between two set bits of a word has 62 pages at most.
enum { INNER_RUN_MAX = 62 };

page_summary page_bits_summarize(const uint64_t bits[CHUNK_WORDS]) {
  unsigned start = CHUNK_PAGES;
  unsigned run = 0; // clear bits right before the word
  unsigned max = 0;
  for (unsigned i = 0; i < CHUNK_WORDS; i++) {
    if (bits[i] == 0) {
      run += 64;
      continue;
    }
    run += (unsigned)__builtin_ctzll(bits[i]);
    start = start == CHUNK_PAGES ? run : start; // the first set bit ends the first run
    max = run > max ? run : max;
    run = (unsigned)__builtin_clzll(bits[i]);
  }
  max = run > max ? run : max;
  // Runs inside words come second: mostly none can beat those across words, which a few shifts show.
  if (max < INNER_RUN_MAX)
    max = longest_inside(bits, max);
  return summary_pack(start, max, run);
}

// core_fuzz_bits.c: a chunk's bitmap (core/page_bits.h) against an array of bytes.
#include "core/page_bits.h"
#include "fuzz/core_fuzz.h"

static uint64_t bits[CHUNK_WORDS];
static bool model[CHUNK_PAGES];

static void check_all(void) {
  for (unsigned i = 0; i < CHUNK_PAGES; i++)
    CORE_REQUIRE((bits[i / 64] >> (i % 64) & 1) == model[i], "a bit");
}

// The first page in [from, to) that is set, or clear; `to` when none is.
static unsigned model_next(unsigned from, unsigned to, bool set) {
  while (from < to && model[from] != set)
    from++;
  return from;
}

static void check_run(unsigned from, unsigned to) {
  unsigned length = 0;
  unsigned first = page_bits_next_run(bits, from, to, &length);
  unsigned expected = model_next(from, to, true);
  CORE_REQUIRE(length == model_next(expected, to, false) - expected, "the length of a run");
  CORE_REQUIRE(length == 0 || first == expected, "the start of a run");
}

static void check_find(unsigned npages) {
  unsigned first_clear = 0;
  unsigned found = page_bits_find(bits, npages, &first_clear);
  unsigned expected = CHUNK_PAGES;
  for (unsigned at = 0; at + npages <= CHUNK_PAGES && expected == CHUNK_PAGES; at++)
    if (model_next(at, at + npages, true) == at + npages)
      expected = at;
  CORE_REQUIRE(found == expected, "first fit in a chunk");
  CORE_REQUIRE(first_clear == model_next(0, CHUNK_PAGES, false), "the first clear page");
}

static void check_summary(void) {
  unsigned start = model_next(0, CHUNK_PAGES, true);
  unsigned longest = 0;
  unsigned run = 0;
  for (unsigned i = 0; i < CHUNK_PAGES; i++) {
    run = model[i] ? 0 : run + 1;
    longest = run > longest ? run : longest;
  }
  page_summary sum = page_bits_summarize(bits);
  CORE_REQUIRE(summary_start(sum) == start, "a summary's start");
  CORE_REQUIRE(summary_max(sum) == longest, "a summary's longest run");
  CORE_REQUIRE(summary_end(sum) == run, "a summary's end");
}

static void check_packing(core_input *input) {
  unsigned max = core_below(input, SUMMARY_MAX + 1);
  bool all = max == SUMMARY_MAX;
  unsigned start = all ? max : core_below(input, SUMMARY_MAX);
  unsigned end = all ? max : core_below(input, SUMMARY_MAX);
  page_summary sum = summary_pack(start, max, end);
  CORE_REQUIRE(summary_start(sum) == start && summary_max(sum) == max && summary_end(sum) == end, "packing");
}

void core_fuzz_bits(core_input *input) {
  for (unsigned i = 0; i < CHUNK_PAGES; i++)
    model[i] = false;
  for (unsigned i = 0; i < CHUNK_WORDS; i++)
    bits[i] = 0;
  while (core_more(input)) {
    uint8_t operation = core_byte(input);
    unsigned first = core_below(input, CHUNK_PAGES);
    unsigned count = 1 + core_below(input, operation & 0x80 ? CHUNK_PAGES : 80);
    count = count < CHUNK_PAGES - first ? count : CHUNK_PAGES - first;
    switch (operation % 8) {
    case 0:
    case 1:
    case 2:
      page_bits_set(bits, first, count);
      for (unsigned i = first; i < first + count; i++)
        model[i] = true;
      break;
    case 3:
    case 4:
      page_bits_clear(bits, first, count);
      for (unsigned i = first; i < first + count; i++)
        model[i] = false;
      break;
    case 5:
      CORE_REQUIRE(page_bits_all_clear(bits, first, count) ==
                       (model_next(first, first + count, true) == first + count),
                   "whether a range is clear");
      check_run(first, first + count);
      break;
    case 6:
      check_find(count);
      break;
    default:
      check_packing(input);
    }
    check_summary();
  }
  check_all();
}

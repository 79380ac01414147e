// The page allocator against a naive model: an array with one byte per page, searched from the start.
#include "core/page_alloc.h"
#include "core/page_bits.h"
#include "core/sys_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 2 * (int)ARENA_PAGES };

static unsigned char taken[PAGES];   // 1: allocated
static unsigned char touched[PAGES]; // 1: Ready, not scavenged
static uintptr_t base;

static uint64_t random_state = 0x9e3779b97f4a7c15;

static size_t random_below(size_t limit) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (size_t)(random_state % limit);
}

static int set_up(void **state) {
  (void)state;
  base = heap_arena_reserve(0, 2 * ARENA_SIZE);
  if (base == 0 || !sys_map(base, 2 * ARENA_SIZE))
    return -1;
  if (heap_arena_add(base) == NULL || heap_arena_add(base + ARENA_SIZE) == NULL)
    return -1;
  if (!page_alloc_cover(base, PAGES))
    return -1;
  page_alloc_grow(base, PAGES);
  return 0;
}

// First fit in the model; PAGES when nothing fits.
static size_t model_find(size_t npages) {
  size_t run = 0;
  for (size_t i = 0; i < PAGES; i++) {
    run = taken[i] ? 0 : run + 1;
    if (run == npages)
      return i + 1 - npages;
  }
  return PAGES;
}

static size_t model_take(size_t first, size_t npages) {
  size_t scavenged = 0;
  for (size_t i = first; i < first + npages; i++) {
    assert_false(taken[i]);
    scavenged += !touched[i];
    taken[i] = touched[i] = 1;
  }
  return scavenged;
}

static uintptr_t address_of(size_t page) {
  return base + (page << GM_PAGE_SHIFT);
}

struct run {
  size_t first;
  size_t npages;
};

static struct run runs[4096];
static size_t run_count;

static void alloc_one(size_t npages) {
  size_t expected = model_find(npages);
  size_t scavenged = 0;
  uintptr_t got = page_alloc_find(npages, &scavenged);
  if (expected == PAGES) {
    assert_int_equal(got, 0);
    return;
  }
  assert_int_equal(got, address_of(expected));
  assert_int_equal(scavenged, model_take(expected, npages));
  runs[run_count++] = (struct run){expected, npages};
}

static void free_one(size_t index) {
  struct run run = runs[index];
  runs[index] = runs[--run_count];
  page_alloc_free(address_of(run.first), run.npages);
  memset(&taken[run.first], 0, run.npages);
}

static void take_at_random(void) {
  size_t npages = 1 + random_below(20);
  size_t first = random_below(PAGES - npages);
  bool is_free = true;
  for (size_t i = first; i < first + npages; i++)
    is_free &= !taken[i];
  size_t scavenged = 0;
  assert_int_equal(page_alloc_take_at(address_of(first), npages, &scavenged), is_free);
  if (is_free) {
    assert_int_equal(scavenged, model_take(first, npages));
    runs[run_count++] = (struct run){first, npages};
  }
}

static void check_counts(void) {
  size_t free_pages = 0;
  size_t scavenged = 0;
  for (size_t i = 0; i < PAGES; i++) {
    free_pages += !taken[i];
    scavenged += !taken[i] && !touched[i];
  }
  struct page_alloc_counts counts = page_alloc_counts();
  assert_int_equal(counts.free, free_pages);
  assert_int_equal(counts.scavenged, scavenged);
  assert_int_equal(page_alloc_check(), 0);
}

static void scavenge_some(void) {
  struct page_alloc_counts before = page_alloc_counts();
  size_t released = page_alloc_scavenge(1 + random_below(64));
  assert_int_equal(page_alloc_counts().scavenged, before.scavenged + released);
  // The model learns what was released from the bitmaps and checks that only free pages were.
  for (size_t i = 0; i < PAGES; i++) {
    uintptr_t address = address_of(i);
    const struct page_chunk *chunk =
        &heap_arena_of(address)->chunks[(address >> CHUNK_SHIFT) & (ARENA_CHUNKS - 1)];
    unsigned length = 0;
    unsigned page = (unsigned)i & (CHUNK_PAGES - 1);
    (void)page_bits_next_run(chunk->scavenged, page, page + 1, &length);
    if (length != 0) {
      assert_false(taken[i]);
      touched[i] = 0;
    }
  }
}

static size_t random_pages(void) {
  switch (random_below(8)) {
  case 0:
    return 1 + random_below(2000);
  case 1:
    return 500 + random_below(30);
  default:
    return 1 + random_below(40);
  }
}

static void test_random_operations(void **state) {
  (void)state;
  for (int step = 0; step < 6000; step++) {
    size_t choice = random_below(100);
    bool room = run_count < sizeof runs / sizeof *runs - 1;
    if (choice < 52 && room)
      alloc_one(random_pages());
    else if (choice < 56 && room)
      take_at_random();
    else if (choice < 57)
      scavenge_some();
    else if (run_count > 0)
      free_one(random_below(run_count));
    if (step % 500 == 0)
      check_counts();
  }
  while (run_count > 0)
    free_one(run_count - 1);
  check_counts();
}

static void test_whole_heap_in_one_run(void **state) {
  (void)state;
  alloc_one(PAGES);
  assert_int_equal(run_count, 1);
  size_t scavenged = 0;
  assert_int_equal(page_alloc_find(1, &scavenged), 0);
  free_one(0);
  alloc_one(PAGES + 1); // must fail
  assert_int_equal(run_count, 0);
  check_counts();
}

static void test_released_pages_read_zero(void **state) {
  (void)state;
  alloc_one(64);
  memset((void *)address_of(runs[0].first), 0xaa, 64 * GM_PAGE_SIZE);
  size_t first = runs[0].first;
  free_one(0);
  (void)page_alloc_scavenge(SIZE_MAX);
  memset(touched, 0, sizeof touched);
  check_counts();
  alloc_one(64);
  assert_int_equal(runs[0].first, first);
  const unsigned char *memory = (const unsigned char *)address_of(first);
  for (size_t i = 0; i < 64 * GM_PAGE_SIZE; i += 97)
    assert_int_equal(memory[i], 0);
  free_one(0);
}

static void test_summaries_of_bitmaps(void **state) {
  (void)state;
  for (int round = 0; round < 2000; round++) {
    uint64_t bits[CHUNK_WORDS] = {0};
    unsigned char model[CHUNK_PAGES] = {0};
    for (size_t n = random_below(12); n > 0; n--) {
      unsigned first = (unsigned)random_below(CHUNK_PAGES);
      unsigned count = 1 + (unsigned)random_below(CHUNK_PAGES - first);
      if (random_below(3) == 0)
        count = 1;
      page_bits_set(bits, first, count);
      memset(&model[first], 1, count);
    }
    unsigned start = 0;
    unsigned max = 0;
    unsigned run = 0;
    for (unsigned i = 0; i < CHUNK_PAGES; i++) {
      run = model[i] ? 0 : run + 1;
      max = run > max ? run : max;
      start += run == i + 1;
    }
    page_summary sum = page_bits_summarize(bits);
    assert_int_equal(summary_start(sum), start);
    assert_int_equal(summary_max(sum), max);
    assert_int_equal(summary_end(sum), run);
  }
}

static void test_packing(void **state) {
  (void)state;
  page_summary all = summary_pack(SUMMARY_MAX, SUMMARY_MAX, SUMMARY_MAX);
  assert_int_equal(summary_start(all), SUMMARY_MAX);
  assert_int_equal(summary_max(all), SUMMARY_MAX);
  assert_int_equal(summary_end(all), SUMMARY_MAX);
  page_summary sum = summary_pack(1, SUMMARY_MAX - 1, 12345);
  assert_int_equal(summary_start(sum), 1);
  assert_int_equal(summary_max(sum), SUMMARY_MAX - 1);
  assert_int_equal(summary_end(sum), 12345);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_packing),
      cmocka_unit_test(test_summaries_of_bitmaps),
      cmocka_unit_test(test_whole_heap_in_one_run),
      cmocka_unit_test(test_random_operations),
      cmocka_unit_test(test_released_pages_read_zero),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}

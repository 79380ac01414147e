// The page cache over real arenas: runs come back by length, last first, and all of it returns to the page
// allocator. The release of memory when a program falls idle.
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uintptr_t take(size_t npages) {
  size_t scavenged = 0;
  uintptr_t start = page_alloc_find(npages, &scavenged);
  assert_true(start != 0);
  return start;
}

static void count_run(uintptr_t start, size_t npages, void *context) {
  assert_true(start % GM_PAGE_SIZE == 0);
  *(size_t *)context += npages;
}

static void check_pages_of_cache(size_t expected) {
  size_t found = 0;
  assert_int_equal(page_cache_check(count_run, &found), 0);
  assert_int_equal(found, expected);
  assert_int_equal(page_cache_pages(), expected);
}

static void test_runs_by_length(void **state) {
  (void)state;
  gm_free(gm_malloc(100000)); // the heap has pages
  mheap_lock();
  page_cache_flush();
  size_t free_before = page_alloc_counts().free;
  uintptr_t four = take(4);
  uintptr_t other_four = take(4);
  uintptr_t nine = take(9);
  assert_true(page_cache_put(four, 4));
  assert_true(page_cache_put(nine, 9));
  assert_true(page_cache_put(other_four, 4));
  assert_false(page_cache_put(nine, PAGE_CACHE_RUN_MAX + 1));
  check_pages_of_cache(17);

  size_t npages = 4;
  assert_int_equal(page_cache_take(&npages, 4), other_four); // the last one first
  npages = 5;
  assert_int_equal(page_cache_take(&npages, 8), 0);
  assert_int_equal(page_cache_take(&npages, 9), nine);
  assert_int_equal(npages, 9);
  npages = PAGE_CACHE_RUN_MAX + 1;
  assert_int_equal(page_cache_take(&npages, SIZE_MAX), 0);
  check_pages_of_cache(4);

  page_alloc_free(other_four, 4);
  page_alloc_free(nine, 9);
  page_cache_flush();
  check_pages_of_cache(0);
  assert_int_equal(page_alloc_counts().free, free_before);
  mheap_unlock();
  assert_int_equal(gm_check_heap(), 0);
}

// A thread's own runs come first, the last one that anybody freed otherwise.
static void test_own_runs_first(void **state) {
  (void)state;
  mheap_lock();
  page_cache_flush();
  uintptr_t runs[3];
  for (unsigned i = 0; i < 3; i++) {
    runs[i] = take(4);
    page_cache_use_shard(i);
    assert_true(page_cache_put(runs[i], 4));
  }
  check_pages_of_cache(12);
  page_cache_use_shard(0);
  size_t npages = 4;
  assert_int_equal(page_cache_take(&npages, 4), runs[0]);
  assert_int_equal(page_cache_take(&npages, 4), runs[2]);
  assert_int_equal(page_cache_take(&npages, 4), runs[1]);
  assert_int_equal(page_cache_take(&npages, 4), 0);
  check_pages_of_cache(0);
  for (unsigned i = 0; i < 3; i++)
    page_alloc_free(runs[i], 4);
  page_cache_use_shard(mcache_current->number);
  mheap_unlock();
}

static void test_more_runs_than_fit(void **state) {
  (void)state;
  enum { RUNS = 1500 };
  static uintptr_t starts[RUNS];
  enum { PAGES = 2 };
  for (int i = 0; i < 60; i++) // room for all of them
    gm_free(gm_malloc((size_t)1 << 20));
  mheap_lock();
  page_cache_flush();
  size_t free_before = page_alloc_counts().free;
  int taken = 0;
  size_t scavenged = 0;
  while (taken < RUNS && (starts[taken] = page_alloc_find(PAGES, &scavenged)) != 0)
    taken++;
  size_t kept = 0;
  for (int i = 0; i < taken; i++)
    if (page_cache_put(starts[i], PAGES))
      kept += PAGES;
    else
      page_alloc_free(starts[i], PAGES);
  check_pages_of_cache(kept);
  page_cache_flush();
  assert_int_equal(page_alloc_counts().free, free_before);
  mheap_unlock();
}

static long resident_kib(void) {
  char text[128] = "";
  FILE *file = fopen("/proc/self/statm", "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  (void)fclose(file);
  char *end = NULL;
  (void)strtol(text, &end, 10);
  return strtol(end, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

enum { BLOCKS = 40000 };
static void *blocks[BLOCKS];

static size_t size_of(unsigned i) {
  return i % 50 == 0 ? 20000 + i % 40000 : 16 + i * 7919U % 2000;
}

// Everything is freed, in a scattered order, and the program does nothing more: within a second the memory is
// back.
static void test_idle_program_gives_memory_back(void **state) {
  (void)state;
#if defined(GM_TSAN) || defined(__SANITIZE_ADDRESS__)
  skip(); // the sanitizers' own memory for ours stays resident
#endif
  memset(blocks, 1, sizeof blocks);
  (void)gm_purge();
  long start = resident_kib();
  for (int round = 0; round < 2; round++) { // the second time with the background thread
    for (unsigned i = 0; i < BLOCKS; i++) {
      blocks[i] = gm_malloc(size_of(i));
      memset(blocks[i], 1, size_of(i));
    }
    assert_true(resident_kib() > start + 30000);
    for (unsigned i = 0; i < BLOCKS; i++)
      gm_free(blocks[i * 17389ULL % BLOCKS]);
  }
  long after = 0;
  for (int i = 0; i < 200; i++) { // on a busy machine the scavenger's thread may wait long
    after = resident_kib();
    if (after < start + start / 10 + 1500)
      break;
    (void)usleep(50000);
  }
  assert_true(after < start + start / 10 + 1500);
  assert_int_equal(gm_check_heap(), 0);
}

// A thread's cache of large blocks: double frees are found there, and the cache's blocks are not counted as
// live.
static void test_large_blocks_kept_by_the_thread(void **state) {
  (void)state;
  gm_free(gm_malloc(1));
  assert_int_equal(gm_set_error_action(GM_ERROR_REPORT), 0);
  struct gm_stats before;
  struct gm_stats after;
  gm_stats_read(&before);
  uint64_t errors = gm_error_count();
  for (int round = 0; round < 3; round++) {
    void *block = gm_malloc(50000);
    void *other = gm_malloc(200000);
    gm_free(block);
    gm_free(other);
    gm_free(block);
    gm_free(other);
    unsigned char *zero = gm_calloc(1, 50000);
    for (int i = 0; i < 50000; i += 99)
      assert_int_equal(zero[i], 0);
    memset(zero, 0xaa, 50000);
    gm_free(zero);
  }
  gm_stats_read(&after);
  assert_int_equal(gm_error_count() - errors, 6);
  assert_int_equal(after.Mallocs - before.Mallocs, 9);
  assert_int_equal(after.Frees - before.Frees, 9);
  assert_int_equal(after.HeapAlloc, before.HeapAlloc);
  assert_int_equal(gm_check_heap(), 0);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_runs_by_length),
      cmocka_unit_test(test_own_runs_first),
      cmocka_unit_test(test_more_runs_than_fit),
      cmocka_unit_test(test_idle_program_gives_memory_back),
      cmocka_unit_test(test_large_blocks_kept_by_the_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

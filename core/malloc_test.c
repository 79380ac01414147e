// The public functions in one thread: alignment, zeroing, contents, errno, standard's corner cases,
// statistics.
#include "core/gomalloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state = 0x2545f4914f6cdd1d;

static size_t random_below(size_t limit) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (size_t)(random_state % limit);
}

// Hides a constant from the compiler, which would warn of requests that must fail.
static size_t opaque(size_t value) {
  volatile size_t copy = value;
  return copy;
}

static int check_heap_after(void **state) {
  (void)state;
  return gm_check_heap();
}

static void test_every_small_size(void **state) {
  (void)state;
  for (size_t size = 0; size <= 70000; size += size < 2100 ? 1 : 173) {
    unsigned char *block = gm_malloc(size);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % (size >= 16 ? 16 : 8), 0);
    size_t usable = gm_usable_size(block);
    assert_true(usable >= size);
    memset(block, 0x5a, usable);
    gm_free(block);
  }
}

static void test_blocks_do_not_overlap(void **state) {
  (void)state;
  enum { COUNT = 3000 };
  static unsigned char *blocks[COUNT];
  static size_t sizes[COUNT];
  for (int round = 0; round < 40; round++)
    for (int i = 0; i < COUNT; i++) {
      if (blocks[i] != NULL) {
        for (size_t at = 0; at < sizes[i]; at++)
          if (blocks[i][at] != (unsigned char)i)
            fail_msg("block %d changed at %zu", i, at);
        if (random_below(3) == 0)
          continue;
        gm_free(blocks[i]);
      }
      sizes[i] = random_below(random_below(20) == 0 ? 40000 : 300);
      blocks[i] = gm_malloc(sizes[i]);
      memset(blocks[i], i & 0xff, sizes[i]);
    }
  assert_int_equal(gm_check_heap(), 0);
  for (int i = 0; i < COUNT; i++) {
    gm_free(blocks[i]);
    blocks[i] = NULL;
  }
}

static void test_calloc_is_zero(void **state) {
  (void)state;
  for (int round = 0; round < 4; round++)
    for (size_t size = 1; size < 300000; size = size * 5 / 4 + 1) {
      unsigned char *blocks[20];
      for (int i = 0; i < 20; i++) {
        blocks[i] = i % 2 == 0 ? gm_calloc(1, size) : gm_malloc(size);
        size_t usable = gm_usable_size(blocks[i]);
        if (i % 2 == 0)
          for (size_t at = 0; at < usable; at++)
            if (blocks[i][at] != 0)
              fail_msg("byte %zu of calloc(%zu) is not zero", at, size);
        memset(blocks[i], 0xcc, usable);
      }
      for (int i = 0; i < 20; i++)
        gm_free(blocks[i]);
    }
}

static void test_impossible_sizes(void **state) {
  (void)state;
  const size_t sizes[] = {
      SIZE_MAX,     SIZE_MAX - 1,    SIZE_MAX - 4096, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
      SIZE_MAX / 2, (size_t)1 << 62, (size_t)1 << 48};
  void *old = gm_malloc(100);
  memset(old, 7, 100);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    size_t size = opaque(sizes[i]);
    errno = 0;
    assert_null(gm_malloc(size));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(gm_calloc(1, size));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(gm_realloc(old, size));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(gm_aligned_alloc(64, size));
    assert_int_equal(errno, ENOMEM);
    void *untouched = old;
    errno = 123;
    assert_int_equal(gm_posix_memalign(&untouched, 64, size), ENOMEM);
    assert_ptr_equal(untouched, old);
    assert_int_equal(errno, 123);
  }
  for (int i = 0; i < 100; i++)
    assert_int_equal(((unsigned char *)old)[i], 7);
  gm_free(old);
}

static void test_products_that_overflow(void **state) {
  (void)state;
  errno = 0;
  assert_null(gm_calloc(opaque(SIZE_MAX / 2), opaque(3)));
  assert_int_equal(errno, ENOMEM);
  void *old = gm_malloc(10);
  errno = 0;
  assert_null(gm_reallocarray(old, opaque((size_t)1 << 40), opaque((size_t)1 << 30)));
  assert_int_equal(errno, ENOMEM);
  old = gm_reallocarray(old, 10, 10);
  assert_non_null(old);
  gm_free(old);
}

static void fill(unsigned char *block, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; i++)
    block[i] = (unsigned char)(i * 31 + seed);
}

static void check(const unsigned char *block, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; i++)
    if (block[i] != (unsigned char)(i * 31 + seed))
      fail_msg("byte %zu of %zu changed", i, size);
}

static void test_realloc_keeps_contents(void **state) {
  (void)state;
  size_t size = 1;
  unsigned char *block = gm_realloc(NULL, size);
  fill(block, size, 1);
  for (unsigned round = 2; round < 1200; round++) {
    size_t limit = round % 10 == 0 ? (size_t)1 << 21 : round % 3 == 0 ? 70000 : 2000;
    size_t next = 1 + random_below(limit);
    block = gm_realloc(block, next);
    assert_non_null(block);
    check(block, next < size ? next : size, round - 1);
    fill(block, next, round);
    size = next;
  }
  assert_null(gm_realloc(block, 0));
}

static void test_large_block_grows_in_place(void **state) {
  (void)state;
  size_t size = (size_t)1 << 20;
  char *first = gm_malloc(size);
  char *grown = gm_realloc(first, 2 * size);
  char *shrunk = gm_realloc(grown, size);
  assert_ptr_equal(shrunk, grown);
  assert_int_equal(gm_usable_size(shrunk), size);
  assert_int_equal(gm_check_heap(), 0);
  gm_free(shrunk);
}

// Sparse blocks that come and go meet the same pages: they all start at a multiple of 2 MiB.
static void test_huge_blocks_start_alike(void **state) {
  (void)state;
  char *blocks[3] = {NULL, NULL, NULL};
  for (size_t i = 0; i < 30; i++) {
    size_t size = ((size_t)32 << 20) + i * 99991 * 16;
    char **block = &blocks[i % 3];
    gm_free(*block);
    *block = gm_malloc(size);
    assert_non_null(*block);
    assert_int_equal((uintptr_t)*block % ((size_t)2 << 20), 0);
    (*block)[0] = 1;
    (*block)[size - 1] = 1;
    assert_int_equal(gm_check_heap(), 0);
  }
  for (int i = 0; i < 3; i++)
    gm_free(blocks[i]);
}

static void test_alignments(void **state) {
  (void)state;
  for (size_t align = 1; align <= (size_t)1 << 22; align *= 2)
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
      unsigned char *block = gm_aligned_alloc(align, size);
      assert_non_null(block);
      assert_int_equal((uintptr_t)block % align, 0);
      memset(block, 1, gm_usable_size(block));
      void *second = NULL;
      if (align >= sizeof(void *)) {
        assert_int_equal(gm_posix_memalign(&second, align, size), 0);
        assert_int_equal((uintptr_t)second % align, 0);
        assert_true(gm_usable_size(second) >= size);
      }
      gm_free_aligned_sized(block, align, size);
      gm_free_sized(second, size);
    }
  assert_int_equal((uintptr_t)gm_memalign(48, 1) % 64, 0); // rounded up, kept live
}

static void test_bad_alignments(void **state) {
  (void)state;
  const size_t bad[] = {0, 3, 24, 100, SIZE_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    errno = 0;
    assert_null(gm_aligned_alloc(opaque(bad[i]), 10));
    assert_int_equal(errno, EINVAL);
    void *untouched = &errno;
    errno = 77;
    assert_int_equal(gm_posix_memalign(&untouched, opaque(bad[i]), 10), EINVAL);
    assert_ptr_equal(untouched, &errno);
    assert_int_equal(errno, 77);
  }
  void *untouched = &errno;
  assert_int_equal(gm_posix_memalign(&untouched, 4, 10), EINVAL); // a power of two, but less than a pointer
  errno = 0;
  assert_null(gm_memalign(opaque(SIZE_MAX), 10));
  assert_int_equal(errno, EINVAL);
}

static void test_free_keeps_errno(void **state) {
  (void)state;
  errno = 42;
  gm_free(NULL);
  for (size_t size = 8; size < (size_t)1 << 26; size *= 8) {
    void *block = gm_malloc(size);
    memset(block, 1, size);
    errno = 42;
    gm_free(block);
    assert_int_equal(errno, 42);
  }
  assert_int_equal(gm_usable_size(NULL), 0);
  assert_int_equal(errno, 42);
}

static void test_statistics(void **state) {
  (void)state;
  struct gm_stats before;
  struct gm_stats during;
  struct gm_stats after;
  enum { COUNT = 1000 };
  static void *blocks[COUNT];
  gm_stats_read(&before);
  for (int i = 0; i < COUNT; i++)
    blocks[i] = gm_malloc(100);
  void *large = gm_malloc(100000);
  gm_stats_read(&during);
  for (int i = 0; i < COUNT; i++)
    gm_free(blocks[i]);
  gm_free(large);
  gm_stats_read(&after);
  assert_int_equal(during.Mallocs - before.Mallocs, COUNT + 1);
  assert_int_equal(during.Frees, before.Frees);
  assert_int_equal(during.HeapObjects - before.HeapObjects, COUNT + 1);
  assert_int_equal(during.HeapAlloc - before.HeapAlloc, COUNT * 112 + 13 * 8192);
  assert_int_equal(during.BySize[9].Size, 112);
  assert_int_equal(during.BySize[9].Mallocs - before.BySize[9].Mallocs, COUNT);
  assert_int_equal(after.Frees - before.Frees, COUNT + 1);
  assert_int_equal(after.HeapAlloc, before.HeapAlloc);
  assert_int_equal(after.HeapSys, after.HeapInuse + after.HeapIdle);
  assert_true(after.HeapReleased <= after.HeapIdle);
}

static void test_statistics_as_json(void **state) {
  (void)state;
  size_t needed = gm_stats_json(NULL, 0);
  assert_true(needed > 100);
  char *text = gm_malloc(needed + 4096);
  size_t length = gm_stats_json(text, needed + 4096);
  assert_int_equal(strlen(text), length);
  assert_int_equal(text[0], '{');
  assert_int_equal(text[length - 1], '}');
  assert_non_null(strstr(text, "\"HeapAlloc\": "));
  char tiny[10];
  (void)gm_stats_json(tiny, sizeof tiny);
  assert_int_equal(strlen(tiny), sizeof tiny - 1);
  gm_free(text);
}

static void test_purge_returns_memory(void **state) {
  (void)state;
  enum { COUNT = 2000 };
  static void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) {
    blocks[i] = gm_malloc(10000);
    memset(blocks[i], 1, 10000);
  }
  for (int i = 0; i < COUNT; i++)
    gm_free(blocks[i]);
  (void)gm_purge();
  struct gm_stats stats;
  gm_stats_read(&stats);
  // The scavenger's thread may be giving a run back at this moment.
  for (int tries = 0; stats.HeapIdle != stats.HeapReleased && tries < 1000; tries++) {
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    gm_stats_read(&stats);
  }
  assert_int_equal(stats.HeapIdle, stats.HeapReleased);
  assert_int_equal(gm_purge(), 0);
}

static void test_version_and_actions(void **state) {
  (void)state;
  assert_string_equal(gm_version(), HEAPARENA_VERSION);
  errno = 0;
  assert_int_equal(gm_set_error_action((enum gm_error_action)7), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
}

#define CHECKED(test) cmocka_unit_test_teardown(test, check_heap_after)

int main(void) {
  const struct CMUnitTest tests[] = {
      CHECKED(test_every_small_size),
      CHECKED(test_blocks_do_not_overlap),
      CHECKED(test_calloc_is_zero),
      CHECKED(test_impossible_sizes),
      CHECKED(test_products_that_overflow),
      CHECKED(test_realloc_keeps_contents),
      CHECKED(test_large_block_grows_in_place),
      CHECKED(test_huge_blocks_start_alike),
      CHECKED(test_alignments),
      CHECKED(test_bad_alignments),
      CHECKED(test_free_keeps_errno),
      CHECKED(test_statistics),
      CHECKED(test_statistics_as_json),
      CHECKED(test_purge_returns_memory),
      CHECKED(test_version_and_actions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

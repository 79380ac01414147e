// conformance_test.c: the contract of alloc.h as a test that every allocator must pass. Sources of the cases:
// the C and POSIX standards, glibc's tst-malloc-too-large and tst-posix_memalign, jemalloc's and mimalloc's
// own tests.
#include "adapters/conformance.h"

#include "adapters/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_SKIPPED 77

const ha_alloc *under_test;

bool keeps_contents(void) {
  return !(under_test->traits & HA_TRAIT_SHARED_BLOCKS);
}

void fill(void *block, size_t size, unsigned tag) {
  memset(block, (int)(tag * 37 + 11) & 0xff, size);
}

bool holds(const void *block, size_t size, unsigned tag) {
  const unsigned char *bytes = block;
  unsigned char expected = (unsigned char)(tag * 37 + 11);
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != expected)
      return false;
  return true;
}

static const struct known_deviation {
  const char *allocator, *version;
  deviation what;
  const char *text;
} known_deviations[] = {
    {"mimalloc", "2.0.9", ERRNO_LEFT_ALONE, "a failed allocation leaves errno as it was"},
    {"mimalloc", "2.0.9", MISALIGNED_SMALL_BLOCKS,
     "aligned_alloc(256, 256), (256, 512), (512, 512) and (1024, 1024) may return blocks aligned to 128 "
     "only"},
    {"jemalloc", "5.3.0", ERRNO_LEFT_ALONE_REALLOC,
     "a failed realloc of a live block leaves errno as it was"},
    {"tcmalloc", "2.10", ERRNO_LEFT_ALONE_OVERFLOW,
     "calloc leaves errno as it was when the product overflows"},
    {"tbb", "2.8", FORK_MAY_DEADLOCK, "a child forked while other threads allocate may hang in malloc"},
};

bool deviates(deviation what) {
  static bool said[sizeof known_deviations / sizeof known_deviations[0]];
  for (size_t i = 0; i < sizeof known_deviations / sizeof known_deviations[0]; i++) {
    const struct known_deviation *known = &known_deviations[i];
    if (known->what != what || strcmp(known->allocator, under_test->name) != 0 ||
        strcmp(known->version, under_test->version) != 0)
      continue;
    if (!said[i])
      printf("known deviation: %s %s: %s\n", known->allocator, known->version, known->text);
    said[i] = true;
    return true;
  }
  return false;
}

// Alignment that malloc owes to a block of this size: 16, or the largest power of two that fits into the
// block.
static size_t owed_alignment(size_t size) {
  if (size >= 16)
    return 16;
  size_t alignment = 1;
  while (alignment * 2 <= size)
    alignment *= 2;
  return alignment;
}

static void check_block(void *block, size_t size, size_t alignment) {
  assert_non_null(block);
  assert_int_equal((uintptr_t)block % alignment, 0);
  size_t usable = under_test->usable_size ? under_test->usable_size(block) : size;
  assert_true(usable >= size);
  memset(block, 0x5a, usable); // all of it may be written
}

static size_t next_size(size_t size) {
  return size < 1100 ? size + 1 : size + size / 97 + 1;
}

static void test_sizes_and_alignment(void **state) {
  (void)state;
  for (size_t size = 1; size <= (size_t)1 << 20; size = next_size(size)) {
    void *block = under_test->malloc(size);
    check_block(block, size, owed_alignment(size));
    under_test->free(block);
  }
}

static void test_zero_size(void **state) {
  (void)state;
  void *a = under_test->malloc(0);
  void *b = under_test->malloc(0);
  void *c = under_test->calloc(0, 8);
  void *d = under_test->calloc(8, 0);
  if (keeps_contents() && a)
    assert_ptr_not_equal(a, b);
  under_test->free(a);
  under_test->free(b);
  under_test->free(c);
  under_test->free(d);
  under_test->free(NULL);
}

#define LIVE 3000

static void test_live_blocks_do_not_overlap(void **state) {
  (void)state;
  static void *blocks[LIVE];
  static size_t sizes[LIVE];
  if (!keeps_contents()) {
    skip();
    return;
  }
  memset(blocks, 0, sizeof blocks);
  uint64_t random = 12345;
  for (unsigned round = 0; round < 60000; round++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    unsigned slot = (unsigned)(random >> 33) % LIVE;
    if (blocks[slot])
      assert_true(holds(blocks[slot], sizes[slot], slot));
    under_test->free(blocks[slot]);
    unsigned shift = (unsigned)(random >> 20) % 15;
    sizes[slot] = (size_t)((random >> 40) & ((2u << shift) - 1));
    blocks[slot] = under_test->malloc(sizes[slot]);
    assert_true(blocks[slot] || sizes[slot] == 0);
    if (blocks[slot])
      fill(blocks[slot], sizes[slot], slot);
  }
  for (unsigned slot = 0; slot < LIVE; slot++) {
    if (blocks[slot])
      assert_true(holds(blocks[slot], sizes[slot], slot));
    under_test->free(blocks[slot]);
  }
}

// Requests that no machine can serve: each must fail with ENOMEM and leave the heap sound.
static void check_fails(void *result) {
  assert_null(result);
  if (errno != ENOMEM && !deviates(ERRNO_LEFT_ALONE))
    assert_int_equal(errno, ENOMEM);
  errno = 0;
}

static void check_realloc_fails(void *result) {
  if (errno == 0 && deviates(ERRNO_LEFT_ALONE_REALLOC))
    errno = ENOMEM;
  check_fails(result);
}

static void huge_request(size_t size) {
  void *live = under_test->malloc(48);
  assert_non_null(live);
  fill(live, 48, 1);
  errno = 0;
  check_fails(under_test->malloc(size));
  check_fails(under_test->calloc(1, size));
  check_fails(under_test->calloc(size, 1));
  check_fails(under_test->realloc(NULL, size));
  check_realloc_fails(under_test->realloc(live, size));
  if (under_test->reallocarray)
    check_realloc_fails(under_test->reallocarray(live, size, 1));
  for (size_t alignment = 16; alignment <= 4096; alignment *= 16) {
    if (under_test->aligned_alloc)
      check_fails(under_test->aligned_alloc(alignment, size & ~(alignment - 1)));
    if (under_test->posix_memalign) {
      void *untouched = live;
      assert_int_equal(under_test->posix_memalign(&untouched, alignment, size), ENOMEM);
      assert_ptr_equal(untouched, live);
    }
  }
  assert_true(holds(live, 48, 1));
  under_test->free(live);
}

static void test_huge_requests(void **state) {
  (void)state;
  static const size_t distances[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 8191, 16384};
  for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
    huge_request(SIZE_MAX - distances[i]);
    huge_request((size_t)PTRDIFF_MAX + 1 + distances[i]);
  }
  for (size_t k = 1; k < 8; k++)
    huge_request(SIZE_MAX / 8 * k + ((size_t)1 << 50));
  test_sizes_and_alignment(NULL); // and all goes on
}

static void test_calloc_zeroes(void **state) {
  (void)state;
  if (!keeps_contents()) {
    skip();
    return;
  }
  for (size_t size = 1; size <= (size_t)1 << 20; size = next_size(size) + size / 7) {
    void *dirty = under_test->malloc(size);
    assert_non_null(dirty);
    memset(dirty, 0xee, size);
    under_test->free(dirty);
    unsigned char *clean = under_test->calloc(size, 1);
    assert_non_null(clean);
    for (size_t i = 0; i < size; i++)
      assert_int_equal(clean[i], 0);
    under_test->free(clean);
  }
}

static void test_calloc_overflow(void **state) {
  (void)state;
  static const size_t pairs[][2] = {
      {SIZE_MAX, 2},
      {2, SIZE_MAX},
      {SIZE_MAX / 2 + 1, 2},
      {SIZE_MAX / 16 + 1, 16},
      {(size_t)1 << 32, (size_t)1 << 32},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    errno = 0;
    void *result = under_test->calloc(pairs[i][0], pairs[i][1]);
    if (errno == 0 && deviates(ERRNO_LEFT_ALONE_OVERFLOW))
      errno = ENOMEM;
    check_fails(result);
    if (under_test->reallocarray) {
      void *live = under_test->malloc(32);
      fill(live, 32, 3);
      errno = 0;
      check_fails(under_test->reallocarray(live, pairs[i][0], pairs[i][1]));
      assert_true(holds(live, 32, 3));
      under_test->free(live);
    }
  }
}

static void test_realloc_keeps_contents(void **state) {
  (void)state;
  static const size_t sizes[] = {1,    8,     16,    17,     24,     100,    128,  129,     1024,   1000,
                                 4096, 8192,  20000, 32768,  32769,  65536,  1000, 1048576, 300000, 2000000,
                                 40,   70000, 3,     140000, 262144, 262145, 64,   5000000, 16};
  void *block = under_test->realloc(NULL, sizes[0]);
  assert_non_null(block);
  fill(block, sizes[0], 0);
  for (unsigned i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
    block = under_test->realloc(block, sizes[i]);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % owed_alignment(sizes[i]), 0);
    size_t kept = sizes[i] < sizes[i - 1] ? sizes[i] : sizes[i - 1];
    assert_true(holds(block, kept, i - 1));
    fill(block, sizes[i], i);
  }
  under_test->free(block);
}

static void test_realloc_by_one(void **state) {
  (void)state;
  unsigned char *block = NULL;
  for (size_t size = 1; size <= 20000; size++) {
    block = under_test->realloc(block, size);
    assert_non_null(block);
    block[size - 1] = (unsigned char)size;
    if (keeps_contents() && size > 1)
      assert_int_equal(block[size - 2], (unsigned char)(size - 1));
  }
  if (keeps_contents())
    for (size_t i = 0; i < 20000; i++)
      assert_int_equal(block[i], (unsigned char)(i + 1));
  under_test->free(block);
}

static void test_aligned_alloc(void **state) {
  (void)state;
  if (!under_test->aligned_alloc) {
    skip();
    return;
  }
  for (size_t alignment = 16; alignment <= (size_t)1 << 17; alignment *= 2) {
    for (size_t size = 1; size <= (size_t)1 << 18; size = size * 3 + 1) {
      size_t multiple = (size + alignment - 1) / alignment * alignment; // what C11 asks for
      size_t promised = alignment;
      if (multiple <= 1024 && alignment > 128 && deviates(MISALIGNED_SMALL_BLOCKS))
        promised = 128;
      void *block = under_test->aligned_alloc(alignment, multiple);
      check_block(block, multiple, promised);
      void *second = under_test->aligned_alloc(alignment, multiple);
      check_block(second, multiple, promised);
      under_test->free(block);
      void *grown = under_test->realloc(second, multiple * 2);
      check_block(grown, multiple * 2, 16);
      under_test->free(grown);
    }
  }
}

static void test_posix_memalign(void **state) {
  (void)state;
  if (!under_test->posix_memalign) {
    skip();
    return;
  }
  static const size_t wrong[] = {1, 2, 3, 4, 7, 9, 12, 24, 4095};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    void *untouched = &under_test;
    assert_int_equal(under_test->posix_memalign(&untouched, wrong[i], 64), EINVAL);
    assert_ptr_equal(untouched, &under_test);
  }
  for (size_t alignment = sizeof(void *); alignment <= (size_t)1 << 17; alignment *= 2) {
    for (size_t size = 1; size <= (size_t)1 << 18; size = size * 5 + 3) {
      void *block = NULL;
      assert_int_equal(under_test->posix_memalign(&block, alignment, size), 0);
      check_block(block, size, alignment);
      under_test->free(block);
    }
  }
}

static void test_sized_free(void **state) {
  (void)state;
  if (!under_test->free_sized) {
    skip();
    return;
  }
  for (size_t size = 1; size <= (size_t)1 << 20; size = next_size(size)) {
    void *block = under_test->malloc(size);
    check_block(block, size, owed_alignment(size));
    under_test->free_sized(block, size);
  }
  under_test->free_sized(NULL, 16);
  if (!under_test->free_aligned_sized || !under_test->aligned_alloc)
    return;
  for (size_t alignment = 16; alignment <= 65536; alignment *= 4) {
    void *block = under_test->aligned_alloc(alignment, alignment * 3);
    check_block(block, alignment * 3, alignment);
    under_test->free_aligned_sized(block, alignment, alignment * 3);
  }
}

static void test_free_keeps_errno(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 100, 5000, 40000, 200000, 3000000, 40000000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    void *block = under_test->malloc(sizes[i]);
    assert_non_null(block);
    errno = EDOM;
    under_test->free(block);
    assert_int_equal(errno, EDOM);
  }
}

static void test_usable_size_of_null(void **state) {
  (void)state;
  if (!under_test->usable_size) {
    skip();
    return;
  }
  assert_int_equal(under_test->usable_size(NULL), 0);
}

static void test_statistics_follow_the_heap(void **state) {
  (void)state;
  if (!under_test->stats) {
    skip();
    return;
  }
  enum { BLOCKS = 64, BYTES = 300000 };
  ha_alloc_stats before, during;
  assert_true(under_test->stats(&before));
  void *blocks[BLOCKS];
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i] = under_test->malloc(BYTES);
    assert_non_null(blocks[i]);
    fill(blocks[i], BYTES, i);
  }
  assert_true(under_test->stats(&during));
  assert_true(during.live_bytes >= before.live_bytes + (uint64_t)BLOCKS * BYTES);
  for (unsigned i = 0; i < BLOCKS; i++)
    under_test->free(blocks[i]);
  ha_alloc_stats after;
  assert_true(under_test->stats(&after));
  assert_true(after.live_bytes < before.live_bytes + (uint64_t)BLOCKS * BYTES / 2);
}

static void test_purge_and_check_heap(void **state) {
  (void)state;
  void *live = under_test->malloc(1000);
  fill(live, 1000, 9);
  if (under_test->purge)
    assert_true(under_test->purge());
  if (keeps_contents())
    assert_true(holds(live, 1000, 9));
  if (under_test->check_heap)
    assert_int_equal(under_test->check_heap(), 0);
  under_test->free(live);
}

static int usage(void) {
  fprintf(stderr, "usage: adapters_conformance_test --allocator NAME|NAME=/path/lib.so[:prefix]\n");
  return 2;
}

// A known allocator that is not installed is skipped, so that the suite runs on any machine; it says so.
static bool missing(const char *spec) {
  const ha_adapter *adapter = ha_registry_find(spec);
  char path[4096], why[512];
  if (!adapter || adapter->linked || ha_adapter_library(adapter, path, sizeof path, why, sizeof why))
    return false;
  printf("skipped: %s\n", why);
  return true;
}

int main(int argc, char *argv[]) {
  if (argc != 3 || strcmp(argv[1], "--allocator") != 0)
    return usage();
  if (missing(argv[2]))
    return EXIT_SKIPPED;
  char why[512];
  under_test = ha_open(argv[2], argv, why, sizeof why);
  if (!under_test) {
    fprintf(stderr, "adapters_conformance_test: %s\n", why);
    return 2;
  }
  printf("%s %s %s\n", under_test->name, under_test->version,
         under_test->library ? under_test->library : "(linked in)");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes_and_alignment),
      cmocka_unit_test(test_zero_size),
      cmocka_unit_test(test_live_blocks_do_not_overlap),
      cmocka_unit_test(test_huge_requests),
      cmocka_unit_test(test_calloc_zeroes),
      cmocka_unit_test(test_calloc_overflow),
      cmocka_unit_test(test_realloc_keeps_contents),
      cmocka_unit_test(test_realloc_by_one),
      cmocka_unit_test(test_aligned_alloc),
      cmocka_unit_test(test_posix_memalign),
      cmocka_unit_test(test_sized_free),
      cmocka_unit_test(test_free_keeps_errno),
      cmocka_unit_test(test_usable_size_of_null),
      cmocka_unit_test(test_statistics_follow_the_heap),
      cmocka_unit_test(test_cross_thread_free),
      cmocka_unit_test(test_thread_exit_with_live_blocks),
      cmocka_unit_test(test_many_short_threads),
      cmocka_unit_test(test_fork_in_threaded_process),
      cmocka_unit_test(test_purge_and_check_heap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

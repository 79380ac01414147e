// Size classes against Go's published sizes and the rules of size_class.h.
#include "core/size_class.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// The sizes of Go 1.17 and later (runtime/sizeclasses.go).
static const unsigned go_sizes[] = {
    0,     8,     16,    24,    32,    48,    64,    80,    96,    112,   128,   144,  160,   176,
    192,   208,   224,   240,   256,   288,   320,   352,   384,   416,   448,   480,  512,   576,
    640,   704,   768,   896,   1024,  1152,  1280,  1408,  1536,  1792,  2048,  2304, 2688,  3072,
    3200,  3456,  4096,  4864,  5376,  6144,  6528,  6784,  6912,  8192,  9472,  9728, 10240, 10880,
    12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768};

static void test_sizes_are_gos(void **state) {
  (void)state;
  assert_int_equal(SIZE_CLASS_COUNT, sizeof go_sizes / sizeof *go_sizes);
  for (unsigned i = 0; i < SIZE_CLASS_COUNT; i++)
    assert_int_equal(size_class_size[i], go_sizes[i]);
}

static void test_every_size_gets_the_tightest_class(void **state) {
  (void)state;
  for (size_t size = 0; size <= SIZE_CLASS_MAX; size++) {
    unsigned class = size_class_of(size);
    assert_true(class > 0 && class < SIZE_CLASS_COUNT);
    assert_true(size_class_size[class] >= size);
    if (size >= GM_MIN_ALIGN)
      assert_int_equal(size_class_size[class] % GM_MIN_ALIGN, 0);
    // The next smaller class that is aligned well enough must be too small.
    unsigned smaller = class - 1;
    while (smaller > 0 && size_class_size[smaller] % GM_MIN_ALIGN != 0 &&
           size_class_size[smaller] > GM_MIN_ALIGN)
      smaller--;
    assert_true(smaller == 0 || size_class_size[smaller] < size);
  }
}

static void test_class_24_serves_nothing(void **state) {
  (void)state;
  for (size_t size = 17; size <= 24; size++)
    assert_int_equal(size_class_size[size_class_of(size)], 32);
}

static void test_spans_keep_their_promises(void **state) {
  (void)state;
  for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) {
    size_t bytes = (size_t)size_class_pages[i] * GM_PAGE_SIZE;
    size_t go_bytes = (size_t)size_class_go_pages[i] * GM_PAGE_SIZE;
    size_t used = (size_t)size_class_objects[i] * size_class_size[i];
    assert_true(used <= bytes);
    assert_true((bytes - used) * 8 <= bytes); // at most 12.5 % tail waste
    assert_true((go_bytes % size_class_size[i]) * 8 <= go_bytes);
    assert_true(size_class_objects[i] >= 2 && size_class_objects[i] <= 4096);
  }
}

static void test_division_is_exact(void **state) {
  (void)state;
  for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++)
    for (uint32_t offset = 0; offset < size_class_pages[i] * GM_PAGE_SIZE; offset += 1 + offset % 7)
      assert_int_equal(size_class_divide(i, offset), offset / size_class_size[i]);
}

static void test_aligned_classes(void **state) {
  (void)state;
  for (size_t align = 8; align <= GM_PAGE_SIZE; align *= 2)
    for (size_t size = 0; size <= SIZE_CLASS_MAX; size += 61) {
      unsigned class = size_class_of_aligned(size, align);
      if (class == 0)
        continue;
      assert_true(size_class_size[class] >= size);
      assert_int_equal(size_class_size[class] % align, 0);
    }
  assert_int_equal(size_class_size[size_class_of_aligned(32768, 8192)], 32768);
  assert_int_equal(size_class_of_aligned(32769, 8), 0);
}

static void test_span_classes(void **state) {
  (void)state;
  for (unsigned i = 0; i < SIZE_CLASS_COUNT; i++) {
    assert_int_equal(span_class_size_class(make_span_class(i, true)), i);
    assert_int_equal(span_class_size_class(make_span_class(i, false)), i);
    assert_int_not_equal(make_span_class(i, true), make_span_class(i, false));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes_are_gos),
      cmocka_unit_test(test_every_size_gets_the_tightest_class),
      cmocka_unit_test(test_class_24_serves_nothing),
      cmocka_unit_test(test_spans_keep_their_promises),
      cmocka_unit_test(test_division_is_exact),
      cmocka_unit_test(test_aligned_classes),
      cmocka_unit_test(test_span_classes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

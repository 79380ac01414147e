// pattern_test.c: what lies in a block proves that it is this block, and this place in it.
#include "fuzz/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BLOCK ((size_t)4096)

static void fill(uint8_t *block, size_t size, uint8_t seed) {
  memcpy(block, fuzz_pattern_at(seed, 0), size);
}

static int prepare(void **context) {
  (void)context;
  fuzz_pattern_prepare();
  return 0;
}

static void test_each_changed_byte_is_seen_where_it_is(void **context) {
  (void)context;
  static uint8_t block[BLOCK];
  fill(block, BLOCK, 5);
  assert_int_equal(fuzz_pattern_check(block, 0, BLOCK, 5), BLOCK);
  for (size_t at = 0; at < BLOCK; at++) {
    block[at] ^= 1;
    assert_int_equal(fuzz_pattern_check(block, 0, BLOCK, 5), at);
    assert_int_equal(fuzz_pattern_check(block, at, at, 5), at); // nothing is looked at
    block[at] ^= 1;
  }
}

static void test_no_block_passes_for_another(void **context) {
  (void)context;
  static uint8_t block[BLOCK];
  for (unsigned seed = 0; seed < FUZZ_PATTERN_SEEDS; seed++) {
    fill(block, BLOCK, (uint8_t)seed);
    for (unsigned other = 0; other < FUZZ_PATTERN_SEEDS; other++)
      assert_true((fuzz_pattern_check(block, 0, 16, (uint8_t)other) == 16) == (other == seed));
  }
}

// As blocks that overlap, or pages that went to the wrong place, would have it.
static void test_no_place_passes_for_another(void **context) {
  (void)context;
  for (unsigned seed = 0; seed < FUZZ_PATTERN_SEEDS; seed++)
    for (size_t shift = 16; shift <= (size_t)1 << 32; shift *= 2)
      for (size_t at = 0; at < 3 * shift; at += shift)
        assert_memory_not_equal(fuzz_pattern_at((uint8_t)seed, at),
                                fuzz_pattern_at((uint8_t)seed, at + shift), 16);
}

static void test_the_pattern_goes_on_behind_its_period(void **context) {
  (void)context;
  for (unsigned seed = 0; seed < FUZZ_PATTERN_SEEDS; seed += 9)
    for (size_t from = FUZZ_PATTERN_PERIOD - FUZZ_PATTERN_MOST; from < FUZZ_PATTERN_PERIOD; from++)
      assert_int_equal(fuzz_pattern_at((uint8_t)seed, from)[FUZZ_PATTERN_MOST - 1],
                       *fuzz_pattern_at((uint8_t)seed, from + FUZZ_PATTERN_MOST - 1));
}

static void test_zeros(void **context) {
  (void)context;
  static uint8_t block[300];
  assert_int_equal(fuzz_zero_check(block, 0, sizeof block), sizeof block);
  assert_int_equal(fuzz_zero_check(block, 7, 7), 7);
  for (size_t at = 0; at < sizeof block; at++) {
    block[at] = 1;
    assert_int_equal(fuzz_zero_check(block, 0, sizeof block), at);
    assert_int_equal(fuzz_zero_check(block, at, sizeof block), at);
    assert_int_equal(fuzz_zero_check(block, at + 1, sizeof block), sizeof block);
    block[at] = 0;
  }
  static uint8_t large[3 * FUZZ_ZEROS];
  for (size_t at = 1; at < sizeof large; at += 509) {
    large[at] = 128;
    assert_int_equal(fuzz_zero_check(large, 1, sizeof large), at);
    large[at] = 0;
  }
  assert_int_equal(fuzz_zero_check(large, 1, sizeof large), sizeof large);
}

static void test_a_difference_at_any_byte_is_gathered(void **context) {
  (void)context;
  uint8_t a[FUZZ_PATTERN_SAME + 1], b[FUZZ_PATTERN_SAME + 1];
  fill(a, sizeof a, 3);
  memcpy(b, a, sizeof b);
  for (size_t at = 0; at < sizeof a; at++) {
    b[at] ^= 32;
    assert_true((fuzz_pattern_differs(a, b) != 0) == (at < FUZZ_PATTERN_SAME));
    b[at] ^= 32;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_changed_byte_is_seen_where_it_is),
      cmocka_unit_test(test_no_block_passes_for_another),
      cmocka_unit_test(test_no_place_passes_for_another),
      cmocka_unit_test(test_the_pattern_goes_on_behind_its_period),
      cmocka_unit_test(test_zeros),
      cmocka_unit_test(test_a_difference_at_any_byte_is_gathered),
  };
  return cmocka_run_group_tests(tests, prepare, NULL);
}

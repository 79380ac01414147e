// histogram_test.c: the histogram's error bound, its percentiles against sorted samples, merging.
#include "adapters/histogram.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 20000

static ha_histogram first, second, both; // too large for comfort on a stack

static uint64_t next(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 11;
}

// Durations as they are: most are short, some a million times longer.
static uint64_t duration(uint64_t *state) {
  unsigned bits = (unsigned)(next(state) % 38) + 1;
  return next(state) & ((1ull << bits) - 1);
}

static void test_buckets_follow_each_other(void **state) {
  (void)state;
  assert_int_equal(ha_histogram_bucket(0), 0);
  for (unsigned i = 0; i + 1 < HA_HISTOGRAM_BUCKETS; i++) {
    uint64_t upper = ha_histogram_upper(i);
    assert_int_equal(ha_histogram_bucket(upper), i);
    assert_int_equal(ha_histogram_bucket(upper + 1), i + 1);
  }
  assert_int_equal(ha_histogram_bucket(UINT64_MAX), HA_HISTOGRAM_BUCKETS - 1);
}

static void test_error_is_below_three_per_cent(void **state) {
  (void)state;
  const uint64_t hundred_seconds = 100000000000u;
  for (uint64_t value = 1; value <= hundred_seconds; value += value / 1000 + 1) {
    uint64_t upper = ha_histogram_upper(ha_histogram_bucket(value));
    assert_true(upper >= value);
    assert_true((double)(upper - value) <= 0.03 * (double)value);
  }
}

static int by_value(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

static void test_percentiles_are_those_of_sorted_samples(void **state) {
  (void)state;
  static uint64_t samples[SAMPLES];
  static const double shares[] = {0.0001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999};
  uint64_t random = 1;
  memset(&first, 0, sizeof first);
  for (unsigned i = 0; i < SAMPLES; i++)
    ha_histogram_add(&first, samples[i] = duration(&random));
  qsort(samples, SAMPLES, sizeof samples[0], by_value);
  for (unsigned i = 0; i < sizeof shares / sizeof shares[0]; i++) {
    double exact = (double)samples[(unsigned)ceil(shares[i] * SAMPLES) - 1];
    double read = (double)ha_histogram_percentile(&first, shares[i]);
    assert_true(read >= exact && read <= exact * 1.03);
  }
  assert_int_equal(ha_histogram_percentile(&first, 1), samples[SAMPLES - 1]);
  assert_int_equal(first.max, samples[SAMPLES - 1]);
  assert_int_equal(first.count, SAMPLES);
}

static void test_empty_and_single(void **state) {
  (void)state;
  memset(&first, 0, sizeof first);
  assert_int_equal(ha_histogram_percentile(&first, 0.5), 0);
  ha_histogram_add(&first, 1000003);
  assert_int_equal(ha_histogram_percentile(&first, 0), 1000003); // never above the largest
  assert_int_equal(ha_histogram_percentile(&first, 1), 1000003);
}

static void test_merged_is_as_if_recorded_in_one(void **state) {
  (void)state;
  uint64_t random = 2;
  memset(&first, 0, sizeof first);
  memset(&second, 0, sizeof second);
  memset(&both, 0, sizeof both);
  for (unsigned i = 0; i < SAMPLES; i++) {
    uint64_t value = duration(&random);
    ha_histogram_add(i % 3 ? &first : &second, value);
    ha_histogram_add(&both, value);
  }
  ha_histogram_merge(&first, &second);
  assert_memory_equal(&first, &both, sizeof both);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_buckets_follow_each_other),
      cmocka_unit_test(test_error_is_below_three_per_cent),
      cmocka_unit_test(test_percentiles_are_those_of_sorted_samples),
      cmocka_unit_test(test_empty_and_single),
      cmocka_unit_test(test_merged_is_as_if_recorded_in_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

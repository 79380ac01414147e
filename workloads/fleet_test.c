// fleet_test.c: the server profiles as drawn: sizes, shares of allocations, shares of live objects, and the
// programs made from them.
#include "workloads/catalog.h"
#include "workloads/fleet_program.h"
#include "workloads/sizes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Five standard deviations of a count with that mean, and two for the rounding.
static bool count_fits(double count, double mean) {
  return fabs(count - mean) < 5 * sqrt(mean) + 2;
}

static void test_table_is_sound(void **state) {
  (void)state;
  for (unsigned p = 0; p < HA_FLEET_PROFILES; p++) {
    double allocations = 0, live = 0;
    for (unsigned i = ha_fleet_first[p]; i < ha_fleet_first[p + 1]; i++) {
      const ha_fleet_bin *b = &ha_fleet_bins[i];
      assert_in_range(b->mean, ha_fleet_bin_least(b), b->most);
      assert_true(b->most <= 64u << 20);
      assert_true(i == ha_fleet_first[p] || b->most > b[-1].most);
      assert_true(b->alloc_share > 0 && b->live_share > 0);
      allocations += b->alloc_share;
      live += b->live_share;
    }
    assert_true(fabs(allocations - 1) < 1e-5 && fabs(live - 1) < 1e-5);
  }
  assert_true(ha_fleet_first[HA_FLEET_PROFILES] <= HA_FLEET_MOST_BINS);
}

static void test_sizes_of_a_bin_have_its_mean(void **state) {
  (void)state;
  uint64_t random = 5;
  for (unsigned i = 0; i < ha_fleet_first[HA_FLEET_PROFILES]; i++) {
    const ha_fleet_bin *b = &ha_fleet_bins[i];
    double sum = 0;
    for (unsigned n = 0; n < 2000; n++) {
      uint32_t size = ha_fleet_draw_size(b, &random);
      assert_in_range(size, ha_fleet_bin_least(b), b->most);
      sum += size;
    }
    assert_true(fabs(sum / 2000 - b->mean) < 0.015 * b->mean);
  }
}

static ha_fleet_law law_of(unsigned profile) {
  ha_fleet_law law;
  ha_fleet_law_make(&law, profile);
  return law;
}

static void test_bins_come_with_their_shares(void **state) {
  (void)state;
  uint64_t random = 6;
  for (unsigned p = 0; p <= HA_FLEET_ALL; p++) {
    ha_fleet_law law = law_of(p);
    double parts = p == HA_FLEET_ALL ? HA_FLEET_PROFILES : 1;
    uint64_t counts[HA_FLEET_MOST_BINS] = {0};
    const unsigned draws = 200000;
    for (unsigned n = 0; n < draws; n++)
      counts[ha_fleet_draw_bin(&law, &random)]++;
    for (unsigned i = 0; i < law.count; i++)
      assert_true(count_fits((double)counts[i], draws * law.bins[i].alloc_share / parts));
  }
}

// Mean request and mean live object, as the source's figures give them.
static void test_means(void **state) {
  (void)state;
  static const double asked[] = {481.6, 197.3, 208.1, 497.9, 384.8, 313.3, 639.5, 368.9, 1333.2, 342.4};
  static const double live[] = {780.0, 126.6, 986.8, 217.2, 222.4, 204.8, 132.4, 862.8, 8624.6, 181.1};
  for (unsigned p = 0; p < HA_FLEET_PROFILES; p++) {
    ha_fleet_law law = law_of(p);
    assert_true(fabs(law.mean_asked / asked[p] - 1) < 0.001);
    assert_true(fabs(law.mean_live / live[p] - 1) < 0.001);
  }
}

static unsigned bin_of(const ha_fleet_law *law, uint32_t size) {
  unsigned i = 0;
  while (law->bins[i].most < size)
    i++;
  return i;
}

// Plays a program; counts[i] becomes the number of live objects of bin i at its end. Fails if it takes a slot
// that is full or empties an empty one.
static void play(const ha_fleet_program *p, const ha_fleet_law *law, uint64_t *counts) {
  uint32_t *sizes = calloc(p->slots, sizeof *sizes);
  assert_non_null(sizes);
  for (uint64_t i = 0; i < p->count; i++) {
    const ha_fleet_op *op = &p->ops[i];
    assert_true(op->slot < p->slots);
    assert_true(i >= p->objects || op->size);
    assert_true((sizes[op->slot] == 0) == (op->size != 0));
    counts[bin_of(law, op->size ? op->size : sizes[op->slot])] += op->size ? 1u : (uint64_t)-1;
    sizes[op->slot] = op->size;
  }
  free(sizes);
}

// After ten times as many allocations as there are objects, the live shares are still those of the profile.
static void test_live_shares_hold(void **state) {
  (void)state;
  for (unsigned p = 0; p < HA_FLEET_PROFILES; p++) {
    ha_run run = {.scale = 1};
    ha_fleet_law law = law_of(p);
    ha_fleet_program program;
    uint64_t random = 77 + p, counts[HA_FLEET_MOST_BINS] = {0}, all = 0;
    const uint32_t objects = 20000;
    assert_true(ha_fleet_program_make(&run, &law, objects, 10 * objects, &random, &program));
    play(&program, &law, counts);
    for (unsigned i = 0; i < law.count; i++) {
      all += counts[i];
      if (!count_fits((double)counts[i], objects * law.live[i]))
        fail_msg("profile %u, bin up to %u: %llu live objects, expected %.1f", p, law.bins[i].most,
                 (unsigned long long)counts[i], objects * law.live[i]);
    }
    assert_true(count_fits((double)all, objects));
  }
}

static void test_programs_of_extreme_shape(void **state) {
  (void)state;
  ha_run run = {.scale = 1};
  ha_fleet_law law = law_of(8);
  ha_fleet_program program;
  uint64_t random = 3, counts[HA_FLEET_MOST_BINS] = {0};
  assert_true(ha_fleet_program_make(&run, &law, 1, 5000, &random, &program)); // hardly anything lives
  play(&program, &law, counts);
  assert_true(ha_fleet_program_make(&run, &law, 5000, 1, &random, &program)); // nothing but the heap
  memset(counts, 0, sizeof counts);
  play(&program, &law, counts);
  assert_in_range(program.count, 5001, 5002 + 5000);
}

// The size laws of other workloads draw from the same profiles.
static void test_size_laws(void **state) {
  (void)state;
  static const char *const specs[] = {"churn:law=fleet1:min=1:max=1048576",
                                      "churn:law=measured:min=1:max=1048576",
                                      "churn:law=fleet8:min=1:max=1048576"};
  static const unsigned profiles[] = {1, HA_FLEET_ALL, 8};
  for (size_t s = 0; s < 3; s++) {
    ha_run run = {.scale = 1};
    assert_true(ha_catalog_parse(&run, specs[s]));
    uint64_t random = 7;
    const uint32_t *sizes = ha_sizes_draw(&run, &random);
    ha_fleet_law law = law_of(profiles[s]);
    double expected = 0, small = 0;
    for (unsigned i = 0; i < law.count; i++)
      if (law.bins[i].most <= 1024)
        expected += law.bins[i].alloc_share / (s == 1 ? HA_FLEET_PROFILES : 1);
    for (unsigned i = 0; i < HA_SIZES; i++)
      small += sizes[i] <= 1024;
    assert_true(fabs(small / HA_SIZES - expected) < 0.01);
  }
}

static void test_walk_over_classes(void **state) {
  (void)state;
  uint32_t size = 16, steps = 0;
  for (; size < 1u << 20; steps++) {
    uint32_t next = ha_sizes_next_class(size);
    assert_true(next > size && (size < 128 ? next == size + 16 : next <= size + size / 4));
    size = next;
  }
  assert_int_equal(size, 1u << 20); // powers of two are classes
  assert_int_equal(steps, 7 + 4 * 13);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table_is_sound),
      cmocka_unit_test(test_sizes_of_a_bin_have_its_mean),
      cmocka_unit_test(test_bins_come_with_their_shares),
      cmocka_unit_test(test_means),
      cmocka_unit_test(test_live_shares_hold),
      cmocka_unit_test(test_programs_of_extreme_shape),
      cmocka_unit_test(test_size_laws),
      cmocka_unit_test(test_walk_over_classes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// programs_test.c: each mutator program computes the same over every collector, with manual freeing, and in
// Go; a heap that is too small is a failure that says so; counters come along.
#include "adapters/collectors.h"
#include "workloads/catalog.h"
#include "workloads/runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *const no_arguments[] = {NULL};

static double counter(const ha_run *run, const char *name) {
  for (size_t i = 0; i < run->counter_count; i++)
    if (strcmp(run->counters[i].name, name) == 0)
      return run->counters[i].value;
  return -1;
}

// False: the allocator is not there.
static bool run_over(const char *allocator, const char *spec, double scale, bool verify, ha_run *run,
                     ha_measurement *m) {
  char why[256];
  const ha_alloc *alloc = ha_open(allocator, no_arguments, why, sizeof why);
  if (!alloc) {
    print_message("skipped: %s\n", why);
    return false;
  }
  *run = (ha_run){.alloc = alloc, .threads = 1, .seed = 7, .scale = scale, .verify = verify};
  memset(m, 0, sizeof *m);
  assert_true(ha_catalog_parse(run, spec));
  (void)ha_run_once(run, m);
  return true;
}

static const char *const specs[] = {
    "gc-bench:stretch=12:lasting=10:numbers=1000",
    "gc-trees:depth=10",
    "gc-map:keys=3000:ops=20000",
    "gc-lists:ops=60000:longest=5000",
    "gc-lru:entries=1000:ops=20000",
    "gc-frag:phases=10:burst=2000:survivors=2000",
};

static void test_all_compute_the_same(void **state) {
  (void)state;
  static const char *const entries[] = {"markcompact", "copying", "generational", "marksweep", "boehm", "go"};
  for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
    ha_run run = {0};
    ha_measurement by_hand = {0}, m = {0};
    assert_true(run_over("system", specs[i], 1, false, &run, &by_hand));
    assert_string_equal(run.why, "");
    assert_true(by_hand.operations > 1000);
    assert_true(counter(&run, "gc_allocated_bytes") > 1000 && counter(&run, "gc_collections") == -1);
    for (size_t j = 0; j < sizeof entries / sizeof entries[0]; j++) {
      if (!run_over(entries[j], specs[i], 1, false, &run, &m))
        continue;
      if (run.why[0] || m.checksum != by_hand.checksum || m.operations != by_hand.operations)
        fail_msg("%s over %s: checksum %llx of %llu objects, by hand %llx of %llu; %s", specs[i], entries[j],
                 (unsigned long long)m.checksum, (unsigned long long)m.operations,
                 (unsigned long long)by_hand.checksum, (unsigned long long)by_hand.operations, run.why);
      assert_true(counter(&run, "gc_collections") >= 0 && counter(&run, "gc_utilisation") <= 1);
      assert_true(m.wall_seconds > 0 && m.peak_rss_bytes > 1 << 20);
    }
  }
}

// With small heaps and a check of the whole heap after each collection; the same work must come out.
static void test_small_heaps(void **state) {
  (void)state;
  static const char *const entries[] = {"markcompact", "copying", "generational", "marksweep"};
  for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
    ha_run run = {0};
    ha_measurement by_hand = {0}, m = {0};
    assert_true(run_over("system", specs[i], 1, false, &run, &by_hand));
    for (size_t j = 0; j < sizeof entries / sizeof entries[0]; j++) {
      char spec[160];
      (void)snprintf(spec, sizeof spec, "%s:limit=12:nursery=256:goal=20", specs[i]);
      assert_true(run_over(entries[j], spec, 1, true, &run, &m));
      assert_string_equal(run.why, "");
      assert_int_equal(m.checksum, by_hand.checksum);
    }
  }
}

static void test_too_small_a_heap_is_said(void **state) {
  (void)state;
  static const char *const entries[] = {"markcompact", "copying", "generational", "marksweep"};
  for (size_t j = 0; j < sizeof entries / sizeof entries[0]; j++) {
    ha_run run = {0};
    ha_measurement m = {0};
    assert_true(run_over(entries[j], "gc-trees:depth=18:limit=4:nursery=64", 1, false, &run, &m));
    assert_non_null(
        strstr(run.why, "out of memory: the heap's limit is reached; a larger one: gc-trees:limit=MIB"));
  }
}

static void test_a_bound_without_contents_is_refused(void **state) {
  (void)state;
  ha_run run = {0};
  ha_measurement m = {0};
  assert_true(run_over("null", "gc-trees:depth=5", 1, false, &run, &m));
  assert_non_null(strstr(run.why, "null keeps no contents"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_compute_the_same),
      cmocka_unit_test(test_small_heaps),
      cmocka_unit_test(test_too_small_a_heap_is_said),
      cmocka_unit_test(test_a_bound_without_contents_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

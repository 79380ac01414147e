// workloads_test.c: specs, size laws, block marks, and each synthetic workload end to end over small linked
// allocators.
#include "adapters/registry.h"
#include "workloads/catalog.h"
#include "workloads/runner.h"
#include "workloads/sizes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *const no_arguments[] = {NULL};

static ha_run fresh_run(const char *spec, const ha_alloc *alloc, unsigned threads, double scale,
                        bool verify) {
  ha_run run = {.alloc = alloc, .threads = threads, .seed = 42, .scale = scale, .verify = verify};
  if (!ha_catalog_parse(&run, spec))
    fail_msg("%s", run.why);
  return run;
}

static void refuses(const char *spec, const char *part) {
  ha_run run = {.threads = 1};
  assert_false(ha_catalog_parse(&run, spec));
  if (!strstr(run.why, part))
    fail_msg("\"%s\" was refused with \"%s\", which does not say \"%s\"", spec, run.why, part);
}

static void test_bad_specs(void **state) {
  (void)state;
  refuses("chrn", "no workload is called \"chrn\"");
  refuses("churn:live", "key=value");
  refuses("churn:lvie=3", "has no parameter \"lvie\"; it has: live, ops, law, min, max");
  refuses("churn:live=0", "give a number from 1");
  refuses("churn:live=many", "give a number");
  refuses("churn:live=-1", "give a number");
  refuses("trace:", "give a file");
  refuses("trace", "give a file");
}

static void test_parameters_are_parsed(void **state) {
  (void)state;
  ha_run run = fresh_run("churn:live=77:law=pareto", NULL, 1, 1, false);
  assert_int_equal(ha_param_number(&run, "live"), 77);
  assert_string_equal(ha_param_text(&run, "law"), "pareto");
  assert_int_equal(ha_param_number(&run, "max"), 16384);
}

static void test_trace_file_names_may_hold_colons(void **state) {
  (void)state;
  ha_run run = fresh_run("trace:/a:b/c=d:e.hat:touch=ends", NULL, 1, 1, false);
  assert_string_equal(ha_param_text(&run, "file"), "/a:b/c=d:e.hat");
  assert_string_equal(ha_param_text(&run, "touch"), "ends");
}

static double mean_of(const char *spec, uint32_t least, uint32_t most) {
  ha_run run = fresh_run(spec, NULL, 1, 1, false);
  uint64_t random = 7;
  const uint32_t *sizes = ha_sizes_draw(&run, &random);
  assert_non_null(sizes);
  double sum = 0;
  for (size_t i = 0; i < HA_SIZES; i++) {
    assert_in_range(sizes[i], least, most);
    sum += sizes[i];
  }
  return sum / HA_SIZES;
}

static bool near(double value, double expected, double share) {
  return value > expected * (1 - share) && value < expected * (1 + share);
}

static void test_size_laws_have_their_means(void **state) {
  (void)state;
  assert_true(near(mean_of("churn:law=fixed:min=48:max=48", 48, 48), 48, 0.001));
  assert_true(near(mean_of("churn:law=even:min=8:max=1000", 8, 1000), 504, 0.01));
  // exp(ln 64 + 1.2^2 / 2) = 131.5 without the cut
  assert_true(near(mean_of("churn:law=lognormal:min=1:max=1000000", 1, 1000000), 131.5, 0.05));
  // a b ln(b/a) / (b - a), less a half for rounding down
  assert_true(
      near(mean_of("churn:law=pareto:min=16:max=4096", 16, 4096), 16.0 * 4096 * 5.545 / 4080 - 0.5, 0.05));
  ha_run run = fresh_run("churn:law=bell", NULL, 1, 1, false);
  uint64_t random = 1;
  assert_null(ha_sizes_draw(&run, &random));
  assert_non_null(strstr(run.why, "law=bell"));
  run = fresh_run("churn:min=9:max=8", NULL, 1, 1, false);
  assert_null(ha_sizes_draw(&run, &random));
}

static void test_marks_find_every_changed_byte(void **state) {
  (void)state;
  unsigned char block[300];
  ha_block_mark(block, sizeof block, 5, true);
  for (size_t i = 0; i < sizeof block; i++) {
    block[i] ^= 1;
    assert_false(ha_block_check(block, sizeof block, 5, true));
    block[i] ^= 1;
  }
  assert_true(ha_block_check(block, sizeof block, 5, true));
  assert_false(ha_block_check(block, sizeof block, 6, true));
  ha_block_mark(block, 1, 9, false);
  assert_true(ha_block_check(block, 1, 9, false));
  assert_false(ha_block_check(block, 1, 10, false));
}

static void test_live_peak_is_exact_for_one_thread(void **state) {
  (void)state;
  ha_run run = {0};
  ha_live live = {.run = &run};
  int64_t now = 0, peak = 0;
  uint64_t random = 3;
  for (unsigned i = 0; i < 10000; i++) {
    int64_t step = (int64_t)ha_random_below(&random, 2000) - (now > 50000 ? 1900 : 100);
    if (now + step < 0)
      step = -now;
    now += step;
    peak = now > peak ? now : peak;
    ha_live_add(&live, step);
  }
  ha_live_flush(&live);
  assert_int_equal(atomic_load(&run.live_bytes), now);
  assert_int_equal(atomic_load(&run.live_peak), peak);
}

static const ha_alloc *linked(const char *name) {
  char why[512];
  const ha_alloc *alloc = ha_open(name, no_arguments, why, sizeof why);
  assert_non_null(alloc);
  return alloc;
}

static ha_measurement measure(const char *spec, const ha_alloc *alloc, unsigned threads, bool verify) {
  ha_run run = fresh_run(spec, alloc, threads, 1, verify);
  ha_measurement m;
  if (!ha_run_once(&run, &m))
    fail_msg("%s over %s: %s", spec, alloc->name, run.why);
  return m;
}

static const char *const small_specs[] = {
    "churn:live=500:ops=5000",
    "larson:live=100:ops=500:rounds=4",
    "prodcons:ops=5000:batch=16:depth=4",
    "prodcons:ops=3000:batch=16:depth=4:producers=2:consumers=3",
};

static void test_workloads_run_and_repeat(void **state) {
  (void)state;
  static const char *const allocators[] = {"template", "bump", "null"};
  for (size_t a = 0; a < 3; a++)
    for (size_t w = 0; w < sizeof small_specs / sizeof small_specs[0]; w++)
      for (unsigned threads = 1; threads <= 3; threads += 2) {
        const ha_alloc *alloc = linked(allocators[a]);
        ha_measurement first = measure(small_specs[w], alloc, threads, false);
        ha_measurement again = measure(small_specs[w], alloc, threads, true);
        assert_true(first.operations >= 5000 || w == 1);
        assert_int_equal(first.operations, again.operations);
        assert_int_equal(first.checksum, again.checksum);
        assert_true(first.wall_seconds > 0);
        assert_true(first.peak_live_bytes > 0);
      }
}

// An allocator that hands the same block out twice now and then: a verification that verifies must see it.
static void *lent_block;
static _Atomic unsigned handed_out;

static void *overlapping_malloc(size_t size) {
  static const ha_alloc *honest;
  if (!honest)
    honest = ha_registry_find("bump")->linked;
  unsigned count = ++handed_out;
  if (size <= 4096 && count % 97 == 53) // soon enough to be live still, in the same batch of prodcons
    return lent_block;
  void *block = honest->malloc(size < 4096 ? 4096 : size);
  if (count % 97 == 50)
    lent_block = block;
  return block;
}

static void overlapping_free(void *block) {
  (void)block;
}

static void test_overlap_is_noticed(void **state) {
  (void)state;
  const ha_alloc overlapping = {
      .name = "overlapping", .malloc = overlapping_malloc, .free = overlapping_free};
  for (size_t w = 0; w < 3; w++) {
    handed_out = 0;
    ha_run run = fresh_run(small_specs[w], &overlapping, 1, 1, true);
    ha_measurement m;
    assert_false(ha_run_once(&run, &m));
    assert_true(strstr(run.why, "contents") || strstr(run.why, "changed"));
  }
}

static void *failing_malloc(size_t size) {
  return ++handed_out % 3000 == 0 ? NULL : ha_registry_find("bump")->linked->malloc(size);
}

static void test_null_from_malloc_is_a_failure_not_a_crash(void **state) {
  (void)state;
  const ha_alloc failing = {.name = "failing", .malloc = failing_malloc, .free = overlapping_free};
  for (size_t w = 0; w < sizeof small_specs / sizeof small_specs[0]; w++) {
    handed_out = 2000;
    ha_run run = fresh_run(small_specs[w], &failing, 2, 1, false);
    ha_measurement m;
    assert_false(ha_run_once(&run, &m));
    assert_non_null(strstr(run.why, "malloc returned NULL"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_specs),
      cmocka_unit_test(test_parameters_are_parsed),
      cmocka_unit_test(test_trace_file_names_may_hold_colons),
      cmocka_unit_test(test_size_laws_have_their_means),
      cmocka_unit_test(test_marks_find_every_changed_byte),
      cmocka_unit_test(test_live_peak_is_exact_for_one_thread),
      cmocka_unit_test(test_workloads_run_and_repeat),
      cmocka_unit_test(test_overlap_is_noticed),
      cmocka_unit_test(test_null_from_malloc_is_a_failure_not_a_crash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

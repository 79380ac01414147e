// workloads_test.c: specs, size laws, block marks, live bytes. The workloads themselves: synthetic_test.c.
#include "workloads/catalog.h"
#include "workloads/sizes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
  refuses("churn:lvie=3", "has no parameter \"lvie\"; it has: live, ops, law, min, max, fill");
  refuses("churn:live=0", "give a number from 1");
  refuses("churn:live=many", "give a number");
  refuses("churn:live=-1", "give a number");
  refuses("churn:law=bell", "law=bell: choose one of fixed, even, lognormal, pareto, measured, fleet0, ");
  refuses("churn:law=fleet10", ", fleet8, fleet9");
  refuses("churn:fill=", "fill=: choose one of timed, before");
  refuses("fastpath:link=maybe", "link=maybe: choose one of no, yes");
  refuses("batch:order=sorted", "order=sorted: choose one of fifo, lifo, random");
  refuses("aligned:misaligned=no", "misaligned=no: choose one of fail, count");
  refuses("trace:a.hat:touch=twice", "touch=twice: choose one of none, ends, pages, whole");
  refuses("trace:a.hat:threads=sideways", "threads=sideways: choose one of parallel, serial");
  refuses("trace:a.hat:stream=sideways", "stream=sideways: choose one of auto, yes, no");
  refuses("trace:a.hat:pace=sideways", "pace=sideways: choose one of fast, recorded");
  refuses("model:a.json:pace=recorded",
          "model has no parameter \"pace\"; it has: file, touch, threads, window");
  refuses("trace:a.hat:speed=0", "speed=0: give a number from 0.01 to 1000");
  refuses("trace:a.hat:speed=0x10", "speed=0x10: give a number from 0.01");
  refuses("trace:a.hat:speed=1e9", "speed=1e9: give a number from 0.01");
  refuses("trace:", "give a file");
  refuses("trace", "give a file");
}

static void test_parameters_are_parsed(void **state) {
  (void)state;
  ha_run run = fresh_run("churn:live=77:law=pareto", NULL, 1, 1, false);
  assert_int_equal(ha_param_number(&run, "live"), 77);
  assert_string_equal(ha_param_text(&run, "law"), "pareto");
  assert_int_equal(ha_param_word(&run, "law"), 3);
  assert_int_equal(ha_param_number(&run, "max"), 16384);
  run = fresh_run("trace:a.hat:speed=0.01", NULL, 1, 1, false);
  assert_string_equal(ha_param_text(&run, "speed"), "0.01");
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
  uint64_t random = 1;
  ha_run run = fresh_run("churn:min=9:max=8", NULL, 1, 1, false);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_specs),
      cmocka_unit_test(test_parameters_are_parsed),
      cmocka_unit_test(test_trace_file_names_may_hold_colons),
      cmocka_unit_test(test_size_laws_have_their_means),
      cmocka_unit_test(test_marks_find_every_changed_byte),
      cmocka_unit_test(test_live_peak_is_exact_for_one_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

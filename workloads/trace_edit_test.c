// trace_edit_test.c: cutting, merging, anonymizing and statistics of traces.
#include "workloads/trace_edit.h"
#include "workloads/trace_stat.h"
#include "workloads/trace_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char why[1024];

// Reads a trace through; fails the test on any error.
static ha_trace_totals totals_of(const char *path, char *meta, size_t meta_size) {
  ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
  if (reader == NULL)
    fail_msg("%s", why);
  ha_op op;
  int got;
  while ((got = ha_trace_next(reader, &op)) > 0) {
  }
  if (got < 0)
    fail_msg("%s", ha_trace_error(reader));
  ha_trace_totals totals = *ha_trace_get_totals(reader);
  if (meta != NULL)
    snprintf(meta, meta_size, "%s", ha_trace_meta(reader));
  ha_trace_close(reader);
  return totals;
}

static ha_trace_totals make(const char *path, uint64_t seed, size_t count, uint32_t threads) {
  ha_trace_totals totals;
  test_program program = test_random_program(seed, count, threads, 3);
  test_write_program(path, &program, "command: secret --key\n", &totals);
  test_program_free(&program);
  return totals;
}

static void a_whole_cut_is_the_trace(void **state) {
  (void)state;
  const char *path = test_path("whole.hat"), *out = test_path("cut.hat");
  ha_trace_totals before = make(path, 1, 5000, 4), after;
  assert_true(ha_trace_cut(path, out, &(ha_trace_window){.to = UINT64_MAX}, &after, why, sizeof why));
  assert_int_equal(after.checksum, before.checksum);
  assert_int_equal(after.flags, 0);
}

// Wherever it is cut, the second part begins with what the first left live, and ends with what was live.
static void parts_fit_together(void **state) {
  (void)state;
  const char *path = test_path("whole.hat"), *first = test_path("first.hat"),
             *second = test_path("second.hat");
  for (uint64_t seed = 2; seed < 8; seed++) {
    ha_trace_totals whole = make(path, seed, 3000, 1 + (uint32_t)seed % 4), one, two;
    uint64_t at = 400 * seed;
    assert_true(ha_trace_cut(path, first, &(ha_trace_window){.to = at}, &one, why, sizeof why));
    assert_true(
        ha_trace_cut(path, second, &(ha_trace_window){.from = at, .to = UINT64_MAX}, &two, why, sizeof why));
    char meta[2048];
    ha_trace_totals read = totals_of(second, meta, sizeof meta);
    assert_int_equal(read.checksum, two.checksum);
    assert_non_null(strstr(meta, "command: secret"));
    assert_non_null(strstr(meta, "live at the cut's start"));
    assert_true((two.flags & HA_TRACE_ADJUSTED) != 0);
    assert_int_equal(one.operations, at);
    assert_int_equal(two.live_bytes_end, whole.live_bytes_end);
    assert_int_equal(one.by_kind[HA_OP_FREE] + two.by_kind[HA_OP_FREE], whole.by_kind[HA_OP_FREE]);
    uint64_t peak = one.live_bytes_peak > two.live_bytes_peak ? one.live_bytes_peak : two.live_bytes_peak;
    assert_int_equal(peak, whole.live_bytes_peak);
  }
}

static void a_cut_by_time_keeps_its_window(void **state) {
  (void)state;
  const char *path = test_path("whole.hat"), *out = test_path("cut.hat");
  ha_trace_totals whole = make(path, 9, 3000, 2), part;
  ha_trace_window window = {.by_time = true, .from = whole.duration_ns / 4, .to = whole.duration_ns / 2};
  assert_true(ha_trace_cut(path, out, &window, &part, why, sizeof why));
  assert_true(part.operations > 100 && part.operations < whole.operations);
  assert_true(part.duration_ns <= whole.duration_ns / 4 + 1);
  window = (ha_trace_window){.by_time = true, .from = whole.duration_ns + 1, .to = UINT64_MAX};
  assert_int_equal(unlink(out), 0);
  assert_false(ha_trace_cut(path, out, &window, &part, why, sizeof why));
  assert_non_null(strstr(why, "no operation in that window"));
  assert_int_not_equal(access(out, F_OK), 0);
}

static void merging_adds_up(void **state) {
  (void)state;
  const char *paths[] = {test_path("a.hat"), test_path("b.hat"), test_path("c.hat")};
  ha_trace_totals each[3], merged;
  uint64_t operations = 0, objects = 0, threads = 0, remote = 0;
  for (unsigned i = 0; i < 3; i++) {
    each[i] = make(paths[i], 20 + i, 2000 + 500 * i, 1 + i);
    operations += each[i].operations;
    objects += each[i].objects;
    threads += each[i].threads;
    remote += each[i].remote_frees;
  }
  const char *out = test_path("merged.hat");
  for (unsigned way = 0; way < 4; way++) {
    assert_true(ha_trace_merge(paths, 3, way & 1, way & 2, out, &merged, why, sizeof why));
    assert_int_equal(totals_of(out, NULL, 0).checksum, merged.checksum);
    assert_int_equal(merged.operations, operations);
    assert_int_equal(merged.objects, objects);
    assert_int_equal(merged.threads, threads);
    assert_int_equal(merged.remote_frees, remote);
    assert_int_equal(merged.processes, way & 2 ? 1 : 3);
  }
  paths[1] = "no-such.hat";
  assert_false(ha_trace_merge(paths, 3, false, false, out, &merged, why, sizeof why));
  assert_non_null(strstr(why, "no-such.hat"));
}

static void nothing_tells_the_owner(void **state) {
  (void)state;
  const char *path = test_path("own.hat"), *out = test_path("anonymous.hat");
  ha_trace_totals before = make(path, 30, 4000, 3), after;
  assert_true(ha_trace_anonymize(path, out, HA_ROUND_NOT, 0, &after, why, sizeof why));
  assert_int_equal(after.checksum, before.checksum);
  assert_true(ha_trace_anonymize(path, out, HA_ROUND_POW2, 1000, &after, why, sizeof why));
  assert_int_equal(after.operations, before.operations);
  assert_int_equal(after.remote_frees, before.remote_frees);
  char meta[1024];
  assert_int_equal(totals_of(out, meta, sizeof meta).checksum, after.checksum);
  assert_null(strstr(meta, "secret"));
  ha_trace_reader *reader = ha_trace_open(out, why, sizeof why);
  assert_int_equal(ha_trace_clock_start(reader), 0);
  ha_op op;
  while (ha_trace_next(reader, &op) > 0) {
    assert_int_equal(op.time_ns % 1000, 0);
    if (op.kind == HA_OP_MALLOC && op.flags == 0)
      assert_int_equal(op.size & (op.size - 1), 0);
  }
  size_t count;
  const ha_trace_thread *threads = ha_trace_threads(reader, &count);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(strncmp(threads[i].name, "thread ", 7), 0);
    assert_int_equal(threads[i].system_id, 0);
  }
  ha_trace_close(reader);
}

static void sizes_round_up(void **state) {
  (void)state;
  static const uint64_t cases[][3] = {// size, class, power of two
                                      {0, 0, 0},       {1, 1, 1},       {2, 16, 2},        {16, 16, 16},
                                      {17, 32, 32},    {128, 128, 128}, {129, 160, 256},   {160, 160, 256},
                                      {161, 192, 256}, {256, 256, 256}, {1000, 1024, 1024}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(ha_trace_round_size(cases[i][0], HA_ROUND_NOT), cases[i][0]);
    assert_int_equal(ha_trace_round_size(cases[i][0], HA_ROUND_CLASS), cases[i][1]);
    assert_int_equal(ha_trace_round_size(cases[i][0], HA_ROUND_POW2), cases[i][2]);
  }
  assert_int_equal(ha_trace_round_size(UINT64_MAX, HA_ROUND_POW2), UINT64_MAX);
}

static void damaged_input_leaves_nothing(void **state) {
  (void)state;
  const char *path = test_path("damaged.hat"), *out = test_path("out.hat");
  ha_trace_totals totals;
  make(path, 40, 3000, 2);
  size_t size;
  unsigned char *bytes = test_read_file(path, &size);
  for (size_t length = 10; length < size; length += size / 40 + 1) {
    test_write_file(path, bytes, length);
    assert_false(ha_trace_cut(path, out, &(ha_trace_window){.to = 5}, &totals, why, sizeof why));
    assert_non_null(strstr(why, "cut off"));
    assert_false(ha_trace_anonymize(path, out, HA_ROUND_CLASS, 0, &totals, why, sizeof why));
    assert_false(ha_trace_merge(&path, 1, false, false, out, &totals, why, sizeof why));
    static ha_trace_stat stat;
    assert_false(ha_trace_stat_read(path, &stat, why, sizeof why));
    assert_non_null(strstr(why, "cut off"));
    assert_int_not_equal(access(out, F_OK), 0);
  }
  test_write_file(path, bytes, size);
  free(bytes);
  assert_false(ha_trace_cut(path, "no-such-folder/x", &(ha_trace_window){.to = 5}, &totals, why, sizeof why));
  assert_non_null(strstr(why, "no-such-folder"));
}

static void statistics_agree_with_the_totals(void **state) {
  (void)state;
  const char *path = test_path("stat.hat");
  static ha_trace_stat stat;
  ha_trace_totals totals = make(path, 50, 6000, 4);
  assert_true(ha_trace_stat_read(path, &stat, why, sizeof why));
  uint64_t operations = 0, requested = 0, remote = 0, frees = 0;
  for (size_t i = 0; i < stat.thread_count; i++) {
    operations += stat.threads[i].operations;
    requested += stat.threads[i].requested_bytes;
    remote += stat.threads[i].remote_frees;
    frees += stat.threads[i].frees;
  }
  assert_int_equal(operations, totals.operations);
  assert_int_equal(requested, totals.requested_bytes);
  assert_int_equal(remote, totals.remote_frees);
  assert_int_equal(frees, totals.by_kind[HA_OP_FREE]);
  assert_int_equal(stat.lifetimes.count, frees);
  assert_int_equal(stat.never_freed, totals.objects - frees);
  assert_true(stat.reuse.count + stat.fresh >= totals.objects);
  double before = 0;
  for (unsigned i = 0; i <= 10; i++) {
    double value = ha_stat_quantile(&stat.sizes, i / 10.0);
    assert_true(value >= before && value <= (double)stat.sizes.most);
    before = value;
  }
  ha_trace_stat_free(&stat);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_whole_cut_is_the_trace),       cmocka_unit_test(parts_fit_together),
      cmocka_unit_test(a_cut_by_time_keeps_its_window), cmocka_unit_test(merging_adds_up),
      cmocka_unit_test(nothing_tells_the_owner),        cmocka_unit_test(sizes_round_up),
      cmocka_unit_test(damaged_input_leaves_nothing),   cmocka_unit_test(statistics_agree_with_the_totals),
  };
  int failed = cmocka_run_group_tests_name("trace_edit", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

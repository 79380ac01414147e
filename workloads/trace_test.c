// trace_test.c: the trace format: what is written is read back, and no damage goes unseen.
#include "workloads/trace_codec.h"
#include "workloads/trace_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

// Reads a trace to its end. Returns ha_trace_next's last result, -2 if it could not be opened.
static int read_all(const char *path, char *why, size_t why_size) {
  why[0] = 0;
  ha_trace_reader *reader = ha_trace_open(path, why, why_size);
  if (reader == NULL)
    return -2;
  ha_op op;
  int got;
  while ((got = ha_trace_next(reader, &op)) > 0) {
  }
  assert_int_equal(ha_trace_next(reader, &op), got); // the end is the end
  snprintf(why, why_size, "%s", ha_trace_error(reader));
  ha_trace_close(reader);
  return got;
}

static void assert_refused(const char *path, const char *because) {
  char why[1024];
  assert_in_range(read_all(path, why, sizeof why) + 2, 0, 1);
  if (because != NULL && strstr(why, because) == NULL)
    fail_msg("expected \"%s\" in \"%s\"", because, why);
  assert_null(strchr(why, '\n'));
  assert_non_null(strstr(why, path));
}

static void round_trip(void **state) {
  (void)state;
  static const size_t counts[] = {3, 1000, HA_TRACE_BLOCK_OPS, 3 * HA_TRACE_BLOCK_OPS + 17};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    test_program program = test_random_program(i, counts[i], i == 0 ? 1 : 5, 4);
    ha_trace_totals written;
    const char *path = test_path("round.hat");
    test_write_program(path, &program, "command: test\nkey: value\n", &written);
    char why[512];
    ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
    assert_non_null(reader);
    ha_op op;
    for (size_t k = 0; k < program.count; k++) {
      assert_int_equal(ha_trace_next(reader, &op), 1);
      assert_memory_equal(&op, &program.ops[k], sizeof op);
    }
    assert_int_equal(ha_trace_next(reader, &op), 0);
    assert_memory_equal(ha_trace_get_totals(reader), &written, sizeof written);
    assert_string_equal(ha_trace_meta(reader), "command: test\nkey: value\n");
    size_t threads;
    assert_string_equal(ha_trace_threads(reader, &threads)[0].name, "thread-0");
    assert_int_equal(threads, program.threads);
    assert_int_equal(ha_trace_clock_start(reader), 1700000000000000000u);
    ha_trace_close(reader);
    test_program_free(&program);
  }
}

static void totals_and_curve(void **state) {
  (void)state;
  const ha_op ops[] = {
      {.kind = HA_OP_MALLOC, .object = 0, .size = 100},
      {.kind = HA_OP_SPAWN, .size = 1},
      {.kind = HA_OP_CALLOC, .object = 1, .size = 50, .thread = 1, .time_ns = 5},
      {.kind = HA_OP_REALLOC, .object = 0, .size = 1000, .thread = 1, .time_ns = 6},
      {.kind = HA_OP_MALLOC, .object = 2, .size = 1u << 20, .flags = HA_OP_FAILED, .time_ns = 6},
      {.kind = HA_OP_FREE, .object = 0, .time_ns = 7},
      {.kind = HA_OP_ALIGNED_ALLOC, .object = 3, .size = 64, .alignment_log2 = 6, .time_ns = 9},
      {.kind = HA_OP_FREE_SIZED, .object = 1, .size = 50, .time_ns = 9},
  };
  test_program program = {.ops = (ha_op *)(uintptr_t)ops, .count = sizeof ops / sizeof *ops, .threads = 2};
  ha_trace_totals totals;
  test_write_program(test_path("totals.hat"), &program, "", &totals);
  assert_int_equal(totals.operations, 8);
  assert_int_equal(totals.objects, 3);
  assert_int_equal(totals.threads, 2);
  assert_int_equal(totals.live_bytes_peak, 1050);
  assert_int_equal(totals.live_objects_peak, 2);
  assert_int_equal(totals.live_bytes_end, 64);
  assert_int_equal(totals.requested_bytes, 100 + 50 + 1000 + 64);
  assert_int_equal(totals.remote_frees, 2); // object 0 resized by 1, object 1 freed by 0
  assert_int_equal(totals.duration_ns, 9);
  const uint64_t curve[] = {100, 100, 150, 1050, 1050, 50, 114, 64};
  assert_int_equal(totals.curve_step, 1);
  assert_int_equal(totals.curve_points, 8);
  assert_memory_equal(totals.curve, curve, sizeof curve);
}

static void long_curve_keeps_its_points(void **state) {
  (void)state;
  // Operation n brings the live bytes to n.
  size_t count = 1000;
  test_program program = {.ops = calloc(count, sizeof(ha_op)), .count = count, .threads = 1};
  for (size_t i = 0; i < count; i++)
    program.ops[i] = (ha_op){.kind = HA_OP_MALLOC, .object = i, .size = 1};
  ha_trace_totals totals;
  test_write_program(test_path("curve.hat"), &program, "", &totals);
  assert_int_equal(totals.curve_step, 4);
  assert_int_equal(totals.curve_points, 250);
  for (unsigned i = 0; i < totals.curve_points; i++)
    assert_int_equal(totals.curve[i], 4 * (i + 1));
  test_program_free(&program);
}

static void writer_keeps_the_rules(void **state) {
  (void)state;
  const ha_op good = {.kind = HA_OP_MALLOC, .object = 0, .size = 8, .time_ns = 10};
  const ha_op bad[] = {
      {.kind = HA_OP_KINDS, .time_ns = 10},
      {.kind = HA_OP_MALLOC, .object = 2, .size = 8, .time_ns = 10},
      {.kind = HA_OP_MALLOC, .object = 1, .size = 8, .time_ns = 9},
      {.kind = HA_OP_MALLOC, .object = 1, .size = 8, .thread = 1, .time_ns = 10},
      {.kind = HA_OP_MALLOC, .object = 1, .size = UINT64_MAX, .time_ns = 10},
      {.kind = HA_OP_MALLOC, .object = 1, .alignment_log2 = 4, .time_ns = 10},
      {.kind = HA_OP_MALLOC, .object = 1, .flags = 2, .time_ns = 10},
      {.kind = HA_OP_FREE, .object = 1, .time_ns = 10},
      {.kind = HA_OP_FREE, .object = 0, .size = 8, .time_ns = 10},
      {.kind = HA_OP_FREE, .object = 0, .flags = HA_OP_FAILED, .time_ns = 10},
      {.kind = HA_OP_SPAWN, .size = 1, .time_ns = 10},
      {.kind = HA_OP_JOIN, .size = 0, .time_ns = 10},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char why[512] = "";
    const char *path = test_path("rules.hat");
    ha_trace_writer *writer = ha_trace_create(path, 0, "", why, sizeof why);
    assert_non_null(writer);
    assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){0}));
    assert_true(ha_trace_write(writer, &good));
    assert_false(ha_trace_write(writer, &bad[i]));
    assert_false(ha_trace_finish(writer, 0, NULL, why, sizeof why));
    assert_non_null(strstr(why, "refused"));
    assert_int_not_equal(access(path, F_OK), 0);
  }
}

static void ended_threads_stay_ended(void **state) {
  (void)state;
  char why[512];
  ha_trace_writer *writer = ha_trace_create(test_path("ended.hat"), 0, "", why, sizeof why);
  assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){0}));
  assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_THREAD_EXIT}));
  assert_false(ha_trace_write(writer, &(ha_op){.kind = HA_OP_MALLOC}));
  ha_trace_abandon(writer);
  assert_null(ha_trace_create("no-such-folder/x.hat", 0, "", why, sizeof why));
  assert_non_null(strstr(why, "no-such-folder/x.hat"));
}

static void every_truncation_is_seen(void **state) {
  (void)state;
  test_program program = test_random_program(7, 300, 3, 3);
  const char *path = test_path("whole.hat"), *cut = test_path("cut.hat");
  test_write_program(path, &program, "command: test\n", NULL);
  size_t size;
  unsigned char *bytes = test_read_file(path, &size);
  for (size_t length = 0; length < size; length++) {
    test_write_file(cut, bytes, length);
    assert_refused(cut, length == 0 ? "empty" : "cut off");
  }
  free(bytes);
  test_program_free(&program);
}

static void every_flipped_byte_is_seen(void **state) {
  (void)state;
  test_program program = test_random_program(8, 300, 3, 3);
  const char *path = test_path("whole.hat"), *bad = test_path("flipped.hat");
  test_write_program(path, &program, "command: test\n", NULL);
  size_t size;
  unsigned char *bytes = test_read_file(path, &size);
  for (size_t at = 0; at < size; at++) {
    for (unsigned flip = 1; flip < 256; flip *= 16) {
      bytes[at] ^= (unsigned char)flip;
      test_write_file(bad, bytes, size);
      assert_refused(bad, NULL);
      bytes[at] ^= (unsigned char)flip;
    }
  }
  free(bytes);
  test_program_free(&program);
}

static void strangers_are_named(void **state) {
  (void)state;
  const char *path = test_path("strange.hat");
  char why[1024];
  assert_int_equal(read_all("no-such-file.hat", why, sizeof why), -2);
  assert_non_null(strstr(why, "No such file"));
  assert_refused("/dev/urandom", "not a trace");
  test_write_file(path, "hello", 5);
  assert_refused(path, "not a trace");
  test_program program = test_random_program(9, 100, 1, 0);
  test_write_program(path, &program, "", NULL);
  size_t size;
  unsigned char *bytes = test_read_file(path, &size);
  bytes[8] = HA_TRACE_VERSION + 1;
  test_write_file(path, bytes, size);
  assert_refused(path, "newer");
  bytes[8] = HA_TRACE_VERSION;
  bytes[size] = 'x';
  test_write_file(path, bytes, size + 1);
  assert_refused(path, "bytes after");
  free(bytes);
  test_program_free(&program);
}

// Appends a block with right checksums to a file in memory.
static size_t append_block(unsigned char *file, size_t size, uint32_t type, const void *plain, size_t bytes,
                           uint32_t operations) {
  unsigned char *payload = file + size + HA_BLOCK_HEADER_BYTES;
  size_t packed = ZSTD_compress(payload, 4096, plain, bytes, 1);
  assert_false(ZSTD_isError(packed));
  ha_block_header header = {type, (uint32_t)packed, (uint32_t)bytes, operations, ha_crc32c(payload, packed)};
  ha_encode_block_header(file + size, &header);
  return size + HA_BLOCK_HEADER_BYTES + packed;
}

// Well-formed files whose operations break a rule, as no writer makes them.
static void false_operations_are_named(void **state) {
  (void)state;
  static const struct {
    const char *because;
    unsigned char plain[32]; // base object, base time, column lengths, columns
    unsigned char bytes, operations;
  } cases[] = {
      {"freed before", {0, 0, 2, 3, 2, 1, 0, 3, 0, 3, 0, 3, 3, 0, 0, 8, 1, 1, 1}, 19, 3},
      {"damaged columns", {0, 0, 2, 2, 1, 1, 0, 2, 0, 2, 0, 3, 5, 8, 1, 1}, 16, 2},
      {"not announced", {0, 0, 2, 1, 0, 1, 0, 1, 7, 1, 0, 8, 1}, 13, 1},
      {"unknown kind", {0, 0, 2, 1, 0, 0, 0, 1, 0, 1, 15, 1}, 12, 1},
      {"unknown flags", {0, 0, 2, 1, 0, 1, 0, 1, 0, 1, 0x80, 8, 1}, 13, 1},
      {"do not fit", {0, 0, 200, 1, 0, 1, 0, 1, 0, 1, 0, 8, 1}, 13, 1},
      {"block is missing", {4, 0, 2, 1, 0, 1, 0, 1, 0, 1, 0, 8, 1}, 13, 1},
      {"longer than", {0, 0, 2, 1, 0, 2, 0, 1, 0, 1, 0, 8, 8, 1}, 14, 1},
  };
  const char *path = test_path("false.hat");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned char file[16384], thread[HA_THREAD_BYTES];
    ha_encode_header(file, 0, 0);
    ha_encode_thread(thread, &(ha_trace_thread){.name = "only"});
    size_t size = append_block(file, HA_HEADER_BYTES, HA_BLOCK_THRD, thread, sizeof thread, 0);
    size = append_block(file, size, HA_BLOCK_OPER, cases[i].plain, cases[i].bytes, cases[i].operations);
    test_write_file(path, file, size);
    assert_refused(path, cases[i].because);
  }
}

static void crc_is_castagnoli(void **state) {
  (void)state;
  assert_int_equal(ha_crc32c("123456789", 9), 0xe3069283);
}

static void map_agrees_with_an_array(void **state) {
  (void)state;
  enum { KEYS = 5000 };
  static uint64_t known[KEYS];
  ha_trace_map map = {0};
  uint64_t random = 1, count = 0;
  for (unsigned i = 0; i < 400000; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    uint64_t key = (random >> 33) % KEYS;
    ha_trace_entry *entry = ha_trace_map_find(&map, key * 4096);
    assert_int_equal(entry != NULL, known[key] != 0);
    if (entry == NULL) {
      entry = ha_trace_map_add(&map, key * 4096);
      assert_non_null(entry);
      known[key] = entry->value = i + 1;
      count++;
    } else {
      assert_int_equal(entry->value, known[key]);
      ha_trace_map_remove(&map, entry);
      known[key] = 0;
      count--;
    }
    assert_int_equal(map.count, count);
  }
  uint64_t at = 0, walked = 0;
  while (ha_trace_map_walk(&map, &at) != NULL)
    walked++;
  assert_int_equal(walked, count);
  ha_trace_map_clear(&map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),
      cmocka_unit_test(totals_and_curve),
      cmocka_unit_test(long_curve_keeps_its_points),
      cmocka_unit_test(writer_keeps_the_rules),
      cmocka_unit_test(ended_threads_stay_ended),
      cmocka_unit_test(every_truncation_is_seen),
      cmocka_unit_test(every_flipped_byte_is_seen),
      cmocka_unit_test(strangers_are_named),
      cmocka_unit_test(false_operations_are_named),
      cmocka_unit_test(crc_is_castagnoli),
      cmocka_unit_test(map_agrees_with_an_array),
  };
  int failed = cmocka_run_group_tests_name("trace", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

// collect_test.c: the collector on spools made by hand: every way in which a recording can be bent or broken.
#include "workloads/trace_collect.h"
#include "workloads/trace_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char spool[256];

static void new_spool(void) {
  static unsigned number;
  char name[32];
  snprintf(name, sizeof name, "spool%u", number++);
  snprintf(spool, sizeof spool, "%s", test_path(name));
  assert_int_equal(mkdir(spool, 0700), 0);
}

static void put_process(uint32_t pid, uint64_t start, ha_spool_process facts) {
  char path[512];
  facts.magic = HA_SPOOL_PROCESS_MAGIC;
  facts.pid = pid;
  facts.start_ns = facts.start_stamp = start;
  facts.clock = HA_CLOCK_MONOTONIC;
  snprintf(facts.program, sizeof facts.program, "program%u", pid);
  snprintf(path, sizeof path, "%s/" HA_SPOOL_PROCESS_FILE, spool, pid, (unsigned long long)start);
  test_write_file(path, &facts, sizeof facts);
}

#define RAW(stamp, kind, address, size)                                                                      \
  { (uint64_t)(stamp) << HA_RAW_KIND_BITS | (kind), address, size }

static void put_chunk(uint32_t pid, uint64_t start, uint32_t token, uint32_t number, const ha_raw *raw,
                      size_t count) {
  char path[512];
  size_t bytes = sizeof(ha_spool_chunk) + (count + 2) * sizeof *raw; // two empty records follow
  unsigned char *file = calloc(1, bytes);
  assert_non_null(file);
  ha_spool_chunk header = {
      .magic = HA_SPOOL_CHUNK_MAGIC, .start_ns = start, .pid = pid, .token = token, .number = number};
  memcpy(file, &header, sizeof header);
  memcpy(file + sizeof header, raw, count * sizeof *raw);
  snprintf(path, sizeof path, "%s/" HA_SPOOL_CHUNK_FILE, spool, pid, (unsigned long long)start, token,
           number);
  test_write_file(path, file, bytes);
  free(file);
}

#define CHUNK(pid, start, token, number, ...)                                                                \
  do {                                                                                                       \
    const ha_raw raws_[] = {__VA_ARGS__};                                                                    \
    put_chunk(pid, start, token, number, raws_, sizeof raws_ / sizeof *raws_);                               \
  } while (0)

static const ha_spool_process regular = {.ended = HA_ENDED_EXIT};

// Collects the spool and compares the operations, written one a word: kind, thread, object or other thread.
static void expect(const char *text, uint32_t flags, ha_collect_remarks *remarks) {
  char why[512] = "", seen[2048] = "";
  ha_trace_totals totals;
  const char *path = test_path("collected.hat");
  if (!ha_collect(spool, path, "", &totals, remarks, why, sizeof why))
    fail_msg("%s", why);
  ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
  assert_non_null(reader);
  ha_op op;
  static const char letters[HA_OP_KINDS] = "mcrfapsPSJX";
  while (ha_trace_next(reader, &op) > 0) {
    size_t used = strlen(seen);
    uint64_t what = op.kind == HA_OP_SPAWN || op.kind == HA_OP_JOIN ? op.size : op.object;
    snprintf(seen + used, sizeof seen - used, "%s%c%s%u.%llu", used == 0 ? "" : " ", letters[op.kind],
             op.flags ? "!" : "", op.thread, (unsigned long long)what);
  }
  ha_trace_close(reader);
  assert_string_equal(seen, text);
  assert_int_equal(totals.flags, flags);
}

static void threads_by_time(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  CHUNK(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_SPAWN, 1, 0),
        RAW(1010, HA_RAW_FREE, 0x200, 0), RAW(1020, HA_RAW_JOIN, 1, 0), RAW(1021, HA_RAW_SPAWN, 9, 0));
  CHUNK(10, 1000, 1, 0, RAW(1005, HA_RAW_MALLOC, 0x200, 16));
  CHUNK(10, 1000, 1, 1, RAW(1011, HA_RAW_FREE, 0x100, 0), RAW(1012, HA_RAW_CALLOC, 0x100, 4));
  expect("m0.0 S0.1 m1.1 f0.1 f1.0 c1.2 X1.0 J0.1 X0.0", 0, &remarks);
}

static void reallocs(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  // Thread 1 gets the old address while thread 0 is still inside realloc.
  CHUNK(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_REALLOC_BEGIN, 0x100, 0),
        RAW(1006, HA_RAW_REALLOC_END, 0x900, 80), RAW(1007, HA_RAW_REALLOC_BEGIN, 0x900, 0),
        RAW(1008, HA_RAW_REALLOC_END, 0, 1u << 30), RAW(1009, HA_RAW_FREE, 0x900, 0),
        RAW(1010, HA_RAW_REALLOC_BEGIN, 0x777, 0), RAW(1011, HA_RAW_REALLOC_END, 0xa00, 5),
        RAW(1012, HA_RAW_REALLOC_BEGIN, 0xa00, 0), RAW(1013, HA_RAW_REALLOC_END, 0, 0),
        RAW(1014, HA_RAW_MALLOC, 0, 1u << 30), RAW(1015, HA_RAW_MALLOC, 0, 0));
  CHUNK(10, 1000, 1, 0, RAW(1004, HA_RAW_MALLOC, 0x100, 8));
  expect("m0.0 m1.1 X1.0 r0.0 r!0.0 f0.0 m0.2 f0.2 m!0.3 X0.0", 0, &remarks);
  assert_int_equal(remarks.unknown_frees, 1);
}

static void late_and_unknown_frees(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  CHUNK(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_FREE, 0x500, 0),
        RAW(1003, HA_RAW_MALLOC, 0x100, 9), RAW(1000, HA_RAW_PURGE, 0, 0),
        RAW(1005, HA_RAW_ALIGNED_ALLOC, 0x200 | (uint64_t)6 << HA_RAW_ALIGNMENT_SHIFT, 64),
        RAW(1006, HA_RAW_FREE_SIZED, 0x200 | (uint64_t)6 << HA_RAW_ALIGNMENT_SHIFT, 64));
  expect("m0.0 f0.0 m0.1 P0.0 a0.2 s0.2 X0.0", HA_TRACE_ADJUSTED, &remarks);
  assert_int_equal(remarks.unknown_frees, 1);
  assert_int_equal(remarks.late_frees, 1);
}

static void processes(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  // A forked child that executes another image; both start with the same addresses as the parent.
  put_process(11, 1100,
              (ha_spool_process){.parent_pid = 10, .parent_start_ns = 1000, .ended = HA_ENDED_EXEC});
  put_process(11, 1200, (ha_spool_process){.parent_pid = 10, .ended = HA_ENDED_EXIT});
  CHUNK(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1400, HA_RAW_FREE, 0x100, 0));
  CHUNK(11, 1100, 0, 0, RAW(1101, HA_RAW_MALLOC, 0x100, 8), RAW(1102, HA_RAW_FREE, 0x300, 0));
  CHUNK(11, 1200, 0, 0, RAW(1201, HA_RAW_MALLOC, 0x100, 8), RAW(1202, HA_RAW_FREE, 0x100, 0));
  expect("m0.0 S0.1 m1.1 f1.1 S1.2 m2.2 f2.2 X1.0 J0.1 X2.0 J0.2 f0.0 X0.0", HA_TRACE_ADJUSTED, &remarks);
  assert_int_equal(remarks.exit_frees, 1);
  assert_int_equal(remarks.unknown_frees, 1);
}

static void broken_recordings(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, (ha_spool_process){.lost = 5, .stopped = 1});
  CHUNK(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, 31, 0x300, 0),
        RAW(1003, HA_RAW_FREE, 0x100, 0));
  CHUNK(10, 1000, 0, 2, RAW(1004, HA_RAW_REALLOC_BEGIN, 0x100, 0)); // chunk 1 is gone; killed inside realloc
  char path[512];
  snprintf(path, sizeof path, "%s/foreign.chunk", spool);
  test_write_file(path, "hello", 5);
  snprintf(path, sizeof path, "%s/notes.txt", spool);
  test_write_file(path, "hello", 5);
  expect("m0.0 X0.0", HA_TRACE_INCOMPLETE, &remarks);
  assert_int_equal(remarks.killed, 1);
  assert_int_equal(remarks.stopped, 1);
  assert_int_equal(remarks.lost, 5);
  assert_int_equal(remarks.damaged, 3); // unknown kind, missing chunk, foreign file
}

static void useless_folders(void **state) {
  (void)state;
  char why[512];
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  const char *path = test_path("none.hat");
  new_spool();
  assert_false(ha_collect(spool, path, "", &totals, &remarks, why, sizeof why));
  assert_non_null(strstr(why, "no recording"));
  put_process(10, 1000, regular);
  assert_false(ha_collect(spool, path, "", &totals, &remarks, why, sizeof why));
  assert_non_null(strstr(why, "no heap operation"));
  assert_false(ha_collect("no-such-folder", path, "", &totals, &remarks, why, sizeof why));
  assert_non_null(strstr(why, "No such file"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_by_time),   cmocka_unit_test(reallocs),
      cmocka_unit_test(processes),         cmocka_unit_test(late_and_unknown_frees),
      cmocka_unit_test(broken_recordings), cmocka_unit_test(useless_folders),
  };
  int failed = cmocka_run_group_tests_name("collect", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

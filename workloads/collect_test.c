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

// One record with its time, as a list of words; ALIGNED has an alignment too.
#define RAW(stamp, kind, address, size)                                                                      \
  ha_raw_time(stamp), ha_raw_word(kind, address, size, 0), (size) < HA_SMALL_SIZE ? NO_WORD : (size)
#define ALIGNED(stamp, kind, address, size, log2)                                                            \
  ha_raw_time(stamp), ha_raw_word(kind, address, size, log2), (size), (log2)
#define NO_WORD (UINT64_MAX - 1) // left out

// Writes the thread's first `logged` words to its log and the rest to its tail, two empty words behind them.
static void put_thread(uint32_t pid, uint64_t start, uint32_t token, const uint64_t *words, size_t count,
                       size_t logged) {
  char path[512];
  uint64_t kept[256] = {0};
  size_t used = 0;
  for (size_t i = 0; i < count; i++)
    if (words[i] != NO_WORD)
      kept[used++] = words[i];
  assert_in_range(used, logged, 200);
  ha_spool_tail header = {.magic = HA_SPOOL_TAIL_MAGIC,
                          .start_ns = start,
                          .pid = pid,
                          .token = token,
                          .logged = logged * sizeof *kept};
  snprintf(path, sizeof path, "%s/" HA_SPOOL_LOG_FILE, spool, pid, (unsigned long long)start, token);
  if (logged != 0)
    test_write_file(path, kept, used * sizeof *kept); // more than `logged`: killed while it was written
  unsigned char file[sizeof header + sizeof kept];
  size_t bytes = (used - logged + 2) * sizeof *kept;
  memcpy(file, &header, sizeof header);
  memcpy(file + sizeof header, kept + logged, bytes);
  snprintf(path, sizeof path, "%s/" HA_SPOOL_TAIL_FILE, spool, pid, (unsigned long long)start, token);
  test_write_file(path, file, sizeof header + bytes);
}

#define THREAD(pid, start, token, logged, ...)                                                               \
  do {                                                                                                       \
    const uint64_t words_[] = {__VA_ARGS__};                                                                 \
    put_thread(pid, start, token, words_, sizeof words_ / sizeof *words_, logged);                           \
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
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_SPAWN, 1, 0),
         RAW(1010, HA_RAW_FREE, 0x200, 0), RAW(1020, HA_RAW_JOIN, 1, 0), RAW(1021, HA_RAW_SPAWN, 9, 0));
  THREAD(10, 1000, 1, 2, RAW(1005, HA_RAW_MALLOC, 0x200, 16), RAW(1011, HA_RAW_FREE, 0x100, 0),
         RAW(1012, HA_RAW_CALLOC, 0x100, 4));
  expect("m0.0 S0.1 m1.1 f0.1 f1.0 c1.2 X1.0 J0.1 X0.0", 0, &remarks);
}

static void reallocs(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  // Thread 1 gets the old address while thread 0 is still inside realloc.
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_REALLOC_BEGIN, 0x100, 0),
         RAW(1006, HA_RAW_REALLOC_END, 0x900, 80), RAW(1007, HA_RAW_REALLOC_BEGIN, 0x900, 0),
         RAW(1008, HA_RAW_REALLOC_END, 0, 1u << 30), RAW(1009, HA_RAW_FREE, 0x900, 0),
         RAW(1010, HA_RAW_REALLOC_BEGIN, 0x777, 0), RAW(1011, HA_RAW_REALLOC_END, 0xa00, 5),
         RAW(1012, HA_RAW_REALLOC_BEGIN, 0xa00, 0), RAW(1013, HA_RAW_REALLOC_END, 0, 0),
         RAW(1014, HA_RAW_MALLOC, 0, 1u << 30), RAW(1015, HA_RAW_MALLOC, 0, 0));
  THREAD(10, 1000, 1, 0, RAW(1004, HA_RAW_MALLOC, 0x100, 8));
  expect("m0.0 m1.1 X1.0 r0.0 r!0.0 f0.0 m0.2 f0.2 m!0.3 X0.0", 0, &remarks);
  assert_int_equal(remarks.unknown_frees, 1);
}

static void late_and_unknown_frees(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, regular);
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_FREE, 0x500, 0),
         RAW(1003, HA_RAW_MALLOC, 0x100, 9), RAW(1000, HA_RAW_PURGE, 0, 0),
         ALIGNED(1005, HA_RAW_ALIGNED_ALLOC, 0x200, 64, 6), ALIGNED(1006, HA_RAW_FREE_SIZED, 0x200, 64, 6));
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
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1400, HA_RAW_FREE, 0x100, 0));
  THREAD(11, 1100, 0, 0, RAW(1101, HA_RAW_MALLOC, 0x100, 8), RAW(1102, HA_RAW_FREE, 0x300, 0));
  THREAD(11, 1200, 0, 0, RAW(1201, HA_RAW_MALLOC, 0x100, 8), RAW(1202, HA_RAW_FREE, 0x100, 0));
  expect("m0.0 S0.1 m1.1 f1.1 S1.2 m2.2 f2.2 X1.0 J0.1 X2.0 J0.2 f0.0 X0.0", HA_TRACE_ADJUSTED, &remarks);
  assert_int_equal(remarks.exit_frees, 1);
  assert_int_equal(remarks.unknown_frees, 1);
}

static void broken_recordings(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  new_spool();
  put_process(10, 1000, (ha_spool_process){.lost = 5, .stopped = 1});
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, 31, 0x300, 0),
         RAW(1003, HA_RAW_FREE, 0x100, 0));
  // Its log is shorter than its tail says: gone; and it was killed inside realloc.
  THREAD(10, 1000, 1, 2, RAW(1003, HA_RAW_MALLOC, 0x400, 8), RAW(1004, HA_RAW_REALLOC_BEGIN, 0x100, 0));
  char path[512];
  snprintf(path, sizeof path, "%s/10-1000-1.log", spool);
  test_write_file(path, "short", 5);
  snprintf(path, sizeof path, "%s/foreign.tail", spool);
  test_write_file(path, "hello", 5);
  snprintf(path, sizeof path, "%s/notes.txt", spool);
  test_write_file(path, "hello", 5);
  expect("m0.0 X1.0 X0.0", HA_TRACE_INCOMPLETE, &remarks);
  assert_int_equal(remarks.killed, 1);
  assert_int_equal(remarks.stopped, 1);
  assert_int_equal(remarks.lost, 5);
  assert_int_equal(remarks.damaged, 3); // unknown kind, missing log, foreign file
}

// Killed while its words were moved to the log: they count once, wherever that was.
static void moved_words(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  for (int stage = 0; stage < 2; stage++) {
    new_spool();
    put_process(10, 1000, regular);
    THREAD(10, 1000, 0, 2, RAW(1001, HA_RAW_MALLOC, 0x100, 8), RAW(1002, HA_RAW_MALLOC, 0x200, 9));
    if (stage == 1) { // all is in the log, and the tail's words are partly cleared
      char path[512];
      ha_spool_tail tail = {.magic = HA_SPOOL_TAIL_MAGIC,
                            .start_ns = 1000,
                            .pid = 10,
                            .logged = (4 * sizeof(uint64_t)) | HA_SPOOL_CLEARING};
      uint64_t file[16] = {0};
      memcpy(file, &tail, sizeof tail);
      file[sizeof tail / sizeof *file + 1] = ha_raw_word(HA_RAW_MALLOC, 0x200, 9, 0);
      snprintf(path, sizeof path, "%s/10-1000-0.tail", spool);
      test_write_file(path, file, sizeof file);
    }
    expect("m0.0 m0.1 X0.0", 0, &remarks);
  }
}

static void unseen_programs(void **state) {
  (void)state;
  ha_collect_remarks remarks;
  char path[512];
  new_spool();
  put_process(10, 1000, (ha_spool_process){.ended = HA_ENDED_EXIT, .own_malloc = 1});
  THREAD(10, 1000, 0, 0, RAW(1001, HA_RAW_MALLOC, 0x100, 8));
  for (unsigned i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/" HA_SPOOL_UNSEEN_FILE, spool, 10u, 1000ull, i);
    test_write_file(path, "/bin/tool is \x1b odd\n", 18);
  }
  expect("m0.0 X0.0", 0, &remarks);
  assert_int_equal(remarks.unseen, 2);
  assert_int_equal(remarks.own_malloc, 1);
  assert_string_equal(remarks.text, "remark: not recorded: /bin/tool is ? odd\n"
                                    "remark: not recorded: program10 has a malloc of its own\n");
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
      cmocka_unit_test(broken_recordings), cmocka_unit_test(moved_words),
      cmocka_unit_test(unseen_programs),   cmocka_unit_test(useless_folders),
  };
  int failed = cmocka_run_group_tests_name("collect", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

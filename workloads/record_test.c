// record_test.c: the recorder from end to end: real programs are run under it, collected, and the trace must
// hold what they say they did. RECORDER, the FIXTUREs and TOOL are paths given by trace.cmake.
#include "workloads/trace_collect.h"
#include "workloads/trace_test_support.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char spool[4096];

static void make_spool(const char *name) {
  const char *path = test_path(name);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_non_null(realpath(path, spool));
}

static const char *preloaded = RECORDER;

// Runs the fixture under the recorder; its output goes to `output`. `file_limit`: bytes per file, 0 for none.
// `what`: its argument, or two with a blank between them.
static int run_fixture(const char *what, char *output, size_t output_size, size_t file_limit) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    setenv("LD_PRELOAD", preloaded, 1);
    setenv("HEAPARENA_SPOOL", spool, 1);
    if (file_limit != 0) {
      signal(SIGXFSZ, SIG_IGN);
      setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_limit, file_limit});
    }
    char *first = strdup(what), *second = strchr(first, ' ');
    if (second != NULL)
      *second++ = 0;
    execl(FIXTURE, FIXTURE, first, second, (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  size_t used = 0;
  for (ssize_t got; (got = read(ends[0], output + used, output_size - 1 - used)) > 0;)
    used += (size_t)got;
  output[used] = 0;
  close(ends[0]);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

// What the trace says of the fixture's own blocks.
typedef struct counts {
  unsigned allocations, reallocs, frees, failed;
} counts;

static counts count_own(const char *path) {
  char why[512];
  ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
  assert_non_null(reader);
  counts found = {0};
  ha_trace_map own = {0};
  ha_op op;
  int got;
  while ((got = ha_trace_next(reader, &op)) > 0) {
    ha_trace_entry *entry = NULL;
    switch (op.kind) {
    case HA_OP_MALLOC:
    case HA_OP_CALLOC:
    case HA_OP_ALIGNED_ALLOC:
    case HA_OP_POSIX_MEMALIGN:
      if (op.size % 1000 == 777 && op.flags == 0) {
        assert_non_null(ha_trace_map_add(&own, op.object));
        found.allocations++;
      }
      break;
    case HA_OP_REALLOC:
      entry = ha_trace_map_find(&own, op.object);
      found.reallocs += entry != NULL && op.flags == 0;
      found.failed += entry != NULL && op.flags != 0;
      break;
    case HA_OP_FREE:
      entry = ha_trace_map_find(&own, op.object);
      found.frees += entry != NULL;
      if (entry != NULL)
        ha_trace_map_remove(&own, entry);
      break;
    default:
      break;
    }
  }
  assert_string_equal(ha_trace_error(reader), "");
  assert_int_equal(got, 0);
  ha_trace_map_clear(&own);
  ha_trace_close(reader);
  return found;
}

static counts record(const char *what, ha_trace_totals *totals, ha_collect_remarks *remarks) {
  char output[256], why[512] = "";
  const char *path = test_path("recorded.hat");
  make_spool(what);
  int status = run_fixture(what, output, sizeof output, 0);
  assert_int_equal(status, strcmp(what, "kill") == 0 ? SIGKILL : 0);
  if (!ha_collect(spool, path, "command: fixture\n", totals, remarks, why, sizeof why))
    fail_msg("%s", why);
  counts said = {0}, found = count_own(path);
  if (sscanf(output, "%u %u %u", &said.allocations, &said.reallocs, &said.frees) == 3) {
    assert_int_equal(found.allocations, said.allocations);
    assert_int_equal(found.reallocs, said.reallocs);
    assert_int_equal(found.frees, said.frees);
  }
  assert_int_equal(remarks->lost + remarks->damaged + remarks->late_frees + remarks->stopped, 0);
  return found;
}

static void threads_and_remote_frees(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("threads", &totals, &remarks);
  assert_int_equal(totals.threads, 5);
  assert_int_equal(totals.flags, 0);
  assert_in_range(totals.remote_frees, 2000, 2100); // a few are the C library's own, of thread stacks' tables
  assert_int_equal(totals.by_kind[HA_OP_SPAWN], 4);
  assert_int_equal(totals.by_kind[HA_OP_JOIN], 4);
  assert_int_equal(totals.by_kind[HA_OP_THREAD_EXIT], 5);
}

static void threads_of_all_makes(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("c11", &totals, &remarks);
  assert_int_equal(totals.threads, 5);
  assert_int_equal(totals.flags, 0); // quick_exit() is a good end
  assert_int_equal(totals.by_kind[HA_OP_SPAWN], 4);
  assert_int_equal(totals.by_kind[HA_OP_JOIN], 4);
}

// The machine does not let a thread begin while another waits in join for it.
static void joins_a_thread_that_begins_late(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  preloaded = RECORDER " " LATE_START;
  record("join", &totals, &remarks);
  preloaded = RECORDER;
  assert_int_equal(totals.threads, 2);
  assert_int_equal(totals.flags, 0);
  assert_int_equal(totals.by_kind[HA_OP_SPAWN], 1);
  assert_int_equal(totals.by_kind[HA_OP_JOIN], 1);
}

static void reallocs_between_threads(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  counts found = record("resize", &totals, &remarks);
  assert_int_equal(found.allocations + found.reallocs, 2000);
  assert_int_equal(found.frees, found.allocations); // each of its blocks was freed in the end
  assert_int_equal(totals.flags, 0);
}

static void realloc_storm(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  counts found = record("storm", &totals, &remarks);
  assert_int_equal(found.failed, 1);
  assert_int_equal(totals.by_kind[HA_OP_POSIX_MEMALIGN], 1);
  assert_int_equal(totals.by_kind[HA_OP_ALIGNED_ALLOC], 1);
}

static void forked_child(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("fork", &totals, &remarks);
  assert_int_equal(totals.processes, 2);
  assert_int_equal(totals.by_kind[HA_OP_SPAWN], 1);
  assert_int_equal(totals.by_kind[HA_OP_JOIN], 1);
  assert_in_range(remarks.unknown_frees, 1, 1);
  assert_in_range(remarks.exit_frees, 1, 2);
  assert_int_equal(totals.flags, HA_TRACE_ADJUSTED);
}

static void executed_program(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("exec", &totals, &remarks);
  assert_int_equal(totals.processes, 3); // parent, forked child, its new image
  assert_int_equal(totals.flags & HA_TRACE_INCOMPLETE, 0);
}

static void killed_program(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("kill", &totals, &remarks);
  assert_int_equal(remarks.killed, 1);
  assert_int_equal(totals.flags, HA_TRACE_INCOMPLETE);
}

static void threads_leave_blocks(void **state) {
  (void)state;
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  record("leave", &totals, &remarks);
  assert_int_equal(totals.flags, 0);
  assert_true(totals.live_bytes_end >= (size_t)2000 * 777);
}

// No file may grow above 128 KiB: after two tails the log is full; the recorder says so, and the program goes
// on.
static void full_disk(void **state) {
  (void)state;
  char output[256], why[512] = "";
  make_spool("full");
  int status = run_fixture("kill", output, sizeof output, (size_t)128 << 10);
  assert_int_equal(status, SIGKILL);
  assert_string_equal(output, "60000 0 60000\n");
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  if (!ha_collect(spool, test_path("full.hat"), "", &totals, &remarks, why, sizeof why))
    fail_msg("%s", why);
  assert_int_equal(remarks.stopped, 1);
  assert_in_range(remarks.lost, 90000, 110000);
  assert_int_equal(totals.flags, HA_TRACE_INCOMPLETE);
  counts found = count_own(test_path("full.hat"));
  assert_in_range(found.allocations, 5000, 15000);
  assert_in_range(totals.operations + remarks.lost, 120000, 120100); // none is lost without being counted
}

// Children that cannot be recorded are named in the remarks, however they were started.
static void unseen_children(void **state) {
  (void)state;
  static const char *const programs[] = {STATIC_FIXTURE, OWN_FIXTURE};
  for (unsigned i = 0; i < 2; i++) {
    char what[4200], output[256], why[512] = "";
    make_spool(i == 0 ? "static" : "own");
    snprintf(what, sizeof what, "start %s", programs[i]);
    assert_int_equal(run_fixture(what, output, sizeof output, 0), 0);
    ha_trace_totals totals;
    ha_collect_remarks remarks;
    if (!ha_collect(spool, test_path("unseen.hat"), "", &totals, &remarks, why, sizeof why))
      fail_msg("%s", why);
    assert_int_equal(i == 0 ? remarks.unseen : remarks.own_malloc, 2);
    assert_non_null(strstr(remarks.text, i == 0 ? "is statically linked" : "has a malloc of its own"));
    assert_int_equal(totals.flags & HA_TRACE_INCOMPLETE, 0);
  }
}

// The tool's exit status and output, as a script sees them.
static void tool_speaks(void **state) {
  (void)state;
  char command[8192];
  make_spool("tool");
  char output[64];
  run_fixture("plain", output, sizeof output, 0);
  const char *path = test_path("tool.hat");
  snprintf(command, sizeof command,
           "%s collect %s -o %s --meta 'command: x' --json | grep -q '\"complete\": true'", TOOL, spool,
           path);
  assert_int_equal(system(command), 0);
  snprintf(command, sizeof command, "%s info %s --json | grep -q '\"command\"'", TOOL, path);
  assert_int_equal(system(command), 0);
  snprintf(command, sizeof command, "%s info %s > %s", TOOL, path, test_path("info.txt"));
  assert_int_equal(system(command), 0);
  static const char *const wrong[] = {"",
                                      "frobnicate",
                                      "collect",
                                      "info no-such-file",
                                      "collect / -o x.hat",
                                      "info a b",
                                      "collect . --meta novalue -o x.hat",
                                      "info a --frobnicate",
                                      "cut a -o b",
                                      "cut a -o b --operations 5:4",
                                      "cut a -o b --seconds :x",
                                      "cut a -o b --seconds 1:2 --operations 1:2",
                                      "cut a --operations 1:2",
                                      "merge no-such-file -o b",
                                      "anonymize a -o b --round-sizes some",
                                      "anonymize a -o b --round-times -4",
                                      "import a -o b",
                                      "import a -o b --from strace",
                                      "import no-such-file -o b --from text",
                                      "fit no-such-file -o b",
                                      "fit a",
                                      "fit a -m b",
                                      "fit a -m b -o c"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(command, sizeof command, "%s %s 2>%s", TOOL, wrong[i], test_path("errors.txt"));
    int status = system(command);
    assert_int_equal(WEXITSTATUS(status), 2);
    size_t size;
    unsigned char *text = test_read_file(test_path("errors.txt"), &size);
    assert_int_not_equal(size, 0);
    assert_ptr_equal(memchr(text, '\n', size), text + size - 1); // one line
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_and_remote_frees),
      cmocka_unit_test(threads_of_all_makes),
      cmocka_unit_test(joins_a_thread_that_begins_late),
      cmocka_unit_test(reallocs_between_threads),
      cmocka_unit_test(realloc_storm),
      cmocka_unit_test(forked_child),
      cmocka_unit_test(executed_program),
      cmocka_unit_test(killed_program),
      cmocka_unit_test(threads_leave_blocks),
      cmocka_unit_test(full_disk),
      cmocka_unit_test(unseen_children),
      cmocka_unit_test(tool_speaks),
  };
  int failed = cmocka_run_group_tests_name("record", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

// Options: parsing, ranges, messages, and that programs with more rights than their user read no environment.
#include "core/options.h"

#include "core/child_test.h"
#include "core/errors.h"
#include "core/gomalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *program;

static void test_values(void **state) {
  (void)state;
  const struct {
    const char *name;
    const char *text;
    const _Atomic uint64_t *value;
    uint64_t expected;
  } good[] = {
      {"on_error", "report", &errors_action, ERROR_REPORT},
      {"on_error", "abort", &errors_action, ERROR_ABORT},
      {"signals", "0", &gm_options.signals, 0},
      {"signals", "1", &gm_options.signals, 1},
      {"stats", "1", &gm_options.stats, 1},
      {"stats", "0", &gm_options.stats, 0},
      {"memlimit", "512MiB", &gm_options.mem_limit, (uint64_t)512 << 20},
      {"memlimit", "1048576", &gm_options.mem_limit, (uint64_t)1 << 20},
      {"memlimit", "1048577B", &gm_options.mem_limit, ((uint64_t)1 << 20) + 1},
      {"memlimit", "2048KiB", &gm_options.mem_limit, (uint64_t)2 << 20},
      {"memlimit", "3GiB", &gm_options.mem_limit, (uint64_t)3 << 30},
      {"memlimit", "256TiB", &gm_options.mem_limit, (uint64_t)1 << 48},
      {"memlimit", "none", &gm_options.mem_limit, GM_NO_LIMIT},
      {"retain", "0", &gm_options.retain_percent, 0},
      {"retain", "1000", &gm_options.retain_percent, 1000},
      {"retain_min", "0", &gm_options.retain_min, 0},
      {"retain_min", "1TiB", &gm_options.retain_min, (uint64_t)1 << 40},
      {"decay", "3600000", &gm_options.decay_ms, 3600000},
      {"decay", "none", &gm_options.decay_ms, GM_NO_DECAY},
      {"decay", "0", &gm_options.decay_ms, 0},
      {"huge_pages", "32MiB", &gm_options.huge_pages, (uint64_t)32 << 20},
      {"huge_pages", "none", &gm_options.huge_pages, GM_NO_HUGE_PAGES},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(gm_set_option(good[i].name, good[i].text), 0);
    assert_int_equal(gm_option_get(good[i].value), good[i].expected);
  }
}

static void test_bad_values_change_nothing(void **state) {
  (void)state;
  assert_int_equal(gm_set_option("memlimit", "77MiB"), 0);
  const char *const bad[][2] = {
      {"on_error", "ABORT"},
      {"on_error", ""},
      {"stats", "2"},
      {"stats", "yes"},
      {"layout", "round"},
      {"memlimit", "1048575"},
      {"memlimit", "257TiB"},
      {"memlimit", "-1"},
      {"memlimit", "5MB"},
      {"memlimit", "5 MiB"},
      {"memlimit", "MiB"},
      {"memlimit", "18446744073709551616"},
      {"memlimit", "99999999TiB"},
      {"memlimit", "1e9"},
      {"memlimit", ""},
      {"retain", "1001"},
      {"retain", "10%"},
      {"retain", "5KiB"},
      {"retain_min", "none"},
      {"decay", "3600001"},
      {"decay", "10ms"},
      {"huge_pages", "2TiB"},
      {"MEMLIMIT", "512MiB"},
      {"GOMALLOC_STATS", "1"},
      {"", "1"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    errno = 0;
    if (gm_set_option(bad[i][0], bad[i][1]) != -1)
      fail_msg("%s=%s was accepted", bad[i][0], bad[i][1]);
    assert_int_equal(errno, EINVAL);
  }
  assert_int_equal(gm_option_get(&gm_options.mem_limit), (uint64_t)77 << 20);
}

static void test_layout_is_fixed_by_the_first_block(void **state) {
  (void)state;
  gm_free(gm_malloc(1));
  const char *now = gm_option_get(&gm_options.layout) == GM_LAYOUT_LINEAR ? "linear" : "sparse";
  const char *other = strcmp(now, "linear") == 0 ? "sparse" : "linear";
  assert_int_equal(gm_set_option("layout", now), 0); // no change
  errno = 0;
  assert_int_equal(gm_set_option("layout", other), -1);
  assert_int_equal(errno, EBUSY);
}

static void test_every_option_is_described(void **state) {
  (void)state;
  unsigned count = 0;
  const char *name = NULL;
  uint64_t value = 0;
  while (options_describe(count, &name, &value)) {
    assert_non_null(name);
    count++;
  }
  assert_int_equal(count, 9);
}

static void load_bad_environment(void) {
  char *const environment[] = {"PATH=/bin",
                               "GOMALLOC_STATS=maybe",
                               "GOMALLOC_MEMLIMIT=12PB",
                               "GOMALLOC_COLOUR=blue",
                               "GOMALLOC_ON_ERROR=report",
                               "GOMALLOC",
                               "GOMALLOC_",
                               "GOMALLOC_DECAY=",
                               NULL};
  options_load_from(environment);
  if (gm_option_get(&errors_action) != ERROR_REPORT)
    _exit(1);
}

static void test_messages(void **state) {
  (void)state;
  char output[2048];
  assert_int_equal(run_child(load_bad_environment, output, sizeof output), 0);
  assert_string_equal(
      output,
      "gomalloc: GOMALLOC_STATS must be 0 or 1; ignored\n"
      "gomalloc: GOMALLOC_MEMLIMIT must be none, or bytes from 1MiB to 256TiB, as in 512MiB; ignored\n"
      "gomalloc: GOMALLOC_COLOUR is not an option of gomalloc; ignored\n"
      "gomalloc: GOMALLOC_ is not an option of gomalloc; ignored\n"
      "gomalloc: GOMALLOC_DECAY must be none, or milliseconds from 0 to 3600000; ignored\n");
}

// Run by the tests below in a process of its own: says what the environment did.
static int describe(void) {
  gm_free(gm_malloc(1));
  (void)dprintf(STDERR_FILENO, "secure %lu action %lu layout %lu limit %lu\n", getauxval(AT_SECURE),
                (unsigned long)gm_option_get(&errors_action),
                (unsigned long)gm_option_get(&gm_options.layout),
                (unsigned long)gm_option_get(&gm_options.mem_limit));
  return 0;
}

static char *const loud_environment[] = {"GOMALLOC_ON_ERROR=report", "GOMALLOC_LAYOUT=linear",
                                         "GOMALLOC_MEMLIMIT=64MiB", "GOMALLOC_NONSENSE=1", NULL};

static void execute_plain(void) {
  char *const arguments[] = {"options_test", "describe", NULL};
  (void)execve(program, arguments, loud_environment);
  _exit(9);
}

static void test_environment(void **state) {
  (void)state;
  char output[1024];
  assert_int_equal(run_child(execute_plain, output, sizeof output), 0);
  assert_string_equal(output, "gomalloc: GOMALLOC_NONSENSE is not an option of gomalloc; ignored\n"
                              "secure 0 action 1 layout 1 limit 67108864\n");
}

static char copy_path[] = P_tmpdir "/gomalloc-setuid-XXXXXX";

// A copy of this program that belongs to root and has the set-user-ID bit. False when it cannot be made.
static bool make_setuid_copy(void) {
  int to = mkstemp(copy_path);
  int from = open(program, O_RDONLY | O_CLOEXEC);
  if (to < 0 || from < 0)
    return false;
  char buffer[65536];
  ssize_t got = 0;
  bool written = true;
  while ((got = read(from, buffer, sizeof buffer)) > 0)
    written = written && write(to, buffer, (size_t)got) == got;
  (void)close(from);
  written = written && fchmod(to, 04755) == 0;
  return close(to) == 0 && written;
}

enum { NOBODY = 65534 };

static void execute_copy_as_nobody(void) {
  char *const arguments[] = {"options_test", "describe", NULL};
  if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
    _exit(8);
  (void)execve(copy_path, arguments, loud_environment);
  _exit(9);
}

static void test_setuid_programs_read_nothing(void **state) {
  (void)state;
  if (getuid() != 0 || getenv("OPTIONS_TEST_NO_SETUID") != NULL)
    skip();
  char output[1024] = "";
  bool made = make_setuid_copy();
  int status = made ? run_child(execute_copy_as_nobody, output, sizeof output) : 0;
  (void)unlink(copy_path);
  assert_true(made);
  if (strncmp(output, "secure 0", 8) == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 9))
    skip(); // a file system mounted nosuid
  assert_int_equal(status, 0);
  assert_string_equal(output, "secure 1 action 0 layout 0 limit 18446744073709551615\n");
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "describe") == 0)
    return describe();
  static char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  program = length > 0 ? path : argv[0];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_bad_values_change_nothing),
      cmocka_unit_test(test_layout_is_fixed_by_the_first_block),
      cmocka_unit_test(test_every_option_is_described),
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_environment),
      cmocka_unit_test(test_setuid_programs_read_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

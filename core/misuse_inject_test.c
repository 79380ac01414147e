// Exact detection in bulk: wrong frees of every kind are put between valid operations, and each must be
// reported, no valid one. INJECTIONS=1000000 and VALID_OPERATIONS=1000000000 for the whole proof; both count
// in all of a run.
#include "core/gomalloc.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static size_t random_size(void) {
  uint64_t random = next_random();
  if (random % 128 == 0)
    return 32769 + random / 128 % 300000;
  return random % 4 == 0 ? 1 + random / 128 % 32768 : 1 + random / 128 % 512;
}

static unsigned long asked(const char *name, unsigned long otherwise) {
  const char *text = getenv(name);
  return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

enum { LIVE = 4096 };

static char *live[LIVE];
static size_t live_size[LIVE];

// Replaces a random live block.
static void valid_operation(void) {
  size_t i = (size_t)(next_random() >> 20) % LIVE;
  size_t size = random_size();
  if (next_random() % 8 == 0) {
    live[i] = gm_realloc(live[i], size);
  } else {
    gm_free(live[i]);
    live[i] = gm_malloc(size);
  }
  live_size[i] = size;
}

// The error messages of a million injections are not for reading; a failed test's is.
static int kept_stderr = -1;

static void silence_stderr(void) {
  kept_stderr = dup(STDERR_FILENO);
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  (void)dup2(null, STDERR_FILENO);
  (void)close(null);
}

static void restore_stderr(void) {
  (void)dup2(kept_stderr, STDERR_FILENO);
  (void)close(kept_stderr);
}

static void expect_reports(uint64_t *known, uint64_t more, const char *what) {
  uint64_t now = gm_error_count();
  if (now == *known + more) {
    *known = now;
    return;
  }
  restore_stderr();
  fail_msg("%s: %lu reports instead of %lu", what, (unsigned long)(now - *known), (unsigned long)more);
}

static char outside[4096];

// One wrong call of a random kind. The pointers pass through a volatile, so that the compiler does not see it
// coming.
static void inject(uint64_t *known) {
  char on_stack[64] = "";
  char *volatile wrong = NULL;
  size_t i = (size_t)(next_random() >> 20) % LIVE;
  switch (next_random() % 6) {
  case 0: // freed a moment ago
    wrong = live[i];
    if (wrong == NULL)
      break;
    gm_free(live[i]);
    gm_free(wrong);
    live[i] = NULL;
    expect_reports(known, 1, "double free");
    break;
  case 1: // inside a live block
    if (live[i] == NULL || live_size[i] < 2)
      break;
    wrong = live[i] + 1 + next_random() % (live_size[i] - 1);
    gm_free(wrong);
    expect_reports(known, 1, "interior free");
    break;
  case 2:
    wrong = on_stack + next_random() % sizeof on_stack;
    gm_free(wrong);
    expect_reports(known, 1, "free of the stack");
    break;
  case 3:
    wrong = outside + next_random() % sizeof outside;
    gm_free(wrong);
    expect_reports(known, 1, "free of static memory");
    break;
  case 4:
    wrong = live[i];
    if (wrong == NULL)
      break;
    gm_free(live[i]);
    live[i] = NULL;
    if (gm_realloc(wrong, 100) != NULL || gm_usable_size(wrong) != 0)
      expect_reports(known, UINT64_MAX, "realloc or usable_size of a freed block that gave something");
    expect_reports(known, 2, "realloc and usable_size of a freed block");
    break;
  default:
    // Any address: user space, kernel space, near the heap. A block's own start is never hit: odd addresses
    // only.
    wrong = (char *)(uintptr_t)(next_random() | 1);
    gm_free(wrong);
    expect_reports(known, 1, "free of a random address");
    break;
  }
}

static void test_injected(void **state) {
  (void)state;
  unsigned long count = asked("INJECTIONS", 20000);
  uint64_t known = gm_error_count();
  silence_stderr();
  for (unsigned long n = 0; n < count; n++) {
    for (unsigned i = 0; i < 10; i++)
      valid_operation();
    expect_reports(&known, 0, "valid operations");
    inject(&known);
  }
  restore_stderr();
  assert_int_equal(gm_check_heap(), 0);
}

enum { BATCH = 1000 };

static char *batch[BATCH];

static void *free_batch(void *argument) {
  for (size_t i = 0; i < BATCH; i++)
    gm_free(batch[i]);
  return argument;
}

static void free_batch_elsewhere(void) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, free_batch, NULL), 0);
  (void)pthread_join(thread, NULL);
}

// Blocks freed by two threads, in each of the three orders.
static void test_injected_across_threads(void **state) {
  (void)state;
  unsigned long rounds = asked("INJECTIONS", 20000) / BATCH + 1;
  uint64_t known = gm_error_count();
  silence_stderr();
  for (unsigned long round = 0; round < rounds; round++) {
    for (size_t i = 0; i < BATCH; i++)
      batch[i] = gm_malloc(random_size());
    unsigned order = (unsigned)(round % 3);
    if (order == 0)
      (void)free_batch(NULL);
    else
      free_batch_elsewhere();
    expect_reports(&known, 0, "the first free");
    if (order == 1)
      (void)free_batch(NULL);
    else
      free_batch_elsewhere();
    expect_reports(&known, BATCH,
                   order == 0   ? "local, remote"
                   : order == 1 ? "remote, local"
                                : "remote, remote");
  }
  restore_stderr();
  assert_int_equal(gm_check_heap(), 0);
}

static void test_no_false_alarm(void **state) {
  (void)state;
  unsigned long count = asked("VALID_OPERATIONS", 1000000);
  uint64_t known = gm_error_count();
  for (unsigned long n = 0; n < count; n += 2) // a free and a malloc
    valid_operation();
  assert_int_equal(gm_error_count(), known);
  assert_int_equal(gm_check_heap(), 0);
  for (size_t i = 0; i < LIVE; i++) {
    gm_free(live[i]);
    live[i] = NULL;
  }
  assert_int_equal(gm_error_count(), known);
  assert_int_equal(gm_check_heap(), 0);
}

static int choose_report(void **state) {
  (void)state;
  return gm_set_error_action(GM_ERROR_REPORT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_injected),
      cmocka_unit_test(test_injected_across_threads),
      cmocka_unit_test(test_no_false_alarm),
  };
  return cmocka_run_group_tests(tests, choose_report, NULL);
}

// patience_test.c: what hangs is told from what is only slow, or is given no processor.
#include "fuzz/patience.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define HUNG 42 // a watched process's exit status

static double used(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void spin(double seconds) {
  for (double until = used() + seconds; used() < until;)
    ;
}

static void pass(double seconds) {
  struct timespec time = {.tv_sec = (time_t)seconds,
                          .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

static void *wait_for_ever(void *lock) {
  pthread_mutex_lock(lock);
  return NULL;
}

static void lock_twice(void) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_t other;
  pthread_mutex_lock(&lock);
  pthread_create(&other, NULL, wait_for_ever, &lock);
  pthread_join(other, NULL);
}

static void spin_beside_a_sleeper(void) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_t other;
  pthread_mutex_lock(&lock);
  pthread_create(&other, NULL, wait_for_ever, &lock);
  spin(4);
  _exit(3);
}

static void end_with_3(void) {
  _exit(3);
}

static void abort_it(void) {
  signal(SIGABRT, SIG_DFL); // which cmocka catches
  abort();
}

static void spin_for_ever(void) {
  for (;;)
    spin(1);
}

// Whether it ended by itself; its status.
static bool ends(void (*work)(void), unsigned seconds, int *status) {
  pid_t child = fuzz_fork();
  assert_true(child >= 0);
  if (child == 0) {
    work();
    _exit(0);
  }
  return fuzz_await(child, seconds, status);
}

static void test_an_end_is_reported_as_it_is(void **context) {
  (void)context;
  int status = 0;
  assert_true(ends(end_with_3, 1, &status));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  assert_true(ends(abort_it, 1, &status));
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_a_loop_hangs_once_it_has_used_its_time(void **context) {
  (void)context;
  int status = 0;
  assert_false(ends(spin_for_ever, 1, &status));
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_a_deadlock_hangs(void **context) {
  (void)context;
  int status = 0;
  assert_false(ends(lock_twice, 1000, &status));
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// Whose own wait, begun later, would end later.
static void wait_for_a_deadlock(void) {
  pass(1);
  int status = 0;
  _exit(ends(lock_twice, 1000, &status) ? 4 : 3);
}

static void test_one_that_waits_for_a_child_of_its_own_does_not_hang(void **context) {
  (void)context;
  int status = 0;
  assert_true(ends(wait_for_a_deadlock, 1000, &status));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void test_a_thread_that_works_beside_one_that_sleeps_does_not_hang(void **context) {
  (void)context;
  int status = 0;
  assert_true(ends(spin_beside_a_sleeper, 1000, &status));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

// As one that a loaded machine does not let run.
static void *halt_a_while(void *child) {
  pass(4);
  kill((pid_t)(intptr_t)child, SIGCONT);
  return NULL;
}

static void test_one_that_gets_no_processor_does_not_hang(void **context) {
  (void)context;
  pid_t child = fuzz_fork();
  assert_true(child >= 0);
  if (child == 0) {
    raise(SIGSTOP);
    _exit(3);
  }
  pthread_t other;
  void *whom = (void *)(intptr_t)child; // NOLINT(performance-no-int-to-ptr)
  assert_int_equal(pthread_create(&other, NULL, halt_a_while, whom), 0);
  int status = 0;
  assert_true(fuzz_await(child, 1, &status));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  pthread_join(other, NULL);
}

static void test_a_child_ends_with_its_parent(void **context) {
  (void)context;
  int ends_of[2];
  assert_int_equal(pipe(ends_of), 0);
  pid_t parent = fork();
  assert_true(parent >= 0);
  if (parent == 0) {
    if (fuzz_fork() == 0)
      spin_for_ever();
    _exit(0);
  }
  close(ends_of[1]);
  waitpid(parent, NULL, 0);
  char none;
  assert_int_equal(read(ends_of[0], &none, 1), 0); // once nobody holds the other end
  close(ends_of[0]);
}

// ---- Watched work ----

static void end_as_hung(void) {
  _exit(HUNG);
}

static void one_long_piece(void) {
  fuzz_watch(1, end_as_hung);
  fuzz_watch_begin();
  spin(4);
  fuzz_watch_end();
}

static void many_short_pieces(void) {
  fuzz_watch(1, end_as_hung);
  for (int i = 0; i < 40; i++) {
    fuzz_watch_begin();
    spin(0.1);
    fuzz_watch_end();
  }
}

static void long_between_pieces(void) {
  fuzz_watch(1, end_as_hung);
  fuzz_watch_begin();
  fuzz_watch_end();
  spin(4);
}

static void a_piece_that_waits(void) {
  fuzz_watch(1, end_as_hung);
  fuzz_watch_begin();
  pass(4);
  fuzz_watch_end();
}

static void test_watched_work_hangs_by_the_time_it_uses(void **context) {
  (void)context;
  static const struct {
    void (*work)(void);
    int status;
  } cases[] = {
      {one_long_piece, HUNG}, {many_short_pieces, 0}, {long_between_pieces, 0}, {a_piece_that_waits, 0}};
  pid_t children[sizeof cases / sizeof cases[0]];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if ((children[i] = fuzz_fork()) == 0) {
      cases[i].work();
      _exit(0);
    }
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int status = 0;
    assert_int_equal(waitpid(children[i], &status, 0), children[i]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), cases[i].status);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_end_is_reported_as_it_is),
      cmocka_unit_test(test_a_loop_hangs_once_it_has_used_its_time),
      cmocka_unit_test(test_a_deadlock_hangs),
      cmocka_unit_test(test_one_that_waits_for_a_child_of_its_own_does_not_hang),
      cmocka_unit_test(test_a_thread_that_works_beside_one_that_sleeps_does_not_hang),
      cmocka_unit_test(test_one_that_gets_no_processor_does_not_hang),
      cmocka_unit_test(test_a_child_ends_with_its_parent),
      cmocka_unit_test(test_watched_work_hangs_by_the_time_it_uses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// launch_test.c: the curve of heaparena-launch: bounded, keeps its peak; and what it reads from /proc.
// What the program itself does is tested from outside, in scripts/end_to_end/test_exec.py.
#include "workloads/launch_curve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_full_curve_is_joined_and_keeps_its_peak(void **state) {
  (void)state;
  static launch_curve curve = {.stride = 1};
  for (int i = 0; i < 3 * LAUNCH_CURVE_POINTS; i++)
    launch_curve_add(&curve, i, i == 777 ? 1000000 : (size_t)i);
  assert_true(curve.count <= LAUNCH_CURVE_POINTS);
  assert_true(curve.count > LAUNCH_CURVE_POINTS / 2);
  assert_int_equal(curve.stride, 16); // joined four times
  bool peak = false;
  for (int i = 0; i < curve.count; i++) {
    peak = peak || (curve.points[i].rss == 1000000 && curve.points[i].seconds == 777);
    if (i > 0)
      assert_true(curve.points[i].seconds > curve.points[i - 1].seconds);
  }
  assert_true(peak);
  assert_int_equal((int)curve.points[curve.count - 1].seconds, 3 * LAUNCH_CURVE_POINTS - 1);
}

static pid_t sleeping_child(void) {
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  return child;
}

static void children_and_their_memory_are_found(void **state) {
  (void)state;
  pid_t found[8];
  assert_int_equal(launch_children(getpid(), found, 8), 0);
  size_t alone = launch_tree_rss(getpid());
  assert_true(alone > 100000);
  pid_t first = sleeping_child(), second = sleeping_child();
  assert_int_equal(launch_children(getpid(), found, 8), 2);
  assert_true((found[0] == first && found[1] == second) || (found[0] == second && found[1] == first));
  assert_int_equal(launch_children(getpid(), found, 1), 1);
  assert_true(launch_tree_rss(getpid()) > alone + launch_tree_rss(first) / 2);
  kill(first, SIGKILL);
  kill(second, SIGKILL);
  waitpid(first, NULL, 0);
  waitpid(second, NULL, 0);
  assert_int_equal(launch_children(getpid(), found, 8), 0);
  assert_int_equal(launch_tree_rss(first), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_full_curve_is_joined_and_keeps_its_peak),
      cmocka_unit_test(children_and_their_memory_are_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

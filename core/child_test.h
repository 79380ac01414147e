// child_test.h: for tests of what ends the process.
#ifndef GOMALLOC_CHILD_TEST_H
#define GOMALLOC_CHILD_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// Runs `action` in a child. Its stderr goes to `output`, cut to `size` with the closing NUL; returns the wait status.
static inline int run_child(void (*action)(void), char *output, size_t size) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    (void)signal(SIGABRT, SIG_DFL); // not cmocka's
    (void)dup2(ends[1], STDERR_FILENO);
    action();
    _exit(0);
  }
  (void)close(ends[1]);
  size_t length = 0;
  ssize_t got = 0;
  while (length < size - 1 && (got = read(ends[0], output + length, size - 1 - length)) > 0)
    length += (size_t)got;
  output[length] = '\0';
  (void)close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

#endif

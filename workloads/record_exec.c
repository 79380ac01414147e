// record_exec.c: the recorder's view of how process images end: by exit, and by executing another program,
// which is followed unless it cannot be recorded; then that is noted.
#include "workloads/trace_record.h"

#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct {
  void (*quick_exit)(int);
  void (*exit_now)(int);
  int (*execve)(const char *, char *const[], char *const[]);
  int (*execvpe)(const char *, char *const[], char *const[]);
  int (*fexecve)(int, char *const[], char *const[]);
  int (*posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                     char *const[], char *const[]);
  int (*posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                      char *const[], char *const[]);
} next;

void record_find_ends(void) {
  RECORD_FIND(next.quick_exit, "quick_exit");
  RECORD_FIND(next.exit_now, "_exit");
  RECORD_FIND(next.execve, "execve");
  RECORD_FIND(next.execvpe, "execvpe");
  RECORD_FIND(next.fexecve, "fexecve");
  RECORD_FIND(next.posix_spawn, "posix_spawn");
  RECORD_FIND(next.posix_spawnp, "posix_spawnp");
}

// ---- Ends ----

EXPORT void _exit(int status) {
  if (record_ready())
    record_ended(HA_ENDED_EXIT);
  for (;;)
    next.exit_now(status);
}

EXPORT void _Exit(int status) {
  _exit(status);
}

// Runs no destructors, and ends the process from inside the C library.
EXPORT void quick_exit(int status) {
  if (record_ready())
    record_ended(HA_ENDED_EXIT);
  for (;;)
    next.quick_exit(status);
}

// A program image that executes another one has ended well. If the call fails it goes on.
#define EXECUTE(path, search, call)                                                                          \
  do {                                                                                                       \
    if (!record_ready())                                                                                     \
      return -1;                                                                                             \
    record_unseen(path, search);                                                                             \
    record_ended(HA_ENDED_EXEC);                                                                             \
    int result_ = (call);                                                                                    \
    record_ended(HA_ENDED_NOT);                                                                              \
    return result_;                                                                                          \
  } while (0)

EXPORT int execve(const char *path, char *const argv[], char *const envp[]) {
  EXECUTE(path, false, next.execve(path, argv, envp));
}
EXPORT int execv(const char *path, char *const argv[]) {
  EXECUTE(path, false, next.execve(path, argv, environ));
}
EXPORT int execvp(const char *file, char *const argv[]) {
  EXECUTE(file, true, next.execvpe(file, argv, environ));
}
EXPORT int execvpe(const char *file, char *const argv[], char *const envp[]) {
  EXECUTE(file, true, next.execvpe(file, argv, envp));
}
EXPORT int fexecve(int fd, char *const argv[], char *const envp[]) {
  EXECUTE(NULL, false, next.fexecve(fd, argv, envp));
}

// The child of these runs nothing of ours before the new program: only that is looked at.
EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *file_actions,
                       const posix_spawnattr_t *attrp, char *const argv[], char *const envp[]) {
  if (!record_ready())
    return EAGAIN;
  record_unseen(path, false);
  return next.posix_spawn(pid, path, file_actions, attrp, argv, envp);
}
EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *file_actions,
                        const posix_spawnattr_t *attrp, char *const argv[], char *const envp[]) {
  if (!record_ready())
    return EAGAIN;
  record_unseen(file, true);
  return next.posix_spawnp(pid, file, file_actions, attrp, argv, envp);
}

// execl and its like: the arguments that follow the first are gathered on the stack, as many as there are.
static size_t count_arguments(va_list list) {
  size_t count = 1;
  while (va_arg(list, char *) != NULL)
    count++;
  return count;
}

// `run`: what gets the gathered arguments; NULL is execve, whose environment follows them.
static int run_list(int (*run)(const char *, char *const *), const char *file, const char *first,
                    va_list list) {
  va_list again;
  va_copy(again, list);
  size_t count = count_arguments(again);
  va_end(again);
  char *arguments[count + 1];
  memcpy(&arguments[0], &first, sizeof first); // execv's arguments are not const, execl's are
  for (size_t i = 1; i <= count; i++)          // the last one is NULL
    arguments[i] = va_arg(list, char *);
  return run != NULL ? run(file, arguments) : execve(file, arguments, va_arg(list, char *const *));
}

EXPORT int execl(const char *path, const char *arg, ...) {
  va_list list;
  va_start(list, arg);
  int failed = run_list(execv, path, arg, list);
  va_end(list);
  return failed;
}

EXPORT int execlp(const char *file, const char *arg, ...) {
  va_list list;
  va_start(list, arg);
  int failed = run_list(execvp, file, arg, list);
  va_end(list);
  return failed;
}

EXPORT int execle(const char *path, const char *arg, ...) {
  va_list list;
  va_start(list, arg);
  int failed = run_list(NULL, path, arg, list);
  va_end(list);
  return failed;
}

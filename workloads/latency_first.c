// latency_first.c: see latency_first.h. The figure is that of a whole start: the kernel's exec, the dynamic
// linker, the allocator's own start-up, one malloc. All but the allocator's part is the same for all
// allocators, so their differences are theirs.
#include "workloads/latency_first.h"

#include "adapters/ticks.h"

#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STARTS 9

int ha_first_allocation_answer(const ha_alloc *alloc) {
  volatile unsigned char *block = alloc->malloc(64);
  if (!block)
    return 1;
  block[0] = 1; // the page is there, too
  uint64_t now = ha_ticks_of_clock();
  return write(STDOUT_FILENO, &now, sizeof now) == (ssize_t)sizeof now ? 0 : 1;
}

// One start: nanoseconds, or 0 if it failed. The process inherits LD_PRELOAD from this one.
static uint64_t one_start(const char *program, const char *spec) {
  int ends[2];
  if (pipe(ends) != 0)
    return 0;
  char *argv[] = {(char[]){"heaparena-worker"}, (char[]){"--first-allocation"}, (char[]){"--allocator"},
                  (char *)(uintptr_t)spec, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  pid_t child;
  uint64_t begin = ha_ticks_of_clock(), end = 0;
  int error = posix_spawn(&child, program, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  bool answered = error == 0 && read(ends[0], &end, sizeof end) == (ssize_t)sizeof end;
  close(ends[0]);
  if (error == 0)
    waitpid(child, NULL, 0);
  return answered && end > begin ? end - begin : 0;
}

static int by_value(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

double ha_first_allocation_ns(const char *spec) {
  char program[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0)
    return -1;
  program[length] = '\0';
  uint64_t taken[STARTS];
  for (unsigned i = 0; i < STARTS; i++) {
    taken[i] = one_start(program, spec);
    if (taken[i] == 0)
      return -1;
  }
  qsort(taken, STARTS, sizeof taken[0], by_value);
  uint64_t median = taken[STARTS / 2];
  return (double)median;
}

// timeline.c: the parent's side of timeline.h, and what both sides share.
#include "workloads/timeline.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The sampler answers within milliseconds; after so long it will never.
#define PATIENCE_SECONDS 20

void ha_timeline_add(ha_timeline *t, const ha_timeline_point *point) {
  if (t->point_count == HA_TIMELINE_POINTS) {
    for (uint32_t i = 0; i < HA_TIMELINE_POINTS / 2; i++)
      t->points[i] = t->points[2 * (size_t)i];
    t->point_count = HA_TIMELINE_POINTS / 2;
    t->interval_ns *= 2;
  }
  t->points[t->point_count++] = *point;
}

// The environment without the preloaded allocator: the sampler needs none.
static char **plain_environment(ha_run *run) {
  size_t count = 0;
  while (environ[count])
    count++;
  char **copy = ha_map(run, (count + 1) * sizeof *copy);
  size_t kept = 0;
  for (size_t i = 0; copy && i < count; i++)
    if (strncmp(environ[i], "LD_PRELOAD=", strlen("LD_PRELOAD=")) != 0)
      copy[kept++] = environ[i];
  return copy;
}

static bool start_sampler(ha_timeline *t, int fd, pid_t *sampler) {
  char program[PATH_MAX], number[16];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  char **environment = plain_environment(&t->run);
  if (length <= 0 || !environment)
    return ha_fail(&t->run, "the sampler cannot be started: this program's own path is not known");
  program[length] = '\0';
  snprintf(number, sizeof number, "%d", fd);
  char *argv[] = {(char[]){"heaparena-worker"}, (char[]){"--sample"}, number, NULL};
  int error = posix_spawn(sampler, program, NULL, NULL, argv, environment);
  if (error != 0)
    return ha_fail(&t->run, "the sampler cannot be started: %s", strerror(error));
  return ha_timeline_tell(t, HA_TIMELINE_READY, *sampler) || ha_fail(&t->run, "the sampler did not start");
}

ha_timeline *ha_timeline_start(ha_run *run, uint64_t interval_ms, pid_t *sampler) {
  int fd = memfd_create("heaparena-timeline", 0); // inherited by the sampler
  ha_timeline *t = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, sizeof *t) == 0)
    t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (t == MAP_FAILED) {
    ha_fail(run, "no shared memory for the timeline: %s", strerror(errno));
    if (fd >= 0)
      close(fd);
    return NULL;
  }
  memcpy(&t->run, run, sizeof *run);
  t->interval_ns = interval_ms * 1000000;
  bool good = start_sampler(t, fd, sampler);
  close(fd);
  if (good)
    return t;
  memcpy(run, &t->run, sizeof *run);
  return NULL;
}

bool ha_timeline_tell(ha_timeline *t, ha_timeline_phase phase, pid_t sampler) {
  atomic_store(&t->phase, phase);
  syscall(SYS_futex, &t->phase, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
  for (unsigned tries = 0; tries < PATIENCE_SECONDS * 10; tries++) {
    uint32_t seen = atomic_load(&t->acknowledged);
    if (seen == phase)
      return true;
    const struct timespec most = {.tv_nsec = 100000000};
    syscall(SYS_futex, &t->acknowledged, FUTEX_WAIT, seen, &most, NULL, 0);
    if (atomic_load(&t->acknowledged) != phase && waitpid(sampler, NULL, WNOHANG) == sampler)
      return false; // it ended
  }
  return false;
}

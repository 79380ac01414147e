// runner.c: see runner.h. The clock runs from the moment all threads are ready to the moment the last has
// finished.
#include "workloads/runner.h"
#include "workloads/kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef struct worker_thread {
  ha_run *run;
  unsigned index;
  pthread_t handle;
  pthread_barrier_t *ready;
  ha_tally tally;
} worker_thread;

static double seconds(const struct timespec *t) {
  return (double)t->tv_sec + 1e-9 * (double)t->tv_nsec;
}

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return seconds(&t);
}

static double of_timeval(const struct timeval *t) {
  return (double)t->tv_sec + 1e-6 * (double)t->tv_usec;
}

// One "Vm...: N kB" line of /proc/self/status, in bytes.
static uint64_t status_bytes(const char *key) {
  char text[8192];
  if (!ha_read_text("/proc/self/status", text, sizeof text))
    return 0;
  const char *line = strstr(text, key);
  return line ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

// Sets VmHWM back to the present size, so that the peak is the workload's and not that of reading a trace.
static void reset_peak_rss(void) {
  int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  ssize_t ignored = write(fd, "5", 1);
  (void)ignored; // not allowed here: the peak then includes the preparation, which is the same for all
  close(fd);
}

// On each thread: none begins before the main thread has looked at the process, none goes on before all have filled.
static void fill(worker_thread *self) {
  if (!self->run->workload->fill)
    return;
  pthread_barrier_wait(self->ready);
  self->run->workload->fill(self->run, self->index, &self->tally);
  pthread_barrier_wait(self->ready);
}

static void *thread_main(void *argument) {
  worker_thread *self = argument;
  const ha_alloc *alloc = self->run->alloc;
  if (alloc->thread_start)
    alloc->thread_start();
  fill(self);
  pthread_barrier_wait(self->ready);
  self->run->workload->body(self->run, self->index, &self->tally);
  if (alloc->thread_exit)
    alloc->thread_exit();
  return NULL;
}

// Starts threads 1 .. threads-1; they wait at the barrier for the main thread, which is number 0. A
// single-threaded workload thus runs in a process that never made a thread, as a single-threaded program
// does.
static bool start_threads(ha_run *run, worker_thread *threads, pthread_barrier_t *ready) {
  if (pthread_barrier_init(ready, NULL, run->threads) != 0)
    return ha_fail(run, "cannot make a barrier for %u threads", run->threads);
  for (unsigned i = 0; i < run->threads; i++)
    threads[i] = (worker_thread){.run = run, .index = i, .ready = ready};
  for (unsigned i = 1; i < run->threads; i++)
    if (pthread_create(&threads[i].handle, NULL, thread_main, &threads[i]) != 0) {
      // The threads that wait at the barrier cannot be called back: the caller gives up the process.
      return ha_fail(run, "thread %u of %u could not be started", i, run->threads);
    }
  return true;
}

static void take_usage(ha_measurement *out, const struct rusage *before, const struct rusage *after) {
  out->user_seconds = of_timeval(&after->ru_utime) - of_timeval(&before->ru_utime);
  out->system_seconds = of_timeval(&after->ru_stime) - of_timeval(&before->ru_stime);
  out->minor_faults = (uint64_t)(after->ru_minflt - before->ru_minflt);
  out->major_faults = (uint64_t)(after->ru_majflt - before->ru_majflt);
}

static bool sum_tallies(ha_run *run, const worker_thread *threads, ha_measurement *out) {
  for (unsigned i = 0; i < run->threads; i++) {
    out->operations += threads[i].tally.operations;
    out->checksum ^= threads[i].tally.checksum;
    if (threads[i].tally.failure)
      ha_fail(run, "thread %u: %s", i, threads[i].tally.failure);
  }
  return run->why[0] == '\0';
}

static void timed_pass(ha_run *run, worker_thread *threads, pthread_barrier_t *ready,
                       const ha_observer *observer, ha_measurement *out) {
  struct rusage before, after;
  reset_peak_rss();
  out->start_rss_bytes = status_bytes("VmRSS:");
  if (observer->sees_fill)
    observer->starts(observer->argument);
  fill(&threads[0]);
  if (!observer->sees_fill)
    observer->starts(observer->argument);
  getrusage(RUSAGE_SELF, &before);
  double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  pthread_barrier_wait(ready);
  double wall = now(CLOCK_MONOTONIC);
  run->workload->body(run, 0, &threads[0].tally);
  for (unsigned i = 1; i < run->threads; i++)
    pthread_join(threads[i].handle, NULL);
  out->wall_seconds = now(CLOCK_MONOTONIC) - wall;
  out->cpu_seconds = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  getrusage(RUSAGE_SELF, &after);
  out->peak_rss_bytes = status_bytes("VmHWM:");
  take_usage(out, &before, &after);
  double paused_cpu = 1e-9 * (double)atomic_load(&run->paused_cpu_ns);
  out->wall_seconds -= 1e-9 * (double)atomic_load(&run->paused_ns);
  out->cpu_seconds -= paused_cpu;
  out->user_seconds = out->user_seconds > paused_cpu ? out->user_seconds - paused_cpu : 0;
  observer->ended(observer->argument);
}

bool ha_run_observed(ha_run *run, ha_measurement *out, const ha_observer *observer) {
  pthread_barrier_t ready;
  memset(out, 0, sizeof *out);
  if (!run->workload->prepare(run))
    return false;
  worker_thread *threads = ha_map(run, run->threads * sizeof *threads);
  if (!threads || !start_threads(run, threads, &ready))
    return false;
  timed_pass(run, threads, &ready, observer, out);
  if (run->external)
    *out = *run->external;
  pthread_barrier_destroy(&ready);
  out->threads = run->threads;
  out->harness_bytes = run->harness_bytes;
  out->peak_live_bytes = (uint64_t)atomic_load(&run->live_peak);
  bool sound = sum_tallies(run, threads, out);
  return run->workload->finish(run) && sound;
}

static void nothing(void *argument) {
  (void)argument;
}

bool ha_run_once(ha_run *run, ha_measurement *out) {
  return ha_run_observed(run, out, &(ha_observer){.starts = nothing, .ended = nothing});
}

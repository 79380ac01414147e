// replay_pace.c: what keeps threads in step with each other and with time: turns of shared objects, how far a
// thread may run ahead of the others, and in recorded time when an operation is due and how late it came.
#include "workloads/replay.h"

#include <sched.h>
#include <time.h>

#define EARLY_NS  50000u // sleeping is no finer than that: what is due so soon is done now
#define LONGEST_S 0.05   // of a sleep, so that a stop is seen
#define SECOND_NS 1000000000u

static uint64_t clock_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void note_late(replay_program *program, uint64_t late) {
  uint64_t most = atomic_load_explicit(&program->late_ns, memory_order_relaxed);
  while (late > most && !atomic_compare_exchange_weak(&program->late_ns, &most, late)) {
  }
}

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Other threads' progress is usually near: spin, then let others run, then sleep a little.
bool replay_wait_turn(const replay_program *program, const _Atomic uint32_t *word, uint32_t turn) {
  for (unsigned tries = 0; atomic_load_explicit(word, memory_order_acquire) != turn; tries++) {
    if (atomic_load_explicit(&program->stop, memory_order_relaxed))
      return false;
    if (tries < 64)
      relax();
    else if (tries < 192)
      sched_yield();
    else
      nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
  }
  return true;
}

bool replay_wait_for_others(replay_program *program, uint32_t epoch) {
  for (;;) {
    uint32_t done = atomic_load_explicit(&program->epochs_done, memory_order_acquire);
    if (done + 2 > epoch)
      return true;
    // The one that all up to there are waiting for. Whoever sees it done says so to all.
    const replay_epoch *first = &program->epochs[done];
    if (!replay_wait_turn(program, &first->done, first->steps))
      return false;
    atomic_compare_exchange_strong(&program->epochs_done, &done, done + 1);
  }
}

bool replay_wait_for(replay_program *program, uint64_t time_ns) {
  uint64_t now = clock_now(), unset = 0;
  if (atomic_load_explicit(&program->began_ns, memory_order_relaxed) == 0)
    atomic_compare_exchange_strong(&program->began_ns, &unset, now);
  for (;;) {
    uint64_t due = atomic_load_explicit(&program->began_ns, memory_order_relaxed) +
                   (uint64_t)((double)time_ns / program->pace);
    if (now >= due) {
      note_late(program, now - due);
      return true;
    }
    if (due - now <= EARLY_NS)
      return true;
    if (atomic_load_explicit(&program->stop, memory_order_relaxed))
      return false;
    double seconds = 1e-9 * (double)(due - now);
    long ns = (long)((seconds < LONGEST_S ? seconds : LONGEST_S) * SECOND_NS);
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
    now = clock_now();
  }
}

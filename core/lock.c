// The slow half of the futex lock and the debug build's check of lock ranks. See lock.h.
#include "core/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

// Holders keep these locks for less than a microsecond as a rule, so a short spin usually beats sleeping.
enum { SPIN_ROUNDS = 60 };

static void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

GM_NOINLINE void lock_acquire_slow(struct gm_lock *lock) {
  for (int i = 0; i < SPIN_ROUNDS; i++) {
    uint32_t expected = 0;
    if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_weak_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                              memory_order_relaxed))
      return;
    cpu_relax();
  }
  int saved_errno = errno;
  // From here on the word says 2, so that the holder knows to wake us.
  while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
    syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
  errno = saved_errno;
}

GM_NOINLINE void lock_wake(struct gm_lock *lock) {
  int saved_errno = errno;
  syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  errno = saved_errno;
}

__thread struct lock_signals lock_signals __attribute__((tls_model("initial-exec")));

void lock_deliver_signals(void) {
  int saved_errno = errno;
  uint64_t mask = lock_signals.mask;
  lock_signals.waiting = false; // before the mask: a handler may take locks at once
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
  errno = saved_errno;
}

#ifndef NDEBUG
// How many locks of each rank this thread holds (fork holds all the mcentrals at once).
static __thread unsigned held[LOCK_RANK_SYS + 1] __attribute__((tls_model("initial-exec")));

void lock_note_acquire(enum lock_rank rank) {
  for (unsigned higher = rank + 1U; higher <= LOCK_RANK_SYS; higher++)
    GM_CHECK(held[higher] == 0);
  held[rank]++;
}

void lock_note_release(enum lock_rank rank) {
  GM_CHECK(held[rank] > 0);
  held[rank]--;
}
#endif

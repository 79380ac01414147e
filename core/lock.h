// A small futex lock with a rank (Go: lock_futex.go, lockrank.go). It allocates nothing, needs no set-up when
// zeroed, and may be taken before libc is ready. Threads: any. A lock is not recursive.
//
// Ranks: a thread takes locks in rising rank only. Debug builds assert it.
#ifndef GOMALLOC_LOCK_H
#define GOMALLOC_LOCK_H

#include "core/base.h"

#include <stdatomic.h>

enum lock_rank {
  LOCK_RANK_WORLD = 0,    // one collection at a time, and the list of its threads (gc/marksweep_world.c)
  LOCK_RANK_REGISTRY = 1, // the list of mcaches (mcache.c)
  LOCK_RANK_FALLBACK = 2, // the mcache shared by threads whose own is gone (mcache.c)
  LOCK_RANK_CENTRAL = 3,  // one mcentral per span class; never two at once, except by fork, in index order
  LOCK_RANK_HEAP = 4,     // the page heap (mheap.c)
  LOCK_RANK_KEEP = 5,     // a thread's kept spans; never two at once (span_keep.c)
  LOCK_RANK_PACKETS = 6,  // grey packets between mark workers (gc/marksweep_packets.c)
  LOCK_RANK_SYS = 7,      // sys_mem's record of address-space states (debug builds)
};

struct gm_lock {
  _Atomic uint32_t word; // 0 free, 1 held, 2 held and somebody may sleep
};

// Contended path of lock_acquire: spins, then sleeps in the kernel.
void lock_acquire_slow(struct gm_lock *lock);
// Wakes one sleeper.
void lock_wake(struct gm_lock *lock);

// Notes that this thread takes or lets go of a lock of the rank; a wrong order aborts. Nothing in release builds.
#ifdef NDEBUG
GM_INLINE void lock_note_acquire(enum lock_rank rank) {
  (void)rank;
}
GM_INLINE void lock_note_release(enum lock_rank rank) {
  (void)rank;
}
#else
void lock_note_acquire(enum lock_rank rank);
void lock_note_release(enum lock_rank rank);
#endif

// How many locks this thread holds or is about to take, and whether a signal waits for it to let go of the
// last one. A handler that interrupts a thread here must not take locks: see signal_guard.h. Volatile,
// because the handler runs between any two instructions of the same thread.
struct lock_signals {
  volatile unsigned depth;
  volatile bool waiting;
  uint64_t mask; // the kernel's signal mask to go back to
};

extern __thread struct lock_signals lock_signals __attribute__((tls_model("initial-exec")));

// Restores the signal mask, whereupon the kernel delivers the signals that waited.
GM_COLD void lock_deliver_signals(void);

// Acquire order: what the previous holder wrote is visible.
GM_INLINE void lock_acquire(struct gm_lock *lock, enum lock_rank rank) {
  lock_note_acquire(rank);
  lock_signals.depth++;
  atomic_signal_fence(memory_order_seq_cst);
  uint32_t expected = 0;
  if (GM_UNLIKELY(!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                           memory_order_relaxed)))
    lock_acquire_slow(lock);
}

// Lets go of a lock that this thread holds, wakes a waiter, and delivers signals that were held back
// meanwhile.
GM_INLINE void lock_release(struct gm_lock *lock, enum lock_rank rank) {
  lock_note_release(rank);
  if (GM_UNLIKELY(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2))
    lock_wake(lock);
  atomic_signal_fence(memory_order_seq_cst);
  unsigned depth = lock_signals.depth - 1;
  lock_signals.depth = depth;
  if (depth == 0 && GM_UNLIKELY(lock_signals.waiting))
    lock_deliver_signals();
}

// By whomever: for assertions.
GM_INLINE bool lock_is_held(struct gm_lock *lock) {
  return atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
}

#endif

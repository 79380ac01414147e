// The collector's own threads: they join markings, and the first one sweeps in between (Go: gcBgMarkWorker,
// bgsweep). See marksweep.h.
#include "core/gc/marksweep.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { HELPERS_MAX = 63, HELPER_STACK = 128 << 10 };

static struct {
  pthread_t threads[HELPERS_MAX];
  unsigned count;
  unsigned markers;        // the first so many mark
  _Atomic uint32_t events; // what they sleep on
  _Atomic uint32_t markings;
  _Atomic bool sweep;
  _Atomic bool stop;
} helpers;

static void sweep_in_background(void) {
  uint64_t start = gc_clock_ns();
  // Span by span, so that a finishing sweep never waits long for this thread.
  while (!atomic_load_explicit(&helpers.stop, memory_order_relaxed) &&
         atomic_load_explicit(&gc_stop_wanted, memory_order_relaxed) == 0 && gc_sweep_reclaim(SIZE_MAX, 1))
    continue;
  atomic_fetch_add_explicit(&gc.background_ns, gc_clock_ns() - start, memory_order_relaxed);
}

static void *help(void *argument) {
  unsigned number = (unsigned)(uintptr_t)argument;
  uint32_t markings = 0;
  while (!atomic_load_explicit(&helpers.stop, memory_order_acquire)) {
    uint32_t events = atomic_load_explicit(&helpers.events, memory_order_acquire);
    uint32_t now = atomic_load_explicit(&helpers.markings, memory_order_acquire);
    if (now != markings) {
      markings = now;
      if (number < helpers.markers)
        gc_mark_help();
    } else if (number == 0 && !gc.options.no_background &&
               atomic_exchange_explicit(&helpers.sweep, false, memory_order_acq_rel)) {
      sweep_in_background();
    } else {
      gc_futex_wait(&helpers.events, events, 0);
    }
  }
  return NULL;
}

static void wake(void) {
  atomic_fetch_add_explicit(&helpers.events, 1, memory_order_release);
  gc_futex_wake_all(&helpers.events);
}

void gc_helpers_wake_mark(void) {
  atomic_fetch_add_explicit(&helpers.markings, 1, memory_order_release);
  wake();
}

void gc_helpers_wake_sweep(void) {
  if (helpers.count == 0 || gc.options.no_background)
    return;
  atomic_store_explicit(&helpers.sweep, true, memory_order_release);
  wake();
}

void gc_helpers_start(void) {
  helpers.markers = gc.options.mark_threads - 1;
  unsigned wanted = helpers.markers;
  if (wanted == 0 && !gc.options.no_background)
    wanted = 1;
  atomic_store_explicit(&helpers.stop, false, memory_order_relaxed);
  atomic_store_explicit(&helpers.markings, 0, memory_order_relaxed);
  atomic_store_explicit(&helpers.sweep, false, memory_order_relaxed);
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0)
    return;
  (void)pthread_attr_setstacksize(&attributes, HELPER_STACK);
  // The program's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  helpers.count = 0;
  while (helpers.count < wanted && helpers.count < HELPERS_MAX &&
         pthread_create(&helpers.threads[helpers.count], &attributes, help,
                        (void *)(uintptr_t)helpers.count) == 0)
    helpers.count++;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  (void)pthread_attr_destroy(&attributes);
}

void gc_helpers_stop(void) {
  atomic_store_explicit(&helpers.stop, true, memory_order_release);
  wake();
  while (helpers.count > 0)
    (void)pthread_join(helpers.threads[--helpers.count], NULL);
}

void gc_helpers_forget(void) {
  helpers.count = 0;
}

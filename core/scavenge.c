// The retention goal, the decay, and the background thread. See scavenge.h.
#include "core/scavenge.h"

#include "core/huge_pages.h"
#include "core/mheap.h"
#include "core/options.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"
#include "core/span_keep.h"
#include "core/sys_mem.h"
#include "core/sys_state.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  TICKS = 4,                                     // per decay time
  THREAD_HEAP = (8 << 20) >> GM_PAGE_SHIFT,      // the thread starts when so much is in spans,
  THREADS_HEAP = (1 << 20) >> GM_PAGE_SHIFT,     // or so much in a program that has threads anyway
  WORTH_WAKING = (256 << 10) >> GM_PAGE_SHIFT,   // less than this is not worth a wake-up
  WORTH_RELEASING = (64 << 10) >> GM_PAGE_SHIFT, // without the thread; less is not worth a system call
  STEP = (1 << 20) >> GM_PAGE_SHIFT,             // given back with one system call at most
  SHRINK_STEP = (256 << 10) >> GM_PAGE_SHIFT,    // in a small heap an eighth is not worth a trim
  THREAD_STACK = 64 << 10,
};

_Atomic bool scavenge_thread_wanted;
_Atomic uint32_t scavenge_shrinks;

// Under the heap lock.
static struct {
  size_t thread_from; // pages in spans from which on there is to be a thread
  size_t lowest;      // least retained pages since the last tick
  size_t lows[TICKS]; // and in the last ticks
  unsigned tick;
  bool has_thread;
  uint64_t released_ms;   // when a free released by itself
  size_t released_in_use; // and what was in use then
  size_t shrunk_from;     // the heap's pages in use, where scavenge_shrinks counts from
  uintptr_t transit;      // run that the thread is giving back without the lock
  size_t transit_pages;
} state = {.thread_from = THREAD_HEAP};

// What the thread sleeps on: 1 while it has nothing to do.
static _Atomic uint32_t asleep;

static size_t retained_pages(void) {
  struct page_alloc_counts counts = page_alloc_counts();
  return counts.free - counts.scavenged + page_cache_pages();
}

static size_t retention_goal(void) {
  size_t share =
      (size_t)((double)gm_heap.in_use_pages * (double)gm_option_get(&gm_options.retain_percent) / 100);
  size_t least = (size_t)(gm_option_get(&gm_options.retain_min) >> GM_PAGE_SHIFT);
  return share > least ? share : least;
}

static void release_now(size_t npages) {
  page_cache_flush();
  (void)page_alloc_scavenge(npages);
  huge_pages_note_release();
  while (mheap_release_structs())
    continue;
}

// The soft limit: what is over it goes back at once, as far as pages are free.
static void keep_limit(size_t retained) {
  uint64_t limit = gm_option_get(&gm_options.mem_limit);
  if (limit == GM_NO_LIMIT)
    return;
  uint64_t used = (uint64_t)(gm_heap.in_use_pages + retained) << GM_PAGE_SHIFT;
  if (used > limit)
    release_now((size_t)((used - limit) >> GM_PAGE_SHIFT) + 1);
}

uint64_t scavenge_clock_ms(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0)
    return 0;
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// Without the thread: when four fifths of the memory are free, they go back, once per decay time or, in a
// program that frees everything, each time that the rest has shrunk to less than a quarter.
static void release_without_thread(size_t retained) {
  size_t in_use = gm_heap.in_use_pages;
  if (retained < WORTH_RELEASING || retained < 4 * in_use)
    return;
  uint64_t now = scavenge_clock_ms();
  if (in_use >= state.released_in_use / 4 && state.released_ms != 0 &&
      now - state.released_ms < gm_option_get(&gm_options.decay_ms))
    return;
  state.released_ms = now;
  state.released_in_use = in_use;
  release_now(SIZE_MAX);
}

void scavenge_note_alloc(void) {
  if (gm_heap.in_use_pages > state.shrunk_from)
    state.shrunk_from = gm_heap.in_use_pages;
  size_t retained = retained_pages();
  if (retained < state.lowest)
    state.lowest = retained;
  if (GM_UNLIKELY(!state.has_thread && gm_heap.in_use_pages >= state.thread_from &&
                  gm_option_get(&gm_options.decay_ms) != GM_NO_DECAY))
    atomic_store_explicit(&scavenge_thread_wanted, true, memory_order_relaxed);
}

void scavenge_note_threads(void) {
  if (state.thread_from == THREAD_HEAP)
    state.thread_from = THREADS_HEAP;
}

static void note_shrinking(void) {
  size_t step = state.shrunk_from / 8 > SHRINK_STEP ? state.shrunk_from / 8 : SHRINK_STEP;
  if (gm_heap.in_use_pages + step > state.shrunk_from)
    return;
  state.shrunk_from = gm_heap.in_use_pages;
  atomic_fetch_add_explicit(&scavenge_shrinks, 1, memory_order_relaxed);
}

void scavenge_note_free(void) {
  note_shrinking();
  size_t retained = retained_pages();
  keep_limit(retained);
  if (gm_option_get(&gm_options.decay_ms) == GM_NO_DECAY) {
    // Twice the goal before anything happens: few, large releases instead of one per free.
    size_t goal = retention_goal();
    if (retained > 2 * goal)
      release_now(retained - goal);
  } else if (!state.has_thread) {
    release_without_thread(retained);
  }
}

size_t scavenge_in_transit(void) {
  return state.transit_pages;
}

static void wake(void) {
  if (atomic_exchange_explicit(&asleep, 0, memory_order_relaxed) == 0)
    return;
  int saved_errno = errno;
  syscall(SYS_futex, &asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  errno = saved_errno;
}

void scavenge_wake(void) {
  if (atomic_load_explicit(&asleep, memory_order_relaxed) == 0)
    return;
  mheap_lock();
  bool worth = retained_pages() >= WORTH_WAKING;
  mheap_unlock();
  if (worth)
    wake();
}

void scavenge_wake_for_kept(void) {
  if (atomic_load_explicit(&asleep, memory_order_relaxed) != 0 && span_keep_pages() >= WORTH_WAKING)
    wake();
}

// How many pages nobody took: over the goal since the last tick, and, where pages decay, all told in one decay time.
static size_t surplus(void) {
  size_t retained = retained_pages();
  size_t goal = retention_goal();
  state.lows[state.tick++ % TICKS] = state.lowest;
  size_t release = state.lowest > goal ? state.lowest - goal : 0;
  size_t unused = SIZE_MAX;
  for (unsigned i = 0; i < TICKS; i++)
    unused = state.lows[i] < unused ? state.lows[i] : unused;
  bool decays = gm_option_get(&gm_options.decay_ms) != GM_NO_DECAY; // or that ended after the thread began
  release = decays && unused > release ? unused : release;
  release = release < retained ? release : retained;
  for (unsigned i = 0; i < TICKS; i++) // the same pages do not go twice
    state.lows[i] -= release < state.lows[i] ? release : state.lows[i];
  state.lowest = retained - release;
  return release;
}

// Gives pages back, a run at a time; only taking the run and noting its end need the lock. Where pages go, so do
// the structs of the spans that they were. Heap lock held.
static void release_in_steps(size_t npages) {
  if (npages == 0)
    return;
  if (npages + page_cache_pages() > retained_pages())
    page_cache_flush();
  while (npages > 0) {
    state.transit_pages = page_alloc_take_retained(npages < STEP ? npages : STEP, &state.transit);
    if (state.transit_pages == 0)
      break;
    size_t done = state.transit_pages;
    mheap_unlock();
    sys_unused(state.transit, done << GM_PAGE_SHIFT);
    mheap_lock();
    page_alloc_give_scavenged(state.transit, done);
    state.transit_pages = 0;
    huge_pages_note_release();
    npages = npages > done ? npages - done : 0;
  }
  while (mheap_release_structs()) { // one with each hold of the lock
    mheap_unlock();
    mheap_lock();
  }
}

// What no thread needed during the last tick goes to the page heap; the time that it was kept counts as time in which
// nobody took those pages. Heap lock held.
static void take_cold(void) {
  size_t pages = 0;
  for (size_t some; (some = mheap_take_kept(STEP, KEPT_COLD)) > 0; pages += some) {
    mheap_unlock(); // a step with each hold of the lock
    mheap_lock();
  }
  span_keep_begin_tick();
  state.lowest += pages;
}

static void sleep_one_tick(void) {
  uint64_t decay = gm_option_get(&gm_options.decay_ms);
  uint64_t ms = decay == GM_NO_DECAY ? 1000 : decay / TICKS + 1;
  struct timespec tick = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  (void)nanosleep(&tick, NULL);
}

static void *scavenger(void *unused) {
  (void)pthread_setname_np(pthread_self(), "gomalloc");
  for (;;) {
    sleep_one_tick();
    mheap_lock();
    take_cold();
    release_in_steps(surplus());
    // Under the lock: who frees pages after this look finds the thread asleep, and wakes it.
    bool idle = retained_pages() < WORTH_WAKING && span_keep_count_pages() < WORTH_WAKING;
    atomic_store_explicit(&asleep, idle, memory_order_relaxed);
    mheap_unlock();
    while (atomic_load_explicit(&asleep, memory_order_relaxed) == 1)
      syscall(SYS_futex, &asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
  }
  return unused;
}

void scavenge_start_thread(void) {
  mheap_lock();
  bool start = !state.has_thread;
  state.has_thread = true; // also when it cannot be made: no second try at every malloc
  state.lowest = retained_pages();
  for (unsigned i = 0; i < TICKS; i++)
    state.lows[i] = state.lowest;
  atomic_store_explicit(&scavenge_thread_wanted, false, memory_order_relaxed);
  mheap_unlock();
  if (!start)
    return;
  int saved_errno = errno;
  // The program's signals are for the program's threads.
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_t thread;
  bool started = false;
  if (pthread_attr_init(&attributes) == 0) {
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
    started = pthread_create(&thread, &attributes, scavenger, NULL) == 0;
    (void)pthread_attr_destroy(&attributes);
  }
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  span_keep_open(started);
  if (!started) {
    mheap_lock();
    state.has_thread = false;
    state.thread_from = 2 * gm_heap.in_use_pages; // not again at every malloc
    mheap_unlock();
  }
  errno = saved_errno;
}

void scavenge_after_fork(void) {
  state.has_thread = false;
  span_keep_open(false);
  state.thread_from = gm_heap.in_use_pages + THREAD_HEAP; // most children run another program soon
  state.released_ms = 0;
  atomic_store_explicit(&asleep, 0, memory_order_relaxed);
  // The parent's thread may have been giving these back; here they are as they were, whatever it had recorded.
  if (state.transit_pages > 0) {
    sys_state_change(state.transit, state.transit_pages << GM_PAGE_SHIFT,
                     SYS_MASK(SYS_READY) | SYS_MASK(SYS_PREPARED), SYS_READY);
    page_alloc_free(state.transit, state.transit_pages);
  }
  state.transit_pages = 0;
}

// The life of mcaches. See mcache_thread.h and mcache.h.
#include "core/mcache_thread.h"

#include "core/fixalloc.h"
#include "core/mheap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

// Where a thread stands. Zero: it has not allocated yet.
enum { THREAD_NEW = 0, THREAD_ATTACHED = 1, THREAD_ENDED = 2 };

static __thread int thread_state __attribute__((tls_model("initial-exec")));
static __thread int destructor_rounds __attribute__((tls_model("initial-exec")));

static struct gm_lock registry_lock;
static struct mcache *all_caches;
static struct mcache *idle_caches;
static bool have_key;
static pthread_key_t exit_key;

static struct gm_lock fallback_lock;
static struct mcache *fallback;

void mcache_registry_lock(void) {
  lock_acquire(&registry_lock, LOCK_RANK_REGISTRY);
}

void mcache_registry_unlock(void) {
  lock_release(&registry_lock, LOCK_RANK_REGISTRY);
}

void mcache_fallback_lock(void) {
  lock_acquire(&fallback_lock, LOCK_RANK_FALLBACK);
}

void mcache_fallback_unlock(void) {
  lock_release(&fallback_lock, LOCK_RANK_FALLBACK);
}

struct mcache *mcache_first(void) {
  return all_caches;
}

// Gives the claimed bits back to their word and takes the span out of the slot. Returns the span or NULL.
static struct mspan *empty_slot(struct mcache_slot *slot, struct mcache_bin *bin) {
  struct mspan *span = bin->active;
  uint64_t bits = slot->alloc_cache;
  if (bits != 0) {
    struct span_word *word = slot->word;
    uint64_t free_bits = atomic_load_explicit(&word->free, memory_order_relaxed);
    uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
    uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed);
    uint32_t count = (uint32_t)__builtin_popcountll(bits);
    // Release, and before they leave `claimed`: whoever looks finds the bits in one place at least.
    atomic_store_explicit(&word->free, free_bits | bits, memory_order_release);
    atomic_store_explicit(&word->claimed, 0, memory_order_release);
    atomic_store_explicit(&span->summary, summary | (uint64_t)1 << (word - span->words),
                          memory_order_relaxed);
    atomic_store_explicit(&span->taken_count, taken_count - count, memory_order_relaxed);
    uint64_t claimed = atomic_load_explicit(&bin->claimed_objects, memory_order_relaxed);
    atomic_store_explicit(&bin->claimed_objects, claimed - count, memory_order_relaxed);
  }
  slot->alloc_cache = 0;
  bin->active = NULL;
  return span;
}

static void give_list(struct mspan_list *list) {
  while (list->first != NULL) {
    struct mspan *span = list->first;
    mspan_list_remove(list, span);
    mcentral_give(span);
  }
}

// Hands all spans to the mcentrals. Remote frees that come meanwhile find the list closed and mark their
// span, and mcentral_give looks at the mark.
static void hand_over_spans(struct mcache *cache) {
  mcache_drain_list(cache, atomic_exchange_explicit(&cache->pending, MCACHE_CLOSED, memory_order_acq_rel));
  for (unsigned class = 1; class < SPAN_CLASS_COUNT; class ++) {
    struct mcache_bin *bin = &cache->bins[class];
    struct mspan *active = empty_slot(&cache->slots[class], bin);
    if (active != NULL)
      mcentral_give(active);
    if (bin->spare != NULL)
      mcentral_give(bin->spare);
    bin->spare = NULL;
    give_list(&bin->partial);
    give_list(&bin->full);
  }
}

// Registry lock held.
static void make_idle(struct mcache *cache) {
  atomic_store_explicit(&cache->pending, MCACHE_CLOSED, memory_order_release);
  cache->idle = true;
  cache->next_idle = idle_caches;
  idle_caches = cache;
}

// Runs when a thread ends. Other libraries' destructors may still allocate and free after it, so it asks to
// be called again until the last round but one of those that POSIX grants (ThreadSanitizer takes the last one
// for itself).
static void on_thread_exit(void *value) {
  struct mcache *cache = value;
  if (++destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1 && pthread_setspecific(exit_key, cache) == 0)
    return;
  thread_state = THREAD_ENDED;
  mcache_current = &mcache_none;
  hand_over_spans(cache);
  mcache_registry_lock();
  make_idle(cache);
  mcache_registry_unlock();
}

// A fresh or idle mcache, open for remote frees. Registry lock held.
static struct mcache *obtain(void) {
  struct mcache *cache = idle_caches;
  if (cache != NULL) {
    idle_caches = cache->next_idle;
    cache->idle = false;
  } else {
    mheap_lock();
    cache = persistent_alloc(sizeof *cache, GM_CACHE_LINE);
    mheap_unlock();
    if (cache == NULL)
      return NULL;
    cache->next = all_caches;
    all_caches = cache;
  }
  atomic_store_explicit(&cache->pending, NULL, memory_order_release);
  return cache;
}

struct mcache *mcache_attach(void) {
  if (thread_state == THREAD_ENDED)
    return NULL;
  int saved_errno = errno;
  mcache_registry_lock();
  if (!have_key)
    have_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
  bool key = have_key;
  struct mcache *cache = obtain();
  mcache_registry_unlock();
  if (cache != NULL) {
    thread_state = THREAD_ATTACHED;
    mcache_current = cache;
    // May allocate (keys above 31): the thread has its mcache by now. Without the destructor the mcache would
    // stay with the dead thread: its memory is not lost to frees, only to reuse.
    if (key)
      (void)pthread_setspecific(exit_key, cache);
  }
  errno = saved_errno;
  return cache;
}

struct mcache *mcache_fallback_acquire(void) {
  mcache_fallback_lock();
  struct mcache *cache = fallback;
  mcache_fallback_unlock();
  if (cache == NULL) {
    mcache_registry_lock();
    cache = obtain();
    mcache_registry_unlock();
  }
  mcache_fallback_lock();
  if (fallback == NULL)
    fallback = cache;
  return fallback;
}

struct mcache *mcache_fallback_peek(void) {
  return fallback;
}

bool mcache_forget_other_threads(void (*clear)(struct mcache *cache)) {
  bool found = false;
  for (struct mcache *cache = all_caches; cache != NULL; cache = cache->next) {
    if (cache == mcache_current || cache == fallback || cache->idle)
      continue;
    found = true;
    clear(cache);
    make_idle(cache);
  }
  return found;
}

void mcache_release_spares(void) {
  struct mcache *cache = mcache_current;
  if (cache == &mcache_none)
    return;
  mcache_drain(cache);
  for (unsigned class = 1; class < SPAN_CLASS_COUNT; class ++) {
    struct mspan *spare = cache->bins[class].spare;
    cache->bins[class].spare = NULL;
    if (spare != NULL)
      mheap_free_span(spare);
  }
}

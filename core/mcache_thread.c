// The life of mcaches. See mcache_thread.h and mcache.h.
#include "core/mcache_thread.h"

#include "core/fixalloc.h"
#include "core/levels.h"
#include "core/mcache_large.h"
#include "core/mcache_suspend.h"
#include "core/mheap.h"
#include "core/page_cache.h"
#include "core/scavenge.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

__thread int mcache_thread_state __attribute__((tls_model("initial-exec")));
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
  mcache_large_empty(cache);
  for (unsigned class = 1; class < SPAN_CLASS_COUNT; class ++) {
    struct mcache_bin *bin = &cache->bins[class];
    mcache_empty_stack(cache, (span_class) class);
    struct mspan *active = mcache_empty_slot(cache, (span_class) class);
    if (active != NULL)
      mcentral_give(active);
    struct mspan *spare = mcache_take_spare(cache, (span_class) class);
    if (spare != NULL)
      mcentral_give(spare);
    give_list(&bin->partial);
    give_list(&bin->full);
    for (struct mspan *kept; (kept = span_keep_take(&cache->keep, (span_class) class)) != NULL;)
      mheap_free_span(kept);
  }
  cache->owned_pages = 0;
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
  mcache_forget_handlers(); // one may have called pthread_exit
  mcache_thread_state = THREAD_ENDED;
  mcache_current = &mcache_none;
  span_keep_use(NULL);
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
    cache = persistent_alloc(sizeof *cache, _Alignof(struct mcache));
    if (cache != NULL)
      span_keep_register(&cache->keep);
    if (all_caches != NULL)
      scavenge_note_threads();
    mheap_unlock();
    if (cache == NULL)
      return NULL;
    cache->number = all_caches != NULL ? all_caches->number + 1 : 0;
    cache->next = all_caches;
    all_caches = cache;
  }
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
    cache->slots[class].limit = cache->slots[class].top = cache->stacks[class].entries;
  for (size_t i = 0; i < sizeof cache->fine_slots / sizeof *cache->fine_slots; i++)
    cache->fine_slots[i] = (uint16_t)(size_class_fine[i] * sizeof *cache->slots);
  cache->passed_by = 0;
  cache->rests = 0;
  cache->last_rest = 0;
  cache->trim_at = 0;
  cache->most_pages = 0;
  cache->grown_ms = 0;
  cache->shrunk = cache->cycles = false;
  atomic_store_explicit(&cache->backlog, 0, memory_order_relaxed);
  atomic_store_explicit(&cache->pending, NULL, memory_order_release);
  return cache;
}

struct mcache *mcache_attach(void) {
  if (!GM_LEVEL_MCACHE)
    return NULL;
  if (mcache_thread_state == THREAD_ENDED)
    return mcache_left_handler() ? mcache_attach() : NULL;
  if (mcache_current != &mcache_none)
    return mcache_current;
  int saved_errno = errno;
  mcache_registry_lock();
  if (!have_key)
    have_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
  bool key = have_key;
  struct mcache *cache = obtain();
  mcache_registry_unlock();
  if (cache != NULL) {
    mcache_thread_state = THREAD_ATTACHED;
    mcache_current = cache;
    page_cache_use_shard(cache->number);
    span_keep_use(&cache->keep);
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
  const struct mcache *own = mcache_own();
  for (struct mcache *cache = all_caches; cache != NULL; cache = cache->next) {
    if (cache == own || cache == fallback || cache->idle)
      continue;
    found = true;
    clear(cache);
    make_idle(cache);
  }
  return found;
}

void mcache_purge(void) {
  struct mcache *cache = mcache_current;
  if (cache == &mcache_none)
    return;
  mcache_drain(cache);
  mcache_trim(cache);
}

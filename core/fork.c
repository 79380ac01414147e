// fork in a program with threads (Go's runtime has no counterpart: Go programs do not fork without exec).
//
// The parent takes every lock in rank order around fork, so shared lists and the page heap are whole in the
// child. The other threads do not exist there, and the kernel may have copied their mcaches in the middle of
// a step. So nothing is believed of those but the objects' states: slots, stacks and lists of the other
// mcaches are dropped, and their spans become ownerless ones with counters made anew from the states.
#include "core/fork.h"

#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mcache_suspend.h"
#include "core/mcache_thread.h"
#include "core/mheap.h"
#include "core/scavenge.h"

#include <pthread.h>
#include <string.h>

// Frees that other threads announced, or died before announcing, are announced again: to an owner that lives,
// or taken in at once. Their states are all that counts.
static void settle_remote(struct mspan *span, struct mcache *owner) {
  uint64_t announced = 0;
  uint64_t pairs = 0;
  for (uint64_t i = 0; i < span->object_count; i++)
    if (mspan_state(&span->states[i]) == OBJECT_REMOTE) {
      announced++;
      pairs |= (uint64_t)1 << (i / 128);
    }
  atomic_store_explicit(&span->remote, announced << 32 | pairs, memory_order_relaxed);
  span->remote_debt = 0;
  span->orphaned = false;
  if (announced == 0)
    return;
  if (owner == NULL) {
    mspan_apply_remote(span);
    return;
  }
  span->pending_next = atomic_load_explicit(&owner->pending, memory_order_relaxed);
  atomic_store_explicit(&owner->pending, span, memory_order_relaxed);
}

static void recount(struct mspan *span) {
  uint64_t summary = 0;
  uint32_t taken_count = (uint32_t)span->object_count;
  for (uint64_t i = 0; i < span->object_count; i++) {
    if (mspan_state(&span->states[i]) == OBJECT_CACHED)
      mspan_set_state(&span->states[i], OBJECT_FREE);
    if (mspan_state(&span->states[i]) == OBJECT_FREE) {
      summary |= (uint64_t)1 << (i / 64);
      taken_count--;
    }
  }
  atomic_store_explicit(&span->summary, summary, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, taken_count, memory_order_relaxed);
  mspan_set_owner(span, NULL);
}

static void place_in_central(struct mspan *span) {
  struct mcentral *central = &gm_heap.central[span->class];
  bool has_free = mspan_has_free(span);
  span->place = has_free ? SPAN_CENTRAL_PARTIAL : SPAN_CENTRAL_FULL;
  mspan_list_append(has_free ? mcentral_partial_swept(central) : mcentral_full_swept(central), span);
}

struct adoption {
  const struct mcache *fallback;
  struct mspan *freed; // large blocks that a thread of the parent was freeing, linked through next
};

static void adopt_span(struct mspan *span, void *context) {
  struct adoption *adoption = context;
  if (span->place == SPAN_COLLECTED)
    return;
  if (span_class_size_class(span->class) == 0) {
    struct mcache *keeper = mspan_owner(span);
    if (keeper != NULL && (keeper == mcache_own() || keeper == adoption->fallback))
      return; // kept for the next malloc
    if (mspan_object_is_free(span, 0)) {
      if (keeper != NULL) // counted as a free when it was kept: mheap_free_span counts it again
        keeper->large.kept--;
      span->next = adoption->freed;
      adoption->freed = span;
    }
    return;
  }
  struct mcache *owner = mspan_owner(span);
  if (owner != NULL && (owner == mcache_own() || owner == adoption->fallback)) {
    settle_remote(span, owner);
    return;
  }
  if (owner == NULL) {
    struct mcentral *central = &gm_heap.central[span->class];
    // A span on its way between two places has a thread of the parent behind it, and is on no list.
    if (span->place == SPAN_CENTRAL_PARTIAL)
      mspan_list_remove(mcentral_partial_swept(central), span);
    else if (span->place == SPAN_CENTRAL_FULL)
      mspan_list_remove(mcentral_full_swept(central), span);
  }
  recount(span);
  settle_remote(span, NULL);
  place_in_central(span);
}

// Drops what the mcache of a thread that is not in the child holds; it stays for the next thread.
static void clear_cache(struct mcache *cache) {
  const struct mcache_large *large = &cache->large;
  cache->large =
      (struct mcache_large){.taken = large->taken, .taken_bytes = large->taken_bytes, .kept = large->kept};
  for (unsigned class = 0; class < SPAN_CLASS_COUNT; class ++) {
    struct mcache_bin *bin = &cache->bins[class];
    bin->active = NULL;
    bin->partial = (struct mspan_list){NULL, NULL};
    bin->full = (struct mspan_list){NULL, NULL};
    bin->spare = NULL;
    cache->slots[class].alloc_cache = 0;
    if (class < SIZE_CLASS_COUNT)
      cache->slots[class].top = cache->stacks[class].entries;
  }
  cache->owned_pages = 0;
  cache->spare_pages = 0;
  span_keep_forget(&cache->keep);
}

static void child(void) {
  struct mcache *fallback = mcache_fallback_peek();
  struct adoption adoption = {fallback, NULL};
  if (mcache_forget_other_threads(clear_cache)) {
    struct mcache *own = mcache_own(); // put aside when a signal handler forks
    if (own != &mcache_none)
      atomic_store_explicit(&own->pending, NULL, memory_order_relaxed);
    if (fallback != NULL)
      atomic_store_explicit(&fallback->pending, NULL, memory_order_relaxed);
    heap_walk_spans(adopt_span, &adoption);
  }
  scavenge_after_fork();
  span_keep_recount();
  (void)mheap_take_kept(SIZE_MAX, KEPT_ALL);
  heap_unlock_all();
  while (adoption.freed != NULL) {
    struct mspan *span = adoption.freed;
    adoption.freed = span->next;
    span->next = NULL;
    mspan_set_owner(span, NULL);
    mheap_free_span(span);
  }
}

void fork_install_handlers(void) {
  (void)pthread_atfork(heap_lock_all, heap_unlock_all, child);
}

// fork in a program with threads (Go's runtime has no counterpart: Go programs do not fork without exec).
//
// The parent takes every lock in rank order around fork, so shared lists and the page heap are whole in the
// child. The other threads do not exist there, and the kernel may have copied their mcaches in the middle of
// a step. So nothing is believed of those but the spans' free bits: slots and lists of the other mcaches are
// dropped (at most 64 claimed objects per slot stay unused), and their spans become ownerless ones with
// counters made anew from the bitmaps.
#include "core/fork.h"

#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mcache_thread.h"
#include "core/mheap.h"

#include <pthread.h>
#include <string.h>

// Frees that other threads announced, or died before announcing, are announced again: to an owner that lives,
// or taken in at once. Their bits are all that counts.
static void settle_remote(struct mspan *span, struct mcache *owner) {
  uint32_t announced = 0;
  for (uint32_t w = 0; w < mspan_word_count(span); w++)
    announced +=
        (uint32_t)__builtin_popcountll(atomic_load_explicit(&span->words[w].remote, memory_order_relaxed));
  atomic_store_explicit(&span->remote_count, announced, memory_order_relaxed);
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
  uint32_t taken_count = span->object_count;
  for (uint32_t w = 0; w < mspan_word_count(span); w++) {
    uint64_t free_bits = atomic_load_explicit(&span->words[w].free, memory_order_relaxed);
    atomic_store_explicit(&span->words[w].claimed, 0, memory_order_relaxed);
    // A remote free that the owner was just taking in may be in both.
    atomic_fetch_and_explicit(&span->words[w].remote, ~free_bits, memory_order_relaxed);
    summary |= free_bits != 0 ? (uint64_t)1 << w : 0;
    taken_count -= (uint32_t)__builtin_popcountll(free_bits);
  }
  atomic_store_explicit(&span->summary, summary, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, taken_count, memory_order_relaxed);
  atomic_store_explicit(&span->owner, NULL, memory_order_relaxed);
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
  if (span_class_size_class(span->class) == 0) {
    if (atomic_load_explicit(&span->taken_count, memory_order_relaxed) == 0) {
      span->next = adoption->freed;
      adoption->freed = span;
    }
    return;
  }
  struct mcache *owner = atomic_load_explicit(&span->owner, memory_order_relaxed);
  if (owner != NULL && (owner == mcache_current || owner == adoption->fallback)) {
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
  memset(cache->slots, 0, sizeof cache->slots);
  for (unsigned class = 0; class < SPAN_CLASS_COUNT; class ++) {
    struct mcache_bin *bin = &cache->bins[class];
    bin->active = NULL;
    bin->partial = (struct mspan_list){NULL, NULL};
    bin->full = (struct mspan_list){NULL, NULL};
    bin->spare = NULL;
  }
}

static void child(void) {
  struct mcache *fallback = mcache_fallback_peek();
  struct adoption adoption = {fallback, NULL};
  if (mcache_forget_other_threads(clear_cache)) {
    if (mcache_current != &mcache_none)
      atomic_store_explicit(&mcache_current->pending, NULL, memory_order_relaxed);
    if (fallback != NULL)
      atomic_store_explicit(&fallback->pending, NULL, memory_order_relaxed);
    heap_walk_spans(adopt_span, &adoption);
  }
  heap_unlock_all();
  while (adoption.freed != NULL) {
    struct mspan *span = adoption.freed;
    adoption.freed = span->next;
    mheap_free_span(span);
  }
}

void fork_install_handlers(void) {
  (void)pthread_atfork(heap_lock_all, heap_unlock_all, child);
}

// The slow half of the thread's cache: refill, span transitions, remote frees. Attaching and detaching
// threads is in mcache_thread.c. See mcache.h.
#include "core/mcache.h"

#include "core/errors.h"
#include "core/mcache_thread.h"
#include "core/mheap.h"

#include <errno.h>

struct mcache mcache_none;

__thread struct mcache *mcache_current __attribute__((tls_model("initial-exec"))) = &mcache_none;

static void add_claimed(struct mcache_bin *bin, uint64_t count) {
  uint64_t before = atomic_load_explicit(&bin->claimed_objects, memory_order_relaxed);
  atomic_store_explicit(&bin->claimed_objects, before + count, memory_order_relaxed);
}

// A remote free that arrived for an object which is free already: found while its word is being claimed.
static GM_COLD void report_remote_on_free(struct mspan *span, uint32_t w, uint64_t twice) {
  atomic_fetch_and_explicit(&span->words[w].remote, ~twice, memory_order_acq_rel);
  span->remote_debt += __builtin_popcountll(twice); // their threads announce them all the same
  for (; twice != 0; twice &= twice - 1) {
    uint32_t index = w * 64 + (uint32_t)__builtin_ctzll(twice);
    mspan_report("double free of", span, span->start + index * span->object_size);
  }
}

// Moves the free bits of the span's first non-empty word into the slot. Others may look at any moment
// (mspan_object_is_free): the bits are in `claimed` before they leave `free`.
static void claim_word(struct mcache_slot *slot, struct mcache_bin *bin, struct mspan *span) {
  uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
  uint32_t w = (uint32_t)__builtin_ctzll(summary);
  struct span_word *word = &span->words[w];
  uint64_t bits = atomic_load_explicit(&word->free, memory_order_relaxed);
  uint64_t twice = bits & atomic_load_explicit(&word->remote, memory_order_acquire);
  if (GM_UNLIKELY(twice != 0))
    report_remote_on_free(span, w, twice);
  atomic_store_explicit(&word->claimed, bits, memory_order_relaxed);
  atomic_store_explicit(&word->free, 0, memory_order_release);
  uint64_t bit = (uint64_t)1 << w;
  *slot = (struct mcache_slot){
      .alloc_cache = bits,
      .word_start = span->start + (uintptr_t)w * 64 * span->object_size,
      .word = word,
      .object_size = (uint32_t)span->object_size,
      .fresh = (span->fresh & bit) != 0,
  };
  span->fresh &= ~bit;
  atomic_store_explicit(&span->summary, summary & ~bit, memory_order_relaxed);
  uint32_t count = (uint32_t)__builtin_popcountll(bits);
  uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, taken_count + count, memory_order_relaxed);
  add_claimed(bin, count);
}

// The active span has neither claimed nor free objects left: it goes to the full list.
static void retire(struct mcache_bin *bin) {
  bin->active->place = SPAN_FULL;
  mspan_list_append(&bin->full, bin->active);
  bin->active = NULL;
}

// A span with free objects that is on no list; its owner is the cache.
static struct mspan *next_span(struct mcache *cache, struct mcache_bin *bin, span_class class) {
  struct mspan *span = bin->partial.first;
  if (span != NULL) {
    mspan_list_remove(&bin->partial, span);
    return span;
  }
  if (bin->spare != NULL) {
    span = bin->spare;
    bin->spare = NULL;
    return span;
  }
  span = mcentral_take(class, cache);
  if (span == NULL) {
    span = mheap_alloc_small(class);
    if (span != NULL)
      atomic_store_explicit(&span->owner, cache, memory_order_release);
  }
  return span;
}

static GM_COLD void *out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

static void *refill(struct mcache *cache, span_class class, bool *fresh) {
  struct mcache_slot *slot = &cache->slots[class];
  struct mcache_bin *bin = &cache->bins[class];
  while (slot->alloc_cache == 0) {
    struct mspan *span = bin->active;
    if (span != NULL && mspan_has_free(span)) {
      claim_word(slot, bin, span);
      break;
    }
    if (span != NULL)
      retire(bin);
    if (atomic_load_explicit(&cache->pending, memory_order_relaxed) != NULL)
      mcache_drain(cache);
    span = next_span(cache, bin, class);
    if (span == NULL)
      return out_of_memory();
    span->place = SPAN_IN_SLOT;
    bin->active = span;
  }
  *fresh = slot->fresh;
  return mcache_slot_take(slot, slot->alloc_cache);
}

GM_NOINLINE void *mcache_refill(struct mcache *cache, span_class class, bool *fresh) {
  if (GM_UNLIKELY(cache == &mcache_none)) {
    cache = mcache_attach();
    if (cache == NULL) { // the thread's own is gone already, or there is no memory for one
      cache = mcache_fallback_acquire();
      void *object = cache != NULL ? refill(cache, class, fresh) : out_of_memory();
      mcache_fallback_unlock();
      return object;
    }
  }
  return refill(cache, class, fresh);
}

// The span is on the cache's partial list, or in its slot, and may have become empty.
static void keep_or_release(struct mcache_bin *bin, struct mspan *span) {
  if (span->place != SPAN_PARTIAL || !mspan_is_releasable(span))
    return;
  mspan_list_remove(&bin->partial, span);
  if (bin->spare == NULL) {
    span->place = SPAN_SPARE;
    bin->spare = span;
    return;
  }
  mheap_free_span(span);
}

GM_NOINLINE void mcache_span_changed(struct mcache *cache, struct mspan *span) {
  struct mcache_bin *bin = &cache->bins[span->class];
  if (span->place == SPAN_FULL && mspan_has_free(span)) {
    mspan_list_remove(&bin->full, span);
    span->place = SPAN_PARTIAL;
    mspan_list_append(&bin->partial, span);
  }
  keep_or_release(bin, span);
}

bool mcache_is_closed(struct mcache *cache) {
  return atomic_load_explicit(&cache->pending, memory_order_acquire) == MCACHE_CLOSED;
}

// Release: the owner that takes the list sees the bits and the link. False when the owner's list is closed.
static bool push_pending(struct mcache *owner, struct mspan *span) {
  struct mspan *head = atomic_load_explicit(&owner->pending, memory_order_relaxed);
  do {
    if (head == MCACHE_CLOSED)
      return false;
    span->pending_next = head;
  } while (!atomic_compare_exchange_weak_explicit(&owner->pending, &head, span, memory_order_release,
                                                  memory_order_relaxed));
  return true;
}

GM_NOINLINE void mcache_announce_remote(struct mspan *span) {
  for (;;) {
    struct mcache *owner = atomic_load_explicit(&span->owner, memory_order_acquire);
    if (owner != NULL && push_pending(owner, span))
      return;
    if (mcentral_settle(span))
      return;
  }
}

void mcache_drain_list(struct mcache *cache, struct mspan *span) {
  while (span != NULL && span != MCACHE_CLOSED) {
    struct mspan *next = span->pending_next;
    if (atomic_load_explicit(&span->owner, memory_order_acquire) != cache) {
      // Pushed here by a thread that knew an earlier owner; it is still announced, so pass it on.
      mcache_announce_remote(span);
    } else {
      mspan_apply_remote(span);
      mcache_span_changed(cache, span);
    }
    span = next;
  }
}

void mcache_drain(struct mcache *cache) {
  // Acquire pairs with push_pending's release.
  mcache_drain_list(cache, atomic_exchange_explicit(&cache->pending, NULL, memory_order_acquire));
}

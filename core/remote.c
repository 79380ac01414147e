// Announcing remote frees, and taking the pages of spans that others freed. See remote.h.
#include "core/remote.h"

#include "core/mcache.h"
#include "core/mheap.h"
#include "core/scavenge.h"

// An owner with so many spans waiting is not about to look.
enum { BACKLOG_MAX = 32 };

// The other objects of the span are announced, and its owner lags behind.
static bool worth_taking(struct mspan *span, uint64_t before) {
  if (GM_LIKELY(REMOTE_COUNT(before) + 1 != span->object_count))
    return false;
  struct mcache *owner = mspan_owner(span);
  return owner != NULL && atomic_load_explicit(&owner->backlog, memory_order_relaxed) >= BACKLOG_MAX;
}

// Announces the free, and takes the pages if all objects are remote. The owner takes no announcement in while
// the flag says `taking`, so the states stay what they are; and because this thread's own free is not announced
// yet, the struct stays too. The flag is set under the heap's lock only: who meets it waits for that lock, a
// signal handler never does, and fork and the heap check never see it.
static uint64_t announce_and_take(struct mspan *span, uint64_t pair) {
  mheap_lock();
  uint64_t before = atomic_fetch_or_explicit(&span->remote, REMOTE_TAKING, memory_order_acq_rel);
  bool take = REMOTE_COUNT(before) + 1 == span->object_count && (before & REMOTE_TAKEN) == 0 &&
              mspan_all_remote(span);
  if (take)
    mheap_take_pages(span);
  uint64_t taken = take ? REMOTE_TAKEN : 0;
  before |= REMOTE_TAKING;
  while (!atomic_compare_exchange_weak_explicit(&span->remote, &before,
                                                ((before + REMOTE_ONE) | pair | taken) & ~REMOTE_TAKING,
                                                memory_order_acq_rel, memory_order_relaxed))
    continue;
  mheap_unlock();
  scavenge_wake();
  return before;
}

void remote_announce(struct mspan *span, uint64_t index) {
  // Where the owner has to look.
  uint64_t pair = (uint64_t)1 << (index / 128);
  uint64_t before = atomic_load_explicit(&span->remote, memory_order_relaxed);
  do {
    if (GM_UNLIKELY(worth_taking(span, before))) {
      before = announce_and_take(span, pair);
      break;
    }
  } while (!atomic_compare_exchange_weak_explicit(&span->remote, &before, (before + REMOTE_ONE) | pair,
                                                  memory_order_acq_rel, memory_order_relaxed));
  // From here on the span may go away unless this thread is the one that queues it: see remote_debt in
  // mspan.h.
  if ((before & ~REMOTE_TAKING) == 0)
    mcache_announce_remote(span);
}

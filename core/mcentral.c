// Ownerless spans. See mcentral.h.
#include "core/mcentral.h"

#include "core/check_heap.h"
#include "core/levels.h"
#include "core/mcache.h"
#include "core/mheap.h"

// Go: partialSwept(sweepgen) and friends.
static unsigned swept_index(const struct mcentral *central) {
  return central->collected ? gm_heap.sweep_generation / 2 % 2 : 0;
}

struct mspan_list *mcentral_partial_swept(struct mcentral *central) {
  return &central->partial[swept_index(central)];
}

struct mspan_list *mcentral_partial_unswept(struct mcentral *central) {
  return &central->partial[1 - swept_index(central)];
}

struct mspan_list *mcentral_full_swept(struct mcentral *central) {
  return &central->full[swept_index(central)];
}

struct mspan_list *mcentral_full_unswept(struct mcentral *central) {
  return &central->full[1 - swept_index(central)];
}

static struct mcentral *central_lock(span_class class) {
  struct mcentral *central = &gm_heap.central[class];
  lock_acquire(&central->lock, LOCK_RANK_CENTRAL);
  return central;
}

static void central_unlock(struct mcentral *central) {
  GM_ASSERT_SLOW(check_central(central));
  lock_release(&central->lock, LOCK_RANK_CENTRAL);
}

struct mspan *mcentral_take(span_class class, struct mcache *owner) {
  if (!GM_LEVEL_MCENTRAL)
    return NULL;
  struct mcentral *central = central_lock(class);
  struct mspan_list *partial = mcentral_partial_swept(central);
  struct mspan *span = partial->first;
  if (span != NULL) {
    mspan_list_remove(partial, span);
    span->place = SPAN_IN_SLOT;
    mspan_set_owner(span, owner);
  }
  central_unlock(central);
  return span;
}

// Puts an ownerless span that is on no list where it belongs; true when the caller must give it to the page
// heap.
static bool place_span(struct mcentral *central, struct mspan *span) {
  if (mspan_is_releasable(span))
    return true;
  if (mspan_has_free(span)) {
    span->place = SPAN_CENTRAL_PARTIAL;
    mspan_list_append(mcentral_partial_swept(central), span);
  } else {
    span->place = SPAN_CENTRAL_FULL;
    mspan_list_append(mcentral_full_swept(central), span);
  }
  return false;
}

void mcentral_give(struct mspan *span) {
  struct mcentral *central = central_lock(span->class);
  // From this store on, remote frees come here; those that came before and found the owner's list closed left
  // a mark.
  mspan_set_owner(span, NULL);
  if (span->orphaned) {
    span->orphaned = false;
    mspan_apply_remote(span);
  }
  bool release = place_span(central, span);
  central_unlock(central);
  if (release)
    mheap_free_span(span);
}

// On no list from here to the next decision, and the place says so: fork may look between the locks.
static void take_off_list(struct mcentral *central, struct mspan *span) {
  mspan_list_remove(span->place == SPAN_CENTRAL_FULL ? mcentral_full_swept(central)
                                                     : mcentral_partial_swept(central),
                    span);
  span->place = SPAN_IN_SLOT;
}

bool mcentral_adopt(struct mspan *span, struct mcache *owner) {
  struct mcentral *central = central_lock(span->class);
  bool ownerless = mspan_owner(span) == NULL;
  // Remote frees stay where they are: the thread that announced them is on its way here, finds the new owner,
  // and queues the span there. Until then the span must not look as if nobody knew it.
  if (ownerless) {
    take_off_list(central, span);
    mspan_set_owner(span, owner);
  }
  central_unlock(central);
  return ownerless;
}

bool mcentral_settle(struct mspan *span) {
  struct mcentral *central = central_lock(span->class);
  struct mcache *owner = mspan_owner(span);
  if (owner != NULL) {
    bool closed = mcache_is_closed(owner);
    span->orphaned |= closed; // its owner is on its way here with the span
    central_unlock(central);
    return closed;
  }
  take_off_list(central, span);
  mspan_apply_remote(span);
  bool release = place_span(central, span);
  central_unlock(central);
  if (release)
    mheap_free_span(span);
  return true;
}

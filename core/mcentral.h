// The spans of one span class that no thread owns (Go: mcentral.go): those of threads that ended. Living
// threads keep their full spans, unlike Go's, because their own frees to them need no atomics.
//
// Go's four sets are here: partial and full, each swept and unswept. Sweeping is a collector's work: for the
// classes that a collector allocates from (gc/), the heap's sweep generation chooses which set is which, so that one
// addition makes every swept span an unswept one. malloc's spans always count as swept.
//
// Threads: any; each mcentral has a lock (LOCK_RANK_CENTRAL) that guards the lists, the spans on them, and
// every change of a span's owner between NULL and an mcache.
#ifndef GOMALLOC_MCENTRAL_H
#define GOMALLOC_MCENTRAL_H

#include "core/lock.h"
#include "core/mspan.h"

struct mcentral {
  struct gm_lock lock;
  struct mspan_list partial[2]; // indexed by sweep generation / 2 % 2: swept; the other: unswept
  struct mspan_list full[2];
  bool collected; // of a collector's class: the sweep generation counts
} __attribute__((aligned(GM_CACHE_LINE)));

// The four lists of a class: spans with free objects and without, swept in this cycle of a collector or not
// yet. The two of a kind change places with each cycle; classes of no collector use the swept ones.
struct mspan_list *mcentral_partial_swept(struct mcentral *central);
struct mspan_list *mcentral_partial_unswept(struct mcentral *central);
struct mspan_list *mcentral_full_swept(struct mcentral *central);
struct mspan_list *mcentral_full_unswept(struct mcentral *central);

// Gives `owner` a span with free objects of this class, or NULL when there is none.
struct mspan *mcentral_take(span_class class, struct mcache *owner);

// Gives `owner` this span, which seems to have no owner; false when it has one. Its remote frees are taken
// in, and it is on no list.
bool mcentral_adopt(struct mspan *span, struct mcache *owner);

// Takes over a span from its owner, which is ending. The span is on none of the owner's lists.
void mcentral_give(struct mspan *span);

// Applies the remote frees of a span that seems to have no owner. False when it has one again.
bool mcentral_settle(struct mspan *span);

#endif

// How a free by a thread that is not the owner becomes known.
//
// The object's state is `remote` already. The count in the span's `remote` rises, and who raises it from 0
// queues the span for its owner, who takes the frees in when it needs memory.
//
// An owner that does not allocate would keep everything that others freed. So when many of its spans wait and the
// last object of a full span is freed, the freeing thread gives the pages to the page heap itself: the span is
// hollow, a struct that its owner forgets when it looks. This is what lets a heap go from thread to thread
// without growing (Berger and others: "Hoard", ASPLOS 2000, call it blow-up).
//
// Threads: any. Errors: none.
#ifndef GOMALLOC_REMOTE_H
#define GOMALLOC_REMOTE_H

#include "core/mspan.h"

// Announces that object `index`, whose state the caller made `remote`, is free. The span may be gone when this
// returns.
void remote_announce(struct mspan *span, uint64_t index);

#endif

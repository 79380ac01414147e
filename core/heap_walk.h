// All the heap's locks at once, and a walk over every span: for statistics, the heap check and fork.
#ifndef GOMALLOC_HEAP_WALK_H
#define GOMALLOC_HEAP_WALK_H

#include "core/mspan.h"

// Takes and releases every lock in rank order.
void heap_lock_all(void);
void heap_unlock_all(void);

// Calls visit for each span in use. All locks held.
void heap_walk_spans(void (*visit)(struct mspan *span, void *context), void *context);

#endif

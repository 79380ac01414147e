// Parts of the heap check that run by themselves at the third level of assertion (base.h). gm_check_heap() is
// in gomalloc.h. Faults are named on stderr, one line each. Threads: the named lock is held.
#ifndef GOMALLOC_CHECK_HEAP_H
#define GOMALLOC_CHECK_HEAP_H

#include "core/mcentral.h"

// The page allocator's bitmaps, summaries and counts, every 16th time that it is called. Heap lock held.
bool check_pages_now_and_then(void);

// The lists of one mcentral: links, owners, places. Its lock held.
bool check_central(struct mcentral *central);

#endif

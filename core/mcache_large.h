// Large blocks that a thread freed and keeps for its next large malloc: of up to MCACHE_LARGE_MAX pages each
// and MCACHE_LARGE_PAGES together, so that neither needs the page heap's lock. Their spans stay in the arena
// map, with the object's state `free`, so a second free is found; `owner` is the mcache meanwhile, and NULL
// again when the block is handed out.
//
// Threads: the owner of the mcache. Errors: NULL or false when there is nothing, or no room.
#ifndef GOMALLOC_MCACHE_LARGE_H
#define GOMALLOC_MCACHE_LARGE_H

#include "core/mcache.h"

// A span of npages, or a few more. Its block is live then, and does not read zero.
struct mspan *mcache_large_take(struct mcache *cache, size_t npages);

// Keeps a span whose block the caller made free. False when it is too large, or the cache may keep nothing.
bool mcache_large_keep(struct mcache *cache, struct mspan *span);

// Gives all of them to the page heap, and keeps none until the next mcache_large_take.
void mcache_large_empty(struct mcache *cache);

#endif

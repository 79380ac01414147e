// Attaching mcaches to threads and detaching them (Go: procresize and allocmcache in proc.go, mcache.go).
#ifndef GOMALLOC_MCACHE_THREAD_H
#define GOMALLOC_MCACHE_THREAD_H

#include "core/mcache.h"

// Gives the calling thread an mcache. NULL when its last destructors run already, or without memory.
struct mcache *mcache_attach(void);

// Locks and returns the mcache for threads that have none (NULL without memory); unlock in both cases with
// mcache_fallback_unlock.
struct mcache *mcache_fallback_acquire(void);

// The fallback, or NULL; its lock is held.
struct mcache *mcache_fallback_peek(void);

// In a child of fork, registry lock held: calls clear for every mcache whose thread is gone and makes it
// idle. False when there was none.
bool mcache_forget_other_threads(void (*clear)(struct mcache *cache));

// Applies the remote frees of a list taken from cache->pending.
void mcache_drain_list(struct mcache *cache, struct mspan *span);

#endif

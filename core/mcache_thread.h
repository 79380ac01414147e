// Attaching mcaches to threads and detaching them (Go: procresize and allocmcache in proc.go, mcache.go).
#ifndef GOMALLOC_MCACHE_THREAD_H
#define GOMALLOC_MCACHE_THREAD_H

#include "core/mcache.h"

// Where a thread stands. Zero: it has not allocated yet. Changed in mcache_thread.c and mcache_suspend.c
// only.
enum { THREAD_NEW = 0, THREAD_ATTACHED = 1, THREAD_ENDED = 2 };

extern __thread int mcache_thread_state __attribute__((tls_model("initial-exec")));

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

// Gives the claimed objects of a slot back to their group and takes the span out of it. Returns the span or
// NULL.
struct mspan *mcache_empty_slot(struct mcache *cache, span_class class);

// Applies the remote frees of a list taken from cache->pending.
void mcache_drain_list(struct mcache *cache, struct mspan *span);

#endif

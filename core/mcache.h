// The thread's cache (Go: mcache.go): for each span class one span to allocate from, with up to 64 claimed
// objects at hand, and the lists of the other spans that the thread owns.
//
// Life: the first malloc of a thread attaches an mcache (a new one, or that of a thread that ended); a
// destructor of thread-specific data detaches it, hands its spans to the mcentrals and keeps the struct for
// the next thread. A thread that goes on after that, in its last destructors, shares the locked fallback
// mcache. mcaches are never unmapped, so a stale owner pointer is always a valid one.
//
// Threads: only the owner touches an mcache, but for `pending` and the counters, which others read.
// Errors: NULL when the system refuses memory.
#ifndef GOMALLOC_MCACHE_H
#define GOMALLOC_MCACHE_H

#include "core/lock.h"
#include "core/mspan.h"

// What malloc reads: half a cache line (Go: mcache.alloc[spanClass] and the span's allocCache).
struct mcache_slot {
  uint64_t
      alloc_cache; // free objects claimed from one word of a span: bit i is the object word_start + i * size
  uintptr_t word_start;   // address of the word's first object
  struct span_word *word; // its `claimed` mirrors alloc_cache for other threads' checks
  uint32_t object_size;
  bool fresh; // the claimed objects were never handed out and read zero
};

static_assert(sizeof(struct mcache_slot) == 32, "two slots per cache line");

// The owner's other spans of a class.
struct mcache_bin {
  struct mspan *active;      // the span that the slot allocates from; NULL: none yet
  struct mspan_list partial; // oldest first, so that frees gather before a span's turn comes
  struct mspan_list full;
  struct mspan *spare;              // one empty span, kept against back and forth with the page heap
  _Atomic uint64_t claimed_objects; // all objects ever claimed by the slot, less those given back unused
};

// `pending` is other threads' line; the padding around it is meant.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct mcache {
  struct mcache_slot slots[SPAN_CLASS_COUNT];
  // Spans with remote frees, pushed by any thread and taken as a whole by the owner; MCACHE_CLOSED: nobody
  // will look.
  _Atomic(struct mspan *) pending __attribute__((aligned(GM_CACHE_LINE)));
  struct mcache_bin bins[SPAN_CLASS_COUNT] __attribute__((aligned(GM_CACHE_LINE)));
  struct mcache *next;      // all mcaches; guarded by the registry's lock
  struct mcache *next_idle; // those without a thread
  bool idle;                // is among them
};

#define MCACHE_CLOSED ((struct mspan *)1)

// A thread without an mcache points here: its slots are always empty, so malloc takes the slow path by
// itself.
extern struct mcache mcache_none;

extern __thread struct mcache *mcache_current __attribute__((tls_model("initial-exec")));

// Takes the lowest claimed object; alloc_cache is not 0.
GM_INLINE void *mcache_slot_take(struct mcache_slot *slot, uint64_t bits) {
  uint64_t rest = bits & (bits - 1);
  slot->alloc_cache = rest;
  // Relaxed: whoever frees the object got it from this thread, after this store.
  atomic_store_explicit(&slot->word->claimed, rest, memory_order_relaxed);
  return (void *)(slot->word_start + (uintptr_t)((uint32_t)__builtin_ctzll(bits) * slot->object_size));
}

// An object of `class` through the slow path: claims the next word, or finds the next span. NULL with errno
// ENOMEM. *fresh tells whether the object reads zero. `cache` is mcache_current.
void *mcache_refill(struct mcache *cache, span_class class, bool *fresh);

// After a local free that gave a span its first free object (it may have been full) or its last.
void mcache_span_changed(struct mcache *cache, struct mspan *span);

// Announces a remote free to the span's owner, whoever that is by now.
void mcache_announce_remote(struct mspan *span);

bool mcache_is_closed(struct mcache *cache);

// Applies the remote frees that others announced to this mcache. The caller is the owner.
void mcache_drain(struct mcache *cache);

// Gives the calling thread's spare spans to the page heap.
void mcache_release_spares(void);

// Every mcache ever made, for walks under mcache_registry_lock.
struct mcache *mcache_first(void);
void mcache_registry_lock(void);
void mcache_registry_unlock(void);

// The fallback's lock, for fork.
void mcache_fallback_lock(void);
void mcache_fallback_unlock(void);

#endif

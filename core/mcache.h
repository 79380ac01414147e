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
#include "core/span_keep.h"

// An object that its owner freed and keeps for the next malloc of the class.
struct cached_object {
  void *address;
  uint8_t *state; // its byte in the span
};

// A class's stack of them: the last one freed is the first one handed out, because it is still in the
// processor's cache. Aligned to its size, so that the top's address tells an empty stack; entry 0 stays
// unused.
#define MCACHE_STACK_ENTRIES 32
#define MCACHE_STACK_BYTES   (MCACHE_STACK_ENTRIES * sizeof(struct cached_object))

struct mcache_stack {
  struct cached_object entries[MCACHE_STACK_ENTRIES];
} __attribute__((aligned(MCACHE_STACK_BYTES)));

// What malloc reads, and free beside the span: one cache line.
struct mcache_slot {
  struct cached_object *top;   // entry 0: empty
  struct cached_object *limit; // free does not push above
  uint64_t alloc_cache;  // objects claimed from one group of a span: bit i is group_start + i * object_size
  uintptr_t group_start; // address of the group's first object
  uint8_t *states;       // of the group's 64 objects
  uint32_t object_size;
  bool fresh;      // the claimed objects were never handed out and read zero
  uint64_t popped; // objects ever taken from the stack, for statistics
} __attribute__((aligned(GM_CACHE_LINE)));

static_assert(sizeof(struct mcache_slot) == GM_CACHE_LINE, "a slot is a cache line");

// The owner's other spans of a class.
struct mcache_bin {
  struct mspan *active;      // the span that the slot allocates from; NULL: none yet
  struct mspan_list partial; // oldest first, so that frees gather before a span's turn comes
  struct mspan_list full;
  struct mspan *spare;              // one empty span, kept against back and forth with the page heap
  _Atomic uint64_t claimed_objects; // all objects ever claimed by the slot, less those given back unused
};

// See mcache_large.h.
#define MCACHE_LARGE_MAX   32
#define MCACHE_LARGE_PAGES 96

struct mcache_large {
  uint64_t nonempty; // bit n: first[n] is not NULL
  size_t pages;      // in all of them
  size_t limit;      // and how many there may be: 0 or MCACHE_LARGE_PAGES
  uint64_t taken;    // mallocs, their bytes, and frees that the page heap did not see: for statistics
  uint64_t taken_bytes;
  uint64_t kept;
  struct mspan *first[MCACHE_LARGE_MAX + 1]; // by pages, last freed first
};

// `pending` is other threads' line; the padding around it is meant.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct mcache {
  struct mcache_slot slots[SPAN_CLASS_COUNT];
  // Where the slot is that serves `size` bytes, by (size + 7) / 8: bytes from the mcache's start. All 0 in
  // mcache_none, and so the slot of class 0, which is always empty.
  uint16_t fine_slots[SIZE_CLASS_FINE_MAX / 8 + 1];
  // Spans with remote frees, pushed by any thread and taken as a whole by the owner; MCACHE_CLOSED: nobody
  // will look.
  _Atomic(struct mspan *) pending __attribute__((aligned(GM_CACHE_LINE)));
  _Atomic uint32_t backlog; // spans pushed there since the owner last took them, roughly
  struct mcache_bin bins[SPAN_CLASS_COUNT] __attribute__((aligned(GM_CACHE_LINE)));
  struct mcache_large large;
  struct span_keep keep;
  uint64_t passed_by;       // frees that found a full or closed stack, since the stacks were last judged
  uint64_t popped_before;   // objects that had come from all stacks then
  size_t owned_pages;       // of all its spans but large ones and those in `keep`
  size_t spare_pages;       // of these, in spare spans
  size_t trim_at;           // trimmed when it owns so few: half of what it had since the last time
  size_t most_pages;        // it ever owned since it last grew back
  uint64_t grown_ms;        // when that was
  bool shrunk;              // it owned half of that, or less, since
  bool cycles;              // it grew back soon after the time before
  uint32_t rests;           // refills until the stacks may open again
  uint32_t last_rest;       // how many they were; 0: the stacks paid when they were last judged
  uint32_t number;          // counted from 0: its thread's shard of the page cache
  struct mcache *next;      // all mcaches; guarded by the registry's lock
  struct mcache *next_idle; // those without a thread
  uint32_t shrinks_seen;    // scavenge_shrinks when it was last trimmed
  bool idle;                // is among them
  struct mcache_stack stacks[SIZE_CLASS_COUNT]; // of the noscan slots, the only ones that malloc uses
};

#define MCACHE_CLOSED ((struct mspan *)1)

// A thread without an mcache points here: its slots are always empty, so malloc takes the slow path by
// itself.
extern struct mcache mcache_none;

extern __thread struct mcache *mcache_current __attribute__((tls_model("initial-exec")));

// The slot for a request of at most SIZE_CLASS_FINE_MAX bytes.
GM_INLINE struct mcache_slot *mcache_fine_slot(struct mcache *cache, size_t size) {
  return (struct mcache_slot *)((char *)cache + cache->fine_slots[(size + 7) >> 3]);
}

// Whether the slot's stack of freed objects holds none.
GM_INLINE bool mcache_stack_is_empty(const struct mcache_slot *slot) {
  return ((uintptr_t)slot->top & (MCACHE_STACK_BYTES - 1)) == 0;
}

// Takes the object that was freed last; the stack is not empty.
GM_INLINE void *mcache_stack_pop(struct mcache_slot *slot) {
  struct cached_object *top = slot->top;
  slot->top = top - 1;
  GM_SHARED_STORE(&slot->popped, slot->popped + 1);
  mspan_set_state(top->state, OBJECT_LIVE);
  return top->address;
}

// Takes the lowest claimed object; `bits`, the alloc_cache, is not 0.
GM_INLINE void *mcache_slot_take(struct mcache_slot *slot, uint64_t bits) {
  GM_SHARED_STORE(&slot->alloc_cache, bits & (bits - 1));
  unsigned index = (unsigned)__builtin_ctzll(bits);
  mspan_set_state(&slot->states[index], OBJECT_LIVE);
  return (void *)(slot->group_start + (uintptr_t)(index * slot->object_size));
}

// An object of `class` through the slow path: claims the next word, or finds the next span. NULL with errno
// ENOMEM. *fresh tells whether the object reads zero. `cache` is mcache_current.
void *mcache_refill(struct mcache *cache, span_class class, bool *fresh);

// After a local free that gave a span its first free object (it may have been full) or its last.
void mcache_span_changed(struct mcache *cache, struct mspan *span);

// Makes the calling thread the owner of a span of a thread that ended: who frees one of its objects will free
// others. False when the span has an owner. `cache` is mcache_current and not mcache_none; an object of the
// span is live.
bool mcache_adopt(struct mcache *cache, struct mspan *span);

// Announces a remote free to the span's owner, whoever that is by now.
void mcache_announce_remote(struct mspan *span);

// Whether its thread has ended: nobody drains its list any more.
bool mcache_is_closed(struct mcache *cache);

// Applies the remote frees that others announced to this mcache. The caller is the owner.
void mcache_drain(struct mcache *cache);

// The class's spare span, or NULL; it is the caller's from here on.
struct mspan *mcache_take_spare(struct mcache *cache, span_class class);

// Puts back what the mcache keeps for coming mallocs: the stacks' objects, and every span without a live
// object.
void mcache_trim(struct mcache *cache);

// Takes in the calling thread's remote frees and trims its mcache.
void mcache_purge(void);

// Puts the objects of the class's stack back into their spans, and none onto it until malloc needs more.
void mcache_empty_stack(struct mcache *cache, span_class class);

// Lets free use the class's stack, unless stacks do not pay now. A program that frees thousands of blocks of mixed
// sizes in a row, and then allocates as many, fills each class's stack and then frees past it, empties it and then
// allocates past it. Which of the two ways the next call takes the processor cannot guess, and a wrong guess costs
// more than a stack saves. So when more objects went past the stacks than a share of those that came from them, all
// stay closed for a while, and for longer when that is so again.
void mcache_open_stack(struct mcache *cache, span_class class);

// Every mcache ever made, for walks under mcache_registry_lock.
struct mcache *mcache_first(void);
void mcache_registry_lock(void);
void mcache_registry_unlock(void);

// The fallback's lock, for fork.
void mcache_fallback_lock(void);
void mcache_fallback_unlock(void);

#endif

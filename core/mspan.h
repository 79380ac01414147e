// A span: a run of pages that holds objects of one size, and which of them are free (Go: mspan in mheap.go).
//
// All state of an object is one byte here; nothing is ever written into a free object. Go keeps allocBits
// (one bit per object, set by the collector's sweep) and a freeindex that walks over it; here programs free
// objects one by one, and a byte can be stored without reading its neighbours, so malloc never waits for what
// free just wrote:
//
//   live     handed out
//   free     in the span, or claimed with its group by the owner's slot (Go: a clear bit of allocBits)
//   cached   freed by the owner and kept on its stack of the class, to be handed out next
//   remote   freed by a thread that does not own the span, not yet seen by the owner
//   none     no object: the rest of a last group, and all of a struct whose memory went back to the system
//
// A group is 64 objects, whose states are one cache line (Go: the 64 objects of allocCache).
//
// Ownership: a span belongs to an mcache (owner), or to an mcentral (owner NULL), or is one large object. The
// owner alone writes states, summary and taken_count, except that other threads change a live object to
// remote. A span without owner is guarded by its mcentral's lock. Units: bytes, pages, object indexes.
#ifndef GOMALLOC_MSPAN_H
#define GOMALLOC_MSPAN_H

#include "core/size_class.h"

#include <stdatomic.h>

struct mcache;
struct mcache_slot;

enum object_state {
  OBJECT_NONE = 0, // so that who still has a pointer to a struct that is gone finds no live object
  OBJECT_LIVE = 1,
  OBJECT_REMOTE = 2, // bits of their own: apply_group and mspan_free_bits gather them
  OBJECT_FREE = 0x80,
  OBJECT_CACHED = 4,
};

// Which list holds the span; written by whoever may change the lists (the owner, or the mcentral's lock).
enum span_place {
  SPAN_IN_SLOT,         // the mcache slot allocates from it
  SPAN_PARTIAL,         // owner's list: has free objects
  SPAN_FULL,            // owner's list: has none
  SPAN_SPARE,           // owner keeps it although all objects are free
  SPAN_KEPT,            // so, too, and the page heap may take it (span_keep.h)
  SPAN_CENTRAL_PARTIAL, // mcentral's list: has free objects
  SPAN_CENTRAL_FULL,    // mcentral's list: has none
  SPAN_LARGE,           // one object of whole pages
  SPAN_COLLECTED,       // a collector's (gc/): object_count is 0, `states` holds the collector's struct
};

// In `remote`: one announcement; another thread looks whether it may take the pages; it took them.
#define REMOTE_ONE         ((uint64_t)1 << 32)
#define REMOTE_TAKING      ((uint64_t)1 << 62)
#define REMOTE_TAKEN       ((uint64_t)1 << 63)
#define REMOTE_COUNT(word) ((uint32_t)((word) >> 32 & 0x3fffffff))

#define SPAN_GROUPS_MAX 64
#define SPAN_CELLS_MAX  (SPAN_GROUPS_MAX * 64)

struct mspan {
  // What free() reads: one cache line.
  uintptr_t start;          // address of object 0 (Go: startAddr)
  uint64_t divide_inverse;  // see mspan_divide
  uint64_t object_count;    // Go: nelems
  struct mcache *owner;     // NULL: an mcentral's, or large; see mspan_owner
  _Atomic uint64_t summary; // bit g: group g has free objects that no slot claimed
  size_t object_size;
  struct mcache_slot *slot;     // of the owner, and its alone: where frees go
  _Atomic uint32_t taken_count; // objects that are not free, or claimed
  uint8_t divide_shift;
  span_class class; // size class 0: large

  // Read and written at transitions only.
  size_t npages __attribute__((aligned(GM_CACHE_LINE)));
  struct mspan *next;
  struct mspan *previous;
  uint64_t fresh;             // bit g: no object of the group was ever handed out and all of them read zero
  struct mspan *pending_next; // link in the owner's list of spans with remote frees
  // Remote frees announced since the owner last looked: their number (high half, below the two flags) and the
  // pairs of groups that have them (low half). Whoever raises it from 0 queues the span.
  _Atomic uint64_t remote;
  // Remote frees that the owner took in before their thread had announced them. While it is not 0, that
  // thread still holds a pointer to this struct and the span must not go away.
  int32_t remote_debt;
  uint8_t place;   // enum span_place
  bool needs_zero; // of a large span: the pages may hold old data (Go: needzero)
  bool hollow;     // the pages are the page heap's again, all objects were freed by others: see remote.h
  bool orphaned; // remote frees arrived while the owner was giving its spans away; guarded by the mcentral's
                 // lock

  // enum object_state of each object, whole groups. Plain bytes: see mspan_state.
  uint8_t states[] __attribute__((aligned(GM_CACHE_LINE)));
};

static_assert(offsetof(struct mspan, npages) == GM_CACHE_LINE, "what free() reads is one cache line");
static_assert(offsetof(struct mspan, states) == 2 * (size_t)GM_CACHE_LINE,
              "what transitions read is another");

// The map's entry for pages that were a span before: its object_count is 0, so no address is an object of it.
extern struct mspan mspan_returned;

// Groups of 64 objects, the words of its bitmaps.
GM_INLINE uint32_t mspan_group_count(const struct mspan *span) {
  return (uint32_t)(span->object_count + 63) / 64;
}

// Only the owner finds itself here, so free() compares without order; who announces to another owner needs
// its mcache's content. Changes are made under the mcentral's lock, or before the first object is handed out.
GM_INLINE struct mcache *mspan_owner(const struct mspan *span) {
  return __atomic_load_n(&span->owner, __ATOMIC_ACQUIRE);
}

// Release: who reads the owner sees the span as it was given.
GM_INLINE void mspan_set_owner(struct mspan *span, struct mcache *owner) {
  __atomic_store_n(&span->owner, owner, __ATOMIC_RELEASE);
}

// An object's state as any thread may read it, and as the owner stores it. No order is needed: who frees an
// object got it from malloc, and that hand-over orders the bytes.
GM_INLINE uint8_t mspan_state(const uint8_t *state) {
  return GM_SHARED_LOAD(state);
}

// See mspan_state.
GM_INLINE void mspan_set_state(uint8_t *state, enum object_state value) {
  GM_SHARED_STORE(state, (uint8_t)value);
}

// Index of the object that starts at `address`; at least object_count when none does. With size = odd <<
// shift, an offset is a multiple of size exactly when rotating offset * inverse(odd) right by shift gives a
// number below 2^64 / size, and that number is then the quotient (Granlund and Montgomery 1994): one
// multiplication checks for interior pointers, for addresses outside the span, and divides.
GM_INLINE uint64_t mspan_divide(const struct mspan *span, uintptr_t address) {
  uint64_t product = (address - span->start) * span->divide_inverse;
  return (product >> span->divide_shift) | (product << (-span->divide_shift & 63));
}

// Start of the object that contains `address`, which lies in the span; 0 for the waste after the last object.
uintptr_t mspan_object_of(const struct mspan *span, uintptr_t address);

// Fills in a span of free objects: `fresh` when its memory reads zero. The states follow the struct.
void mspan_init_small(struct mspan *span, uintptr_t start, span_class class, bool fresh);
void mspan_init_large(struct mspan *span, uintptr_t start, size_t npages, span_class class, bool fresh);

// Fills in a span whose objects a collector manages. Its object_count is 0, as mspan_returned's, so that free()
// finds no block in it without a test for it.
void mspan_init_collected(struct mspan *span, uintptr_t start, size_t npages, bool fresh);

// The objects of a group whose state is `free`, one bit each. For the owner.
uint64_t mspan_free_bits(const struct mspan *span, uint32_t group);

// Makes a live object remote: how a thread that is not the owner frees. False when it was not live.
bool mspan_free_remotely(struct mspan *span, uint64_t index);

// Makes a large span's live block free, for whoever frees it. False when it was not live.
bool mspan_free_large(struct mspan *span);

// Moves the remote frees to `free`, or marks the span as hollow. The caller owns the span (or holds its
// mcentral's lock).
void mspan_apply_remote(struct mspan *span);

// Every object's state is `remote`. Acquire: what their threads did with them comes before what the caller
// does.
bool mspan_all_remote(const struct mspan *span);

// Makes a cached or live object of the owner's free. True when the span had no free object before, or has no
// other now, so that its place may have to change.
GM_INLINE bool mspan_put_back(struct mspan *span, uint64_t index) {
  mspan_set_state(&span->states[index], OBJECT_FREE);
  uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
  atomic_store_explicit(&span->summary, summary | (uint64_t)1 << (index / 64), memory_order_relaxed);
  uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed) - 1;
  atomic_store_explicit(&span->taken_count, taken_count, memory_order_relaxed);
  return summary == 0 || taken_count == 0;
}

// The object is not live. Any thread may ask, of an object that it owns or frees twice.
GM_INLINE bool mspan_object_is_free(const struct mspan *span, uint64_t index) {
  return mspan_state(&span->states[index]) != OBJECT_LIVE;
}

// Some object is free and not claimed. For the owner, or under the mcentral's lock.
GM_INLINE bool mspan_has_free(const struct mspan *span) {
  return atomic_load_explicit(&span->summary, memory_order_relaxed) != 0;
}

// All objects are free and no other thread can still hold a pointer to the struct.
bool mspan_is_releasable(struct mspan *span);

// Reports misuse of an address in (or near) a span.
GM_COLD void mspan_report(const char *what, const struct mspan *span, uintptr_t address);

// Doubly linked lists with the oldest span first.
struct mspan_list {
  struct mspan *first;
  struct mspan *last;
};

// Puts the span at the end; takes it out of the list that it is on. Under the list's lock.
void mspan_list_append(struct mspan_list *list, struct mspan *span);
void mspan_list_remove(struct mspan_list *list, struct mspan *span);

#endif

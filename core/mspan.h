// A span: a run of pages that holds objects of one size, and which of them are free (Go: mspan in mheap.go).
//
// All state of an object is one bit here; nothing is ever written into a free object. Go keeps allocBits (one
// bit per object, set by the collector's sweep) and a freeindex that walks over it; here programs free
// objects one by one, so each object has
//
//   free     1: free and not claimed by an mcache slot        (Go: a clear bit of allocBits)
//   claimed  1: claimed by the owner's slot for malloc; a copy of the slot's alloc_cache (Go: allocCache),
//   which malloc
//            only ever stores, so that it never waits for what free just wrote
//   remote   1: freed by a thread that does not own the span, not yet seen by the owner
//
// in one of three words. An object is live when its bit is in none of them.
//
// Ownership: a span belongs to an mcache (owner), or to an mcentral (owner NULL), or is one large object. The
// owner alone writes free, claimed, summary and taken_count; other threads may read them. A span without
// owner is guarded by its mcentral's lock. Units: bytes, pages, object indexes.
#ifndef GOMALLOC_MSPAN_H
#define GOMALLOC_MSPAN_H

#include "core/size_class.h"

#include <stdatomic.h>

struct mcache;

struct span_word {
  _Atomic uint64_t free;
  _Atomic uint64_t claimed;
  _Atomic uint64_t remote;
};

// Which list holds the span; written by whoever may change the lists (the owner, or the mcentral's lock).
enum span_place {
  SPAN_IN_SLOT,         // the mcache slot allocates from it
  SPAN_PARTIAL,         // owner's list: has free objects
  SPAN_FULL,            // owner's list: has none
  SPAN_SPARE,           // owner keeps it although all objects are free
  SPAN_CENTRAL_PARTIAL, // mcentral's list: has free objects
  SPAN_CENTRAL_FULL,    // mcentral's list: has none
  SPAN_LARGE,           // one object of whole pages
};

#define SPAN_WORDS_MAX 64
#define SPAN_CELLS_MAX (SPAN_WORDS_MAX * 64)

struct mspan {
  // What free() reads: one cache line.
  uintptr_t start;                // address of object 0 (Go: startAddr)
  uint64_t divide_inverse;        // see mspan_divide
  _Atomic(struct mcache *) owner; // NULL: an mcentral's, or large
  _Atomic uint64_t summary;       // bit w: words[w].free is not 0
  uint32_t object_count;          // Go: nelems
  _Atomic uint32_t
      taken_count; // objects whose bit in words[].free is 0; of a large span: 1 until it is freed
  uint8_t divide_shift;
  span_class class; // size class 0: large
  size_t object_size;

  // Read and written at transitions only.
  size_t npages __attribute__((aligned(GM_CACHE_LINE)));
  struct mspan *next;
  struct mspan *previous;
  uint64_t fresh;             // bit w: no object of words[w] was ever handed out and all of them read zero
  struct mspan *pending_next; // link in the owner's list of spans with remote frees
  // Remote frees announced since the owner last looked; whoever raises it from 0 queues the span.
  _Atomic uint32_t remote_count;
  // Remote bits that the owner took before their thread had announced them. While it is not 0, that thread
  // still holds a pointer to this struct and the span must not go away.
  int32_t remote_debt;
  enum span_place place;
  bool needs_zero; // of a large span: the pages may hold old data (Go: needzero)
  bool orphaned; // remote frees arrived while the owner was giving its spans away; guarded by the mcentral's
                 // lock

  struct span_word words[] __attribute__((aligned(GM_CACHE_LINE))); // one per 64 objects
};

static_assert(offsetof(struct mspan, npages) == GM_CACHE_LINE, "what free() reads is one cache line");

// The map's entry for pages that were a span before: its object_count is 0, so no address is an object of it.
extern struct mspan mspan_returned;

GM_INLINE uint32_t mspan_word_count(const struct mspan *span) {
  return (span->object_count + 63) / 64;
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

// Fills in a span of free objects: `fresh` when its memory reads zero. The words follow the struct.
void mspan_init_small(struct mspan *span, uintptr_t start, span_class class, bool fresh);
void mspan_init_large(struct mspan *span, uintptr_t start, size_t npages, span_class class, bool fresh);

// Moves the remote frees of all words into `free`. Reports each object that was free already. The caller owns
// the span (or holds its mcentral's lock).
void mspan_apply_remote(struct mspan *span);

// The object's bit is in one of the three words. Any thread may ask; for an object that was live when the
// caller got it the answer is exact, because bits are in their new place before they leave the old one.
bool mspan_object_is_free(const struct mspan *span, uint32_t index);

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

void mspan_list_append(struct mspan_list *list, struct mspan *span);
void mspan_list_remove(struct mspan_list *list, struct mspan *span);

#endif

// Empty spans that a thread keeps for its next mallocs, beside the one spare span of each class: a program that frees
// thousands of blocks and then allocates as many, on two threads at once, else takes each span from the page heap and
// gives it back, under a lock, with structs and map entries that were just written by the other processor. (Go has no
// counterpart: its sweep frees spans for all threads together. mimalloc's and snmalloc's threads keep theirs until
// they end; here they do not, see below.)
//
// What is kept stays the page heap's for the asking: the scavenger takes what a thread did not touch for a tick, and
// before a thread gets memory that was never used the page heap takes what that thread keeps, and what all keep when
// that is much. Without the scavenger's thread, as in small programs, or with a soft limit, nothing is kept.
//
// Threads: the owner puts and takes; whoever holds the heap lock collects. Each keep has a lock of its own, that is
// contended only when something is collected.
#ifndef GOMALLOC_SPAN_KEEP_H
#define GOMALLOC_SPAN_KEEP_H

#include "core/lock.h"
#include "core/mspan.h"

// The empty spans of a size class (malloc uses the noscan half only), last kept first.
struct span_keep_list {
  struct mspan *first;
  uint32_t count;
  uint32_t lowest; // least count since the scavenger's last tick: nobody needed so many
};

struct span_keep {
  struct gm_lock lock;
  _Atomic size_t pages;   // in all lists; written under the lock
  size_t told;            // what of `pages` span_keep_pages counts; under the lock
  struct span_keep *next; // all keeps
  struct span_keep_list lists[SIZE_CLASS_COUNT];
};

// Lets threads keep spans, or not (the scavenger's thread runs, or does not); what they have stays. Any thread.
void span_keep_open(bool open);

// Makes a new, zeroed keep known to the collecting functions, for ever. Heap lock held.
void span_keep_register(struct span_keep *keep);

// Keeps an empty span of the caller's that is on no list; false when the caller must give it to the page heap. The
// caller is the keep's thread.
bool span_keep_put(struct span_keep *keep, struct mspan *span);

// The span of the size class that was kept last, on no list; NULL: there is none. The caller is the keep's thread.
struct mspan *span_keep_take(struct span_keep *keep, span_class class);

// Says which keep is the calling thread's own, for KEPT_OWN.
void span_keep_use(struct span_keep *keep);

enum span_keep_which {
  KEPT_OWN,  // the calling thread's
  KEPT_COLD, // of all threads, what was not needed since span_keep_begin_tick
  KEPT_ALL,
};

// Takes spans out of keeps until they have `most` pages or more, linked through `next`; NULL: there are none. The
// caller gives them to the page heap. Heap lock held.
struct mspan *span_keep_collect(size_t most, enum span_keep_which which);

// A new tick: what is kept now and still there at the next call was not needed. Heap lock held.
void span_keep_begin_tick(void);

// Pages in the caller's keep, and in all keeps: as other threads may see it without a lock, up to SPAN_KEEP_UNTOLD pages per thread wrong; and
// exactly, for who holds the heap lock (and, other than in a quiet program, as of some moment during the call).
#define SPAN_KEEP_UNTOLD 8
size_t span_keep_own_pages(void);
size_t span_keep_pages(void);
size_t span_keep_count_pages(void);

// In the child of a fork. Forgets everything, of a thread that does not exist there; then, once for all keeps, counts
// their pages anew, for such a thread may have been in the middle of it.
void span_keep_forget(struct span_keep *keep);
void span_keep_recount(void);

#endif

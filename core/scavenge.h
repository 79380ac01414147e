// When free pages go back to the system (Go: mgcscavenge.go).
//
// Memory that was freed is mostly wanted again soon, and a page that comes back from the system costs more
// than a microsecond. So pages go back when nobody took them for a while: each period the least number of
// free, resident pages that there was during it is released, first what is over the retention goal (after a
// quarter of GOMALLOC_DECAY), then the rest (after all of it). A background thread does this, with the heap's
// lock released while the system works.
//
// The thread starts in the malloc that finds 8 MiB in spans, or 1 MiB in a program with threads (never in a free, which
// libc may call with its own locks held). When it has nothing to do it sleeps until a free wakes it. A smaller program has no thread;
// when it frees nearly everything it releases by itself, in a few large steps.
//
// Units: pages of GM_PAGE_SIZE. Threads: the caller holds the heap lock unless said otherwise. Errors: none;
// without memory for a thread there is none.
#ifndef GOMALLOC_SCAVENGE_H
#define GOMALLOC_SCAVENGE_H

#include "core/base.h"

#include <stdatomic.h>

// Called after pages were taken from the page cache or the page allocator.
void scavenge_note_alloc(void);

// Called when a second thread allocates: in such a program one more costs little, and lets all keep empty spans.
void scavenge_note_threads(void);

// Called after pages were freed.
void scavenge_note_free(void);

// Pages that the background thread is giving back at the moment: neither free nor in a span.
size_t scavenge_in_transit(void);

// The time since some moment, in milliseconds, coarse and cheap. Any thread; no lock.
uint64_t scavenge_clock_ms(void);

// In a child of fork: the background thread does not exist here.
void scavenge_after_fork(void);

// Rises each time that the heap shrank by an eighth: what threads keep for the next malloc may then be the
// last objects of many spans, so each mcache puts its own back when it sees a new number (mcache_trim).
extern _Atomic uint32_t scavenge_shrinks;

// Without the heap lock, after scavenge_note_free: wakes the background thread if it is needed.
void scavenge_wake(void);

// Without any lock, after a thread kept a span: wakes the background thread if threads keep much by now.
void scavenge_wake_for_kept(void);

extern _Atomic bool scavenge_thread_wanted;

// Without any lock, from malloc's slow paths in threads that have an mcache, when scavenge_thread_wanted.
GM_COLD void scavenge_start_thread(void);

#endif

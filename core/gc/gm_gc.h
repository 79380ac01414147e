// gm_gc: a mark-sweep collector in gomalloc's own heap, for interpreters and other programs that would rather
// not free. Objects that the collector manages and blocks from gm_malloc live side by side in one process;
// each object's class decides what it is, and gm_free() of a collected object is reported as misuse.
//
// How an object stays alive: it is reachable from a root. Roots are the machine stacks and registers of
// registered threads (every word that looks like an address, also one inside an object), the ranges given to
// gm_gc_root_add, and what the functions given to gm_gc_root_visitor hand over. Objects are never moved.
// Inside objects the collector reads what the object's type says:
//   typed         gm_gc_type_define: the words named in the pointer map
//   conservative  gm_gc_alloc_conservative: every aligned word
//   noscan        gm_gc_alloc_noscan: nothing; for text, numbers, pixels
// A pointer into an object (not only to its start) keeps all of it; one past its end does not.
//
//   struct cell { struct cell *head, *tail; };
//   static const size_t cell_pointers[] = {offsetof(struct cell, head), offsetof(struct cell, tail)};
//   gm_gc_init(NULL);                                        // once; registers the calling thread
//   const gm_gc_type *cell_type = gm_gc_type_define(sizeof(struct cell), cell_pointers, 2);
//   struct cell *list = gm_gc_alloc(cell_type);              // zeroed; on the stack now, so it is alive
//
// Conventions: sizes are bytes. New objects read zero. Their address is a multiple of 8, and of 16 when their
// rounded size (gm_gc_size) is. Functions fail with NULL or -1 and errno: ENOMEM (no memory; nothing was
// lost), EINVAL (an argument is out of its range), EPERM (the calling thread is not registered, or there is
// no collector yet). Threads: any registered thread may call anything at any time unless said otherwise. A
// thread that was not registered must neither allocate nor hold the only pointer to an object.
//
// When: a cycle starts when the heap has grown by growth_percent over what the last one found alive, or nears
// GOMALLOC_MEMLIMIT. It stops the registered threads (by a signal, or where they are at a safepoint), marks
// with mark_threads threads, and lets them go; sweeping happens afterwards, span by span, by who allocates
// and in the background. After fork() the child goes on with the thread that forked.
//
// Origin: Go's runtime (mgc.go, mgcmark.go, mgcsweep.go, mbitmap.go, mgcpacer.go); conservative stacks: Boehm
// and Weiser 1988; parallel marking with grey packets: Ossia et al. 2002; prefetch queue: Cher, Hosking and
// Vitek 2004.
#ifndef GM_GC_H
#define GM_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gm_gc_stop {
  GM_GC_STOP_SIGNAL,    // threads are interrupted wherever they are; the default
  GM_GC_STOP_SAFEPOINT, // only where they allocate or call gm_gc_safepoint
};

// All zero is a good choice.
struct gm_gc_options {
  // 1 to 10000: a cycle starts when the heap is live * (1 + growth_percent / 100). 0: 100. Go's GOGC.
  unsigned growth_percent;
  // Bytes that are allocated between two cycles at least, the limits below aside: small heaps are cheap to enlarge.
  // 0: 16 MiB * growth_percent / 100.
  size_t min_growth;
  // Bytes in the collector's spans: an allocation that would pass it fails with ENOMEM, after a cycle. 0:
  // none.
  size_t heap_limit;
  // Threads that mark, the collecting one included, 1 to 64. 0: as many as processors, at most 8, and for each
  // 4 MiB of heap one at most.
  unsigned mark_threads;
  // Only allocating threads sweep.
  bool no_background;
  // Mark twice: a difference ends the program with one line.
  bool checkmark;
  // Check every span after each cycle (gm_gc_check): a fault ends the program.
  bool verify;
  // A cycle at every n-th allocation of a thread; 0: only when needed.
  unsigned stress;
  enum gm_gc_stop stop;
  // The signal for GM_GC_STOP_SIGNAL, for nobody else's use; a registered thread that blocks it stops at safepoints
  // only. 0: SIGURG, as in Go.
  int stop_signal;
};

// Starts the collector and registers the calling thread. options NULL: all default. 0, or -1 with EINVAL,
// ENOMEM, or EBUSY when it was started before.
int gm_gc_init(const struct gm_gc_options *options);

// Ends it: all objects are gone, and gm_gc_init may be called again. Only the calling thread may be
// registered. 0, or -1 with EBUSY when others are, or EPERM.
int gm_gc_shutdown(void);

// Lets the calling thread allocate and hold objects. A thread that ends is unregistered by itself. 0, or -1
// with ENOMEM, EPERM (no collector).
int gm_gc_thread_register(void);
void gm_gc_thread_unregister(void);

// What an object is. Constant, owned by the collector, valid until gm_gc_shutdown. The first two members are
// for gm_gc_alloc only.
typedef struct gm_gc_type {
  uint32_t kind; // index of the thread's slot
  uint32_t size; // bytes, rounded up to a size class
} gm_gc_type;

// size: 1 to 2^40. pointer_offsets: `count` offsets of the pointers in the object, multiples of 8 with their
// 8 bytes inside the size; in any order, may be NULL when count is 0 (noscan). Types with the same rounded
// size and map are one. NULL with EINVAL, ENOMEM, EPERM. There are about 800 different ones; further types
// are conservative.
const gm_gc_type *gm_gc_type_define(size_t size, const size_t *pointer_offsets, size_t count);

// A thread's cursor in one kind of objects: zeroed memory from cursor to limit.
struct gm_gc_slot {
  char *cursor;
  char *limit;
};

// The calling thread's slots by kind; of a thread that is not registered: empty ones.
extern __thread struct gm_gc_slot *gm_gc_slots __attribute__((tls_model("initial-exec")));

// gm_gc_alloc when the thread's slot is used up.
void *gm_gc_alloc_slow(const gm_gc_type *type);

// A zeroed object of the type. NULL with ENOMEM or EPERM.
static inline void *gm_gc_alloc(const gm_gc_type *type) {
  struct gm_gc_slot *slot = &gm_gc_slots[type->kind];
  char *object = slot->cursor;
  if (__builtin_expect((size_t)(slot->limit - object) >= type->size, 1)) {
    // A stop can come between any two instructions: until this store the object is the slot's, afterwards it
    // is in a register.
    __atomic_store_n(&slot->cursor, object + type->size, __ATOMIC_RELAXED);
    return object;
  }
  return gm_gc_alloc_slow(type);
}

// Zeroed memory of at least `size` bytes (0 to 2^40) that is not searched for pointers.
void *gm_gc_alloc_noscan(size_t size);

// The same, and every aligned word of it may be a pointer.
void *gm_gc_alloc_conservative(size_t size);

// Bytes that the object really has; 0 when the address is not inside a collected object.
size_t gm_gc_size(const void *pointer);

// Start of the collected object that contains the address, or NULL. Exact for objects that are alive.
void *gm_gc_base(const void *pointer);

// Declares `size` bytes at `start` as roots, searched conservatively; both multiples of 8. -1 with EINVAL,
// with EFAULT when a page of them is not mapped readable, with ENOMEM beyond 1024 ranges.
int gm_gc_root_add(const void *start, size_t size);
// Takes a range back, by its start. -1 with EINVAL when there is none.
int gm_gc_root_remove(const void *start);

// How a visitor hands pointers over: `count` words at `words`, each NULL, a pointer to or into an object, or
// anything.
typedef void gm_gc_mark_words(void *marker, void *const *words, size_t count);
// A function that is called in each cycle with the world stopped, and hands over roots that the collector
// cannot find: an interpreter's own stack. It must not allocate or lock.
typedef void gm_gc_visitor(gm_gc_mark_words *mark, void *marker, void *context);
// -1 with EINVAL, or ENOMEM beyond 64 visitors.
int gm_gc_root_visitor(gm_gc_visitor *visitor, void *context);

// A place where the calling thread can be stopped: needed in loops that do not allocate, with
// GM_GC_STOP_SAFEPOINT.
void gm_gc_safepoint(void);

// Brackets work that touches no object and may block (read, sleep, a lock): the collector does not wait for
// the thread. What lies on the stack at enter stays alive. Not nested.
void gm_gc_blocking_enter(void);
void gm_gc_blocking_leave(void);

// A whole cycle now, sweeping included. 0, or -1 with EPERM.
int gm_gc_collect(void);

struct gm_gc_stats {
  uint64_t cycles;
  uint64_t allocated_bytes;   // ever, in size classes; close while other threads allocate, else exact
  uint64_t allocated_objects; // the same
  uint64_t live_bytes;        // found alive by the last cycle
  uint64_t live_objects;      // the same
  uint64_t heap_bytes;        // in the collector's spans now
  uint64_t heap_peak_bytes;   // and the most that it was
  uint64_t goal_bytes;        // the next cycle starts when allocations reach it
  uint64_t pause_total_ns;    // world stopped
  uint64_t pause_most_ns;
  uint64_t pause_last_ns;
  uint64_t mark_total_ns; // of the pauses: marking
  uint64_t assist_ns;     // sweeping by allocating threads
  uint64_t background_ns; // sweeping by the background thread
  uint64_t spans;
  uint64_t threads;
};

// The counts so far. Any thread; mutators go on, so counts of one moment may differ by what they do
// meanwhile.
void gm_gc_stats_read(struct gm_gc_stats *stats);

// How long the pauses were: counts[i] is the number of those below 1 us * 2^i, and not in an earlier one.
#define GM_GC_PAUSE_BUCKETS 24
void gm_gc_pause_histogram(uint64_t counts[GM_GC_PAUSE_BUCKETS]);

// Called before and after each stop of the world by the collecting thread, for tools. NULL: none.
void gm_gc_pause_hooks(void (*before)(void *context), void (*after)(void *context), void *context);

// Walks every collected span and list, and then gomalloc's heap. Returns the number of faults, each said in a
// line on stderr. Stops the world. No thread may allocate or free manual blocks meanwhile.
int gm_gc_check(void);

// Visits every object that is not swept away, in order of spans. Finishes sweeping first and stops the world
// meanwhile: the visitor must not allocate. -1 with EPERM.
int gm_gc_each_object(void (*visit)(void *object, size_t size, void *context), void *context);

#ifdef __cplusplus
}
#endif

#endif

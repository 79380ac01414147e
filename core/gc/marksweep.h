// The mark-sweep collector's own structures: collected spans, kinds of objects, mutator threads, the state of
// the cycle. The public interface is gm_gc.h; the way of a cycle through these files is told in README.md.
//
// A collected span is an mspan (place SPAN_COLLECTED) whose `states` hold a struct gc_span: Go's mspan as far
// as its collector needs it. Two bitmaps, a bit per object:
//
//   alloc_bits  the object is taken: it survived the last cycle, or was handed out since
//   mark_bits   this cycle reached it
//
// Sweeping a span makes the mark bits its alloc bits and clears the other bitmap: nothing is done per object.
// An allocating thread takes runs of clear alloc bits, sets them all at once, and hands the run's objects out
// by moving a cursor.
//
// A kind is a size class together with what the collector reads in an object: nothing, every word, or the
// words of a type's pointer map. Each span has objects of one kind, so an object needs no header (the "big
// bag of pages" of Steele 1977; Go has only scan and noscan classes and finds the map elsewhere).
//
// Units: bytes, object indexes. Threads: said at each structure.
#ifndef GOMALLOC_GC_MARKSWEEP_H
#define GOMALLOC_GC_MARKSWEEP_H

#include "core/gc/gm_gc.h"
#include "core/heap_arena.h"
#include "core/mcentral.h"
#include "core/mspan.h"

#include <pthread.h>
#include <stdatomic.h>

// ---- Kinds

enum gc_scan { GC_SCAN_NONE, GC_SCAN_WORDS, GC_SCAN_MAP, GC_SCAN_MAPS };

// The first SPAN_CLASS_COUNT kinds are Go's span classes: noscan and conservative objects by size class, with
// those of class 0 for large objects. Types' kinds follow.
#define GC_KINDS_MAX 1024

// What marking needs of a kind.
struct gc_layout {
  uint64_t map;         // GC_SCAN_MAP: bit i: word i is a pointer
  const uint64_t *maps; // GC_SCAN_MAPS: the same for 64 words each
  uint32_t words;       // GC_SCAN_WORDS: of an object; GC_SCAN_MAPS: of maps; large conservative objects: 0
  uint8_t scan;         // enum gc_scan
  uint8_t size_class;   // 0: large, one object per span
};

struct gc_kind {
  struct mcentral central;
  gm_gc_type type;
  size_t type_size; // of large types: bytes
};

extern struct gc_layout gc_layouts[GC_KINDS_MAX];
extern struct gc_kind gc_kinds[GC_KINDS_MAX];

// Kinds that exist; read with acquire order.
extern _Atomic unsigned gc_kind_count;

// Spans of one object of whole pages, whatever their kind: always on a full list.
extern struct mcentral gc_large_central;

// The kinds that are there before any type is defined.
void gc_kinds_init(void);

// Forgets all types.
void gc_kinds_clear(void);

// The class for `size` bytes, at most SIZE_CLASS_MAX. malloc leaves out the class of 24 bytes, because its
// blocks are 16-aligned; cells of three words are what interpreters are made of.
#define GC_CLASS_24 3
GM_INLINE unsigned gc_size_class(size_t size) {
  return size - 17 < 8 ? GC_CLASS_24 : size_class_of(size);
}

// ---- Spans

enum gc_span_place {
  GC_SPAN_MOVING, // with the thread that sweeps or passes it on
  GC_SPAN_ACTIVE, // a mutator's slot allocates from it
  GC_SPAN_PARTIAL,
  GC_SPAN_FULL,
};

struct gc_span {
  // What marking reads for each pointer that it meets: one cache line.
  uintptr_t start;
  uint64_t *mark_bits;
  uint32_t magic; // index = offset * magic >> 32; 0 for a large object
  uint32_t object_count;
  uint32_t object_size; // 0 for a large object
  uint16_t kind;
  bool noscan;
  uint8_t place; // enum gc_span_place; guarded by the kind's central lock, or its mutator's
  uint64_t *alloc_bits;
  size_t bytes; // of one object

  uint32_t next_index;                                     // the next run is searched from here
  uint32_t words;                                          // of one bitmap
  uint64_t bits[] __attribute__((aligned(GM_CACHE_LINE))); // both bitmaps
};

static_assert(offsetof(struct gc_span, bits) == GM_CACHE_LINE, "what marking reads is one cache line");

// The collector's part of a span, in place of an ordinary span's states; and back.
GM_INLINE struct gc_span *gc_span_of(struct mspan *span) {
  return (struct gc_span *)(void *)span->states;
}

// See gc_span_of.
GM_INLINE struct mspan *gc_mspan_of(struct gc_span *span) {
  return (struct mspan *)(void *)((unsigned char *)span - offsetof(struct mspan, states));
}

// Page to collected span, over all addresses, beside the arena map: marking must not touch malloc's spans.
typedef _Atomic(struct gc_span *) gc_page;
extern _Atomic(gc_page *) gc_page_map[ARENA_MAP_COUNT];

// No collected span was ever outside of [low, low + size).
struct gc_bounds {
  _Atomic uintptr_t low;
  _Atomic uintptr_t size;
};
extern struct gc_bounds gc_bounds;

// The collected span of an address, or NULL.
GM_INLINE struct gc_span *gc_span_at(uintptr_t address) {
  if (address - atomic_load_explicit(&gc_bounds.low, memory_order_relaxed) >=
      atomic_load_explicit(&gc_bounds.size, memory_order_relaxed))
    return NULL;
  gc_page *pages = atomic_load_explicit(&gc_page_map[address >> ARENA_SHIFT], memory_order_acquire);
  if (pages == NULL)
    return NULL;
  return atomic_load_explicit(&pages[(address >> GM_PAGE_SHIFT) & (ARENA_PAGES - 1)], memory_order_acquire);
}

// Index of the object that contains the address; at least object_count in the waste behind the last one.
GM_INLINE uint64_t gc_span_index(const struct gc_span *span, uintptr_t address) {
  return (address - span->start) * span->magic >> 32;
}

// Bit `index` of a bitmap.
GM_INLINE bool gc_bit(const uint64_t *bits, uint64_t index) {
  return (bits[index / 64] >> (index % 64) & 1) != 0;
}

// A span of free objects, or of one large object of `bytes`, which is taken. In no list. NULL without memory.
struct gc_span *gc_span_new(unsigned kind, size_t bytes);

// Bytes that a span of a small kind takes.
size_t gc_small_span_bytes(unsigned kind);

// Gives the span's pages back.
void gc_span_free(struct gc_span *span);

// Bytes of its pages.
size_t gc_span_pages_bytes(struct gc_span *span);

// Finds the next run of at most `most` free objects from next_index on and takes it: [*from, *to). False when
// there is none; next_index is then the object count.
bool gc_span_take_run(struct gc_span *span, uint32_t most, uint32_t *from, uint32_t *to);

// Takes objects again that were given back for a marking.
void gc_span_retake(struct gc_span *span, uint32_t from, uint32_t to);

// Gives taken objects back (the rest of a run that its thread does not need any more).
void gc_span_untake(struct gc_span *span, uint32_t from, uint32_t to);

// Makes the mark bits the alloc bits. Returns the number of objects that are alive. In the world's stop or
// while the caller alone has the span.
uint32_t gc_span_sweep(struct gc_span *span);

// Set bits in `words` words.
uint32_t gc_bits_count(const uint64_t *bits, uint32_t words);

// Visits every collected span: in the world's stop, or before gc_finish_sweep's spans can be freed.
void gc_span_each(void (*visit)(struct gc_span *span, void *context), void *context);

// ---- Sweeping (marksweep_sweep.c)

// A span of the kind with free objects: swept, or swept now; NULL when there is none. `next_index` is 0.
struct gc_span *gc_sweep_acquire(unsigned kind);

// Puts a span where it belongs: on the kind's full or partial swept list.
void gc_sweep_give(struct gc_span *span, bool full);

// Sweeps until so many pages came back, at most `tries` spans. False when nothing is left to sweep.
bool gc_sweep_reclaim(size_t npages, unsigned tries);

// Sweeps everything that is left, and waits for spans that others are sweeping.
void gc_sweep_finish(void);

// Whether there are unswept spans; as long as the world stands still, or else a guess.
bool gc_sweep_is_done(void);

// In the world's stop: sweeps what is left, and sees to it that nobody looks for more until gc_sweep_start().
void gc_sweep_close(void);

// In the world's stop, after marking: every swept span is an unswept one from now on.
void gc_sweep_start(void);

// ---- Mutators and the world (marksweep_world.c)

enum gc_mutator_state { GC_RUNNING, GC_SAFE };

struct gc_mutator {
  struct gm_gc_slot slots[GC_KINDS_MAX]; // the first member: gm_gc_slots points here
  struct gc_span *active[GC_KINDS_MAX];
  uintptr_t stack_pointer; // while GC_SAFE: everything from here to stack_end is searched
  uintptr_t stack_start;
  uintptr_t stack_end;
  uintptr_t registers[6]; // while it blocks by gm_gc_blocking_enter
  pthread_t thread;
  volatile bool busy; // inside the slow path: a signal does not stop it, the way out does
  _Atomic uint32_t state;
  _Atomic uint64_t allocated_bytes;   // in runs taken
  _Atomic uint64_t allocated_objects; // the same
  unsigned slow_calls;                // for stress
  struct gc_mutator *next;
};

extern __thread struct gc_mutator *gc_self __attribute__((tls_model("initial-exec")));

// Calls work(argument) with the caller's registers on the stack and the thread counted as stopped, so that it
// may wait for a collector; afterwards the thread may run.
void gc_while_safe(void (*work)(void *argument), void *argument);

// As it, but the state stays: for who has the world lock already counted as safe.
GM_NOINLINE void gc_with_registers(void (*work)(void *argument), void *argument);

// The first mutator; under the world lock.
struct gc_mutator *gc_mutators(void);

// The lock over the list of mutators and the world's stop.
void gc_world_lock(void);
void gc_world_unlock(void);

// Stops all mutators but the calling one, which holds the world lock and is safe; and lets them go.
void gc_world_stop(void);
void gc_world_start(void);

// A stop is wanted: who allocates stops on its way out.
extern _Atomic uint32_t gc_stop_wanted;

// Installs the handler for the stop signal. False: errno is set.
bool gc_world_init(void);
void gc_world_shutdown(void);

// In the child of a fork, under the world lock: only the calling thread is left.
void gc_world_forget_others(void);

// Figures of threads that are gone; under the world lock.
extern uint64_t gc_gone_bytes;
extern uint64_t gc_gone_objects;

// ---- Marking (marksweep_mark.c)

struct gc_marked {
  uint64_t bytes;
  uint64_t objects;
};

// Marks everything that the roots reach. In the world's stop. The bitmaps are clear before.
struct gc_marked gc_mark(unsigned threads);

// Body of a helper that joins a marking in progress, if there is one.
void gc_mark_help(void);

// ---- Roots (marksweep_roots.c)

struct gc_worker;
// Marks from the registered ranges and visitors, in the world's stop; forgets all of them.
void gc_roots_mark(struct gc_worker *worker);
void gc_roots_clear(void);
// Conservative marking of a range, for roots.
void gc_mark_range(struct gc_worker *worker, uintptr_t start, uintptr_t end);

// ---- Cycles (marksweep_cycle.c)

struct gc_state {
  bool started;
  bool adaptive_marking; // small heaps are marked by fewer threads than mark_threads
  struct gm_gc_options options;
  _Atomic uint64_t heap_live;  // marked by the last cycle, and taken since
  _Atomic uint64_t goal;       // a cycle starts when heap_live reaches it
  _Atomic uint64_t heap_bytes; // in spans
  _Atomic uint64_t heap_peak;
  _Atomic uint64_t spans;
  _Atomic uint64_t assist_ns;
  _Atomic uint64_t background_ns;
  _Atomic uint64_t cycles;
};

extern struct gc_state gc;

// The first goal.
void gc_goal_init(void);

// A cycle, unless another thread ended one since the caller saw `cycles` of them.
void gc_cycle(uint64_t cycles_seen);

// In the world's stop: the rest of open runs counts as free, and as taken again.
void gc_runs_hide(void);
void gc_runs_show(void);

// The walk behind gm_gc_check, in the world's stop with sweeping finished and runs hidden
// (marksweep_check.c). Returns the number of faults.
int gc_check_spans(void);

// The monotonic clock.
uint64_t gc_clock_ns(void);

// ---- Helpers (marksweep_helpers.c)

// Starts the threads that mark and sweep beside the mutators; as many as the system gives.
void gc_helpers_start(void);
void gc_helpers_stop(void);
void gc_helpers_wake_mark(void);
void gc_helpers_wake_sweep(void);
// In the child of a fork there are none.
void gc_helpers_forget(void);

// Waits while *word is `seen`, at most so long; 0: for ever.
void gc_futex_wait(_Atomic uint32_t *word, uint32_t seen, long timeout_ns);
void gc_futex_wake_all(_Atomic uint32_t *word);

#endif

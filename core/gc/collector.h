// The table behind which every collector stands, and what heap.c does for all of them. A program uses
// mutator.h; who writes a collector implements `struct gc_collector` and takes the heap's types, roots and
// threads from here.
//
// Who implements it: markcompact, copying, generational (core/gc/, over a linear region), marksweep
// (core/gc/, over gomalloc), boehm and manual (adapters/, over libraries). Each is one constant table.
//
// A collector's duties
//   * alloc returns zeroed memory, aligned to 8 bytes at least, that nothing else uses, for `count` elements of `type`
//     (count is 1 unless type->array); it may collect first. NULL with errno ENOMEM leaves all as it was.
//   * After collect, every object reachable from the roots is intact: same contents, references to its new place. Roots are
//     the slots of every attached thread's frames, the global ranges, and for conservative collectors the machine
//     stacks and registers of attached threads. A reference outside of the heap's memory is left alone.
//   * A pause is bracketed by gc_pause_begin() and gc_pause_end(); other work that a mutator thread does for the
//     collector (lazy sweeping, if it can be told apart) is added to heap->figures.assist_ns.
//   * heap->figures is kept true as its comments say.
//   * No memory from malloc: under a preloaded allocator that would be the heap under test (core/sys_mem.h has memory).
//
// Units: bytes, nanoseconds. Threads: heap->threads and heap->roots change only through heap.c.
#ifndef GOMALLOC_GC_COLLECTOR_H
#define GOMALLOC_GC_COLLECTOR_H

#include "core/gc/mutator.h"

enum gc_trait {
  GC_MOVES = 1u << 0, // objects change their address; programs must be compiled with linked frames
  GC_CONSERVATIVE =
      1u << 1, // machine stacks are roots and frames are not needed: compiled GC_MUTATOR_CONSERVATIVE;
               // may keep more than what is reachable
  GC_KEEPS_ORDER = 1u << 2, // objects keep their order of addresses, which is that of allocation
  GC_MANUAL = 1u << 3,      // not a collector: gc_free() frees (compiled GC_MUTATOR_CONSERVATIVE)
  GC_ONE_HEAP = 1u << 4,    // the process has one heap; a second gc_heap_start() is refused
};

// What a heap did since its start. Counts and bytes only ever rise unless said otherwise.
struct gc_figures {
  uint64_t collections;       // all kinds
  uint64_t minor_collections; // of these: of the nursery only
  uint64_t allocated_objects; // as far as known when asked: refresh() brings it up to date
  uint64_t allocated_bytes;   // headers and rounding included
  uint64_t moved_bytes;       // copied or slid to another address
  uint64_t assist_ns;     // collector's work by mutator threads outside of pauses, 0 if it is not told apart
  uint64_t background_ns; // processor time of the collector's own threads outside of pauses
  uint64_t live_bytes;    // found by the last whole collection; rises and falls
  uint64_t live_objects;  // the same in objects
  uint64_t heap_bytes;    // memory for objects taken from the system now; rises and falls
  uint64_t heap_peak_bytes; // the most that heap_bytes was
};

// One stop of all mutator threads.
struct gc_pause {
  uint64_t start_ns; // CLOCK_MONOTONIC
  uint64_t length_ns;
};

struct gc_root_range {
  void **start;
  size_t words;
};

#define GC_MOST_THREADS     256
#define GC_MOST_ROOT_RANGES 1024
#define GC_MOST_PAUSES      ((size_t)1 << 20)

struct gc_heap {
  const struct gc_collector *collector;
  struct gc_options options; // defaults filled in
  void *state;               // the collector's own
  struct gc_figures figures; // written by the collector

  // Types by id, [1, type_count]; entry 0 is unused.
  struct gc_type *types;
  uint32_t type_count;
  unsigned char *type_store; // the maps and names of types
  size_t type_store_used;

  struct gc_root_range *roots;
  size_t root_count;

  struct gc_thread *threads[GC_MOST_THREADS]; // NULL: free
  unsigned thread_count;                      // attached

  // Pauses in order of time; beyond GC_MOST_PAUSES only counted in the sums.
  struct gc_pause *pauses;
  size_t pause_count;
  uint64_t pause_total_ns;
  uint64_t pause_most_ns;
  uint64_t pause_started_ns;
};

struct gc_collector {
  const char *name;
  const char *summary; // one line for people
  uint32_t traits;     // enum gc_trait
  unsigned most_threads;

  // Fills heap->state; heap->options are complete. False with a line in `why`: nothing was taken.
  bool (*start)(struct gc_heap *heap, char *why, size_t why_size);
  void (*stop)(struct gc_heap *heap);
  // Fills the thread's collector part: alloc, and cursor, limit, young_*, record, release, poll as needed
  // (all are zero before). Called on the thread itself. False with a line in `why`: nothing was taken. May be
  // NULL.
  bool (*attach)(struct gc_thread *thread, char *why, size_t why_size);
  void (*detach)(struct gc_thread *thread);
  // A type was registered (a collector may prepare its own description). May be NULL.
  bool (*type_added)(struct gc_heap *heap, const struct gc_type *type);
  // A global range was added or is about to be removed. May be NULL: heap->roots is read at each collection.
  void (*roots_changed)(struct gc_heap *heap, const struct gc_root_range *range, bool added);

  // As the members of gc_thread with these names; gc_thread_attach() copies them there.
  void *(*alloc)(struct gc_thread *thread, const struct gc_type *type, size_t count);
  void (*record)(struct gc_thread *thread, void **field);
  void (*release)(struct gc_thread *thread, void *object);
  void (*poll)(struct gc_thread *thread);

  // A whole collection, on the calling thread. False when there was not the memory: nothing changed.
  bool (*collect)(struct gc_thread *thread);
  // Brings heap->figures up to date (allocated_*, heap_bytes). May be NULL.
  void (*refresh)(struct gc_heap *heap);
  // Walks the heap and returns the number of faults, each said in a line on stderr; 0 for a sound heap. No
  // thread may be inside the collector.
  uint64_t (*check)(struct gc_heap *heap);
  // Visits every object that is there, in order of addresses where the collector has one. May be NULL.
  void (*each_object)(struct gc_heap *heap,
                      void (*visit)(void *object, const struct gc_type *type, size_t count, void *argument),
                      void *argument);
};

extern const struct gc_collector gc_markcompact;  // markcompact.c
extern const struct gc_collector gc_copying;      // copying.c
extern const struct gc_collector gc_generational; // generational.c
extern const struct gc_collector gc_marksweep;    // marksweep.c

// Up to date figures.
const struct gc_figures *gc_figures_of(struct gc_heap *heap);

// Bracket each stop of the mutator. Not nested.
void gc_pause_begin(struct gc_heap *heap);
void gc_pause_end(struct gc_heap *heap);

// The pause that share (0..1) of all recorded pauses do not exceed, ns; 0 if there was none. Sorts a copy.
uint64_t gc_pause_quantile(const struct gc_heap *heap, double share);

// Minimum mutator utilisation (Cheng and Blelloch 2001): the least share of time that the mutator had in any
// window of `window_ns` within [start_ns, end_ns]; 1 without pauses, 0 when a pause fills a window.
double gc_least_utilisation(const struct gc_heap *heap, uint64_t window_ns, uint64_t start_ns,
                            uint64_t end_ns);

// CLOCK_MONOTONIC, ns.
uint64_t gc_now_ns(void);

// Calls visit(slot, argument) for each precise root: all slots of all frames, all words of all ranges. `slot`
// may be written.
void gc_each_root(struct gc_heap *heap, void (*visit)(void **slot, void *argument), void *argument);

// Bytes of `count` elements of `type`, or 0 with errno ENOMEM when that is above `most`.
size_t gc_request_bytes(const struct gc_type *type, size_t count, size_t most);

#endif

// Allocation's slow paths: the next run of a span, the next span, large objects (Go: mcache.refill,
// mallocgc). The fast path is gm_gc_alloc in gm_gc.h. See marksweep.h.
#include "core/gc/marksweep.h"

#include "core/mheap.h"

#include <errno.h>
#include <string.h>

// A run is zeroed when it is taken, so one that is much longer would leave the cache before it is used.
enum { RUN_BYTES = 4 << 10 };

// Spans swept for pages before the heap grows (Go's reclaim does the same by page credit).
enum { RECLAIM_TRIES = 16 };

static const size_t request_max = (size_t)1 << 40;

static void zero_run(struct gc_span *span, char *from, size_t size) {
  if (gc_mspan_of(span)->needs_zero)
    memset(from, 0, size);
}

static bool next_run(struct gc_mutator *self, struct gc_span *span, struct gm_gc_slot *slot) {
  // Under stress every allocation is to come here.
  uint32_t most = gc.options.stress == 0 ? RUN_BYTES / span->object_size : 1;
  uint32_t from = 0;
  uint32_t to = 0;
  if (!gc_span_take_run(span, most > 0 ? most : 1, &from, &to))
    return false;
  char *start = (char *)span->start + (size_t)from * span->object_size;
  size_t size = (size_t)(to - from) * span->object_size;
  zero_run(span, start, size);
  slot->cursor = start;
  slot->limit = start + size;
  atomic_store_explicit(&self->allocated_bytes,
                        atomic_load_explicit(&self->allocated_bytes, memory_order_relaxed) + size,
                        memory_order_relaxed);
  atomic_store_explicit(&self->allocated_objects,
                        atomic_load_explicit(&self->allocated_objects, memory_order_relaxed) + (to - from),
                        memory_order_relaxed);
  return true;
}

static bool over_goal(uint64_t more) {
  return atomic_load_explicit(&gc.heap_live, memory_order_relaxed) + more >
         atomic_load_explicit(&gc.goal, memory_order_relaxed);
}

static bool over_limit(uint64_t more) {
  return gc.options.heap_limit != 0 &&
         atomic_load_explicit(&gc.heap_bytes, memory_order_relaxed) + more > gc.options.heap_limit;
}

// A cycle when it is time, before `more` bytes are taken.
static void cycle_if_due(uint64_t more) {
  if (GM_UNLIKELY(over_goal(more)))
    gc_cycle(atomic_load_explicit(&gc.cycles, memory_order_relaxed));
}

static void cycle_if_stressed(struct gc_mutator *self) {
  if (++self->slow_calls % gc.options.stress == 0)
    gc_cycle(atomic_load_explicit(&gc.cycles, memory_order_relaxed));
}

static struct gc_span *new_span(unsigned kind, size_t bytes) {
  size_t npages = (bytes + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT;
  if (!gc_sweep_is_done())
    (void)gc_sweep_reclaim(npages, bytes > SIZE_CLASS_MAX ? UINT32_MAX : RECLAIM_TRIES);
  return over_limit(npages << GM_PAGE_SHIFT) ? NULL : gc_span_new(kind, bytes);
}

// There was no memory: what is dead may be enough.
static void cycle_and_sweep(void) {
  gc_cycle(atomic_load_explicit(&gc.cycles, memory_order_relaxed));
  gc_sweep_finish();
}

static struct gc_span *acquire(unsigned kind) {
  if (gc_sweep_is_done())
    return gc_sweep_acquire(kind);
  uint64_t start = gc_clock_ns();
  struct gc_span *span = gc_sweep_acquire(kind);
  atomic_fetch_add_explicit(&gc.assist_ns, gc_clock_ns() - start, memory_order_relaxed);
  return span;
}

static struct gc_span *acquire_or_new(unsigned kind) {
  struct gc_span *span = acquire(kind);
  return span != NULL ? span : new_span(kind, gc_small_span_bytes(kind));
}

// A span with free objects for the slot; NULL without memory. All of its free bytes count as taken from here
// on.
static struct gc_span *next_span(struct gc_mutator *self, unsigned kind) {
  struct gc_span *span = acquire_or_new(kind);
  if (span == NULL) {
    cycle_and_sweep();
    span = acquire_or_new(kind);
  }
  if (span == NULL)
    return NULL;
  uint64_t free_count = span->object_count - gc_bits_count(span->alloc_bits, span->words);
  atomic_fetch_add_explicit(&gc.heap_live, free_count * span->bytes, memory_order_relaxed);
  span->place = GC_SPAN_ACTIVE;
  self->active[kind] = span;
  return span;
}

static void *small_object(struct gc_mutator *self, const gm_gc_type *type) {
  unsigned kind = type->kind;
  struct gm_gc_slot *slot = &self->slots[kind];
  if (GM_UNLIKELY(gc.options.stress != 0))
    cycle_if_stressed(self);
  struct gc_span *span = self->active[kind];
  while (span == NULL || !next_run(self, span, slot)) {
    if (span != NULL) {
      self->active[kind] = NULL;
      *slot = (struct gm_gc_slot){NULL, NULL};
      gc_sweep_give(span, true);
    }
    cycle_if_due(0);
    span = next_span(self, kind);
    if (span == NULL)
      return NULL;
  }
  char *object = slot->cursor;
  slot->cursor = object + type->size;
  return object;
}

static void *large_object(struct gc_mutator *self, unsigned kind, size_t size) {
  if (size > request_max)
    return NULL;
  if (GM_UNLIKELY(gc.options.stress != 0))
    cycle_if_stressed(self);
  cycle_if_due(size);
  struct gc_span *span = new_span(kind, size);
  if (span == NULL) {
    cycle_and_sweep();
    span = new_span(kind, size);
  }
  if (span == NULL)
    return NULL;
  // On its list, where the next cycle finds it, before the world can stop.
  if (gc_mspan_of(span)->needs_zero)
    memset((void *)span->start, 0, span->bytes);
  atomic_fetch_add_explicit(&gc.heap_live, span->bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&self->allocated_bytes, span->bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&self->allocated_objects, 1, memory_order_relaxed);
  void *object = (void *)span->start;
  gc_sweep_give(span, true);
  return object;
}

// From here to end_busy the stop signal leaves this thread alone.
static struct gc_mutator *begin_busy(void) {
  struct gc_mutator *self = gc_self;
  if (self == NULL) {
    errno = EPERM;
    return NULL;
  }
  self->busy = true;
  return self;
}

static void *end_busy(struct gc_mutator *self, void *object) {
  self->busy = false;
  gm_gc_safepoint(); // `object` is in a register or on the stack
  if (GM_UNLIKELY(object == NULL))
    errno = ENOMEM;
  return object;
}

GM_NOINLINE void *gm_gc_alloc_slow(const gm_gc_type *type) {
  struct gc_mutator *self = begin_busy();
  if (self == NULL)
    return NULL;
  bool small = gc_layouts[type->kind].size_class != 0;
  return end_busy(self, small ? small_object(self, type)
                              : large_object(self, type->kind, gc_kinds[type->kind].type_size));
}

static GM_NOINLINE void *alloc_large(unsigned kind, size_t size) {
  struct gc_mutator *self = begin_busy();
  return self == NULL ? NULL : end_busy(self, large_object(self, kind, size));
}

void *gm_gc_alloc_noscan(size_t size) {
  if (GM_UNLIKELY(size > SIZE_CLASS_MAX))
    return alloc_large(make_span_class(0, true), size);
  return gm_gc_alloc(&gc_kinds[make_span_class(gc_size_class(size), true)].type);
}

void *gm_gc_alloc_conservative(size_t size) {
  if (GM_UNLIKELY(size > SIZE_CLASS_MAX))
    return alloc_large(make_span_class(0, false), size);
  return gm_gc_alloc(&gc_kinds[make_span_class(gc_size_class(size), false)].type);
}

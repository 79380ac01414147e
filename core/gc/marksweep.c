// marksweep behind the collectors' table: gm_gc (gm_gc.h) as a collector of mutator.h's programs.
//
// Types become gm_gc types, arrays with references are searched conservatively, stacks are roots by
// themselves, and global ranges are handed on. The mutator threads are gm_gc's, so they are stopped by a
// signal and poll is never needed.
#include "core/gc/collector.h"
#include "core/gc/gm_gc.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <stdio.h>

struct marksweep {
  const gm_gc_type *types[GC_MOST_TYPES]; // by id
};

static void before_pause(void *heap) {
  gc_pause_begin(heap);
}

static void after_pause(void *heap) {
  gc_pause_end(heap);
}

static size_t state_bytes(void) {
  return gm_align_up(sizeof(struct marksweep), GM_PAGE_SIZE);
}

static bool start(struct gc_heap *heap, char *why, size_t why_size) {
  struct gm_gc_options options = {
      .growth_percent = heap->options.goal_percent,
      .heap_limit = heap->options.heap_limit,
      .stress = heap->options.stress > UINT32_MAX ? UINT32_MAX : (unsigned)heap->options.stress,
      .checkmark = heap->options.verify,
      .verify = heap->options.verify,
  };
  struct marksweep *state = sys_alloc(state_bytes());
  if (state == NULL) {
    (void)snprintf(why, why_size, "no memory for the collector's own tables");
    return false;
  }
  if (gm_gc_init(&options) != 0) {
    (void)snprintf(why, why_size,
                   errno == EBUSY ? "the process has a marksweep heap already" : "gm_gc_init failed");
    sys_free((uintptr_t)state, state_bytes());
    return false;
  }
  gm_gc_thread_unregister(); // threads come by attach
  gm_gc_pause_hooks(before_pause, after_pause, heap);
  heap->state = state;
  return true;
}

static void stop(struct gc_heap *heap) {
  (void)gm_gc_thread_register();
  (void)gm_gc_shutdown();
  sys_free((uintptr_t)heap->state, state_bytes());
}

static bool attach(struct gc_thread *thread, char *why, size_t why_size) {
  (void)thread;
  if (gm_gc_thread_register() == 0)
    return true;
  (void)snprintf(why, why_size, "no memory for another thread of the collector");
  return false;
}

static void detach(struct gc_thread *thread) {
  (void)thread;
  gm_gc_thread_unregister();
}

// Array types need none: their objects' kinds are by size.
static bool type_added(struct gc_heap *heap, const struct gc_type *type) {
  struct marksweep *state = heap->state;
  if (type->array)
    return true;
  size_t bytes = gm_align_up((size_t)type->pointer_count * sizeof(size_t) + 1, GM_PAGE_SIZE);
  size_t *offsets = sys_alloc(bytes);
  if (offsets == NULL)
    return false;
  for (uint32_t i = 0; i < type->pointer_count; i++)
    offsets[i] = type->pointers[i];
  state->types[type->id] = gm_gc_type_define(type->size, offsets, type->pointer_count);
  sys_free((uintptr_t)offsets, bytes);
  return state->types[type->id] != NULL;
}

static void roots_changed(struct gc_heap *heap, const struct gc_root_range *range, bool added) {
  (void)heap;
  // Both have room for as many ranges, and heap.c has checked this one.
  if (added)
    (void)gm_gc_root_add(range->start, range->words * sizeof(void *));
  else
    (void)gm_gc_root_remove(range->start);
}

static void *alloc_array(const struct gc_heap *heap, const struct gc_type *type, size_t count) {
  size_t bytes = count == 0 ? 0 : gc_request_bytes(type, count, heap->options.heap_limit);
  if (bytes == 0 && count != 0)
    return NULL;
  return type->pointer_count == 0 ? gm_gc_alloc_noscan(bytes) : gm_gc_alloc_conservative(bytes);
}

static void *alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  const struct marksweep *state = thread->heap->state;
  if (GM_UNLIKELY(type->array))
    return alloc_array(thread->heap, type, count);
  return gm_gc_alloc(state->types[type->id]);
}

static void poll(struct gc_thread *thread) {
  (void)thread;
  gm_gc_safepoint();
}

static bool collect(struct gc_thread *thread) {
  (void)thread;
  return gm_gc_collect() == 0;
}

static void refresh(struct gc_heap *heap) {
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  heap->figures.collections = stats.cycles;
  heap->figures.allocated_objects = stats.allocated_objects;
  heap->figures.allocated_bytes = stats.allocated_bytes;
  heap->figures.assist_ns = stats.assist_ns;
  heap->figures.background_ns = stats.background_ns;
  heap->figures.live_bytes = stats.live_bytes;
  heap->figures.live_objects = stats.live_objects;
  heap->figures.heap_bytes = stats.heap_bytes;
  heap->figures.heap_peak_bytes = stats.heap_peak_bytes;
}

static uint64_t check(struct gc_heap *heap) {
  (void)heap;
  return (uint64_t)gm_gc_check();
}

const struct gc_collector gc_marksweep = {
    .name = "marksweep",
    .summary = "Go's mark-sweep over gomalloc's spans: conservative stacks, typed objects, parallel marking, "
               "lazy sweep",
    .traits = GC_CONSERVATIVE | GC_ONE_HEAP,
    .most_threads = GC_MOST_THREADS,
    .start = start,
    .stop = stop,
    .attach = attach,
    .detach = detach,
    .type_added = type_added,
    .roots_changed = roots_changed,
    .alloc = alloc,
    .poll = poll,
    .collect = collect,
    .refresh = refresh,
    .check = check,
};

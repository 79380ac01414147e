// gc_manual.c: no collector at all. Mutator programs free what they no longer need, over any allocator of the
// vtable: what the collectors' convenience costs, or saves.
#include "adapters/collectors.h"

#include <errno.h>

static const ha_alloc *allocator;

static bool manual_start(struct gc_heap *heap, char *why, size_t why_size) {
  (void)heap;
  (void)why;
  (void)why_size;
  return true;
}

static void manual_stop(struct gc_heap *heap) {
  (void)heap;
}

static void *manual_alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  size_t bytes = gc_request_bytes(type, count, thread->heap->options.heap_limit);
  if (bytes == 0 && count > 0)
    return NULL;
  thread->heap->figures.allocated_objects++;
  thread->heap->figures.allocated_bytes += bytes;
  return allocator->calloc(1, bytes > 0 ? bytes : 1);
}

static void manual_release(struct gc_thread *thread, void *object) {
  (void)thread;
  allocator->free(object);
}

static uint64_t manual_check(struct gc_heap *heap) {
  (void)heap;
  return allocator->check_heap ? (uint64_t)allocator->check_heap() : 0;
}

static const struct gc_collector manual = {
    .name = "manual",
    .summary = "the program frees",
    .traits = GC_MANUAL,
    .most_threads = GC_MOST_THREADS,
    .start = manual_start,
    .stop = manual_stop,
    .alloc = manual_alloc,
    .release = manual_release,
    .check = manual_check,
};

const struct gc_collector *ha_gc_manual(const ha_alloc *alloc) {
  allocator = alloc;
  return &manual;
}

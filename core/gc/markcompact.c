// markcompact: one linear space, collected by sliding what is live to its start (compact.h). Objects keep the
// order in which they were allocated, memory never fragments, and the space needs no reserve; the price is
// that every collection passes over all that is live twice.
#include "core/gc/compact.h"
#include "core/gc/linear_heap.h"

#include "core/sys_mem.h"

#include <stdio.h>

struct markcompact {
  struct linear_space space;
  struct compactor compactor;
  uintptr_t goal; // the top at which a collection is due
};

#define STATE_BYTES gm_align_up(sizeof(struct markcompact), GM_PAGE_SIZE)

static bool markcompact_start(struct gc_heap *heap, char *why, size_t why_size) {
  size_t limit = heap->options.heap_limit;
  if (!linear_limit_fits(heap, why, why_size))
    return false;
  struct markcompact *state = sys_alloc(STATE_BYTES);
  void *memory = state ? linear_map(limit) : NULL;
  if (!memory) {
    (void)snprintf(why, why_size, "the system gives no address space for a heap of %zu bytes", limit);
    if (state)
      sys_free((uintptr_t)state, STATE_BYTES);
    return false;
  }
  linear_open(&state->space, (uintptr_t)memory, limit);
  state->goal = state->space.base + linear_goal(heap, 0, limit);
  heap->state = state;
  if (compactor_open(&state->compactor, heap, state->space.base, limit, why, why_size))
    return true;
  linear_unmap(memory, limit);
  sys_free((uintptr_t)state, STATE_BYTES);
  return false;
}

static void markcompact_stop(struct gc_heap *heap) {
  struct markcompact *state = heap->state;
  compactor_close(&state->compactor);
  linear_unmap((void *)state->space.base, heap->options.heap_limit);
  sys_free((uintptr_t)state, STATE_BYTES);
}

static void markcompact_refresh(struct gc_heap *heap) {
  struct markcompact *state = heap->state;
  linear_retire_all(heap, &state->space);
  linear_note_bytes(heap, state->space.fresh - state->space.base);
}

static bool markcompact_collect(struct gc_thread *thread) {
  struct gc_heap *heap = thread->heap;
  struct markcompact *state = heap->state;
  gc_pause_begin(heap);
  markcompact_refresh(heap);
  uintptr_t was = state->space.top;
  const struct compact_range used = {state->space.base, was};
  uintptr_t top = compactor_run(&state->compactor, &used, 1);
  linear_evacuated(&state->space, top, was, heap->options.verify);
  state->goal = state->space.base + linear_goal(heap, top - state->space.base, heap->options.heap_limit);
  linear_trim(&state->space, state->goal);
  heap->figures.collections++;
  gc_pause_end(heap);
  linear_verify(heap);
  return true;
}

static void *markcompact_alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  struct gc_heap *heap = thread->heap;
  struct markcompact *state = heap->state;
  size_t bytes = gc_request_bytes(type, count, heap->options.heap_limit);
  if (bytes == 0 && count > 0)
    return NULL;
  size_t whole = gc_whole_bytes(bytes);
  void *object = linear_stress_due(thread) && !markcompact_collect(thread)
                     ? NULL
                     : linear_refill(thread, &state->space, type, count, whole, state->goal);
  if (object)
    return object;
  markcompact_collect(thread);
  object = linear_refill(thread, &state->space, type, count, whole, state->goal);
  // A request larger than what the goal leaves may use the limit.
  if (!object)
    object = linear_refill(thread, &state->space, type, count, whole, state->space.end);
  return object ? object : linear_out_of_memory();
}

static void markcompact_detach(struct gc_thread *thread) {
  struct markcompact *state = thread->heap->state;
  linear_retire(thread, &state->space);
  linear_detach(thread);
}

static uint64_t markcompact_check(struct gc_heap *heap) {
  struct markcompact *state = heap->state;
  const struct linear_space *spaces[] = {&state->space};
  linear_retire_all(heap, &state->space);
  return linear_check(heap, spaces, 1);
}

static void markcompact_each(struct gc_heap *heap, linear_visit *visit, void *argument) {
  struct markcompact *state = heap->state;
  linear_retire_all(heap, &state->space);
  linear_walk(heap, &state->space, visit, argument);
}

const struct gc_collector gc_markcompact = {
    .name = "markcompact",
    .summary = "linear space, live objects slid together in their order",
    .traits = GC_MOVES | GC_KEEPS_ORDER,
    .most_threads = 1,
    .start = markcompact_start,
    .stop = markcompact_stop,
    .attach = linear_attach,
    .detach = markcompact_detach,
    .alloc = markcompact_alloc,
    .collect = markcompact_collect,
    .refresh = markcompact_refresh,
    .check = markcompact_check,
    .each_object = markcompact_each,
};

// copying: two spaces of half the heap's limit; what is reachable is copied from the one in use to the other,
// which is in use from then on (Fenichel and Yochelson, CACM 12(11), 1969; Cheney's queue, evacuate.h). A
// collection costs only what is live, however much died; the price is that the other half must be there.
#include "core/gc/evacuate.h"
#include "core/gc/linear_heap.h"

#include "core/sys_mem.h"

#include <stdio.h>

struct copying {
  struct linear_space spaces[2];
  unsigned current; // the space in use
  uintptr_t goal;   // its top at which a collection is due
  size_t bytes;     // of each
};

#define STATE_BYTES gm_align_up(sizeof(struct copying), GM_PAGE_SIZE)

static bool copying_start(struct gc_heap *heap, char *why, size_t why_size) {
  size_t half = gm_align_down(heap->options.heap_limit / 2, GM_PAGE_SIZE);
  if (!linear_limit_fits(heap, why, why_size))
    return false;
  struct copying *state = sys_alloc(STATE_BYTES);
  unsigned char *memory = state ? linear_map(2 * half) : NULL;
  if (!memory) {
    (void)snprintf(why, why_size, "the system gives no address space for two spaces of %zu bytes", half);
    if (state)
      sys_free((uintptr_t)state, STATE_BYTES);
    return false;
  }
  state->bytes = half;
  linear_open(&state->spaces[0], (uintptr_t)memory, half);
  linear_open(&state->spaces[1], (uintptr_t)memory + half, half);
  state->goal = state->spaces[0].base + linear_goal(heap, 0, half);
  heap->state = state;
  return true;
}

static void copying_stop(struct gc_heap *heap) {
  struct copying *state = heap->state;
  linear_unmap((void *)state->spaces[0].base, 2 * state->bytes);
  sys_free((uintptr_t)state, STATE_BYTES);
}

static struct linear_space *current_space(struct gc_heap *heap) {
  struct copying *state = heap->state;
  return &state->spaces[state->current];
}

static void copying_refresh(struct gc_heap *heap) {
  struct copying *state = heap->state;
  linear_retire_all(heap, current_space(heap));
  size_t taken = 0;
  for (unsigned i = 0; i < 2; i++)
    taken += state->spaces[i].fresh - state->spaces[i].base;
  linear_note_bytes(heap, taken);
}

static bool copying_collect(struct gc_thread *thread) {
  struct gc_heap *heap = thread->heap;
  struct copying *state = heap->state;
  gc_pause_begin(heap);
  linear_retire_all(heap, current_space(heap));
  struct linear_space *from = current_space(heap);
  struct linear_space *to = &state->spaces[!state->current];
  struct evacuation evacuation = evacuation_begin(heap, from->base, from->top - from->base, to);
  evacuation_run(&evacuation, to);
  copying_refresh(heap); // the peak: both spaces are in use
  linear_evacuated(from, from->base, from->top, heap->options.verify);
  state->current = !state->current;
  size_t live = to->top - to->base;
  size_t goal = linear_goal(heap, live, state->bytes);
  state->goal = to->base + goal;
  linear_trim(to, to->base + goal);
  linear_trim(from, from->base + goal);
  heap->figures.live_bytes = live;
  heap->figures.live_objects = evacuation.objects;
  heap->figures.collections++;
  gc_pause_end(heap);
  linear_verify(heap);
  return true;
}

static void *copying_alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  struct gc_heap *heap = thread->heap;
  struct copying *state = heap->state;
  size_t bytes = gc_request_bytes(type, count, state->bytes);
  if (bytes == 0 && count > 0)
    return NULL;
  size_t whole = gc_whole_bytes(bytes);
  if (linear_stress_due(thread))
    copying_collect(thread);
  void *object = linear_refill(thread, current_space(heap), type, count, whole, state->goal);
  if (object)
    return object;
  copying_collect(thread);
  object = linear_refill(thread, current_space(heap), type, count, whole, state->goal);
  // A request larger than what the goal leaves may use the limit.
  if (!object)
    object = linear_refill(thread, current_space(heap), type, count, whole, current_space(heap)->end);
  return object ? object : linear_out_of_memory();
}

static void copying_detach(struct gc_thread *thread) {
  linear_retire(thread, current_space(thread->heap));
  linear_detach(thread);
}

static uint64_t copying_check(struct gc_heap *heap) {
  struct copying *state = heap->state;
  // A reference into the space that was left leads to no object either.
  const struct linear_space *spaces[] = {&state->spaces[0], &state->spaces[1]};
  linear_retire_all(heap, current_space(heap));
  return linear_check(heap, spaces, 2);
}

static void copying_each(struct gc_heap *heap, linear_visit *visit, void *argument) {
  linear_retire_all(heap, current_space(heap));
  linear_walk(heap, current_space(heap), visit, argument);
}

const struct gc_collector gc_copying = {
    .name = "copying",
    .summary = "two linear spaces, live objects copied from one to the other",
    .traits = GC_MOVES,
    .most_threads = 1,
    .start = copying_start,
    .stop = copying_stop,
    .attach = linear_attach,
    .detach = copying_detach,
    .alloc = copying_alloc,
    .collect = copying_collect,
    .refresh = copying_refresh,
    .check = copying_check,
    .each_object = copying_each,
};

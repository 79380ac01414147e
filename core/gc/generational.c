// generational: objects begin in a nursery; when it is full, those that are still reachable are copied into
// the old space (a minor collection), whose time is that of the few survivors, because most objects die young
// (Ungar 1984, Lieberman and Hewitt 1983). References from old objects to young ones are known through the
// barrier (remembered.h). When the old space has grown to its goal, old and young are collected together by
// sliding (compact.h).
//
//   base .... old.top ....        young.base .... young.top .... end
//   | old objects     |  free     | nursery objects    |  free   |
//
// The nursery is the end of the same range, so that a whole collection slides its survivors down to the old
// ones in the same pass. Every survivor of a minor collection becomes old at once. A minor collection begins
// only when the old space has room for the whole nursery; so it cannot run out half-way. If the live objects
// of a whole collection reach into the nursery, the nursery begins behind them.
//
// Objects of an eighth of the nursery and more are allocated old.
#include "core/gc/compact.h"
#include "core/gc/evacuate.h"
#include "core/gc/linear_heap.h"
#include "core/gc/remembered.h"

#include "core/sys_mem.h"

#include <stdio.h>

struct generational {
  struct linear_space old; // ends where the nursery begins
  struct linear_space young;
  uintptr_t goal; // the old top at which a whole collection is due
  struct compactor compactor;
  struct remembered remembered;
};

#define STATE_BYTES gm_align_up(sizeof(struct generational), GM_PAGE_SIZE)

// Lays out the heap; what is open already is closed by the caller on failure.
static bool open_parts(struct gc_heap *heap, struct generational *state, uintptr_t base, char *why,
                       size_t why_size) {
  size_t limit = heap->options.heap_limit;
  linear_open(&state->old, base, limit - heap->options.nursery_bytes);
  linear_open(&state->young, state->old.end, heap->options.nursery_bytes);
  state->goal = base + linear_goal(heap, 0, limit - heap->options.nursery_bytes);
  if (!compactor_open(&state->compactor, heap, base, limit, why, why_size))
    return false;
  if (remembered_open(&state->remembered, &state->compactor.marks, base, limit))
    return true;
  (void)snprintf(why, why_size, "the system gives no address space for the remembered set");
  compactor_close(&state->compactor);
  return false;
}

static bool generational_start(struct gc_heap *heap, char *why, size_t why_size) {
  size_t limit = heap->options.heap_limit;
  if (!linear_limit_fits(heap, why, why_size))
    return false;
  struct generational *state = sys_alloc(STATE_BYTES);
  void *memory = state ? linear_map(limit) : NULL;
  heap->state = state;
  if (memory && open_parts(heap, state, (uintptr_t)memory, why, why_size))
    return true;
  if (memory)
    linear_unmap(memory, limit);
  else
    (void)snprintf(why, why_size, "the system gives no address space for a heap of %zu bytes", limit);
  if (state)
    sys_free((uintptr_t)state, STATE_BYTES);
  return false;
}

static void generational_stop(struct gc_heap *heap) {
  struct generational *state = heap->state;
  remembered_close(&state->remembered);
  compactor_close(&state->compactor);
  linear_unmap((void *)state->old.base, heap->options.heap_limit);
  sys_free((uintptr_t)state, STATE_BYTES);
}

static void generational_refresh(struct gc_heap *heap) {
  struct generational *state = heap->state;
  linear_retire_all(heap, &state->young);
  linear_note_bytes(heap, state->old.fresh - state->old.base + state->young.fresh - state->young.base);
}

// Tells the threads' barriers where the nursery is.
static void publish_nursery(struct gc_heap *heap) {
  struct generational *state = heap->state;
  for (unsigned i = 0; i < GC_MOST_THREADS; i++)
    if (heap->threads[i]) {
      heap->threads[i]->young_base = state->young.base;
      heap->threads[i]->young_size = state->young.end - state->young.base;
    }
}

static bool room_for_minor(const struct generational *state) {
  return state->old.top < state->goal &&
         state->old.end - state->old.top >= state->young.top - state->young.base;
}

// Copies the nursery's survivors to the old space. Only with room_for_minor().
static void minor(struct gc_heap *heap) {
  struct generational *state = heap->state;
  gc_pause_begin(heap);
  linear_retire_all(heap, &state->young);
  uintptr_t was = state->young.top;
  struct evacuation evacuation =
      evacuation_begin(heap, state->young.base, was - state->young.base, &state->old);
  for (size_t i = 0; i < state->remembered.count; i++)
    evacuation_slot(&evacuation, state->remembered.fields[i]);
  remembered_clear(&state->remembered);
  evacuation_run(&evacuation, &state->old);
  linear_evacuated(&state->young, state->young.base, was, heap->options.verify);
  generational_refresh(heap);
  heap->figures.collections++;
  heap->figures.minor_collections++;
  gc_pause_end(heap);
  linear_verify(heap);
}

// Gives the border between old and young its place after a whole collection, with `top` behind the last
// object.
static void place_nursery(struct gc_heap *heap, uintptr_t top) {
  struct generational *state = heap->state;
  uintptr_t end = state->old.base + heap->options.heap_limit;
  uintptr_t border = end - heap->options.nursery_bytes;
  if (border < top)
    border = gm_align_up(top, GM_PAGE_SIZE);
  // What changes sides counts as dirty.
  uintptr_t dirty = border > state->old.end ? border : state->old.fresh;
  dirty = dirty < border ? dirty : border;
  state->old.fresh = dirty > top ? dirty : top;
  state->old.end = border;
  dirty = state->young.fresh > border ? state->young.fresh : border;
  state->young = (struct linear_space){.base = border, .top = border, .fresh = dirty, .end = end};
}

static bool generational_collect(struct gc_thread *thread) {
  struct gc_heap *heap = thread->heap;
  struct generational *state = heap->state;
  gc_pause_begin(heap);
  generational_refresh(heap);
  uintptr_t was = state->old.top;
  uintptr_t young_was = state->young.top;
  remembered_clear(&state->remembered);
  const struct compact_range used[] = {{state->old.base, was}, {state->young.base, young_was}};
  uintptr_t top = compactor_run(&state->compactor, used, 2);
  linear_evacuated(&state->young, state->young.base < top ? top : state->young.base, young_was,
                   heap->options.verify);
  linear_evacuated(&state->old, top, was, heap->options.verify);
  place_nursery(heap, top);
  publish_nursery(heap);
  size_t most = state->old.end - state->old.base;
  state->goal = state->old.base + linear_goal(heap, top - state->old.base, most);
  linear_trim(&state->old, state->goal);
  heap->figures.collections++;
  gc_pause_end(heap);
  linear_verify(heap);
  return true;
}

// Makes room in the nursery, by the lesser collection if that can be.
static void make_room(struct gc_thread *thread) {
  linear_retire(thread, &((struct generational *)thread->heap->state)->young);
  if (room_for_minor(thread->heap->state))
    minor(thread->heap);
  else
    generational_collect(thread);
}

// An object in the old space, from the thread's own piece of it: there is none, so each is taken by itself.
static void *allocate_old(struct gc_thread *thread, const struct gc_type *type, size_t count, size_t whole) {
  struct generational *state = thread->heap->state;
  uintptr_t at = linear_take(&state->old, whole, state->goal);
  if (at == 0) {
    generational_collect(thread);
    at = linear_take(&state->old, whole, state->old.end);
  }
  if (at == 0)
    return linear_out_of_memory();
  thread->heap->figures.allocated_bytes += whole;
  *(gc_header *)at = linear_make_header(type, count);
  return (gc_header *)at + 1;
}

static void *generational_alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  struct gc_heap *heap = thread->heap;
  struct generational *state = heap->state;
  size_t bytes = gc_request_bytes(type, count, heap->options.heap_limit);
  if (bytes == 0 && count > 0)
    return NULL;
  size_t whole = gc_whole_bytes(bytes);
  if (linear_stress_due(thread))
    make_room(thread);
  if (whole >= heap->options.nursery_bytes / 8)
    return allocate_old(thread, type, count, whole);
  void *object = linear_refill(thread, &state->young, type, count, whole, state->young.end);
  if (object)
    return object;
  make_room(thread);
  object = linear_refill(thread, &state->young, type, count, whole, state->young.end);
  if (object)
    return object;
  generational_collect(thread); // the nursery was small, for live objects reached into it
  object = linear_refill(thread, &state->young, type, count, whole, state->young.end);
  return object ? object : linear_out_of_memory();
}

static bool generational_attach(struct gc_thread *thread, char *why, size_t why_size) {
  struct generational *state = thread->heap->state;
  thread->young_base = state->young.base;
  thread->young_size = state->young.end - state->young.base;
  return linear_attach(thread, why, why_size);
}

static void generational_detach(struct gc_thread *thread) {
  struct generational *state = thread->heap->state;
  linear_retire(thread, &state->young);
  linear_detach(thread);
}

static void generational_record(struct gc_thread *thread, void **field) {
  struct generational *state = thread->heap->state;
  if ((uintptr_t)field - state->old.base < state->old.end - state->old.base)
    remembered_add(&state->remembered, field);
}

// What a barrier should have listed and did not.
struct unlisted {
  struct generational *state;
  uint64_t faults;
};

static void look_for_unlisted(void *object, const struct gc_type *type, size_t count, void *argument) {
  struct unlisted *unlisted = argument;
  const struct generational *state = unlisted->state;
  LINEAR_EACH_FIELD(object, type, count, field, {
    if ((uintptr_t)*field - state->young.base < state->young.end - state->young.base &&
        !remembered_has(&state->remembered, field)) {
      unlisted->faults++;
      linear_say(state->compactor.heap, "old object leads to a young one and is not remembered",
                 (uintptr_t)field);
    }
  });
}

static uint64_t generational_check(struct gc_heap *heap) {
  struct generational *state = heap->state;
  const struct linear_space *spaces[] = {&state->old, &state->young};
  linear_retire_all(heap, &state->young);
  struct unlisted unlisted = {.state = state};
  uint64_t faults = linear_check(heap, spaces, 2);
  if (faults == 0)
    linear_walk(heap, &state->old, look_for_unlisted, &unlisted);
  return faults + unlisted.faults;
}

static void generational_each(struct gc_heap *heap, linear_visit *visit, void *argument) {
  struct generational *state = heap->state;
  linear_retire_all(heap, &state->young);
  linear_walk(heap, &state->old, visit, argument);
  linear_walk(heap, &state->young, visit, argument);
}

const struct gc_collector gc_generational = {
    .name = "generational",
    .summary = "a nursery copied into an old space, which is collected by sliding",
    .traits = GC_MOVES,
    .most_threads = 1,
    .start = generational_start,
    .stop = generational_stop,
    .attach = generational_attach,
    .detach = generational_detach,
    .alloc = generational_alloc,
    .record = generational_record,
    .collect = generational_collect,
    .refresh = generational_refresh,
    .check = generational_check,
    .each_object = generational_each,
};

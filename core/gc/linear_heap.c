// See linear_heap.h.
#include "core/gc/linear_heap.h"

#include "core/sys_mem.h"

#include <errno.h>
#include <stdio.h>

#define OWN_BYTES gm_align_up(sizeof(struct linear_thread), GM_PAGE_SIZE)

size_t linear_goal(const struct gc_heap *heap, size_t live, size_t most) {
  size_t goal = live + live / 100 * heap->options.goal_percent;
  if (goal < LINEAR_LEAST_GOAL)
    goal = LINEAR_LEAST_GOAL;
  return goal < most ? gm_align_down(goal, 8) : most;
}

bool linear_attach(struct gc_thread *thread, char *why, size_t why_size) {
  struct linear_thread *own = sys_alloc(OWN_BYTES);
  if (!own) {
    (void)snprintf(why, why_size, "the system gives no memory for a thread");
    return false;
  }
  own->until_next = thread->heap->options.stress;
  thread->collector_thread = own;
  return true;
}

void linear_detach(struct gc_thread *thread) {
  sys_free((uintptr_t)thread->collector_thread, OWN_BYTES);
}

bool linear_stress_due(struct gc_thread *thread) {
  struct linear_thread *own = thread->collector_thread;
  if (thread->heap->options.stress == 0 || --own->until_next > 0)
    return false;
  own->until_next = thread->heap->options.stress;
  return true;
}

void linear_note_bytes(struct gc_heap *heap, size_t bytes) {
  heap->figures.heap_bytes = bytes;
  if (heap->figures.heap_peak_bytes < bytes)
    heap->figures.heap_peak_bytes = bytes;
}

void *linear_out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

bool linear_limit_fits(const struct gc_heap *heap, char *why, size_t why_size) {
  if (heap->options.heap_limit <= LINEAR_MOST_BYTES)
    return true;
  (void)snprintf(why, why_size, "heap limit of %zu bytes: the linear collectors take at most %zu",
                 heap->options.heap_limit, LINEAR_MOST_BYTES);
  return false;
}

void linear_verify(struct gc_heap *heap) {
  if (heap->options.verify && heap->collector->check(heap) > 0)
    gm_fatal("gc: the heap is not sound after a collection\n");
}

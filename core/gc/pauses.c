// The clocks of a collected heap: pauses as they happen, and what can be said of them afterwards. See
// collector.h.
#include "core/gc/collector.h"

#include "core/sys_mem.h"

#include <stdlib.h>
#include <time.h>

uint64_t gc_now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const struct gc_figures *gc_figures_of(struct gc_heap *heap) {
  if (heap->collector->refresh)
    heap->collector->refresh(heap);
  return &heap->figures;
}

void gc_pause_begin(struct gc_heap *heap) {
  GM_ASSERT(heap->pause_started_ns == 0);
  heap->pause_started_ns = gc_now_ns();
}

void gc_pause_end(struct gc_heap *heap) {
  uint64_t length = gc_now_ns() - heap->pause_started_ns;
  if (heap->pause_count < GC_MOST_PAUSES)
    heap->pauses[heap->pause_count++] = (struct gc_pause){heap->pause_started_ns, length};
  heap->pause_total_ns += length;
  if (length > heap->pause_most_ns)
    heap->pause_most_ns = length;
  heap->pause_started_ns = 0;
}

static int by_length(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left;
  uint64_t b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

uint64_t gc_pause_quantile(const struct gc_heap *heap, double share) {
  size_t count = heap->pause_count;
  size_t bytes = gm_align_up(count * sizeof(uint64_t), GM_PAGE_SIZE);
  uint64_t *lengths = count > 0 ? sys_alloc(bytes) : NULL;
  if (!lengths)
    return count > 0 ? heap->pause_most_ns : 0;
  for (size_t i = 0; i < count; i++)
    lengths[i] = heap->pauses[i].length_ns;
  qsort(lengths, count, sizeof *lengths, by_length);
  double rank = share * (double)count; // the smallest length that at least this many do not exceed
  size_t index = rank <= 1 ? 0 : (size_t)rank - ((double)(size_t)rank == rank ? 1 : 0);
  uint64_t found = lengths[index < count ? index : count - 1];
  sys_free((uintptr_t)lengths, bytes);
  return found;
}

// Pause time inside [from, to), given that pauses before `first` end before it.
static uint64_t paused_within(const struct gc_heap *heap, size_t first, uint64_t from, uint64_t to) {
  uint64_t paused = 0;
  for (size_t i = first; i < heap->pause_count && heap->pauses[i].start_ns < to; i++) {
    uint64_t start = heap->pauses[i].start_ns;
    uint64_t end = start + heap->pauses[i].length_ns;
    uint64_t low = start > from ? start : from;
    uint64_t high = end < to ? end : to;
    paused += high > low ? high - low : 0;
  }
  return paused;
}

// The least is reached by a window that begins where a pause begins or ends where one ends.
double gc_least_utilisation(const struct gc_heap *heap, uint64_t window_ns, uint64_t start_ns,
                            uint64_t end_ns) {
  if (end_ns <= start_ns || heap->pause_count == 0)
    return 1;
  uint64_t window = end_ns - start_ns < window_ns ? end_ns - start_ns : window_ns;
  uint64_t most = 0;
  size_t first = 0; // the first pause that may reach into a window ending with pause i
  for (size_t i = 0; i < heap->pause_count; i++) {
    uint64_t begin = heap->pauses[i].start_ns;
    uint64_t end = begin + heap->pauses[i].length_ns;
    uint64_t from = end > start_ns + window ? end - window : start_ns;
    while (heap->pauses[first].start_ns + heap->pauses[first].length_ns <= from && first < i)
      first++;
    uint64_t before = paused_within(heap, first, from, from + window);
    uint64_t late = begin > end_ns - window ? end_ns - window : begin;
    uint64_t after = paused_within(heap, late < begin ? first : i, late, late + window);
    most = before > most ? before : most;
    most = after > most ? after : most;
  }
  return most >= window ? 0 : 1 - (double)most / (double)window;
}

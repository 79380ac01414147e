// One cycle: when it is due, the stop, marking, the turn of the bitmaps, the next goal (Go: mgc.go,
// mgcpacer.go). See marksweep.h.
#include "core/gc/marksweep.h"

#include "core/errors.h"
#include "core/gc/marksweep_stats.h"
#include "core/mheap.h"
#include "core/options.h"
#include "core/sys_mem.h"

#include <string.h>
#include <time.h>

struct gc_state gc;

// The last cycle's marks, and the bits of objects that one of the two markings did not reach, for checkmark.
struct comparison {
  uint64_t *words;
  size_t at;
  uint64_t differences;
};

uint64_t gc_clock_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// ---- The goal

// What the collector's heap may have so that the process stays below the memory limit.
static uint64_t room_below_limit(void) {
  uint64_t limit = gm_option_get(&gm_options.mem_limit);
  if (limit == GM_NO_LIMIT)
    return UINT64_MAX;
  uint64_t manual = (uint64_t)(gm_heap.in_use_pages - gm_heap.collected_pages) << GM_PAGE_SHIFT;
  return limit > manual ? limit - manual : 0;
}

static uint64_t least_of(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

// The limits never leave less than a sixteenth over what is taken, or the program would do nothing but
// collect (Go limits the collector's share of time). `live` is what marking found, `taken` that and the free
// objects of spans that mutators hold.
static void set_goal(uint64_t live, uint64_t taken) {
  uint64_t growth = live / 100 * gc.options.growth_percent;
  uint64_t goal = live + (growth > gc.options.min_growth ? growth : gc.options.min_growth);
  goal = least_of(goal, gc.options.heap_limit != 0 ? gc.options.heap_limit : UINT64_MAX);
  goal = least_of(goal, room_below_limit());
  uint64_t least = taken + taken / 16 + ((uint64_t)256 << 10);
  atomic_store_explicit(&gc.goal, goal > least ? goal : least, memory_order_relaxed);
}

void gc_goal_init(void) {
  set_goal(0, 0);
}

// ---- Checkmark

static void save_marks(struct gc_span *span, void *context) {
  struct comparison *comparison = context;
  memcpy(comparison->words + comparison->at, span->mark_bits, span->words * sizeof(uint64_t));
  memset(span->mark_bits, 0, span->words * sizeof(uint64_t));
  comparison->at += span->words;
}

static void compare_marks(struct gc_span *span, void *context) {
  struct comparison *comparison = context;
  for (uint32_t i = 0; i < span->words; i++)
    comparison->differences +=
        (uint64_t)__builtin_popcountll(comparison->words[comparison->at + i] ^ span->mark_bits[i]);
  comparison->at += span->words;
}

static void count_words(struct gc_span *span, void *context) {
  struct comparison *comparison = context;
  comparison->at += span->words;
}

// Marks a second time, alone and from nothing: exactly the same objects must be found.
static void checkmark(void) {
  struct comparison comparison = {NULL, 0, 0};
  gc_span_each(count_words, &comparison);
  size_t bytes = gm_align_up(comparison.at * sizeof(uint64_t) + 1, GM_PAGE_SIZE);
  comparison.words = sys_alloc(bytes);
  if (comparison.words == NULL)
    return; // nothing to compare with; the cycle itself is not affected
  comparison.at = 0;
  gc_span_each(save_marks, &comparison);
  (void)gc_mark(1);
  comparison.at = 0;
  gc_span_each(compare_marks, &comparison);
  sys_free((uintptr_t)comparison.words, bytes);
  if (comparison.differences != 0)
    gm_fatal("gomalloc: checkmark: the second marking found other objects than the first\n");
}

// ---- The turn

// Changes the objects of open runs, which are not there yet: an ambiguous word must not find them.
static void change_open_runs(void (*change)(struct gc_span *span, uint32_t from, uint32_t to)) {
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  for (struct gc_mutator *mutator = gc_mutators(); mutator != NULL; mutator = mutator->next)
    for (unsigned kind = 0; kind < count; kind++) {
      struct gc_span *span = mutator->active[kind];
      const struct gm_gc_slot *slot = &mutator->slots[kind];
      if (span != NULL && slot->cursor != slot->limit)
        change(span, (uint32_t)gc_span_index(span, (uintptr_t)slot->cursor),
               (uint32_t)gc_span_index(span, (uintptr_t)slot->limit));
    }
}

void gc_runs_hide(void) {
  change_open_runs(gc_span_untake);
}

void gc_runs_show(void) {
  change_open_runs(gc_span_retake);
}

// Spans that mutators allocate from are swept at once.
static void sweep_active(struct gc_mutator *mutator) {
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  for (unsigned kind = 0; kind < count; kind++) {
    struct gc_span *span = mutator->active[kind];
    if (span == NULL)
      continue;
    (void)gc_span_sweep(span);
    uint64_t taken = gc_bits_count(span->alloc_bits, span->words);
    atomic_fetch_add_explicit(&gc.heap_live, (span->object_count - taken) * span->bytes,
                              memory_order_relaxed);
  }
}

// Sweeps all that is left for it: the check is of swept spans.
static void verify(void) {
  gc_sweep_finish();
  if (gc_check_spans() != 0)
    gm_fatal("gomalloc: a collection left a broken heap\n");
}

// Bytes of heap per marking thread: waking a thread for less costs more than it marks.
static const uint64_t marking_share = (uint64_t)4 << 20;

static unsigned marking_threads(void) {
  if (!gc.adaptive_marking)
    return gc.options.mark_threads;
  uint64_t useful = 1 + atomic_load_explicit(&gc.heap_live, memory_order_relaxed) / marking_share;
  return useful < gc.options.mark_threads ? (unsigned)useful : gc.options.mark_threads;
}

// With the world stopped.
static void mark_and_turn(void) {
  gc_sweep_close();
  gc_runs_hide();
  uint64_t mark_start = gc_clock_ns();
  struct gc_marked marked = gc_mark(marking_threads());
  uint64_t mark_end = gc_clock_ns();
  if (gc.options.checkmark)
    checkmark();
  gc_sweep_start();
  atomic_store_explicit(&gc.heap_live, marked.bytes, memory_order_relaxed);
  for (struct gc_mutator *mutator = gc_mutators(); mutator != NULL; mutator = mutator->next)
    sweep_active(mutator);
  if (gc.options.verify)
    verify();
  gc_runs_show();
  set_goal(marked.bytes, atomic_load_explicit(&gc.heap_live, memory_order_relaxed));
  gc_stats_note_cycle(marked, mark_end - mark_start);
}

static void cycle(void *argument) {
  const uint64_t *cycles_seen = argument;
  gc_world_lock();
  if (atomic_load_explicit(&gc.cycles, memory_order_relaxed) == *cycles_seen) {
    gc_sweep_finish(); // most of it while the others run
    gc_stats_before_pause();
    uint64_t start = gc_clock_ns();
    gc_world_stop();
    mark_and_turn();
    gc_stats_note_pause(gc_clock_ns() - start);
    atomic_fetch_add_explicit(&gc.cycles, 1, memory_order_relaxed);
    gc_world_start();
    gc_stats_after_pause();
    gc_helpers_wake_sweep();
  }
  gc_world_unlock();
}

void gc_cycle(uint64_t cycles_seen) {
  gc_while_safe(cycle, &cycles_seen);
}

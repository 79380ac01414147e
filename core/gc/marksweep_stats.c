// The collector's figures. See marksweep_stats.h.
#include "core/gc/marksweep_stats.h"

#include <string.h>

// Under the world lock.
static struct {
  struct gc_marked marked; // by the last cycle
  uint64_t mark_ns;
  uint64_t pause_ns;
  uint64_t pause_most_ns;
  uint64_t pause_last_ns;
  uint64_t histogram[GM_GC_PAUSE_BUCKETS];
  void (*before)(void *context);
  void (*after)(void *context);
  void *hook_context;
} record;

void gc_stats_clear(void) {
  memset(&record, 0, sizeof record);
}

void gc_stats_note_cycle(struct gc_marked marked, uint64_t mark_ns) {
  record.marked = marked;
  record.mark_ns += mark_ns;
}

void gc_stats_note_pause(uint64_t ns) {
  record.pause_ns += ns;
  record.pause_last_ns = ns;
  record.pause_most_ns = ns > record.pause_most_ns ? ns : record.pause_most_ns;
  unsigned bucket = 0;
  while (bucket + 1 < GM_GC_PAUSE_BUCKETS && ns >= (uint64_t)1000 << bucket)
    bucket++;
  record.histogram[bucket]++;
}

void gc_stats_before_pause(void) {
  if (record.before != NULL)
    record.before(record.hook_context);
}

void gc_stats_after_pause(void) {
  if (record.after != NULL)
    record.after(record.hook_context);
}

static void with_world_lock(void (*work)(void *argument), void *argument) {
  if (gc_self != NULL)
    gc_while_safe(work, argument);
  else
    work(argument);
}

struct hooks {
  void (*before)(void *context);
  void (*after)(void *context);
  void *context;
};

static void set_hooks(void *argument) {
  const struct hooks *hooks = argument;
  gc_world_lock();
  record.before = hooks->before;
  record.after = hooks->after;
  record.hook_context = hooks->context;
  gc_world_unlock();
}

void gm_gc_pause_hooks(void (*before)(void *context), void (*after)(void *context), void *context) {
  struct hooks hooks = {before, after, context};
  with_world_lock(set_hooks, &hooks);
}

static void copy_histogram(void *argument) {
  gc_world_lock();
  memcpy(argument, record.histogram, sizeof record.histogram);
  gc_world_unlock();
}

void gm_gc_pause_histogram(uint64_t counts[GM_GC_PAUSE_BUCKETS]) {
  with_world_lock(copy_histogram, counts);
}

// What a thread's runs have left is not allocated yet. Its slots move on meanwhile, unless it is the caller.
static uint64_t left_in_runs(const struct gc_mutator *mutator, uint64_t *objects) {
  uint64_t bytes = 0;
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  for (unsigned kind = 0; kind < count; kind++) {
    const struct gm_gc_slot *slot = &mutator->slots[kind];
    uint32_t size = gc_kinds[kind].type.size;
    size_t left = (size_t)(__atomic_load_n(&slot->limit, __ATOMIC_RELAXED) -
                           __atomic_load_n(&slot->cursor, __ATOMIC_RELAXED));
    if (left > GM_PAGE_SIZE * 8)
      continue; // between two runs
    bytes += left;
    *objects += left / size;
  }
  return bytes;
}

static void read_stats(void *argument) {
  struct gm_gc_stats *out = argument;
  gc_world_lock();
  uint64_t bytes = gc_gone_bytes;
  uint64_t objects = gc_gone_objects;
  for (struct gc_mutator *mutator = gc_mutators(); mutator != NULL; mutator = mutator->next) {
    uint64_t left_objects = 0;
    uint64_t left = left_in_runs(mutator, &left_objects);
    bytes += atomic_load_explicit(&mutator->allocated_bytes, memory_order_relaxed) - left;
    objects += atomic_load_explicit(&mutator->allocated_objects, memory_order_relaxed) - left_objects;
    out->threads++;
  }
  out->allocated_bytes = bytes;
  out->allocated_objects = objects;
  out->live_bytes = record.marked.bytes;
  out->live_objects = record.marked.objects;
  out->pause_total_ns = record.pause_ns;
  out->pause_most_ns = record.pause_most_ns;
  out->pause_last_ns = record.pause_last_ns;
  out->mark_total_ns = record.mark_ns;
  gc_world_unlock();
}

void gm_gc_stats_read(struct gm_gc_stats *stats) {
  memset(stats, 0, sizeof *stats);
  with_world_lock(read_stats, stats);
  stats->cycles = atomic_load_explicit(&gc.cycles, memory_order_relaxed);
  stats->heap_bytes = atomic_load_explicit(&gc.heap_bytes, memory_order_relaxed);
  stats->heap_peak_bytes = atomic_load_explicit(&gc.heap_peak, memory_order_relaxed);
  stats->goal_bytes = atomic_load_explicit(&gc.goal, memory_order_relaxed);
  stats->assist_ns = atomic_load_explicit(&gc.assist_ns, memory_order_relaxed);
  stats->background_ns = atomic_load_explicit(&gc.background_ns, memory_order_relaxed);
  stats->spans = atomic_load_explicit(&gc.spans, memory_order_relaxed);
}

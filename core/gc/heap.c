// What all collectors share: starting and ending a heap, its types, its global roots, its threads. See
// mutator.h for the contract, collector.h for the table, pauses.c for the clocks.
#include "core/gc/collector.h"

#include "core/gc/mapped.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define KIB ((size_t)1 << 10)

#define LEAST_LIMIT      MIB
#define MOST_LIMIT       ((size_t)1 << 40)
#define LEAST_NURSERY    (64 * KIB)
#define MOST_TYPE_SIZE   ((uint32_t)1 << 30)
#define TYPE_STORE_BYTES (16 * MIB)

// Bytes of the blocks that a heap takes from the system for itself; touched as far as they are used.
#define TYPES_BYTES  gm_align_up(GC_MOST_TYPES * sizeof(struct gc_type), GM_PAGE_SIZE)
#define ROOTS_BYTES  gm_align_up(GC_MOST_ROOT_RANGES * sizeof(struct gc_root_range), GM_PAGE_SIZE)
#define PAUSES_BYTES gm_align_up(GC_MOST_PAUSES * sizeof(struct gc_pause), GM_PAGE_SIZE)
#define HEAP_BYTES   gm_align_up(sizeof(struct gc_heap), GM_PAGE_SIZE)
#define THREAD_BYTES gm_align_up(sizeof(struct gc_thread), GM_PAGE_SIZE)

static struct gc_heap *only_heap; // of a collector with GC_ONE_HEAP

static size_t usual_limit(void) {
  long pages = sysconf(_SC_PHYS_PAGES);
  long bytes = sysconf(_SC_PAGESIZE);
  size_t memory = pages > 0 && bytes > 0 ? (size_t)pages * (size_t)bytes : (size_t)1 << 30;
  size_t limit = gm_align_down(memory / 4 * 3, MIB);
  return limit < LEAST_LIMIT ? LEAST_LIMIT : limit > MOST_LIMIT ? MOST_LIMIT : limit;
}

// Fills in defaults; false with a line in `why` for a value out of range.
static bool complete_options(struct gc_options *options, char *why, size_t why_size) {
  if (options->heap_limit == 0)
    options->heap_limit = usual_limit();
  if (options->heap_limit < LEAST_LIMIT || options->heap_limit > MOST_LIMIT) {
    (void)snprintf(why, why_size, "heap limit of %zu bytes: give 1 MiB to 1 TiB", options->heap_limit);
    return false;
  }
  options->heap_limit = gm_align_up(options->heap_limit, GM_PAGE_SIZE);
  if (options->goal_percent == 0)
    options->goal_percent = 100;
  if (options->goal_percent < 10 || options->goal_percent > 10000) {
    (void)snprintf(why, why_size, "heap goal of %u percent: give 10 to 10000", options->goal_percent);
    return false;
  }
  size_t most_nursery = options->heap_limit / 4;
  if (options->nursery_bytes == 0)
    options->nursery_bytes = most_nursery < 4 * MIB ? most_nursery : 4 * MIB;
  if (options->nursery_bytes < LEAST_NURSERY || options->nursery_bytes > most_nursery) {
    (void)snprintf(why, why_size,
                   "nursery of %zu bytes: give 64 KiB to a quarter of the heap limit, %zu bytes",
                   options->nursery_bytes, most_nursery);
    return false;
  }
  options->nursery_bytes = gm_align_down(options->nursery_bytes, GM_PAGE_SIZE);
  return true;
}

static void give_back(struct gc_heap *heap) {
  if (heap->types)
    sys_free((uintptr_t)heap->types, TYPES_BYTES);
  if (heap->type_store)
    sys_free((uintptr_t)heap->type_store, TYPE_STORE_BYTES);
  if (heap->roots)
    sys_free((uintptr_t)heap->roots, ROOTS_BYTES);
  if (heap->pauses)
    sys_free((uintptr_t)heap->pauses, PAUSES_BYTES);
  sys_free((uintptr_t)heap, HEAP_BYTES);
}

struct gc_heap *gc_heap_start(const struct gc_collector *collector, const struct gc_options *options,
                              char *why, size_t why_size) {
  struct gc_options wanted = *options;
  if (!complete_options(&wanted, why, why_size))
    return NULL;
  if ((collector->traits & GC_ONE_HEAP) && only_heap) {
    (void)snprintf(why, why_size, "%s has one heap per process, and that is in use", collector->name);
    return NULL;
  }
  struct gc_heap *heap = sys_alloc(HEAP_BYTES);
  if (!heap) {
    (void)snprintf(why, why_size, "the system gives no memory for a heap");
    return NULL;
  }
  heap->collector = collector;
  heap->options = wanted;
  heap->types = sys_alloc(TYPES_BYTES);
  heap->type_store = sys_alloc(TYPE_STORE_BYTES);
  heap->roots = sys_alloc(ROOTS_BYTES);
  heap->pauses = sys_alloc(PAUSES_BYTES);
  heap->type_count = 1; // 0 is the filler
  if (!heap->types || !heap->type_store || !heap->roots || !heap->pauses)
    (void)snprintf(why, why_size, "the system gives no memory for a heap's tables");
  else if (collector->start(heap, why, why_size)) {
    if (collector->traits & GC_ONE_HEAP)
      only_heap = heap;
    return heap;
  }
  give_back(heap);
  return NULL;
}

void gc_heap_stop(struct gc_heap *heap) {
  if (heap->thread_count > 0)
    gm_fatal("gc: gc_heap_stop: a thread is still attached\n");
  heap->collector->stop(heap);
  if (only_heap == heap)
    only_heap = NULL;
  give_back(heap);
}

// NULL, or what is wrong with a pointer map; `at` is the offset that the words speak of.
static const char *map_fault(const struct gc_type_spec *spec, uint32_t *at) {
  for (uint32_t i = 0; i < spec->pointer_count; i++) {
    *at = spec->pointers[i];
    if (*at % sizeof(void *) != 0)
      return "which is not a multiple of 8";
    if (*at > spec->size || spec->size - *at < sizeof(void *))
      return "which is outside of the object";
    if (i > 0 && *at <= spec->pointers[i - 1])
      return "which does not rise";
  }
  return NULL;
}

static bool type_is_sound(const struct gc_type_spec *spec, char *why, size_t why_size) {
  const char *name = spec->name ? spec->name : "";
  uint32_t at = 0;
  if (spec->size == 0 || spec->size > MOST_TYPE_SIZE) {
    (void)snprintf(why, why_size, "type \"%.64s\": %u bytes: give 1 to 2^30", name, spec->size);
    return false;
  }
  if (spec->pointer_count > 0 && (!spec->pointers || spec->size % sizeof(void *) != 0)) {
    (void)snprintf(why, why_size,
                   "type \"%.64s\": with references it needs a map and a size that is a multiple of 8", name);
    return false;
  }
  const char *fault = map_fault(spec, &at);
  if (fault)
    (void)snprintf(why, why_size, "type \"%.64s\": its pointer map names offset %u of %u bytes, %s", name, at,
                   spec->size, fault);
  return !fault;
}

// A copy of `bytes` at `from` that lives as long as the heap; room was checked.
static void *keep(struct gc_heap *heap, const void *from, size_t bytes) {
  void *place = heap->type_store + heap->type_store_used;
  if (bytes > 0)
    memcpy(place, from, bytes);
  heap->type_store_used += gm_align_up(bytes, 8);
  return place;
}

const struct gc_type *gc_type_register(struct gc_heap *heap, const struct gc_type_spec *spec, char *why,
                                       size_t why_size) {
  if (!type_is_sound(spec, why, why_size))
    return NULL;
  const char *name = spec->name ? spec->name : "";
  size_t name_bytes = strlen(name) + 1;
  size_t map_bytes = spec->pointer_count * sizeof *spec->pointers;
  if (heap->type_count == GC_MOST_TYPES ||
      TYPE_STORE_BYTES - heap->type_store_used < gm_align_up(name_bytes, 8) + gm_align_up(map_bytes, 8)) {
    (void)snprintf(why, why_size, "type \"%.64s\": the heap has room for no further types", name);
    return NULL;
  }
  struct gc_type *type = &heap->types[heap->type_count];
  *type = (struct gc_type){
      .tag = (gc_header)1 << GC_HEADER_COUNT_SHIFT | (gc_header)heap->type_count << GC_HEADER_TYPE_SHIFT,
      .size = spec->size,
      .id = heap->type_count,
      .pointer_count = spec->pointer_count,
      .array = spec->array,
      .pointers = keep(heap, spec->pointers, map_bytes),
      .name = keep(heap, name, name_bytes),
  };
  heap->type_count++;
  if (heap->collector->type_added && !heap->collector->type_added(heap, type)) {
    heap->type_count--;
    (void)snprintf(why, why_size, "type \"%.64s\": %s has no room for it", name, heap->collector->name);
    return NULL;
  }
  return type;
}

// The range that shares a word with [start, start + bytes), or NULL.
static struct gc_root_range *overlapping(struct gc_heap *heap, uintptr_t start, size_t bytes) {
  for (size_t i = 0; i < heap->root_count; i++) {
    uintptr_t other = (uintptr_t)heap->roots[i].start;
    if (start < other + heap->roots[i].words * sizeof(void *) && other < start + bytes)
      return &heap->roots[i];
  }
  return NULL;
}

bool gc_roots_add(struct gc_heap *heap, void *start, size_t bytes, char *why, size_t why_size) {
  uintptr_t address = (uintptr_t)start;
  const char *fault = NULL;
  if (bytes == 0 || (address | bytes) % sizeof(void *) != 0)
    fault = "start and length must be multiples of 8, and not 0";
  else if (address + bytes < address || !mapped_writable(address, bytes))
    fault = "not all of it is mapped readable and writable";
  else if (overlapping(heap, address, bytes))
    fault = "it overlaps a range that is registered";
  else if (heap->root_count == GC_MOST_ROOT_RANGES)
    fault = "the heap has room for no further ranges";
  if (fault) {
    (void)snprintf(why, why_size, "root range of %zu bytes at %p: %s", bytes, start, fault);
    return false;
  }
  struct gc_root_range *range = &heap->roots[heap->root_count++];
  *range = (struct gc_root_range){start, bytes / sizeof(void *)};
  if (heap->collector->roots_changed)
    heap->collector->roots_changed(heap, range, true);
  return true;
}

bool gc_roots_remove(struct gc_heap *heap, void *start) {
  for (size_t i = 0; i < heap->root_count; i++)
    if (heap->roots[i].start == start) {
      if (heap->collector->roots_changed)
        heap->collector->roots_changed(heap, &heap->roots[i], false);
      heap->roots[i] = heap->roots[--heap->root_count];
      return true;
    }
  return false;
}

// NULL, or why the collector cannot take a thread of a program that was compiled like this.
static const char *attach_fault(const struct gc_heap *heap, bool conservative) {
  const struct gc_collector *collector = heap->collector;
  bool wants = (collector->traits & (GC_CONSERVATIVE | GC_MANUAL)) != 0;
  if (wants != conservative)
    return wants ? "the program must be compiled with GC_MUTATOR_CONSERVATIVE=1 for it"
                 : "the program must be compiled with linked frames (GC_MUTATOR_CONSERVATIVE=0) for it";
  return heap->thread_count >= collector->most_threads ? "it takes no further mutator thread" : NULL;
}

struct gc_thread *gc_thread_attach_as(struct gc_heap *heap, bool conservative, char *why, size_t why_size) {
  const struct gc_collector *collector = heap->collector;
  const char *fault = attach_fault(heap, conservative);
  struct gc_thread *thread = fault ? NULL : sys_alloc(THREAD_BYTES);
  if (!thread) {
    (void)snprintf(why, why_size, "%s (at most %u threads): %s", collector->name, collector->most_threads,
                   fault ? fault : "the system gives no memory for a thread");
    return NULL;
  }
  thread->heap = heap;
  thread->manual = (collector->traits & GC_MANUAL) != 0;
  thread->alloc = collector->alloc;
  thread->record = collector->record;
  thread->release = collector->release;
  thread->poll = collector->poll;
  if (collector->attach && !collector->attach(thread, why, why_size)) {
    sys_free((uintptr_t)thread, THREAD_BYTES);
    return NULL;
  }
  unsigned free_place = 0;
  while (heap->threads[free_place])
    free_place++;
  heap->threads[free_place] = thread;
  heap->thread_count++;
  return thread;
}

void gc_thread_detach(struct gc_thread *thread) {
  struct gc_heap *heap = thread->heap;
  if (thread->frames)
    gm_fatal("gc: gc_thread_detach: a frame is still linked\n");
  if (heap->collector->detach)
    heap->collector->detach(thread);
  for (unsigned i = 0; i < GC_MOST_THREADS; i++)
    if (heap->threads[i] == thread)
      heap->threads[i] = NULL;
  heap->thread_count--;
  sys_free((uintptr_t)thread, THREAD_BYTES);
}

bool gc_collect(struct gc_thread *thread) {
  return thread->manual || thread->heap->collector->collect(thread);
}

void gc_each_root(struct gc_heap *heap, void (*visit)(void **slot, void *argument), void *argument) {
  for (unsigned i = 0; i < GC_MOST_THREADS; i++) {
    if (!heap->threads[i])
      continue;
    for (struct gc_frame *frame = heap->threads[i]->frames; frame; frame = frame->up) {
      void **slots = (void **)(frame + 1);
      for (size_t j = 0; j < frame->count; j++)
        visit(&slots[j], argument);
    }
  }
  for (size_t i = 0; i < heap->root_count; i++)
    for (size_t j = 0; j < heap->roots[i].words; j++)
      visit(&heap->roots[i].start[j], argument);
}

size_t gc_request_bytes(const struct gc_type *type, size_t count, size_t most) {
  size_t bytes;
  if (count <= GC_MOST_COUNT && !__builtin_mul_overflow(count, (size_t)type->size, &bytes) && bytes <= most)
    return bytes;
  errno = ENOMEM;
  return 0;
}

// gc_boehm.c: Boehm's conservative collector (libgc, bdwgc) as a collector of ours. The library is taken by
// dlopen when a heap is started, so that heaparena needs neither its headers nor the library itself.
//
// Objects without references come from GC_malloc_atomic, all others from GC_malloc, as programs use it. Its
// marker threads are set to one: the programs have one mutator, and the other collectors collect on it.
// Everything else is the library's default.
#include "adapters/collectors.h"
#include "adapters/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

// Of gc.h: the events between which the world stands still.
enum { EVENT_PRE_STOP_WORLD = 6, EVENT_POST_START_WORLD = 9 };

typedef void (*reachable_visit)(void *object, size_t bytes, void *argument);
typedef void *(*locked_call)(void *argument);

// The functions that we use, named as in gc.h without GC_.
static struct {
  void (*init)(void);
  void *(*malloc)(size_t);
  void *(*malloc_atomic)(size_t);
  void (*gcollect)(void);
  void (*add_roots)(void *, void *);
  void (*remove_roots)(void *, void *);
  void (*set_max_heap_size)(size_t);
  void (*set_free_space_divisor)(size_t);
  void (*set_markers_count)(unsigned);
  void (*set_on_collection_event)(void (*)(int));
  void *(*call_with_alloc_lock)(locked_call, void *);
  void (*enumerate_reachable_objects_inner)(reachable_visit, void *);
  size_t (*get_heap_size)(void);
  size_t (*get_total_bytes)(void);
  size_t (*get_gc_no)(void);
  unsigned (*get_version)(void);
} gc;

static struct gc_heap *heap_in_use;
static size_t total_before, collections_before;

static const char *const libraries[] = {"libgc.so.1", NULL};

static bool load(char *why, size_t why_size) {
  static const struct {
    void **place;
    const char *name;
  } functions[] = {
      {(void **)&gc.init, "GC_init"},
      {(void **)&gc.malloc, "GC_malloc"},
      {(void **)&gc.malloc_atomic, "GC_malloc_atomic"},
      {(void **)&gc.gcollect, "GC_gcollect"},
      {(void **)&gc.add_roots, "GC_add_roots"},
      {(void **)&gc.remove_roots, "GC_remove_roots"},
      {(void **)&gc.set_max_heap_size, "GC_set_max_heap_size"},
      {(void **)&gc.set_free_space_divisor, "GC_set_free_space_divisor"},
      {(void **)&gc.set_markers_count, "GC_set_markers_count"},
      {(void **)&gc.set_on_collection_event, "GC_set_on_collection_event"},
      {(void **)&gc.call_with_alloc_lock, "GC_call_with_alloc_lock"},
      {(void **)&gc.enumerate_reachable_objects_inner, "GC_enumerate_reachable_objects_inner"},
      {(void **)&gc.get_heap_size, "GC_get_heap_size"},
      {(void **)&gc.get_total_bytes, "GC_get_total_bytes"},
      {(void **)&gc.get_gc_no, "GC_get_gc_no"},
      {(void **)&gc.get_version, "GC_get_version"},
  };
  char path[PATH_MAX];
  if (!ha_library_find(libraries, path, sizeof path)) {
    snprintf(why, why_size, "%s not found; install it with: apt-get install libgc1", libraries[0]);
    return false;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  for (size_t i = 0; library && i < sizeof functions / sizeof *functions; i++) {
    void *found = dlsym(library, functions[i].name);
    if (!found) {
      snprintf(why, why_size, "%s has no %s; version 8 of Boehm's collector is needed", path,
               functions[i].name);
      return false;
    }
    memcpy((void *)functions[i].place, &found, sizeof found);
  }
  if (!library)
    snprintf(why, why_size, "%s cannot be loaded: %s", path, dlerror());
  return library != NULL;
}

const char *ha_gc_boehm_version(char *why, size_t why_size) {
  static char version[32];
  if (!gc.get_version && !load(why, why_size))
    return NULL;
  unsigned number = gc.get_version(); // a byte each: major, minor, micro
  snprintf(version, sizeof version, "%u.%u.%u", number >> 16, number >> 8 & 255, number & 255);
  return version;
}

static void on_event(int event) {
  if (!heap_in_use)
    return;
  if (event == EVENT_PRE_STOP_WORLD)
    gc_pause_begin(heap_in_use);
  else if (event == EVENT_POST_START_WORLD)
    gc_pause_end(heap_in_use);
}

static bool boehm_start(struct gc_heap *heap, char *why, size_t why_size) {
  static bool ready;
  if (!ready) {
    if (!ha_gc_boehm_version(why, why_size))
      return false;
    gc.set_markers_count(1);
    gc.init();
    gc.set_on_collection_event(on_event);
    ready = true;
  }
  gc.set_max_heap_size(heap->options.heap_limit);
  // The heap grows when less than 1/divisor of it could be reclaimed; 1 is closest to a goal of 100 %, 3 the
  // default.
  gc.set_free_space_divisor(heap->options.goal_percent == 100 ? 3 : 1 + 200 / heap->options.goal_percent);
  total_before = gc.get_total_bytes();
  collections_before = gc.get_gc_no();
  heap_in_use = heap;
  return true;
}

static void boehm_stop(struct gc_heap *heap) {
  for (size_t i = 0; i < heap->root_count; i++)
    gc.remove_roots((void *)heap->roots[i].start, (void *)(heap->roots[i].start + heap->roots[i].words));
  heap_in_use = NULL;
  gc.gcollect();
}

static void boehm_roots_changed(struct gc_heap *heap, const struct gc_root_range *range, bool added) {
  (void)heap;
  (added ? gc.add_roots : gc.remove_roots)((void *)range->start, (void *)(range->start + range->words));
}

static void count_reachable(void *object, size_t bytes, void *argument) {
  struct gc_figures *figures = argument;
  (void)object;
  figures->live_objects++;
  figures->live_bytes += bytes;
}

static void *count_all_reachable(void *argument) {
  gc.enumerate_reachable_objects_inner(count_reachable, argument);
  return NULL;
}

// What is live is what the last collection marked.
static void boehm_refresh(struct gc_heap *heap) {
  struct gc_figures *figures = &heap->figures;
  figures->live_objects = figures->live_bytes = 0;
  gc.call_with_alloc_lock(count_all_reachable, figures);
  figures->allocated_bytes = gc.get_total_bytes() - total_before;
  figures->collections = gc.get_gc_no() - collections_before;
  figures->heap_bytes = gc.get_heap_size();
  if (figures->heap_peak_bytes < figures->heap_bytes)
    figures->heap_peak_bytes = figures->heap_bytes;
}

static bool boehm_collect(struct gc_thread *thread) {
  gc.gcollect();
  boehm_refresh(thread->heap);
  return true;
}

static void *boehm_alloc(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  uint64_t stress = thread->heap->options.stress;
  size_t bytes = gc_request_bytes(type, count, thread->heap->options.heap_limit);
  if (bytes == 0 && count > 0)
    return NULL;
  if (stress > 0 && ++thread->heap->figures.allocated_objects % stress == 0)
    gc.gcollect();
  void *object = type->pointer_count > 0 ? gc.malloc(bytes) : gc.malloc_atomic(bytes);
  if (!object)
    errno = ENOMEM;
  else if (type->pointer_count == 0)
    memset(object, 0, bytes);
  return object;
}

// The library has no walk that it offers; its own assertions are not in a release build.
static uint64_t boehm_check(struct gc_heap *heap) {
  (void)heap;
  return 0;
}

const struct gc_collector ha_gc_boehm = {
    .name = "boehm",
    .summary = "Boehm's conservative mark-sweep collector (libgc)",
    .traits = GC_CONSERVATIVE | GC_ONE_HEAP,
    .most_threads = 1,
    .start = boehm_start,
    .stop = boehm_stop,
    .roots_changed = boehm_roots_changed,
    .alloc = boehm_alloc,
    .collect = boehm_collect,
    .refresh = boehm_refresh,
    .check = boehm_check,
};

// The collector's start and end, questions about objects, the check, fork. See gm_gc.h; the overview of a
// cycle is in README.md.
#include "core/gc/gm_gc.h"

#include "core/errors.h"
#include "core/gc/marksweep_stats.h"
#include "core/gomalloc.h"
#include "core/mheap.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

enum { MARK_THREADS_DEFAULT_MAX = 8, MARK_THREADS_MAX = 64 };

static unsigned processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  int count = CPU_COUNT(&set);
  return count < 1 ? 1 : (unsigned)count;
}

static bool options_are_good(const struct gm_gc_options *options) {
  return options->growth_percent <= 10000 && options->mark_threads <= MARK_THREADS_MAX &&
         (options->stop == GM_GC_STOP_SIGNAL || options->stop == GM_GC_STOP_SAFEPOINT) &&
         options->stop_signal >= 0 && options->stop_signal <= 64 &&
         options->heap_limit <= (size_t)1 << GM_ADDR_BITS && options->min_growth <= (size_t)1 << GM_ADDR_BITS;
}

static void fill_in_defaults(struct gm_gc_options *options) {
  if (options->growth_percent == 0)
    options->growth_percent = 100;
  if (options->min_growth == 0)
    options->min_growth = ((size_t)16 << 20) * options->growth_percent / 100;
  if (options->mark_threads == 0) {
    unsigned count = processors();
    options->mark_threads = count < MARK_THREADS_DEFAULT_MAX ? count : MARK_THREADS_DEFAULT_MAX;
  }
}

static void lock_world(void *argument) {
  (void)argument;
  gc_world_lock();
}

// The child must not get bitmaps and lists that other threads were changing.
static void before_fork(void) {
  if (gc_self != NULL) {
    gc_self->busy = true;
    gc_while_safe(lock_world, NULL);
  } else {
    gc_world_lock();
  }
  gc_sweep_finish();
  gc_world_stop();
  gc_sweep_finish();
}

static void after_fork(void) {
  gc_world_start();
  gc_world_unlock();
  if (gc_self != NULL)
    gc_self->busy = false;
}

// Only the thread that forked is here, and no helper.
static void after_fork_child(void) {
  gc_world_forget_others();
  gc_helpers_forget();
  gc.options.mark_threads = 1;
  after_fork();
}

static void install_fork_handlers(void) {
  static bool done;
  if (!done)
    (void)pthread_atfork(before_fork, after_fork, after_fork_child);
  done = true;
}

int gm_gc_init(const struct gm_gc_options *options) {
  if (gc.started) {
    errno = EBUSY;
    return -1;
  }
  struct gm_gc_options chosen = {0};
  if (options != NULL)
    chosen = *options;
  if (!options_are_good(&chosen)) {
    errno = EINVAL;
    return -1;
  }
  fill_in_defaults(&chosen);
  gc.options = chosen;
  gc.adaptive_marking = options == NULL || options->mark_threads == 0;
  gc_kinds_init();
  gc_stats_clear();
  gc_goal_init();
  if (!gc_world_init())
    return -1;
  gc.started = true;
  install_fork_handlers();
  if (gm_gc_thread_register() != 0) {
    gc.started = false;
    gc_world_shutdown();
    return -1;
  }
  gc_helpers_start();
  return 0;
}

// ---- The end

static void free_list(struct mspan_list *list) {
  while (list->first != NULL) {
    struct mspan *span = list->first;
    mspan_list_remove(list, span);
    gc_span_free(gc_span_of(span));
  }
}

static void free_central(struct mcentral *central) {
  free_list(mcentral_partial_swept(central));
  free_list(mcentral_full_swept(central));
}

int gm_gc_shutdown(void) {
  struct gm_gc_stats now;
  if (!gc.started || gc_self == NULL) {
    errno = EPERM;
    return -1;
  }
  gm_gc_stats_read(&now);
  if (now.threads != 1) {
    errno = EBUSY;
    return -1;
  }
  gc_helpers_stop();
  gm_gc_thread_unregister();
  gc_sweep_finish();
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  for (unsigned kind = 0; kind < count; kind++)
    free_central(&gc_kinds[kind].central);
  free_central(&gc_large_central);
  gc_world_shutdown();
  gc_roots_clear();
  gc_kinds_clear();
  memset(&gc, 0, sizeof gc);
  return 0;
}

// ---- Objects

static struct gc_span *object_of(const void *pointer, uint64_t *index) {
  struct gc_span *span = gc_span_at((uintptr_t)pointer);
  if (span == NULL)
    return NULL;
  *index = gc_span_index(span, (uintptr_t)pointer);
  return *index < span->object_count ? span : NULL;
}

size_t gm_gc_size(const void *pointer) {
  uint64_t index = 0;
  const struct gc_span *span = object_of(pointer, &index);
  return span == NULL ? 0 : span->bytes;
}

void *gm_gc_base(const void *pointer) {
  uint64_t index = 0;
  const struct gc_span *span = object_of(pointer, &index);
  return span == NULL ? NULL : (void *)(span->start + index * span->object_size);
}

// ---- Collecting and walking

int gm_gc_collect(void) {
  if (gc_self == NULL) {
    errno = EPERM;
    return -1;
  }
  gc_self->busy = true;
  gc_cycle(atomic_load_explicit(&gc.cycles, memory_order_relaxed));
  gc_sweep_finish();
  gc_self->busy = false;
  gm_gc_safepoint();
  return 0;
}

struct walk {
  void (*work)(void *context);
  void *context;
};

static void with_stopped_world(void *argument) {
  const struct walk *walk = argument;
  gc_world_lock();
  gc_sweep_finish();
  gc_world_stop();
  gc_sweep_finish();
  gc_runs_hide();
  walk->work(walk->context);
  gc_runs_show();
  gc_world_start();
  gc_world_unlock();
}

static void stop_and(void (*work)(void *context), void *context) {
  struct walk walk = {work, context};
  gc_self->busy = true;
  gc_while_safe(with_stopped_world, &walk);
  gc_self->busy = false;
  gm_gc_safepoint();
}

struct visitor {
  void (*visit)(void *object, size_t size, void *context);
  void *context;
};

static void visit_objects(struct gc_span *span, void *context) {
  const struct visitor *visitor = context;
  for (uint64_t index = 0; index < span->object_count; index++)
    if (gc_bit(span->alloc_bits, index))
      visitor->visit((void *)(span->start + index * span->object_size), span->bytes, visitor->context);
}

static void visit_all(void *context) {
  gc_span_each(visit_objects, context);
}

int gm_gc_each_object(void (*visit)(void *object, size_t size, void *context), void *context) {
  if (gc_self == NULL) {
    errno = EPERM;
    return -1;
  }
  struct visitor visitor = {visit, context};
  stop_and(visit_all, &visitor);
  return 0;
}

static void check(void *context) {
  *(int *)context += gc_check_spans();
}

int gm_gc_check(void) {
  int faults = 0;
  if (gc_self != NULL)
    stop_and(check, &faults);
  return faults + gm_check_heap();
}

// Lazy sweeping: span by span, by whoever needs a span, by who needs pages, and in the background (Go:
// mgcsweep.go, mcentral.go). See marksweep.h.
//
// After a cycle the sweep generation has moved on, so all listed spans are on their kind's unswept lists. A
// span leaves such a list under the kind's lock and is swept without it; `sweeping` counts the threads that
// are at it. While the generation moves, sweeping is closed: the helper, which nobody stops, must not take a
// list for another.
#include "core/gc/marksweep.h"

#include "core/mheap.h"

#include <sched.h>

static _Atomic uint32_t sweeping;
static _Atomic bool closed;

// Kinds below have no unswept span.
static _Atomic unsigned swept_kinds;

static struct mcentral *central_of(const struct gc_span *span) {
  return span->object_size == 0 ? &gc_large_central : &gc_kinds[span->kind].central;
}

static struct gc_span *take_first(struct mspan_list *list) {
  struct mspan *span = list->first;
  if (span == NULL)
    return NULL;
  mspan_list_remove(list, span);
  gc_span_of(span)->place = GC_SPAN_MOVING;
  return gc_span_of(span);
}

static void done_sweeping(void) {
  atomic_fetch_sub_explicit(&sweeping, 1, memory_order_release);
}

// Either gc_sweep_close() sees this thread counted, or this thread sees that it is closed.
static bool begin_sweeping(void) {
  atomic_fetch_add_explicit(&sweeping, 1, memory_order_seq_cst);
  if (!atomic_load_explicit(&closed, memory_order_seq_cst))
    return true;
  done_sweeping();
  return false;
}

// Between begin_sweeping() and done_sweeping(), as all that sweeps.
static struct gc_span *take_unswept(struct mcentral *central) {
  lock_acquire(&central->lock, LOCK_RANK_CENTRAL);
  struct gc_span *span = take_first(mcentral_partial_unswept(central));
  if (span == NULL)
    span = take_first(mcentral_full_unswept(central));
  lock_release(&central->lock, LOCK_RANK_CENTRAL);
  return span;
}

void gc_sweep_give(struct gc_span *span, bool full) {
  struct mcentral *central = central_of(span);
  lock_acquire(&central->lock, LOCK_RANK_CENTRAL);
  span->place = full ? GC_SPAN_FULL : GC_SPAN_PARTIAL;
  mspan_list_append(full ? mcentral_full_swept(central) : mcentral_partial_swept(central), gc_mspan_of(span));
  lock_release(&central->lock, LOCK_RANK_CENTRAL);
}

// How many spans an allocation looks into before it takes a new one (Go: 100 in cacheSpan).
enum { ACQUIRE_TRIES = 100 };

struct gc_span *gc_sweep_acquire(unsigned kind) {
  struct mcentral *central = &gc_kinds[kind].central;
  lock_acquire(&central->lock, LOCK_RANK_CENTRAL);
  struct gc_span *swept = take_first(mcentral_partial_swept(central));
  lock_release(&central->lock, LOCK_RANK_CENTRAL);
  if (swept != NULL)
    return swept;
  if (!begin_sweeping())
    return NULL;
  struct gc_span *found = NULL;
  for (unsigned i = 0; i < ACQUIRE_TRIES && found == NULL; i++) {
    struct gc_span *span = take_unswept(central);
    if (span == NULL)
      break;
    if (gc_span_sweep(span) == span->object_count)
      gc_sweep_give(span, true);
    else
      found = span;
  }
  done_sweeping();
  return found;
}

// Sweeps one span and returns the pages that came back.
static size_t sweep_one(struct gc_span *span) {
  uint32_t live = gc_span_sweep(span);
  if (live > 0) {
    gc_sweep_give(span, live == span->object_count);
    return 0;
  }
  size_t pages = gc_span_pages_bytes(span) >> GM_PAGE_SHIFT;
  gc_span_free(span);
  return pages;
}

// Kind numbers from 0, with the large objects first: they give most.
static struct mcentral *central_number(unsigned number) {
  return number == 0 ? &gc_large_central : &gc_kinds[number - 1].central;
}

static unsigned central_count(void) {
  return atomic_load_explicit(&gc_kind_count, memory_order_acquire) + 1;
}

static struct gc_span *take_any_unswept(void) {
  unsigned count = central_count();
  unsigned number = atomic_load_explicit(&swept_kinds, memory_order_relaxed);
  while (number < count) {
    struct gc_span *span = take_unswept(central_number(number));
    if (span != NULL)
      return span;
    // Others may move on at the same time; nobody moves it back while the world runs.
    if (atomic_compare_exchange_strong_explicit(&swept_kinds, &number, number + 1, memory_order_relaxed,
                                                memory_order_relaxed))
      number++;
  }
  return NULL;
}

bool gc_sweep_reclaim(size_t npages, unsigned tries) {
  size_t pages = 0;
  while (pages < npages && tries-- > 0) {
    if (!begin_sweeping())
      return false;
    struct gc_span *span = take_any_unswept();
    if (span != NULL)
      pages += sweep_one(span);
    done_sweeping();
    if (span == NULL)
      return false;
  }
  return true;
}

bool gc_sweep_is_done(void) {
  return atomic_load_explicit(&swept_kinds, memory_order_relaxed) >= central_count() &&
         atomic_load_explicit(&sweeping, memory_order_acquire) == 0;
}

void gc_sweep_finish(void) {
  while (gc_sweep_reclaim(SIZE_MAX, UINT32_MAX))
    continue;
  // Whoever has the last spans is at work on another processor, or was interrupted at it.
  while (atomic_load_explicit(&sweeping, memory_order_acquire) != 0)
    (void)sched_yield();
}

void gc_sweep_close(void) {
  gc_sweep_finish();
  atomic_store_explicit(&closed, true, memory_order_seq_cst);
  while (atomic_load_explicit(&sweeping, memory_order_seq_cst) != 0)
    (void)sched_yield();
}

void gc_sweep_start(void) {
  gm_heap.sweep_generation += 2;
  atomic_store_explicit(&swept_kinds, 0, memory_order_relaxed);
  atomic_store_explicit(&closed, false, memory_order_seq_cst);
}

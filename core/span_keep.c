// Empty spans kept by threads. See span_keep.h.
#include "core/span_keep.h"

#include "core/options.h"

// The build whose schedules a fuzzer replays keeps spans from the start, without the scavenger's thread.
#ifdef SPAN_KEEP_ALWAYS
static const bool is_open = true;

void span_keep_open(bool open) {
  (void)open;
}
#else
static _Atomic bool is_open;

void span_keep_open(bool open) {
  atomic_store_explicit(&is_open, open, memory_order_relaxed);
}
#endif

static struct span_keep *all_keeps; // guarded by the heap lock
static _Atomic size_t total;        // of what the keeps told

static __thread struct span_keep *own_keep __attribute__((tls_model("initial-exec")));

void span_keep_use(struct span_keep *keep) {
  own_keep = keep;
}

void span_keep_register(struct span_keep *keep) {
  keep->next = all_keeps;
  all_keeps = keep;
}

// The total is one line for all processors: it learns of many pages at once.
static void change_pages(struct span_keep *keep, size_t change) {
  size_t pages = atomic_load_explicit(&keep->pages, memory_order_relaxed) + change;
  atomic_store_explicit(&keep->pages, pages, memory_order_relaxed);
  size_t untold = pages > keep->told ? pages - keep->told : keep->told - pages;
  if (untold < SPAN_KEEP_UNTOLD)
    return;
  atomic_fetch_add_explicit(&total, pages - keep->told, memory_order_relaxed);
  keep->told = pages;
}

bool span_keep_put(struct span_keep *keep, struct mspan *span) {
  if (!is_open || gm_option_get(&gm_options.mem_limit) != GM_NO_LIMIT)
    return false;
  lock_acquire(&keep->lock, LOCK_RANK_KEEP);
  struct span_keep_list *list = &keep->lists[span->class];
  span->place = SPAN_KEPT;
  span->next = list->first;
  list->first = span;
  list->count++;
  change_pages(keep, span->npages);
  lock_release(&keep->lock, LOCK_RANK_KEEP);
  return true;
}

// Keep locked.
static struct mspan *take_first(struct span_keep *keep, struct span_keep_list *list) {
  struct mspan *span = list->first;
  list->first = span->next;
  span->next = NULL;
  list->count--;
  change_pages(keep, -span->npages);
  return span;
}

struct mspan *span_keep_take(struct span_keep *keep, span_class class) {
  if (class >= SIZE_CLASS_COUNT || atomic_load_explicit(&keep->pages, memory_order_relaxed) == 0)
    return NULL;
  struct mspan *span = NULL;
  lock_acquire(&keep->lock, LOCK_RANK_KEEP);
  struct span_keep_list *list = &keep->lists[class];
  if (list->first != NULL) {
    span = take_first(keep, list);
    list->lowest = list->count < list->lowest ? list->count : list->lowest;
  }
  lock_release(&keep->lock, LOCK_RANK_KEEP);
  return span;
}

// Moves spans of the keep to the chain until that has `most` pages; returns how many it has.
static size_t collect_from(struct span_keep *keep, struct mspan **chain, size_t pages, size_t most,
                           bool cold) {
  if (atomic_load_explicit(&keep->pages, memory_order_relaxed) == 0)
    return pages;
  lock_acquire(&keep->lock, LOCK_RANK_KEEP);
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    struct span_keep_list *list = &keep->lists[class];
    while (pages < most && list->count > 0 && (!cold || list->lowest > 0)) {
      struct mspan *span = take_first(keep, list);
      list->lowest -= list->lowest > 0;
      span->place = SPAN_IN_SLOT; // on no list
      span->next = *chain;
      *chain = span;
      pages += span->npages;
    }
  }
  lock_release(&keep->lock, LOCK_RANK_KEEP);
  return pages;
}

struct mspan *span_keep_collect(size_t most, enum span_keep_which which) {
  struct mspan *chain = NULL;
  size_t pages = 0;
  if (which == KEPT_OWN) {
    if (own_keep != NULL)
      (void)collect_from(own_keep, &chain, 0, most, false);
    return chain;
  }
  for (struct span_keep *keep = all_keeps; keep != NULL && pages < most; keep = keep->next)
    pages = collect_from(keep, &chain, pages, most, which == KEPT_COLD);
  return chain;
}

void span_keep_begin_tick(void) {
  for (struct span_keep *keep = all_keeps; keep != NULL; keep = keep->next) {
    if (atomic_load_explicit(&keep->pages, memory_order_relaxed) == 0)
      continue; // its lists are empty, and so their lowest counts are 0
    lock_acquire(&keep->lock, LOCK_RANK_KEEP);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
      keep->lists[class].lowest = keep->lists[class].count;
    lock_release(&keep->lock, LOCK_RANK_KEEP);
  }
}

size_t span_keep_own_pages(void) {
  return own_keep == NULL ? 0 : atomic_load_explicit(&own_keep->pages, memory_order_relaxed);
}

size_t span_keep_pages(void) {
  return atomic_load_explicit(&total, memory_order_relaxed);
}

size_t span_keep_count_pages(void) {
  size_t pages = 0;
  for (const struct span_keep *keep = all_keeps; keep != NULL; keep = keep->next)
    pages += atomic_load_explicit(&keep->pages, memory_order_relaxed);
  return pages;
}

void span_keep_forget(struct span_keep *keep) {
  struct span_keep *next = keep->next;
  *keep = (struct span_keep){.next = next};
}

void span_keep_recount(void) {
  for (struct span_keep *keep = all_keeps; keep != NULL; keep = keep->next)
    keep->told = atomic_load_explicit(&keep->pages, memory_order_relaxed);
  atomic_store_explicit(&total, span_keep_count_pages(), memory_order_relaxed);
}

// See heap_view.h. Each arena's pages are first classified one by one, into a table of one arena, then
// reported in runs.
#include "core/heap_view.h"

#include "core/heap_arena.h"
#include "core/heap_walk.h"
#include "core/mheap.h"
#include "core/page_bits.h"
#include "core/page_cache.h"

#include <string.h>

// A page that the page allocator holds for allocated and that is in no span: nobody's yet, or on its way
// between the page heap and the system.
enum { PAGE_UNKNOWN = GM_VIEW_SPAN + 1 };

struct view {
  void (*visit)(const struct gm_view_range *range, void *context);
  void *context;
  size_t ranges;
  const struct heap_arena *arena; // the one being looked at
};

static uint8_t kinds[ARENA_PAGES] GM_TABLE; // enum gm_view_state or PAGE_UNKNOWN; guarded by the heap lock

static void report(struct view *view, const struct gm_view_range *range) {
  view->ranges++;
  view->visit(range, view->context);
}

// Marks pages that lie in the arena, and leaves out others.
static void mark(const struct view *view, uintptr_t start, size_t npages, enum gm_view_state kind) {
  for (size_t i = 0; i < npages; i++) {
    uintptr_t page = start + (i << GM_PAGE_SHIFT);
    if (page >= view->arena->base && page - view->arena->base < ARENA_SIZE)
      kinds[(page - view->arena->base) >> GM_PAGE_SHIFT] = (uint8_t)kind;
  }
}

static void mark_cached_run(uintptr_t start, size_t npages, void *context) {
  mark(context, start, npages, GM_VIEW_READY);
}

static void view_span(struct view *view, const struct mspan *span) {
  struct gm_view_range range = {.start = span->start,
                                .size = span->npages << GM_PAGE_SHIFT,
                                .state = GM_VIEW_SPAN,
                                .size_class = span_class_size_class(span->class)};
  if (span->place != SPAN_COLLECTED) {
    range.object_size = span->object_size;
    range.objects = span->object_count;
    for (uint64_t i = 0; i < span->object_count; i++)
      range.live_objects += !mspan_object_is_free(span, i);
  }
  report(view, &range);
  mark(view, span->start, span->npages, GM_VIEW_SPAN);
}

static void view_spans(struct view *view) {
  const struct heap_arena *arena = view->arena;
  // The end of a large span that begins in an arena before.
  const struct mspan *before = heap_arena_find_span(arena->base);
  if (before != NULL)
    mark(view, before->start, before->npages, GM_VIEW_SPAN);
  for (size_t page = 0; page < ARENA_PAGES; page++) {
    const struct mspan *span = atomic_load_explicit(&arena->spans[page], memory_order_acquire);
    if (span != NULL && span != &mspan_returned && span->start == arena->base + (page << GM_PAGE_SHIFT))
      view_span(view, span);
  }
}

static void classify_free_pages(const struct heap_arena *arena) {
  memset(kinds, PAGE_UNKNOWN, sizeof kinds);
  for (size_t page = 0; page < ARENA_PAGES; page++) {
    const struct page_chunk *chunk = &arena->chunks[page / CHUNK_PAGES];
    unsigned bit = (unsigned)(page % CHUNK_PAGES);
    if (page_bits_all_clear(chunk->allocated, bit, 1))
      kinds[page] = page_bits_all_clear(chunk->scavenged, bit, 1) ? GM_VIEW_READY : GM_VIEW_PREPARED;
  }
}

// Chunks go to the page allocator whole: one of which nothing is known was never given to it.
static void classify_unknown_pages(void) {
  for (size_t first = 0; first < ARENA_PAGES; first += CHUNK_PAGES) {
    bool untouched = true;
    for (size_t page = first; page < first + CHUNK_PAGES; page++)
      untouched = untouched && kinds[page] == PAGE_UNKNOWN;
    for (size_t page = first; page < first + CHUNK_PAGES; page++)
      if (kinds[page] == PAGE_UNKNOWN)
        kinds[page] = untouched ? GM_VIEW_RESERVED : GM_VIEW_READY;
  }
}

static void report_runs(struct view *view) {
  size_t page = 0;
  while (page < ARENA_PAGES) {
    size_t first = page;
    while (page < ARENA_PAGES && kinds[page] == kinds[first])
      page++;
    if (kinds[first] != GM_VIEW_SPAN)
      report(view, &(struct gm_view_range){.start = view->arena->base + (first << GM_PAGE_SHIFT),
                                           .size = (page - first) << GM_PAGE_SHIFT,
                                           .state = (enum gm_view_state)kinds[first]});
  }
}

GM_EXPORT size_t gm_heap_view(void (*visit)(const struct gm_view_range *range, void *context),
                              void *context) {
  struct view view = {.visit = visit, .context = context};
  heap_lock_all();
  for (view.arena = heap_arena_first(); view.arena != NULL; view.arena = view.arena->next) {
    classify_free_pages(view.arena);
    (void)page_cache_check(mark_cached_run, &view);
    view_spans(&view);
    classify_unknown_pages();
    report_runs(&view);
  }
  heap_unlock_all();
  return view.ranges;
}

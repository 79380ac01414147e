// core_fuzz_heap.c: the page heap (core/mheap.h) and a thread's kept large blocks (core/mcache_large.h) against a list of
// what is live: no span overlaps another, fresh ones read zero, contents stay, counters hold, pages that go back to the
// system belong to nobody. When they go back is core_fuzz_scavenge.c's.
#include "fuzz/core_fuzz_heap.h"

#include "core/heap_arena.h"
#include "core/mcache_large.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"
#include "core/scavenge.h"
#include "fuzz/core_fuzz_world.h"

#include <string.h>

enum { BLOCKS = 200, PAGES_MAX = 20000 };

enum kind { SMALL, LARGE, KEPT, COLLECTED };

typedef struct block {
  struct mspan *span;
  uintptr_t start;
  size_t npages;
  enum kind kind;
  size_t state_bytes; // of COLLECTED
  uint64_t tag;       // in each of its written words
} block;

static struct {
  block blocks[BLOCKS]; // KEPT ones: last kept last
  size_t count;
  size_t pages;
  uint64_t tags;
  size_t discarded;
  size_t kept_limit; // of the cache of large blocks
} model;

static struct mcache cache;

size_t core_heap_retained(void) {
  struct page_alloc_counts counts = page_alloc_counts();
  return counts.free - counts.scavenged + page_cache_pages();
}

size_t core_heap_discarded(void) {
  return model.discarded;
}

static void on_discard(uintptr_t start, size_t size) {
  if (heap_arena_of(start) == NULL)
    return; // the core's own
  for (size_t i = 0; i < model.count; i++) {
    const block *live = &model.blocks[i];
    CORE_REQUIRE(start + size <= live->start || live->start + (live->npages << GM_PAGE_SHIFT) <= start,
                 "a live span's pages are given back");
  }
  model.discarded += size >> GM_PAGE_SHIFT;
}

// The words of a block that are written and read: each of the first pages, and the last one.
static uint64_t *word_of(const block *live, size_t page) {
  return (uint64_t *)(live->start + (page << GM_PAGE_SHIFT));
}

enum { WRITTEN = 12 };

static size_t next_written(const block *live, size_t page) {
  return page + 1 < WRITTEN || page + 1 >= live->npages ? page + 1 : live->npages - 1;
}

static void check_block(const block *live) {
  for (size_t page = 0; page < live->npages; page = next_written(live, page))
    CORE_REQUIRE(*word_of(live, page) == live->tag, "a span's content");
  CORE_REQUIRE(live->span->start == live->start && live->span->npages == live->npages, "a span's place");
  CORE_REQUIRE(heap_arena_span_of(live->start) == live->span, "the map's entry for a span");
  uintptr_t last = live->start + (live->npages << GM_PAGE_SHIFT) - 1;
  if (live->kind == SMALL || live->kind == COLLECTED)
    CORE_REQUIRE(heap_arena_span_of(last) == live->span, "the map's last entry for a span");
  CORE_REQUIRE(heap_arena_find_span(last) == live->span, "the span around an address");
}

static void write_block(block *live) {
  live->tag = ++model.tags;
  for (size_t page = 0; page < live->npages; page = next_written(live, page))
    *word_of(live, page) = live->tag;
}

static void check_fresh(const block *live) {
  for (size_t page = 0; page < live->npages; page = next_written(live, page))
    CORE_REQUIRE(*word_of(live, page) == 0, "fresh pages read zero");
}

static void add(struct mspan *span, enum kind kind, size_t state_bytes) {
  block new = {span, span->start, span->npages, kind, state_bytes, 0};
  for (size_t i = 0; i < model.count; i++)
    CORE_REQUIRE(new.start + (new.npages << GM_PAGE_SHIFT) <= model.blocks[i].start ||
                     model.blocks[i].start + (model.blocks[i].npages << GM_PAGE_SHIFT) <= new.start,
                 "two spans overlap");
  if (!span->needs_zero)
    check_fresh(&new);
  write_block(&new);
  model.blocks[model.count++] = new;
  model.pages += new.npages;
}

static void forget(size_t index) {
  model.pages -= model.blocks[index].npages;
  memmove(&model.blocks[index], &model.blocks[index + 1], (--model.count - index) * sizeof model.blocks[0]);
}

static void check_counters(void) {
  struct page_alloc_counts counts = page_alloc_counts();
  CORE_REQUIRE(gm_heap.in_use_pages == model.pages && gm_heap.span_count == model.count,
               "the heap's counters");
  CORE_REQUIRE(gm_heap.mapped_pages == model.pages + counts.free + page_cache_pages() + scavenge_in_transit(),
               "every page is free, cached, on its way to the system, or in a span");
  CORE_REQUIRE(!lock_is_held(&gm_heap.lock), "the heap's lock is left held");
}

static void no_visit(uintptr_t start, size_t npages, void *context) {
  (void)start, (void)npages, (void)context;
}

static void check_all(void) {
  for (size_t i = 0; i < model.count; i++)
    check_block(&model.blocks[i]);
  CORE_REQUIRE(page_alloc_check() == 0 && page_cache_check(no_visit, NULL) == 0, "the heap's own structures");
}

static size_t some_pages(core_input *input) {
  uint8_t law = core_byte(input);
  if (law < 180)
    return 1 + law % 36;
  return law < 240 ? 1 + core_below(input, 1500) : 1500 + core_below(input, 9000);
}

// ---- Operations ----

static void alloc(core_input *input, enum kind kind) {
  size_t npages = some_pages(input);
  uint8_t how = core_byte(input);
  size_t align = GM_PAGE_SIZE << (how < 0x80 ? 0 : how % 12);
  unsigned class = 1 + how % (SIZE_CLASS_COUNT - 1);
  size_t state_bytes = core_below(input, SPAN_CELLS_MAX + 1);
  uint8_t failing = core_byte(input);
  if (model.count == BLOCKS || model.pages + npages > PAGES_MAX)
    return;
  if (failing >= 0xc0)
    core_world_fail(failing & 7, 1 + (failing >> 3 & 7));
  struct mspan *span = kind == SMALL   ? mheap_alloc_small(make_span_class(class, true))
                       : kind == LARGE ? mheap_alloc_large(npages, align)
                                       : mheap_alloc_collected(npages, state_bytes);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE(span != NULL || refused > 0, "a span is refused by itself");
  if (span == NULL)
    return;
  if (kind == SMALL)
    CORE_REQUIRE(span->npages == size_class_pages[class], "the pages of a class");
  else
    CORE_REQUIRE(span->npages >= npages && span->npages <= npages + npages / 8, "as many pages as asked for");
  if (kind == LARGE)
    CORE_REQUIRE(span->start % align == 0, "alignment of a span");
  if (kind == COLLECTED)
    memset(span->states, 0xee, state_bytes);
  add(span, kind, state_bytes);
  core_scavenge_after_alloc();
}

static void free_block(size_t index) {
  block live = model.blocks[index];
  size_t retained = core_heap_retained();
  size_t discarded = model.discarded;
  check_block(&live);
  forget(index);
  if (live.kind == COLLECTED)
    mheap_free_collected(live.span, live.state_bytes);
  else if (live.kind == SMALL)
    mheap_free_span(live.span);
  else
    CORE_REQUIRE(mheap_free_large(live.span, live.start), "a live block is freed");
  const struct mspan *entry = heap_arena_span_of(live.start);
  CORE_REQUIRE(entry == &mspan_returned || (entry == NULL && heap_arena_was_span(live.start)),
               "the map's entry after a free");
  CORE_REQUIRE(live.kind != LARGE || !mheap_free_large(live.span, live.start), "a block is freed twice");
  core_scavenge_after_free(retained, discarded, live.npages);
}

// A block that is not kept by the thread; `count` when there is none.
static size_t pick(core_input *input) {
  size_t index = model.count == 0 ? 0 : core_below(input, (uint32_t)model.count);
  for (size_t n = 0; n < model.count; n++, index = (index + 1) % model.count)
    if (model.blocks[index].kind != KEPT)
      return index;
  return model.count;
}

static void free_some(core_input *input) {
  size_t times = core_byte(input) >= 0xe0 ? model.count : 1;
  for (; times > 0; times--) {
    size_t index = pick(input);
    if (index < model.count)
      free_block(index);
  }
}

static void resize(core_input *input) {
  size_t index = pick(input);
  size_t npages = some_pages(input);
  if (index == model.count || model.blocks[index].kind != LARGE)
    return;
  block *live = &model.blocks[index];
  if (core_byte(input) & 1)
    npages = live->npages + npages % 16;
  size_t old = live->npages;
  size_t retained = core_heap_retained();
  size_t discarded = model.discarded;
  check_block(live);
  bool beside = false; // something is in the way
  for (size_t i = 0; i < model.count; i++)
    beside |= model.blocks[i].start >= live->start + (old << GM_PAGE_SHIFT) &&
              model.blocks[i].start < live->start + (npages << GM_PAGE_SHIFT);
  // What is cut off is no longer the block's, should it go back at once.
  live->npages = npages < old ? npages : old;
  bool done = mheap_resize_large(live->span, npages);
  CORE_REQUIRE(done || npages > old, "shrinking fails");
  CORE_REQUIRE(!done || !beside, "a block grows over another");
  live->npages = done ? npages : old;
  model.pages += live->npages - old;
  CORE_REQUIRE(*word_of(live, 0) == live->tag, "the content of a block that was resized");
  write_block(live);
  if (done && npages < old)
    core_scavenge_after_free(retained, discarded, old - npages);
}

// ---- The thread's kept blocks ----

static size_t kept_pages(void) {
  size_t pages = 0;
  for (size_t i = 0; i < model.count; i++)
    pages += model.blocks[i].kind == KEPT ? model.blocks[i].npages : 0;
  return pages;
}

// The shortest kept block; of those, the last one kept: so they go back to the page heap. `count` when there is none.
static size_t first_kept(void) {
  size_t best = model.count;
  for (size_t i = model.count; i-- > 0;)
    if (model.blocks[i].kind == KEPT &&
        (best == model.count || model.blocks[i].npages < model.blocks[best].npages))
      best = i;
  return best;
}

// All of them go at once, while it is quiet.
static void forget_kept(void) {
  for (size_t index = first_kept(); index < model.count; index = first_kept()) {
    check_block(&model.blocks[index]);
    forget(index);
    core_scavenge_note_shrinking(model.pages);
  }
}

static void empty_kept(void) {
  if (core_scavenge_is_quiet())
    forget_kept();
  // Else one by one, so that the rules can be checked for each.
  for (size_t index = first_kept(); index < model.count; index = first_kept()) {
    CORE_REQUIRE(mcache_large_take(&cache, model.blocks[index].npages) == model.blocks[index].span,
                 "a kept block");
    model.blocks[index].kind = LARGE;
    free_block(index);
  }
  mcache_large_empty(&cache);
  core_scavenge_check_shrinks();
  model.kept_limit = 0;
  CORE_REQUIRE(cache.large.pages == 0 && cache.large.nonempty == 0, "the cache of large blocks is empty");
}

static void keep(core_input *input) {
  size_t index = pick(input);
  if (index == model.count || model.blocks[index].kind != LARGE)
    return;
  block live = model.blocks[index];
  bool expected = live.npages <= MCACHE_LARGE_MAX && live.npages <= model.kept_limit;
  bool empties = expected && kept_pages() + live.npages > model.kept_limit;
  if (empties && !core_scavenge_is_quiet())
    return;
  check_block(&live);
  CORE_REQUIRE(mspan_free_large(live.span), "a live block is freed");
  CORE_REQUIRE(!mspan_free_large(live.span), "a block is freed twice");
  if (empties)
    forget_kept();
  CORE_REQUIRE(mcache_large_keep(&cache, live.span) == expected, "whether a block is kept");
  core_scavenge_check_shrinks();
  for (index = 0; model.blocks[index].span != live.span;)
    index++;
  forget(index);
  if (expected) {
    live.kind = KEPT;
    model.blocks[model.count++] = live;
    model.pages += live.npages;
    return;
  }
  size_t retained = core_heap_retained();
  size_t discarded = model.discarded;
  mheap_free_span(live.span);
  core_scavenge_after_free(retained, discarded, live.npages);
}

// The shortest that is long enough, and at most an eighth too long; of those, the last one kept.
static void take_kept(core_input *input) {
  size_t npages = 1 + core_below(input, MCACHE_LARGE_MAX + 2);
  size_t best = model.count;
  for (size_t i = model.count; i-- > 0;)
    if (model.blocks[i].kind == KEPT && model.blocks[i].npages >= npages &&
        (best == model.count || model.blocks[i].npages < model.blocks[best].npages))
      best = i;
  bool fits =
      best < model.count && npages <= MCACHE_LARGE_MAX && model.blocks[best].npages <= npages + npages / 8;
  struct mspan *span = mcache_large_take(&cache, npages);
  if (npages <= MCACHE_LARGE_MAX)
    model.kept_limit = MCACHE_LARGE_PAGES;
  CORE_REQUIRE(span == (fits ? model.blocks[best].span : NULL), "which kept block comes back");
  if (span == NULL)
    return;
  CORE_REQUIRE(span->needs_zero && mspan_owner(span) == NULL && span->object_count == 1,
               "a kept block's span");
  model.blocks[best].kind = LARGE;
  check_block(&model.blocks[best]);
  write_block(&model.blocks[best]);
}

static void operate(core_input *input) {
  switch (core_byte(input) % 16) {
  case 0:
  case 1:
  case 2:
    alloc(input, LARGE);
    break;
  case 3:
  case 4:
    alloc(input, SMALL);
    break;
  case 5:
    alloc(input, COLLECTED);
    break;
  case 6:
  case 7:
  case 8:
    free_some(input);
    break;
  case 9:
    resize(input);
    break;
  case 10:
    keep(input);
    break;
  case 11:
    take_kept(input);
    break;
  case 12:
    if ((core_byte(input) & 1) != 0)
      empty_kept();
    else
      check_all();
    break;
  default:
    core_scavenge_operate(input);
  }
  check_counters();
}

void core_fuzz_heap(core_input *input) {
  memset(&model, 0, sizeof model);
  memset(&cache.large, 0, sizeof cache.large);
  core_world_on_discard = on_discard;
  core_scavenge_begin(input);
  while (core_more(input))
    operate(input);
  check_all();
  empty_kept();
  while (model.count > 0)
    free_block(model.count - 1);
  check_counters();
  check_all();
}

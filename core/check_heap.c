// gm_check_heap: the slow walk over every structure (Go: the assertions of its debug modes). Holds each
// counter against the bitmap that it counts, each list against its spans' places, and the page map against
// the spans.
#include "core/errors.h"
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_bits.h"

struct walk {
  int faults;
  size_t spans; // in use
  size_t small; // of these, small
  size_t pages;
  size_t listed; // small spans found on a list or in a slot
};

static void fault(struct walk *walk, const char *what, const struct mspan *span) {
  char line[200];
  struct text_buffer text = {line, sizeof line, 0};
  text_append(&text, "gomalloc: heap check: ");
  text_append(&text, what);
  if (span != NULL) {
    text_append(&text, " (size class ");
    text_append_decimal(&text, span->object_size);
    text_append(&text, ", span ");
    text_append_hex(&text, span->start);
    text_append(&text, ")");
  }
  text_append(&text, "\n");
  text_write_stderr(&text);
  walk->faults++;
}

// The bits of this word that the owner's slot holds.
static uint64_t slot_bits(struct mspan *span, const struct span_word *word) {
  struct mcache *owner = atomic_load_explicit(&span->owner, memory_order_relaxed);
  if (owner == NULL || owner->slots[span->class].word != word)
    return 0;
  return owner->slots[span->class].alloc_cache;
}

static void check_words(struct walk *walk, struct mspan *span) {
  uint64_t summary = 0;
  uint32_t taken_count = span->object_count;
  for (uint32_t w = 0; w < mspan_word_count(span); w++) {
    uint64_t free_bits = atomic_load_explicit(&span->words[w].free, memory_order_relaxed);
    uint64_t remote = atomic_load_explicit(&span->words[w].remote, memory_order_relaxed);
    uint64_t claimed = atomic_load_explicit(&span->words[w].claimed, memory_order_relaxed);
    uint32_t left = span->object_count - w * 64;
    uint64_t valid = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
    if (((free_bits | remote | claimed) & ~valid) != 0)
      fault(walk, "a bit past the last object is set", span);
    if ((free_bits & remote) != 0 || (free_bits & claimed) != 0 || (remote & claimed) != 0)
      fault(walk, "an object is free in two places", span);
    if (claimed != slot_bits(span, &span->words[w]))
      fault(walk, "the claimed bits differ from the slot's", span);
    summary |= free_bits != 0 ? (uint64_t)1 << w : 0;
    taken_count -= (uint32_t)__builtin_popcountll(free_bits);
  }
  if (summary != atomic_load_explicit(&span->summary, memory_order_relaxed))
    fault(walk, "the summary differs from the free bits", span);
  if (taken_count != atomic_load_explicit(&span->taken_count, memory_order_relaxed))
    fault(walk, "taken_count differs from the free bits", span);
}

static void check_place(struct walk *walk, struct mspan *span) {
  bool has_free = mspan_has_free(span);
  bool owned = atomic_load_explicit(&span->owner, memory_order_relaxed) != NULL;
  bool central = span->place == SPAN_CENTRAL_FULL || span->place == SPAN_CENTRAL_PARTIAL;
  if (owned == central)
    fault(walk, "owner and place disagree", span);
  if ((span->place == SPAN_FULL || span->place == SPAN_CENTRAL_FULL) && has_free)
    fault(walk, "a full span has free objects", span);
  if ((span->place == SPAN_PARTIAL || span->place == SPAN_CENTRAL_PARTIAL) && !has_free)
    fault(walk, "a partial span has no free objects", span);
  if (span->place == SPAN_SPARE && atomic_load_explicit(&span->taken_count, memory_order_relaxed) != 0)
    fault(walk, "a spare span has live objects", span);
}

static void check_pages(struct walk *walk, struct mspan *span) {
  bool small = span_class_size_class(span->class) != 0;
  for (size_t i = 0; i < span->npages; i++) {
    uintptr_t page = span->start + (i << GM_PAGE_SHIFT);
    if ((small || i == 0) && heap_arena_span_of(page) != span)
      fault(walk, "the arena map does not lead to the span", span);
    const struct heap_arena *arena = heap_arena_of(page);
    const struct page_chunk *chunk = &arena->chunks[(page >> CHUNK_SHIFT) & (ARENA_CHUNKS - 1)];
    unsigned index = (unsigned)(page >> GM_PAGE_SHIFT) & (CHUNK_PAGES - 1);
    if (page_bits_all_clear(chunk->allocated, index, 1))
      fault(walk, "a page of the span is free", span);
  }
}

static void check_span(struct mspan *span, void *context) {
  struct walk *walk = context;
  walk->spans++;
  walk->pages += span->npages;
  check_pages(walk, span);
  if (span_class_size_class(span->class) == 0) {
    if (span->object_size != span->npages << GM_PAGE_SHIFT ||
        atomic_load_explicit(&span->taken_count, memory_order_relaxed) != 1)
      fault(walk, "a large span is free or has a wrong size", span);
    return;
  }
  walk->small++;
  check_words(walk, span);
  check_place(walk, span);
}

static void check_list(struct walk *walk, const struct mspan_list *list, span_class class,
                       const struct mcache *owner, enum span_place place) {
  const struct mspan *previous = NULL;
  for (struct mspan *span = list->first; span != NULL; span = span->next) {
    walk->listed++;
    if (span->place != place || span->class != class || span->previous != previous ||
        atomic_load_explicit(&span->owner, memory_order_relaxed) != owner)
      fault(walk, "a span is on the wrong list", span);
    previous = span;
  }
  if (list->last != previous)
    fault(walk, "a list's end is wrong", NULL);
}

static void check_single(struct walk *walk, struct mspan *span, const struct mcache *owner,
                         enum span_place place) {
  if (span == NULL)
    return;
  walk->listed++;
  if (span->place != place || atomic_load_explicit(&span->owner, memory_order_relaxed) != owner)
    fault(walk, "a span is in the wrong slot", span);
}

static void check_cache(struct walk *walk, struct mcache *cache) {
  for (unsigned i = 1; i < SPAN_CLASS_COUNT; i++) {
    span_class class = (span_class)i;
    struct mcache_slot *slot = &cache->slots[class];
    struct mcache_bin *bin = &cache->bins[class];
    check_single(walk, bin->active, cache, SPAN_IN_SLOT);
    check_single(walk, bin->spare, cache, SPAN_SPARE);
    check_list(walk, &bin->partial, class, cache, SPAN_PARTIAL);
    check_list(walk, &bin->full, class, cache, SPAN_FULL);
    if (bin->active == NULL && slot->alloc_cache != 0)
      fault(walk, "a slot without span has claimed objects", NULL);
  }
}

static void check_centrals(struct walk *walk) {
  for (unsigned i = 0; i < SPAN_CLASS_COUNT; i++) {
    struct mcentral *central = &gm_heap.central[i];
    check_list(walk, mcentral_partial_swept(central), (span_class)i, NULL, SPAN_CENTRAL_PARTIAL);
    check_list(walk, mcentral_full_swept(central), (span_class)i, NULL, SPAN_CENTRAL_FULL);
    if (mcentral_partial_unswept(central)->first != NULL || mcentral_full_unswept(central)->first != NULL)
      fault(walk, "an unswept set has spans", NULL);
  }
}

static void check_totals(struct walk *walk) {
  struct page_alloc_counts pages = page_alloc_counts();
  if (walk->spans != gm_heap.span_count)
    fault(walk, "the count of spans differs from the spans in the map", NULL);
  if (walk->pages != gm_heap.in_use_pages || walk->pages + pages.free != gm_heap.mapped_pages)
    fault(walk, "the counts of pages differ from the spans' pages", NULL);
  if (walk->listed != walk->small)
    fault(walk, "a small span is on no list, or on two", NULL);
}

GM_EXPORT int gm_check_heap(void) {
  struct walk walk = {0};
  heap_lock_all();
  heap_walk_spans(check_span, &walk);
  for (struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next)
    check_cache(&walk, cache);
  check_centrals(&walk);
  check_totals(&walk);
  walk.faults += page_alloc_check();
  heap_unlock_all();
  return walk.faults;
}

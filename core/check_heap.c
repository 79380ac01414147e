// gm_check_heap: the slow walk over every structure (Go: the assertions of its debug modes). Holds each
// counter against the bitmap that it counts, each list against its spans' places, and the page map against
// the spans.
#include "core/check_heap.h"

#include "core/errors.h"
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_bits.h"
#include "core/page_cache.h"
#include "core/scavenge.h"

struct walk {
  int faults;
  size_t spans; // in use
  size_t small; // of these, small
  size_t pages;
  size_t listed;       // small spans found on a list or in a slot
  size_t large_kept;   // large spans that mcaches keep
  size_t large_listed; // those found on their lists
  size_t cached;       // objects in the state `cached`
  size_t stacked;      // objects on stacks
  size_t collected_pages;
  size_t listed_pages; // of the small spans of one mcache
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

// The group's bits that the owner's slot claimed.
static uint64_t claimed_bits(struct mspan *span, uint32_t group) {
  struct mcache *owner = mspan_owner(span);
  if (owner == NULL || owner->bins[span->class].active != span)
    return 0;
  const struct mcache_slot *slot = &owner->slots[span->class];
  return slot->states == &span->states[(size_t)group * 64] ? slot->alloc_cache : 0;
}

static void check_states(struct walk *walk, struct mspan *span) {
  uint64_t summary = 0;
  uint64_t taken_count = span->object_count;
  for (uint32_t group = 0; group < mspan_group_count(span); group++) {
    uint64_t claimed = claimed_bits(span, group);
    uint64_t bits = mspan_free_bits(span, group);
    if ((claimed & ~bits) != 0)
      fault(walk, "a claimed object is not free", span);
    bits &= ~claimed;
    summary |= bits != 0 ? (uint64_t)1 << group : 0;
    taken_count -= (uint64_t)__builtin_popcountll(bits);
  }
  for (uint64_t i = 0; i < (uint64_t)mspan_group_count(span) * 64; i++) {
    uint8_t state = mspan_state(&span->states[i]);
    walk->cached += state == OBJECT_CACHED;
    bool possible = i < span->object_count ? state == OBJECT_LIVE || state == OBJECT_FREE ||
                                                 state == OBJECT_CACHED || state == OBJECT_REMOTE
                                           : state == OBJECT_NONE;
    if (!possible)
      fault(walk, "an object has an impossible state", span);
  }
  if (summary != atomic_load_explicit(&span->summary, memory_order_relaxed))
    fault(walk, "the summary differs from the free objects", span);
  if (taken_count != atomic_load_explicit(&span->taken_count, memory_order_relaxed))
    fault(walk, "taken_count differs from the free objects", span);
}

static void check_place(struct walk *walk, struct mspan *span) {
  bool has_free = mspan_has_free(span);
  bool owned = mspan_owner(span) != NULL;
  bool central = span->place == SPAN_CENTRAL_FULL || span->place == SPAN_CENTRAL_PARTIAL;
  if (owned == central)
    fault(walk, "owner and place disagree", span);
  if (owned && span->slot != &mspan_owner(span)->slots[span->class])
    fault(walk, "a span's slot is not its owner's", span);
  if ((span->place == SPAN_FULL || span->place == SPAN_CENTRAL_FULL) && has_free)
    fault(walk, "a full span has free objects", span);
  if ((span->place == SPAN_PARTIAL || span->place == SPAN_CENTRAL_PARTIAL) && !has_free)
    fault(walk, "a partial span has no free objects", span);
  if ((span->place == SPAN_SPARE || span->place == SPAN_KEPT) &&
      atomic_load_explicit(&span->taken_count, memory_order_relaxed) != 0)
    fault(walk, "a spare span has live objects", span);
}

static bool page_is_free(uintptr_t page) {
  const struct page_chunk *chunk = &heap_arena_of(page)->chunks[(page >> CHUNK_SHIFT) & (ARENA_CHUNKS - 1)];
  return page_bits_all_clear(chunk->allocated, (unsigned)(page >> GM_PAGE_SHIFT) & (CHUNK_PAGES - 1), 1);
}

static void check_pages(struct walk *walk, struct mspan *span) {
  bool all = span_class_size_class(span->class) != 0 || span->place == SPAN_COLLECTED;
  for (size_t i = 0; i < span->npages; i++) {
    uintptr_t page = span->start + (i << GM_PAGE_SHIFT);
    if ((all || i == 0) && heap_arena_span_of(page) != span)
      fault(walk, "the arena map does not lead to the span", span);
    if (page_is_free(page))
      fault(walk, "a page of the span is free", span);
  }
}

// A run in the page cache: allocated for the page allocator, in no span.
static void check_cached_run(uintptr_t start, size_t npages, void *context) {
  struct walk *walk = context;
  for (size_t i = 0; i < npages; i++) {
    uintptr_t page = start + (i << GM_PAGE_SHIFT);
    const struct mspan *span = heap_arena_span_of(page);
    if (page_is_free(page) || (span != NULL && span != &mspan_returned))
      fault(walk, "a page in the page cache is free, or a span's", NULL);
  }
}

static void check_span(struct mspan *span, void *context) {
  struct walk *walk = context;
  walk->spans++;
  walk->pages += span->npages;
  check_pages(walk, span);
  if (span->place == SPAN_COLLECTED) {
    walk->collected_pages += span->npages;
    if (span->object_count != 0 || mspan_owner(span) != NULL)
      fault(walk, "a collected span looks as if malloc knew it", span);
    return;
  }
  if (span_class_size_class(span->class) == 0) {
    bool kept = mspan_owner(span) != NULL; // by its owner, for the next malloc
    walk->large_kept += kept;
    if (span->object_size != span->npages << GM_PAGE_SHIFT || mspan_object_is_free(span, 0) != kept)
      fault(walk, "a large span is free or has a wrong size", span);
    return;
  }
  walk->small++;
  check_states(walk, span);
  check_place(walk, span);
}

// Its pages are gone, so the walk over the map does not meet it; its owner has not looked yet, or waits for the last
// thread that knows it.
static bool is_hollow(const struct mspan *span) {
  return span->hollow || (atomic_load_explicit(&span->remote, memory_order_relaxed) & REMOTE_TAKEN) != 0;
}

static void check_list(struct walk *walk, const struct mspan_list *list, span_class class,
                       const struct mcache *owner, enum span_place place) {
  const struct mspan *previous = NULL;
  for (struct mspan *span = list->first; span != NULL; span = span->next) {
    walk->listed += !is_hollow(span);
    walk->listed_pages += span->npages;
    if (span->place != place || span->class != class || span->previous != previous ||
        mspan_owner(span) != owner)
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
  walk->listed += !is_hollow(span);
  walk->listed_pages += span->npages;
  if (span->place != place || mspan_owner(span) != owner)
    fault(walk, "a span is in the wrong slot", span);
}

// Every object on the stack is one of the owner's, and says cached.
static void check_stack(struct walk *walk, struct mcache *cache, span_class class) {
  if (class >= SIZE_CLASS_COUNT)
    return;
  struct mcache_slot *slot = &cache->slots[class];
  struct cached_object *base = cache->stacks[class].entries;
  if (slot->top < base || slot->limit < base || slot->limit >= base + MCACHE_STACK_ENTRIES ||
      slot->top >= base + MCACHE_STACK_ENTRIES) {
    fault(walk, "a stack's top is outside it", NULL);
    return;
  }
  for (struct cached_object *object = base + 1; object <= slot->top; object++) {
    walk->stacked++;
    struct mspan *span = heap_arena_span_of((uintptr_t)object->address);
    uint64_t index = span == NULL ? 0 : mspan_divide(span, (uintptr_t)object->address);
    if (span == NULL || index >= span->object_count || object->state != &span->states[index] ||
        span->class != class || mspan_owner(span) != cache || mspan_state(object->state) != OBJECT_CACHED)
      fault(walk, "a stack has an object that is not its own", span);
  }
}

static void check_large(struct walk *walk, const struct mcache *cache) {
  size_t pages = 0;
  for (size_t n = 0; n <= MCACHE_LARGE_MAX; n++) {
    if ((cache->large.first[n] != NULL) != ((cache->large.nonempty >> n & 1) != 0))
      fault(walk, "an mcache's large spans are not in its bitmap", cache->large.first[n]);
    for (const struct mspan *span = cache->large.first[n]; span != NULL; span = span->next) {
      walk->large_listed++;
      pages += span->npages;
      if (span->npages != n || mspan_owner(span) != cache)
        fault(walk, "a kept large span is on the wrong list", span);
    }
  }
  if (pages != cache->large.pages)
    fault(walk, "an mcache's count of large pages is wrong", NULL);
}

static void check_kept(struct walk *walk, const struct mcache *cache) {
  size_t pages = 0;
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    const struct span_keep_list *list = &cache->keep.lists[class];
    uint32_t count = 0;
    for (const struct mspan *span = list->first; span != NULL; span = span->next) {
      count++;
      pages += span->npages;
      if (span->place != SPAN_KEPT || span->class != class || mspan_owner(span) != cache)
        fault(walk, "a kept span is on the wrong list", span);
    }
    walk->listed += count;
    if (list->count != count || list->lowest > count)
      fault(walk, "the count of a list of kept spans is wrong", list->first);
  }
  if (pages != atomic_load_explicit(&cache->keep.pages, memory_order_relaxed))
    fault(walk, "a thread's count of kept pages is wrong", NULL);
}

static void check_cache(struct walk *walk, struct mcache *cache) {
  check_large(walk, cache);
  check_kept(walk, cache);
  size_t spare_pages = 0;
  walk->listed_pages = 0;
  for (unsigned i = 1; i < SPAN_CLASS_COUNT; i++) {
    span_class class = (span_class)i;
    struct mcache_slot *slot = &cache->slots[class];
    struct mcache_bin *bin = &cache->bins[class];
    check_single(walk, bin->active, cache, SPAN_IN_SLOT);
    check_single(walk, bin->spare, cache, SPAN_SPARE);
    spare_pages += bin->spare != NULL ? bin->spare->npages : 0;
    check_stack(walk, cache, class);
    check_list(walk, &bin->partial, class, cache, SPAN_PARTIAL);
    check_list(walk, &bin->full, class, cache, SPAN_FULL);
    if (bin->active == NULL && slot->alloc_cache != 0)
      fault(walk, "a slot without span has claimed objects", NULL);
  }
  if (spare_pages != cache->spare_pages || walk->listed_pages != cache->owned_pages)
    fault(walk, "an mcache's count of its pages is wrong", NULL);
}

bool check_central(struct mcentral *central) {
  struct walk walk = {0};
  span_class class = (span_class)(central - gm_heap.central);
  check_list(&walk, mcentral_partial_swept(central), class, NULL, SPAN_CENTRAL_PARTIAL);
  check_list(&walk, mcentral_full_swept(central), class, NULL, SPAN_CENTRAL_FULL);
  return walk.faults == 0;
}

bool check_pages_now_and_then(void) {
  static unsigned calls;
  return calls++ % 16 != 0 || page_alloc_check() == 0;
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

static bool chunk_is_in_map(const struct heap_arena *arena, size_t chunk) {
  for (size_t page = 0; page < CHUNK_PAGES; page++)
    if (atomic_load_explicit(&arena->spans[chunk * CHUNK_PAGES + page], memory_order_relaxed) != NULL)
      return true;
  return false;
}

// A chunk that is with the system as a whole has no entries in the map.
static void check_forgotten(struct walk *walk) {
  for (const struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    for (unsigned i = 0; i < ARENA_CHUNKS; i++)
      if (page_bits_all_set(arena->chunks[i].scavenged) && chunk_is_in_map(arena, i))
        fault(walk, "a chunk that is with the system is in the arena map", NULL);
}

static void check_totals(struct walk *walk) {
  struct page_alloc_counts pages = page_alloc_counts();
  if (walk->spans != gm_heap.span_count)
    fault(walk, "the count of spans differs from the spans in the map", NULL);
  if (walk->pages != gm_heap.in_use_pages ||
      walk->pages + pages.free + page_cache_pages() + scavenge_in_transit() != gm_heap.mapped_pages)
    fault(walk, "the counts of pages differ from the spans' pages", NULL);
  if (walk->collected_pages != gm_heap.collected_pages)
    fault(walk, "the count of collected pages differs from the collected spans", NULL);
  if (page_cache_check(check_cached_run, walk) != 0)
    fault(walk, "the page cache's counts are wrong", NULL);
  if (walk->listed != walk->small)
    fault(walk, "a small span is on no list, or on two", NULL);
  if (walk->large_listed != walk->large_kept)
    fault(walk, "a kept large span is on no list, or on two", NULL);
  if (walk->cached != walk->stacked)
    fault(walk, "a cached object is on no stack, or on two", NULL);
}

GM_EXPORT int gm_check_heap(void) {
  struct walk walk = {0};
  heap_lock_all();
  heap_walk_spans(check_span, &walk);
  for (struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next)
    check_cache(&walk, cache);
  check_centrals(&walk);
  check_totals(&walk);
  check_forgotten(&walk);
  walk.faults += page_alloc_check() + mheap_check_structs();
  heap_unlock_all();
  return walk.faults;
}

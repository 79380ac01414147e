// The slow half of the thread's cache: refill, span transitions, remote frees. Attaching and detaching
// threads is in mcache_thread.c. See mcache.h.
#include "core/mcache.h"

#include "core/heap_arena.h"
#include "core/levels.h"
#include "core/mcache_large.h"
#include "core/mcache_thread.h"
#include "core/mheap.h"
#include "core/scavenge.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <string.h>

struct mcache mcache_none GM_TABLE;

__thread struct mcache *mcache_current __attribute__((tls_model("initial-exec"))) = &mcache_none;

static void add_claimed(struct mcache_bin *bin, uint64_t count) {
  uint64_t before = atomic_load_explicit(&bin->claimed_objects, memory_order_relaxed);
  atomic_store_explicit(&bin->claimed_objects, before + count, memory_order_relaxed);
}

// Moves the free objects of the span's first group that has any into the slot. Their states stay `free`: the
// group is claimed again only when all of them were handed out.
static void claim_group(struct mcache_slot *slot, struct mcache_bin *bin, struct mspan *span) {
  uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
  uint32_t group = (uint32_t)__builtin_ctzll(summary);
  uint64_t bits = mspan_free_bits(span, group);
  uint64_t bit = (uint64_t)1 << group;
  GM_SHARED_STORE(&slot->alloc_cache, bits);
  slot->group_start = span->start + (uintptr_t)group * 64 * span->object_size;
  slot->states = &span->states[(size_t)group * 64];
  slot->object_size = (uint32_t)span->object_size;
  slot->fresh = (span->fresh & bit) != 0;
  span->fresh &= ~bit;
  atomic_store_explicit(&span->summary, summary & ~bit, memory_order_relaxed);
  uint32_t count = (uint32_t)__builtin_popcountll(bits);
  uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, taken_count + count, memory_order_relaxed);
  add_claimed(bin, count);
}

// Puts an owned span that is on no list where it belongs.
static void list_span(struct mcache_bin *bin, struct mspan *span) {
  bool has_free = mspan_has_free(span);
  span->place = has_free ? SPAN_PARTIAL : SPAN_FULL;
  mspan_list_append(has_free ? &bin->partial : &bin->full, span);
}

// The active span has neither claimed nor free objects left: it goes to the full list.
static void retire(struct mcache_bin *bin) {
  bin->active->place = SPAN_FULL;
  mspan_list_append(&bin->full, bin->active);
  bin->active = NULL;
}

struct mspan *mcache_take_spare(struct mcache *cache, span_class class) {
  struct mcache_bin *bin = &cache->bins[class];
  struct mspan *span = bin->spare;
  if (span == NULL)
    return NULL;
  bin->spare = NULL;
  cache->spare_pages -= span->npages;
  return span;
}

// A thread that shrinks to half and grows back within so many milliseconds will want again what it gives back: it
// keeps its last spans.
enum { CYCLE_MS = 100 };

static void note_growth(struct mcache *cache) {
  if (cache->shrunk && cache->owned_pages >= cache->most_pages / 4 * 3) {
    uint64_t now = scavenge_clock_ms();
    cache->cycles = cache->grown_ms != 0 && now - cache->grown_ms < CYCLE_MS;
    cache->grown_ms = now;
    cache->shrunk = false;
    cache->most_pages = 0;
  }
  if (cache->owned_pages > cache->most_pages)
    cache->most_pages = cache->owned_pages;
}

static void note_owned(struct mcache *cache, const struct mspan *span) {
  cache->owned_pages += span->npages;
  note_growth(cache);
  if (cache->owned_pages / 2 > cache->trim_at)
    cache->trim_at = cache->owned_pages / 2;
}

// Kept, or back to the page heap; the span is empty, or hollow, and on no list.
static void release(struct mcache *cache, struct mspan *span) {
  cache->owned_pages -= span->npages;
  cache->shrunk |= cache->owned_pages <= cache->most_pages / 2;
  if (!span->hollow && span_keep_put(&cache->keep, span))
    scavenge_wake_for_kept();
  else
    mheap_free_span(span);
}

// A span with free objects that is on no list; its owner is the cache.
static struct mspan *next_span(struct mcache *cache, struct mcache_bin *bin, span_class class) {
  struct mspan *span = bin->partial.first;
  if (span != NULL) {
    mspan_list_remove(&bin->partial, span);
    return span;
  }
  span = mcache_take_spare(cache, class);
  if (span != NULL)
    return span;
  span = span_keep_take(&cache->keep, class);
  if (span == NULL)
    span = mcentral_take(class, cache);
  if (span == NULL) {
    span = mheap_alloc_small(class);
    if (span != NULL)
      mspan_set_owner(span, cache);
  }
  if (span != NULL)
    note_owned(cache, span);
  return span;
}

static GM_COLD void *out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

static void *refill(struct mcache *cache, span_class class, bool *fresh) {
  struct mcache_slot *slot = &cache->slots[class];
  struct mcache_bin *bin = &cache->bins[class];
  mcache_open_stack(cache, class); // first: closing stacks may release spans, this class's active one too
  while (slot->alloc_cache == 0) {
    struct mspan *span = bin->active;
    if (span != NULL && mspan_has_free(span)) {
      claim_group(slot, bin, span);
      break;
    }
    if (span != NULL)
      retire(bin);
    if (atomic_load_explicit(&cache->pending, memory_order_relaxed) != NULL)
      mcache_drain(cache);
    span = next_span(cache, bin, class);
    if (span == NULL)
      return out_of_memory();
    span->place = SPAN_IN_SLOT;
    span->slot = slot;
    bin->active = span;
  }
  *fresh = slot->fresh;
  return mcache_slot_take(slot, slot->alloc_cache);
}

GM_NOINLINE void *mcache_refill(struct mcache *cache, span_class class, bool *fresh) {
  if (GM_UNLIKELY(cache == &mcache_none)) {
    cache = mcache_attach();
    if (cache == NULL) { // the thread's own is gone already, or there is no memory for one
      cache = mcache_fallback_acquire();
      void *object = cache != NULL ? refill(cache, class, fresh) : out_of_memory();
      mcache_fallback_unlock();
      return object;
    }
  }
  return refill(cache, class, fresh);
}

// Objects that free keeps on a class's stack: so many bytes at most, but one object at least.
enum { STACK_BYTES_MAX = 32 << 10 };

// The stacks are judged when so many frees passed them by. They pay when so many times as many objects came from
// them; if not, they stay closed: for so many refills, twice as many the next time, but no more than that.
enum { JUDGED_AFTER = 2048, PAY_FROM = 2, REST_FEWEST = 1024, REST_MOST = 8192 };

static uint64_t all_popped(const struct mcache *cache) {
  uint64_t popped = 0;
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
    popped += cache->slots[class].popped;
  return popped;
}

static void begin_trial(struct mcache *cache) {
  cache->passed_by = 0;
  cache->popped_before = all_popped(cache);
}

// Whether stacks may be open; closes all of them when that does not pay.
static bool stacks_pay(struct mcache *cache) {
  if (cache->rests > 0) {
    if (--cache->rests == 0)
      begin_trial(cache);
    return false;
  }
  if (cache->passed_by < JUDGED_AFTER)
    return true;
  bool pay = all_popped(cache) - cache->popped_before >= cache->passed_by * PAY_FROM;
  begin_trial(cache);
  uint32_t rest = cache->last_rest == 0 ? REST_FEWEST : cache->last_rest * 2;
  cache->last_rest = pay ? 0 : rest > REST_MOST ? REST_MOST : rest;
  if (!pay) {
    cache->rests = cache->last_rest;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
      mcache_empty_stack(cache, (span_class) class);
  }
  return pay;
}

void mcache_open_stack(struct mcache *cache, span_class class) {
  if (!GM_LEVEL_STACK || class >= SIZE_CLASS_COUNT || !stacks_pay(cache))
    return;
  struct mcache_slot *slot = &cache->slots[class];
  if (slot->limit != cache->stacks[class].entries)
    return;
  unsigned count = STACK_BYTES_MAX / size_class_size[class];
  count = count > MCACHE_STACK_ENTRIES - 1 ? MCACHE_STACK_ENTRIES - 1 : count;
  slot->limit = cache->stacks[class].entries + count;
}

void mcache_empty_stack(struct mcache *cache, span_class class) {
  if (class >= SIZE_CLASS_COUNT)
    return;
  struct mcache_slot *slot = &cache->slots[class];
  struct cached_object *base = cache->stacks[class].entries;
  struct cached_object *top = slot->top;
  if (slot->limit == base)
    return; // closed, and so empty
  // A copy: when the objects go back, that may bring us here again, and the stack's memory may go too.
  struct cached_object objects[MCACHE_STACK_ENTRIES];
  size_t count = (size_t)(top - base);
  memcpy(objects, base + 1, count * sizeof *objects);
  slot->top = base;
  slot->limit = base;
  for (const struct cached_object *object = objects; object < objects + count; object++) {
    struct mspan *span = heap_arena_span_of((uintptr_t)object->address);
    if (mspan_put_back(span, (uint64_t)(object->state - span->states)))
      mcache_span_changed(cache, span);
  }
}

struct mspan *mcache_empty_slot(struct mcache *cache, span_class class) {
  struct mcache_slot *slot = &cache->slots[class];
  struct mcache_bin *bin = &cache->bins[class];
  struct mspan *span = bin->active;
  if (slot->alloc_cache != 0) {
    uint64_t group = (uint64_t)(slot->states - span->states) / 64;
    uint64_t summary = atomic_load_explicit(&span->summary, memory_order_relaxed);
    uint32_t taken_count = atomic_load_explicit(&span->taken_count, memory_order_relaxed);
    uint32_t count = (uint32_t)__builtin_popcountll(slot->alloc_cache);
    atomic_store_explicit(&span->summary, summary | (uint64_t)1 << group, memory_order_relaxed);
    atomic_store_explicit(&span->taken_count, taken_count - count, memory_order_relaxed);
    uint64_t claimed = atomic_load_explicit(&bin->claimed_objects, memory_order_relaxed);
    atomic_store_explicit(&bin->claimed_objects, claimed - count, memory_order_relaxed);
  }
  GM_SHARED_STORE(&slot->alloc_cache, 0);
  bin->active = NULL;
  return span;
}

// Releases the class's spans without live objects: the spare, and the active one if only claimed objects are
// taken. If it has others, it leaves the slot all the same, where the thread is not one that grows back: who frees the
// last of them sees it.
static void release_empty(struct mcache *cache, span_class class) {
  struct mcache_bin *bin = &cache->bins[class];
  struct mspan *spare = mcache_take_spare(cache, class);
  if (spare != NULL)
    release(cache, spare);
  struct mspan *active = bin->active;
  if (active == NULL || active->hollow)
    return;
  uint32_t claimed = (uint32_t)__builtin_popcountll(cache->slots[class].alloc_cache);
  if (cache->cycles && atomic_load_explicit(&active->taken_count, memory_order_relaxed) != claimed)
    return;
  (void)mcache_empty_slot(cache, class);
  if (mspan_is_releasable(active))
    release(cache, active);
  else
    list_span(bin, active);
}

static void note_shrinks(struct mcache *cache) {
  cache->shrinks_seen = atomic_load_explicit(&scavenge_shrinks, memory_order_relaxed);
}

// A thread with so few pages left gives back the memory of its stacks too.
enum { STACKS_FROM_PAGES = 16, KERNEL_PAGE = 4096 };

// All stacks are empty.
static void give_back_stacks(struct mcache *cache) {
  uintptr_t start = gm_align_up((uintptr_t)cache->stacks, (size_t)KERNEL_PAGE);
  uintptr_t end = gm_align_down((uintptr_t)(cache->stacks + SIZE_CLASS_COUNT), (size_t)KERNEL_PAGE);
  sys_unused(start, end - start);
  sys_used(start, end - start); // backed again when an object comes there
}

GM_NOINLINE void mcache_trim(struct mcache *cache) {
  note_shrinks(cache); // first: who releases spans below looks at it
  cache->trim_at = 0;
  mcache_large_empty(cache);
  for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) { // malloc uses the noscan half only
    const struct mcache_bin *bin = &cache->bins[i];
    if (bin->active == NULL && bin->partial.first == NULL && bin->full.first == NULL && bin->spare == NULL)
      continue;
    mcache_empty_stack(cache, (span_class)i);
    release_empty(cache, (span_class)i);
  }
  note_shrinks(cache); // these spans are no reason for another time
  cache->trim_at = cache->owned_pages / 2;
  if (!cache->cycles && cache->owned_pages < STACKS_FROM_PAGES)
    give_back_stacks(cache);
}

// Spare spans of a thread: an eighth of what it owns together, or so many pages, but less than the others. A program
// that freed everything, in dozens of classes, else would keep a span of each.
enum { SPARE_PAGES_MIN = 8 };

// Nor is it worth a trim that a thread with less than twice so much gave half of it back.
enum { TRIM_PAGES_MIN = 2 };

static bool may_keep_spare(const struct mcache *cache, const struct mspan *span) {
  size_t spare = cache->spare_pages + span->npages;
  size_t limit = cache->owned_pages / 8;
  return cache->cycles ||
         (spare <= (limit > SPARE_PAGES_MIN ? limit : SPARE_PAGES_MIN) && spare < cache->owned_pages - spare);
}

// Whether what the thread keeps is more than it needs now.
static bool shrank(const struct mcache *cache) {
  if (cache->cycles)
    return false;
  bool to_half = cache->owned_pages <= cache->trim_at && cache->trim_at >= TRIM_PAGES_MIN;
  return to_half || (cache->spare_pages > 0 && cache->spare_pages >= cache->owned_pages / 2);
}

// The span is on the cache's partial list, or in its slot, and may have become empty.
static void keep_or_release(struct mcache *cache, struct mcache_bin *bin, struct mspan *span) {
  if (span->place != SPAN_PARTIAL || !mspan_is_releasable(span))
    return;
  mspan_list_remove(&bin->partial, span);
  if (bin->spare == NULL && may_keep_spare(cache, span)) {
    cache->spare_pages += span->npages;
    span->place = SPAN_SPARE;
    bin->spare = span;
    return;
  }
  span_class class = span->class;
  release(cache, span);
  // The class shrinks: what its stack holds may be the last objects of many spans.
  mcache_empty_stack(cache, class);
  if (shrank(cache) || cache->shrinks_seen != atomic_load_explicit(&scavenge_shrinks, memory_order_relaxed))
    mcache_trim(cache);
}

GM_NOINLINE void mcache_span_changed(struct mcache *cache, struct mspan *span) {
  struct mcache_bin *bin = &cache->bins[span->class];
  if (span->place == SPAN_FULL && mspan_has_free(span)) {
    mspan_list_remove(&bin->full, span);
    span->place = SPAN_PARTIAL;
    mspan_list_append(&bin->partial, span);
  }
  keep_or_release(cache, bin, span);
}

GM_NOINLINE bool mcache_adopt(struct mcache *cache, struct mspan *span) {
  if (!mcentral_adopt(span, cache))
    return false;
  span->slot = &cache->slots[span->class];
  note_owned(cache, span);
  list_span(&cache->bins[span->class], span);
  return true;
}

bool mcache_is_closed(struct mcache *cache) {
  return atomic_load_explicit(&cache->pending, memory_order_acquire) == MCACHE_CLOSED;
}

// Release: the owner that takes the list sees the bits and the link. False when the owner's list is closed.
static bool push_pending(struct mcache *owner, struct mspan *span) {
  struct mspan *head = atomic_load_explicit(&owner->pending, memory_order_relaxed);
  do {
    if (head == MCACHE_CLOSED)
      return false;
    span->pending_next = head;
  } while (!atomic_compare_exchange_weak_explicit(&owner->pending, &head, span, memory_order_release,
                                                  memory_order_relaxed));
  atomic_fetch_add_explicit(&owner->backlog, 1, memory_order_relaxed);
  return true;
}

GM_NOINLINE void mcache_announce_remote(struct mspan *span) {
  for (;;) {
    struct mcache *owner = mspan_owner(span);
    if (owner != NULL && push_pending(owner, span))
      return;
    if (mcentral_settle(span))
      return;
  }
}

// Forgets a span whose pages are gone, once nobody else knows it. All its objects were taken when they went, so it
// is full, or was just filled.
static void drop_hollow(struct mcache *cache, struct mspan *span) {
  if (!mspan_is_releasable(span))
    return;
  struct mcache_bin *bin = &cache->bins[span->class];
  if (bin->active == span)
    bin->active = NULL;
  else
    mspan_list_remove(&bin->full, span);
  release(cache, span);
}

void mcache_drain_list(struct mcache *cache, struct mspan *span) {
  while (span != NULL && span != MCACHE_CLOSED) {
    struct mspan *next = span->pending_next;
    if (mspan_owner(span) != cache) {
      // Pushed here by a thread that knew an earlier owner; it is still announced, so pass it on.
      mcache_announce_remote(span);
    } else {
      mspan_apply_remote(span);
      if (GM_UNLIKELY(span->hollow))
        drop_hollow(cache, span);
      else
        mcache_span_changed(cache, span);
    }
    span = next;
  }
}

void mcache_drain(struct mcache *cache) {
  atomic_store_explicit(&cache->backlog, 0, memory_order_relaxed);
  // Acquire pairs with push_pending's release.
  mcache_drain_list(cache, atomic_exchange_explicit(&cache->pending, NULL, memory_order_acquire));
}

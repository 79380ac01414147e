// Collected spans: geometry, bitmaps, runs, the page map. See marksweep.h.
#include "core/gc/marksweep.h"

#include "core/heap_walk.h"
#include "core/mheap.h"
#include "core/sys_mem.h"

#include <string.h>

_Atomic(gc_page *) gc_page_map[ARENA_MAP_COUNT];
struct gc_bounds gc_bounds;

// Runs are found span by span, and each span costs a lock and a look at its bitmap: more than malloc's 16
// KiB.
enum { SPAN_BYTES = 32 << 10 };

// size_class_divide is exact up to here for the largest class: offset * (magic * size - 2^32) stays below
// 2^32.
enum { SPAN_BYTES_MAX = 128 << 10 };

static size_t small_span_pages(unsigned size_class) {
  size_t unit = size_class_pages[size_class];
  size_t npages = unit;
  while (npages << GM_PAGE_SHIFT < SPAN_BYTES)
    npages += unit;
  GM_CHECK(npages << GM_PAGE_SHIFT <= SPAN_BYTES_MAX);
  return npages;
}

size_t gc_small_span_bytes(unsigned kind) {
  return small_span_pages(gc_layouts[kind].size_class) << GM_PAGE_SHIFT;
}

static size_t state_bytes(uint32_t words) {
  return sizeof(struct gc_span) + 2 * sizeof(uint64_t) * (size_t)words;
}

// The table of an arena's pages; made when its first collected span is.
static gc_page *pages_of(uintptr_t address) {
  _Atomic(gc_page *) *entry = &gc_page_map[address >> ARENA_SHIFT];
  gc_page *pages = atomic_load_explicit(entry, memory_order_acquire);
  if (pages != NULL)
    return pages;
  gc_page *fresh = sys_alloc(ARENA_PAGES * sizeof(gc_page));
  if (fresh == NULL)
    return NULL;
  if (!atomic_compare_exchange_strong_explicit(entry, &pages, fresh, memory_order_acq_rel,
                                               memory_order_acquire)) {
    sys_free((uintptr_t)fresh, ARENA_PAGES * sizeof(gc_page));
    return pages;
  }
  return fresh;
}

static void set_pages(uintptr_t start, size_t npages, struct gc_span *span) {
  for (uintptr_t at = start; at < start + (npages << GM_PAGE_SHIFT); at += GM_PAGE_SIZE) {
    gc_page *pages = atomic_load_explicit(&gc_page_map[at >> ARENA_SHIFT], memory_order_relaxed);
    atomic_store_explicit(&pages[(at >> GM_PAGE_SHIFT) & (ARENA_PAGES - 1)], span, memory_order_release);
  }
}

// Under the world's lock order there is none left for this, so two threads may widen at once: each only ever
// makes the bounds wider, and readers are stopped threads' collectors, or ask for addresses that they own.
static void widen_bounds(uintptr_t start, size_t size) {
  static struct gm_lock lock;
  lock_acquire(&lock, LOCK_RANK_PACKETS);
  uintptr_t low = atomic_load_explicit(&gc_bounds.low, memory_order_relaxed);
  uintptr_t end = low + atomic_load_explicit(&gc_bounds.size, memory_order_relaxed);
  if (low == 0) {
    low = start;
    end = start;
  }
  uintptr_t new_low = start < low ? start : low;
  uintptr_t new_end = start + size > end ? start + size : end;
  atomic_store_explicit(&gc_bounds.low, new_low, memory_order_relaxed);
  atomic_store_explicit(&gc_bounds.size, new_end - new_low, memory_order_relaxed);
  lock_release(&lock, LOCK_RANK_PACKETS);
}

static bool map_span(struct gc_span *span, uintptr_t start, size_t npages) {
  size_t size = npages << GM_PAGE_SHIFT;
  for (uintptr_t at = gm_align_down(start, ARENA_SIZE); at < start + size; at += ARENA_SIZE)
    if (pages_of(at) == NULL)
      return false;
  widen_bounds(start, size);
  set_pages(start, npages, span);
  return true;
}

static void count_heap(size_t bytes) {
  uint64_t now = atomic_fetch_add_explicit(&gc.heap_bytes, bytes, memory_order_relaxed) + bytes;
  uint64_t peak = atomic_load_explicit(&gc.heap_peak, memory_order_relaxed);
  while (now > peak && !atomic_compare_exchange_weak_explicit(&gc.heap_peak, &peak, now, memory_order_relaxed,
                                                              memory_order_relaxed))
    continue;
  atomic_fetch_add_explicit(&gc.spans, 1, memory_order_relaxed);
}

struct gc_span *gc_span_new(unsigned kind, size_t bytes) {
  const struct gc_layout *layout = &gc_layouts[kind];
  unsigned size_class = layout->size_class;
  size_t npages =
      size_class != 0 ? small_span_pages(size_class) : (bytes + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT;
  size_t object_size = size_class != 0 ? size_class_size[size_class] : npages << GM_PAGE_SHIFT;
  uint32_t count = (uint32_t)((npages << GM_PAGE_SHIFT) / object_size);
  uint32_t words = (count + 63) / 64;
  struct mspan *pages = mheap_alloc_collected(npages, state_bytes(words));
  if (pages == NULL)
    return NULL;
  struct gc_span *span = gc_span_of(pages);
  memset(span, 0, state_bytes(words));
  span->start = pages->start;
  span->mark_bits = span->bits;
  span->alloc_bits = span->bits + words;
  span->magic = size_class != 0 ? size_class_magic[size_class] : 0;
  span->object_count = count;
  span->object_size = size_class != 0 ? (uint32_t)object_size : 0;
  span->kind = (uint16_t)kind;
  span->noscan = layout->scan == GC_SCAN_NONE;
  span->place = GC_SPAN_MOVING;
  span->bytes = object_size;
  span->words = words;
  if (size_class == 0)
    span->alloc_bits[0] = 1;
  if (!map_span(span, pages->start, npages)) {
    mheap_free_collected(pages, state_bytes(words));
    return NULL;
  }
  count_heap(npages << GM_PAGE_SHIFT);
  return span;
}

size_t gc_span_pages_bytes(struct gc_span *span) {
  return gc_mspan_of(span)->npages << GM_PAGE_SHIFT;
}

void gc_span_free(struct gc_span *span) {
  struct mspan *pages = gc_mspan_of(span);
  set_pages(pages->start, pages->npages, NULL);
  atomic_fetch_sub_explicit(&gc.heap_bytes, gc_span_pages_bytes(span), memory_order_relaxed);
  atomic_fetch_sub_explicit(&gc.spans, 1, memory_order_relaxed);
  mheap_free_collected(pages, state_bytes(span->words));
}

// Bits [from, to) of one word, to <= 64.
static uint64_t bit_range(uint32_t from, uint32_t to) {
  return (to - from == 64 ? UINT64_MAX : ((uint64_t)1 << (to - from)) - 1) << from;
}

// First index >= from, below count, whose bit is `set`; count when there is none.
static uint32_t find_bit(const uint64_t *bits, uint32_t from, uint32_t count, bool set) {
  uint64_t flip = set ? 0 : UINT64_MAX;
  for (uint32_t at = from; at < count; at = (at / 64 + 1) * 64) {
    uint64_t word = (bits[at / 64] ^ flip) >> (at % 64);
    if (word != 0) {
      uint32_t found = at + (uint32_t)__builtin_ctzll(word);
      return found < count ? found : count;
    }
  }
  return count;
}

static void change_bits(uint64_t *bits, uint32_t from, uint32_t to, bool set) {
  while (from < to) {
    uint32_t end = (from / 64 + 1) * 64;
    end = end < to ? end : to;
    uint64_t mask = bit_range(from % 64, end - from / 64 * 64);
    bits[from / 64] = set ? bits[from / 64] | mask : bits[from / 64] & ~mask;
    from = end;
  }
}

bool gc_span_take_run(struct gc_span *span, uint32_t most, uint32_t *from, uint32_t *to) {
  uint32_t count = span->object_count;
  uint32_t first = find_bit(span->alloc_bits, span->next_index, count, false);
  if (first == count) {
    span->next_index = count;
    return false;
  }
  uint32_t limit = count - first < most ? count : first + most;
  uint32_t end = find_bit(span->alloc_bits, first, limit, true);
  change_bits(span->alloc_bits, first, end, true);
  span->next_index = end;
  *from = first;
  *to = end;
  return true;
}

void gc_span_untake(struct gc_span *span, uint32_t from, uint32_t to) {
  change_bits(span->alloc_bits, from, to, false);
}

void gc_span_retake(struct gc_span *span, uint32_t from, uint32_t to) {
  change_bits(span->alloc_bits, from, to, true);
}

uint32_t gc_bits_count(const uint64_t *bits, uint32_t words) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < words; i++)
    count += (uint32_t)__builtin_popcountll(bits[i]);
  return count;
}

uint32_t gc_span_sweep(struct gc_span *span) {
  uint64_t *marks = span->mark_bits;
  uint32_t live = gc_bits_count(marks, span->words);
  span->mark_bits = span->alloc_bits;
  span->alloc_bits = marks;
  memset(span->mark_bits, 0, span->words * sizeof(uint64_t));
  span->next_index = 0;
  // What is handed out from now on was used before.
  gc_mspan_of(span)->needs_zero = true;
  return live;
}

struct each {
  void (*visit)(struct gc_span *span, void *context);
  void *context;
};

static void visit_collected(struct mspan *span, void *context) {
  const struct each *each = context;
  if (span->place == SPAN_COLLECTED)
    each->visit(gc_span_of(span), each->context);
}

void gc_span_each(void (*visit)(struct gc_span *span, void *context), void *context) {
  struct each each = {visit, context};
  mheap_lock();
  heap_walk_spans(visit_collected, &each);
  mheap_unlock();
}

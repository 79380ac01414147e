// Arena tables. See heap_arena.h.
#include "core/heap_arena.h"

#include "core/errors.h"
#include "core/fixalloc.h"
#include "core/mspan.h"
#include "core/options.h"
#include "core/sys_mem.h"

#include <string.h>

static_assert(ARENA_SIZE % CHUNK_SIZE == 0, "an arena is whole chunks");
static_assert(sizeof(struct heap_arena) <= ARENA_SIZE / LINEAR_BITMAP_RATIO,
              "it fits its share of the bitmap area");
static_assert(sizeof(arena_span) == sizeof(void *), "an entry of the spans area");
static_assert(CHUNK_PAGES * sizeof(arena_span) == 4096, "a chunk's entries are a page of the kernel's");

// 32 MiB of zero address space; one page of it describes 32 GiB.
_Atomic(struct heap_arena *) heap_arena_map[ARENA_MAP_COUNT] GM_TABLE;

static arena_span no_page;
struct heap_pages heap_pages = {&no_page, 0};

static struct heap_arena *arenas;

struct heap_arena *heap_arena_first(void) {
  return arenas;
}

// Entries first: see heap_arena_span_of.
static void publish_pages(uintptr_t entries, size_t count) {
  __atomic_store_n(&heap_pages.entries, (arena_span *)entries, __ATOMIC_RELAXED);
  __atomic_store_n(&heap_pages.mask, count - 1, __ATOMIC_RELEASE);
}

// heap_pages of the sparse layout: for all addresses, or at most a 512th of the limit on address space, which
// is then twice what a heap within the limit needs.
static bool reserve_pages(void) {
  size_t most = sys_address_space_limit() / 512;
  for (size_t count = HEAP_PAGES_MAX; count >= ARENA_PAGES; count /= 2) {
    size_t size = count * sizeof(arena_span);
    if (size > most && count > ARENA_PAGES)
      continue;
    uintptr_t entries = (uintptr_t)sys_reserve(0, size);
    if (entries == 0)
      continue;
    if (sys_let_read(entries, size)) {
      publish_pages(entries, count);
      return true;
    }
    sys_free(entries, size);
  }
  return false;
}

// No arena's pages have the entries of these.
static bool has_entries_of_its_own(uintptr_t base) {
  for (const struct heap_arena *arena = arenas; arena != NULL; arena = arena->next)
    if (((arena->base ^ base) >> GM_PAGE_SHIFT & heap_pages.mask) == 0)
      return false;
  return true;
}

// The layout of this process, from the first arena on.
static void choose_layout(uintptr_t hint) {
  options_load();
  bool linear = gm_option_get(&gm_options.layout) == GM_LAYOUT_LINEAR;
  if (linear && !heap_linear_reserve(hint)) {
    errors_warn("gomalloc: no address space for the linear layout; using the sparse one\n");
    atomic_store_explicit(&gm_options.layout, GM_LAYOUT_SPARSE, memory_order_relaxed);
  }
  if (heap_linear.arena_size != 0)
    publish_pages(heap_linear.spans, heap_linear.spans_size / sizeof(arena_span));
  atomic_store_explicit(&gm_options.layout_chosen, true, memory_order_release);
}

uintptr_t heap_arena_reserve(uintptr_t hint, size_t size) {
  if (!atomic_load_explicit(&gm_options.layout_chosen, memory_order_relaxed))
    choose_layout(hint);
  if (heap_linear.arena_size != 0)
    return heap_linear_take(size);
  if (heap_pages.mask == 0 && !reserve_pages())
    return 0;
  // A second place is tried where the first one's entries are taken, which needs a small heap_pages.
  for (int attempt = 0; attempt < 64; attempt++, hint += ARENA_SIZE) {
    uintptr_t base = (uintptr_t)sys_reserve_aligned(hint, size, ARENA_SIZE);
    if (base == 0)
      return 0;
    bool good = base + size <= (uintptr_t)1 << GM_ADDR_BITS && size >> GM_PAGE_SHIFT <= heap_pages.mask + 1;
    for (uintptr_t at = base; good && at < base + size; at += ARENA_SIZE)
      good = has_entries_of_its_own(at);
    if (good)
      return base;
    sys_free(base, size);
  }
  return 0;
}

// Zeroed memory for an arena's table of spans and its struct.
static struct heap_arena *make_tables(uintptr_t base) {
  if (base - heap_linear.arena < heap_linear.arena_size) {
    void *spans = NULL;
    void *bitmap = NULL;
    if (!heap_linear_map_tables(base, &spans, &bitmap))
      return NULL;
    struct heap_arena *arena = bitmap;
    arena->spans = spans;
    return arena;
  }
  // The struct first: when the table is refused, it waits for the next arena, and nothing is to be undone, which could
  // be refused as well.
  static struct heap_arena *spare;
  if (spare == NULL)
    spare = persistent_alloc(sizeof *spare, GM_CACHE_LINE);
  arena_span *spans = &heap_pages.entries[base >> GM_PAGE_SHIFT & heap_pages.mask];
  if (spare == NULL || !sys_map((uintptr_t)spans, ARENA_PAGES * sizeof *spans))
    return NULL;
  sys_used((uintptr_t)spans, ARENA_PAGES * sizeof *spans);
  struct heap_arena *arena = spare;
  spare = NULL;
  arena->spans = spans;
  return arena;
}

struct heap_arena *heap_arena_add(uintptr_t base) {
  GM_ASSERT((base & (ARENA_SIZE - 1)) == 0 && base >> GM_ADDR_BITS == 0);
  struct heap_arena *arena = make_tables(base);
  if (arena == NULL)
    return NULL;
  arena->base = base;
  for (size_t i = 0; i < ARENA_CHUNKS; i++)
    memset(arena->chunks[i].allocated, 0xff, sizeof arena->chunks[i].allocated);
  arena->next = arenas;
  arenas = arena;
  atomic_store_explicit(&heap_arena_map[base >> ARENA_SHIFT], arena, memory_order_release);
  return arena;
}

void heap_arena_set_spans(uintptr_t start, size_t npages, struct mspan *span) {
  for (size_t i = 0; i < npages; i++) {
    uintptr_t address = start + (i << GM_PAGE_SHIFT);
    arena_span *entry = &heap_pages.entries[(address >> GM_PAGE_SHIFT) & heap_pages.mask];
    atomic_store_explicit(entry, span, memory_order_release);
  }
}

void heap_arena_forget_spans(struct heap_arena *arena, unsigned chunk) {
  arena_span *entries = &arena->spans[(size_t)chunk * CHUNK_PAGES];
  bool any = false;
  for (unsigned page = 0; page < CHUNK_PAGES; page++) {
    if (atomic_load_explicit(&entries[page], memory_order_relaxed) == NULL)
      continue;
    GM_ASSERT(entries[page] == &mspan_returned);
    // Before the entry goes: who finds none looks here.
    __atomic_fetch_or(&arena->forgotten[chunk][page / 64], (uint64_t)1 << page % 64, __ATOMIC_RELEASE);
    any = true;
  }
  if (!any)
    return;
  sys_unused((uintptr_t)entries, CHUNK_PAGES * sizeof *entries);
  sys_used((uintptr_t)entries, CHUNK_PAGES * sizeof *entries); // backed again when the first is written
}

bool heap_arena_was_span(uintptr_t address) {
  struct heap_arena *arena = heap_arena_of(address);
  if (arena == NULL)
    return false;
  size_t page = (address - arena->base) >> GM_PAGE_SHIFT;
  uint64_t word =
      __atomic_load_n(&arena->forgotten[page / CHUNK_PAGES][page % CHUNK_PAGES / 64], __ATOMIC_ACQUIRE);
  return (word >> page % 64 & 1) != 0;
}

struct mspan *heap_arena_find_span(uintptr_t address) {
  struct mspan *span = heap_arena_span_of(address);
  uintptr_t page = gm_align_down(address, GM_PAGE_SIZE);
  while (span == NULL || span == &mspan_returned) {
    if (page == 0 || heap_arena_of(page - 1) == NULL)
      return NULL;
    page -= GM_PAGE_SIZE;
    span = heap_arena_span_of(page);
  }
  bool inside = address >= span->start && address - span->start < span->npages << GM_PAGE_SHIFT;
  return inside ? span : NULL;
}

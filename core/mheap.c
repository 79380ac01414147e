// The page heap. See mheap.h.
#include "core/mheap.h"

#include "core/check_heap.h"
#include "core/fixalloc.h"
#include "core/heap_arena.h"
#include "core/huge_pages.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"
#include "core/scavenge.h"
#include "core/sys_mem.h"

#include <sys/auxv.h>

struct mheap gm_heap GM_TABLE;

// One fixalloc per number of groups of states; large spans have one group for their one object. Ready when its size
// is not 0.
static struct fixalloc span_alloc[SPAN_GROUPS_MAX + 1];

static struct fixalloc *structs_of(size_t groups) {
  struct fixalloc *fixed = &span_alloc[groups];
  if (fixed->size == 0)
    fixalloc_init(fixed, sizeof(struct mspan) + groups * 64);
  return fixed;
}

// Reserved address space that is not mapped yet (Go: curArena).
static uintptr_t arena_at;
static uintptr_t arena_end;

void mheap_lock(void) {
  lock_acquire(&gm_heap.lock, LOCK_RANK_HEAP);
}

void mheap_unlock(void) {
  GM_ASSERT_SLOW(check_pages_now_and_then());
  lock_release(&gm_heap.lock, LOCK_RANK_HEAP);
}

// Where to ask for the first arena: away from libraries and stacks, so that arenas can follow each other, and
// randomised by the kernel's random bytes for this process. It is a hint; the kernel may place the arena
// elsewhere.
static uintptr_t first_arena_hint(void) {
  const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
  uintptr_t spread =
      random == NULL ? 0 : (uintptr_t)random[0] | (uintptr_t)random[1] << 8 | (uintptr_t)random[2] << 16;
  return ((uintptr_t)1 << 40) + (spread % ((uintptr_t)1 << 18) << ARENA_SHIFT); // 1 TiB to 17 TiB
}

// Maps reserved address space and gives it to the page allocator.
static bool map_chunks(uintptr_t start, uintptr_t end) {
  if (start == end)
    return true;
  size_t npages = (end - start) >> GM_PAGE_SHIFT;
  if (!page_alloc_cover(start, npages) || !sys_map(start, end - start))
    return false;
  page_alloc_grow(start, npages);
  gm_heap.mapped_pages += npages;
  if (end - start == CHUNK_SIZE) // more: a single large block wants it
    huge_pages_note_growth(start, gm_heap.in_use_pages << GM_PAGE_SHIFT);
  return true;
}

// Reserves arenas for at least `size` bytes, right after the last ones if the kernel can.
static bool reserve_arenas(size_t size) {
  size = gm_align_up(size, ARENA_SIZE);
  uintptr_t hint = arena_end != 0 ? arena_end : first_arena_hint();
  uintptr_t base = heap_arena_reserve(hint, size);
  if (base == 0)
    return false;
  for (uintptr_t at = base; at < base + size; at += ARENA_SIZE)
    if (heap_arena_add(at) == NULL) {
      // Arenas that are known already stay reserved and unused; there is no memory for more anyway.
      return false;
    }
  if (base != arena_end) {
    // Not contiguous: what is left of the old arena still serves smaller spans.
    (void)map_chunks(arena_at, arena_end);
    arena_at = base;
  }
  arena_end = base + size;
  return true;
}

// Adds at least npages pages, in whole chunks.
static bool grow(size_t npages) {
  size_t ask = gm_align_up(npages << GM_PAGE_SHIFT, CHUNK_SIZE);
  if (ask > arena_end - arena_at) {
    if (!reserve_arenas(arena_end != 0 ? ask - (arena_end - arena_at) : ask))
      return false;
    if (ask > arena_end - arena_at && !reserve_arenas(ask))
      return false;
    if (ask > arena_end - arena_at)
      return false;
  }
  uintptr_t start = arena_at;
  if (!map_chunks(start, start + ask))
    return false;
  arena_at = start + ask;
  return true;
}

static uintptr_t find_pages(size_t npages, size_t *scavenged) {
  uintptr_t start = page_alloc_find(npages, scavenged);
  if (start == 0 && grow(npages))
    start = page_alloc_find(npages, scavenged);
  return start;
}

// Free pages that are spared from the page allocator for a while, in the page cache and, beyond one thread's own, in
// keeps: an eighth of the heap, or this.
static const size_t spared_floor = ((size_t)4 << 20) >> GM_PAGE_SHIFT;

static size_t spared_limit(void) {
  size_t limit = gm_heap.in_use_pages / 8;
  return limit > spared_floor ? limit : spared_floor;
}

// Threads give back about so many pages of kept spans at once: no malloc takes long.
enum { TAKE_KEPT_PAGES = (4 << 20) >> GM_PAGE_SHIFT };

static uintptr_t alloc_pages(size_t npages, size_t *scavenged) {
  uintptr_t start = find_pages(npages, scavenged);
  if (start != 0 && *scavenged < npages)
    return start;
  // Pages that were used before come first: they are resident already. So the thread gives back what it keeps, and the
  // page cache's runs may join their neighbours, before untouched pages are taken.
  enum span_keep_which which = start == 0 || span_keep_pages() > spared_limit() ? KEPT_ALL : KEPT_OWN;
  size_t kept = which == KEPT_ALL ? span_keep_pages() : span_keep_own_pages();
  size_t worth = start != 0 ? 4 * npages : 1;
  if (page_cache_pages() + kept < worth || (start != 0 && !page_alloc_undo(start, npages)))
    return start;
  if (page_cache_pages() < worth)
    (void)mheap_take_kept(start == 0 ? SIZE_MAX : worth > TAKE_KEPT_PAGES ? worth : TAKE_KEPT_PAGES, which);
  page_cache_flush();
  return find_pages(npages, scavenged);
}

// Pages that start at a multiple of align: takes more and gives both ends back.
static uintptr_t alloc_pages_aligned(size_t npages, size_t align, size_t *scavenged) {
  if (align <= GM_PAGE_SIZE)
    return alloc_pages(npages, scavenged);
  size_t wide = npages + (align >> GM_PAGE_SHIFT) - 1;
  uintptr_t start = alloc_pages(wide, scavenged);
  if (start == 0)
    return 0;
  uintptr_t aligned = gm_align_up(start, align);
  size_t before = (aligned - start) >> GM_PAGE_SHIFT;
  size_t after = wide - npages - before;
  if (before > 0)
    page_alloc_free(start, before);
  if (after > 0)
    page_alloc_free(aligned + (npages << GM_PAGE_SHIFT), after);
  // Fresh only if all of it was: the ends' share of *scavenged is not known.
  *scavenged = *scavenged == wide ? npages : 0;
  return aligned;
}

struct mspan *mheap_alloc_small(span_class class) {
  unsigned size_class = span_class_size_class(class);
  size_t npages = size_class_pages[size_class];
  size_t scavenged = 0;
  mheap_lock();
  unsigned groups = (size_class_objects[size_class] + 63U) / 64;
  struct mspan *span = fixalloc_alloc(structs_of(groups));
  uintptr_t start = span != NULL ? page_cache_take(&npages, npages) : 0;
  if (start == 0 && span != NULL)
    start = alloc_pages(npages, &scavenged);
  if (start == 0) {
    if (span != NULL)
      fixalloc_free(&span_alloc[groups], span);
    mheap_unlock();
    return NULL;
  }
  mspan_init_small(span, start, class, scavenged == npages);
  heap_arena_set_spans(start, npages, span);
  gm_heap.in_use_pages += npages;
  gm_heap.span_count++;
  scavenge_note_alloc();
  mheap_unlock();
  return span;
}

// Blocks of so many pages start at a multiple of this, if there is room. Who asks for that much mostly uses
// little of it, the same parts of each block: so a block meets pages that the one before left resident, instead of
// making others resident beside them.
static const size_t huge_block = ((size_t)32 << 20) >> GM_PAGE_SHIFT;
static const size_t huge_block_align = (size_t)2 << 20;

static uintptr_t alloc_pages_for_block(size_t npages, size_t align, size_t *scavenged) {
  if (npages >= huge_block && align < huge_block_align) {
    uintptr_t start = alloc_pages_aligned(npages, huge_block_align, scavenged);
    if (start != 0)
      return start;
  }
  return alloc_pages_aligned(npages, align, scavenged);
}

struct mspan *mheap_alloc_large(size_t npages, size_t align) {
  size_t scavenged = 0;
  mheap_lock();
  struct mspan *span = fixalloc_alloc(structs_of(1));
  // A cached run may be a little longer than asked for.
  uintptr_t start = span != NULL && align <= GM_PAGE_SIZE ? page_cache_take(&npages, npages + npages / 8) : 0;
  if (start == 0 && span != NULL)
    start = alloc_pages_for_block(npages, align, &scavenged);
  if (start == 0) {
    if (span != NULL)
      fixalloc_free(&span_alloc[1], span);
    mheap_unlock();
    return NULL;
  }
  mspan_init_large(span, start, npages, make_span_class(0, true), scavenged == npages);
  heap_arena_set_spans(start, 1, span);
  gm_heap.in_use_pages += npages;
  gm_heap.span_count++;
  scavenge_note_alloc();
  gm_heap.large_mallocs++;
  gm_heap.large_bytes += npages << GM_PAGE_SHIFT;
  mheap_unlock();
  if (align > GM_PAGE_SIZE || npages >= huge_block)
    scavenge_wake(); // the ends of the run that was aligned are free
  return span;
}

bool mheap_resize_large(struct mspan *span, size_t npages) {
  bool done = true;
  mheap_lock();
  size_t old = span->npages;
  uintptr_t old_end = span->start + (old << GM_PAGE_SHIFT);
  if (npages > old) {
    size_t scavenged = 0;
    done = page_alloc_take_at(old_end, npages - old, &scavenged);
  } else if (npages < old) {
    page_alloc_free(span->start + (npages << GM_PAGE_SHIFT), old - npages);
  }
  if (done) {
    span->npages = npages;
    gm_heap.in_use_pages += npages - old;
    gm_heap.large_bytes += npages > old ? (npages - old) << GM_PAGE_SHIFT : 0;
    span->object_size = npages << GM_PAGE_SHIFT;
    if (npages < old)
      scavenge_note_free();
  }
  mheap_unlock();
  if (npages < old)
    scavenge_wake();
  return done;
}

// The pages of a span that is gone: into the page cache, or to the page allocator together with all of it.
static void free_pages(uintptr_t start, size_t npages) {
  size_t limit = spared_limit();
  if (page_cache_pages() + npages <= limit && page_cache_put(start, npages))
    return;
  page_alloc_free(start, npages);
  if (page_cache_pages() > limit - limit / 4)
    page_cache_flush();
}

// The span's pages are nobody's from here on.
static void return_pages(struct mspan *span, bool large) {
  // A later free of an object in these pages finds mspan_returned and is told what happened.
  heap_arena_set_spans(span->start, large ? 1 : span->npages, &mspan_returned);
  gm_heap.in_use_pages -= span->npages;
  gm_heap.span_count--;
  gm_heap.large_frees += large;
  free_pages(span->start, span->npages);
  scavenge_note_free();
}

static void free_span_locked(struct mspan *span, bool large) {
  if (!span->hollow)
    return_pages(span, large);
  fixalloc_free(&span_alloc[mspan_group_count(span)], span);
}

void mheap_take_pages(struct mspan *span) {
  return_pages(span, false);
}

void mheap_free_span(struct mspan *span) {
  mheap_lock();
  free_span_locked(span, span_class_size_class(span->class) == 0);
  mheap_unlock();
  scavenge_wake();
}

size_t mheap_take_kept(size_t most, enum span_keep_which which) {
  size_t pages = 0;
  struct mspan *span = span_keep_collect(most, which);
  while (span != NULL) {
    struct mspan *next = span->next;
    span->next = NULL;
    pages += span->npages;
    free_span_locked(span, false);
    span = next;
  }
  return pages;
}

static struct fixalloc *collected_span_alloc(size_t state_bytes) {
  return structs_of(state_bytes == 0 ? 1 : (state_bytes + 63) / 64);
}

struct mspan *mheap_alloc_collected(size_t npages, size_t state_bytes) {
  GM_ASSERT(state_bytes <= (size_t)SPAN_CELLS_MAX);
  size_t scavenged = 0;
  size_t wanted = npages;
  mheap_lock();
  struct fixalloc *fixed = collected_span_alloc(state_bytes);
  struct mspan *span = fixalloc_alloc(fixed);
  uintptr_t start = span != NULL ? page_cache_take(&npages, wanted) : 0;
  if (start == 0 && span != NULL)
    start = alloc_pages(npages, &scavenged);
  if (start == 0) {
    if (span != NULL)
      fixalloc_free(fixed, span);
    mheap_unlock();
    return NULL;
  }
  mspan_init_collected(span, start, npages, scavenged == npages);
  heap_arena_set_spans(start, npages, span);
  gm_heap.in_use_pages += npages;
  gm_heap.collected_pages += npages;
  gm_heap.span_count++;
  scavenge_note_alloc();
  mheap_unlock();
  return span;
}

void mheap_free_collected(struct mspan *span, size_t state_bytes) {
  mheap_lock();
  heap_arena_set_spans(span->start, span->npages, &mspan_returned);
  gm_heap.in_use_pages -= span->npages;
  gm_heap.collected_pages -= span->npages;
  gm_heap.span_count--;
  free_pages(span->start, span->npages);
  scavenge_note_free();
  fixalloc_free(collected_span_alloc(state_bytes), span);
  mheap_unlock();
  scavenge_wake();
}

bool mheap_free_large(struct mspan *span, uintptr_t address) {
  mheap_lock();
  // Another thread may have freed the block since the caller looked, and the struct may be another span's by
  // now.
  bool live = span->start == address && heap_arena_span_of(address) == span && mspan_free_large(span);
  if (live) {
    free_span_locked(span, true);
  }
  mheap_unlock();
  scavenge_wake();
  return live;
}

size_t mheap_release_all(void) {
  mheap_lock();
  (void)mheap_take_kept(SIZE_MAX, KEPT_ALL);
  page_cache_flush();
  size_t pages = page_alloc_scavenge(SIZE_MAX);
  huge_pages_note_release();
  while (mheap_release_structs())
    continue;
  mheap_unlock();
  return pages << GM_PAGE_SHIFT;
}

bool mheap_release_structs(void) {
  for (unsigned groups = 1; groups <= SPAN_GROUPS_MAX; groups++)
    if (fixalloc_release(&span_alloc[groups]))
      return true;
  return false;
}

int mheap_check_structs(void) {
  int faults = 0;
  for (unsigned groups = 1; groups <= SPAN_GROUPS_MAX; groups++)
    faults += fixalloc_check(&span_alloc[groups]);
  return faults;
}

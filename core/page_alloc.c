// The summary tree over page bitmaps. See page_alloc.h.
#include "core/page_alloc.h"

#include "core/errors.h"
#include "core/page_bits.h"
#include "core/page_summary.h"
#include "core/sys_mem.h"
#include "core/sys_state.h"

enum {
  LEVELS = 5,
  FANOUT_BITS = 3,
  FANOUT = 1 << FANOUT_BITS,
  ROOT_SHIFT = CHUNK_SHIFT + (LEVELS - 1) * FANOUT_BITS, // bytes of a root entry, as a shift: 34
  ROOT_COUNT = 1 << (GM_ADDR_BITS - ROOT_SHIFT),
  REGION_ENTRIES = 8 + 64 + 512 + 4096,
};

static_assert((1U << (ROOT_SHIFT - GM_PAGE_SHIFT)) == SUMMARY_MAX,
              "a root entry's pages are the largest summary");

// Levels 1 to 4 below one root entry, level after level. Level 4's entries are chunks.
struct region {
  page_summary sums[REGION_ENTRIES];
};

static const unsigned level_offset[LEVELS] = {0, 0, 8, 8 + 64, 8 + 64 + 512};

// Side by side, so that a small heap has one page of memory for both.
static struct {
  page_summary sum;
  struct region *region;
} root[ROOT_COUNT] GM_TABLE;
static size_t root_low = ROOT_COUNT; // root entries in use lie in [root_low, root_high)
static size_t root_high;
static uintptr_t search_address; // no page below it is free
static size_t free_pages;
static size_t scavenged_pages;

// Address bits below an entry of this level.
static unsigned level_shift(unsigned level) {
  return ROOT_SHIFT - level * FANOUT_BITS;
}

// The entry of `level` with this index (address >> level_shift(level)). Its region must exist.
static page_summary *summary_at(unsigned level, size_t index) {
  if (level == 0)
    return &root[index].sum;
  unsigned bits = level * FANOUT_BITS;
  size_t within = index & (((size_t)1 << bits) - 1);
  return &root[index >> bits].region->sums[level_offset[level] + within];
}

static struct page_chunk *chunk_of(uintptr_t address) {
  struct heap_arena *arena = heap_arena_of(address);
  return &arena->chunks[(address >> CHUNK_SHIFT) & (ARENA_CHUNKS - 1)];
}

// One summary for FANOUT neighbours, each of 2^log_pages pages.
static page_summary merge(const page_summary *children, unsigned log_pages) {
  unsigned full = 1U << log_pages;
  unsigned start = summary_start(children[0]);
  unsigned max = summary_max(children[0]);
  unsigned end = summary_end(children[0]);
  for (unsigned i = 1; i < FANOUT; i++) {
    unsigned child_start = summary_start(children[i]);
    unsigned child_max = summary_max(children[i]);
    if (start == i << log_pages)
      start += child_start;
    if (end + child_start > max)
      max = end + child_start;
    if (child_max > max)
      max = child_max;
    end = child_max == full ? end + full : summary_end(children[i]);
  }
  return summary_pack(start, max, end);
}

// Recomputes the summaries of the chunks that hold [start, end) and of everything above them.
static void update(uintptr_t start, uintptr_t end) {
  uintptr_t last = end - 1;
  bool changed = false;
  for (uintptr_t index = start >> CHUNK_SHIFT; index <= last >> CHUNK_SHIFT; index++) {
    page_summary sum = page_bits_summarize(chunk_of(index << CHUNK_SHIFT)->allocated);
    page_summary *entry = summary_at(LEVELS - 1, index);
    changed |= *entry != sum;
    *entry = sum;
  }
  for (unsigned level = LEVELS - 1; level-- > 0 && changed;) {
    changed = false;
    unsigned shift = level_shift(level);
    for (uintptr_t index = start >> shift; index <= last >> shift; index++) {
      page_summary sum =
          merge(summary_at(level + 1, index << FANOUT_BITS), shift - FANOUT_BITS - GM_PAGE_SHIFT);
      page_summary *entry = summary_at(level, index);
      changed |= *entry != sum;
      *entry = sum;
    }
  }
}

bool page_alloc_cover(uintptr_t start, size_t npages) {
  uintptr_t end = start + (npages << GM_PAGE_SHIFT);
  GM_ASSERT(((start | end) & (CHUNK_SIZE - 1)) == 0 && npages > 0);
  for (size_t i = start >> ROOT_SHIFT; i <= (end - 1) >> ROOT_SHIFT; i++) {
    if (root[i].region == NULL) {
      root[i].region = sys_alloc(gm_align_up(sizeof(struct region), GM_PAGE_SIZE));
      if (root[i].region == NULL)
        return false;
    }
    root_low = i < root_low ? i : root_low;
    root_high = i + 1 > root_high ? i + 1 : root_high;
  }
  return true;
}

void page_alloc_grow(uintptr_t start, size_t npages) {
  uintptr_t end = start + (npages << GM_PAGE_SHIFT);
  for (uintptr_t at = start; at < end; at += CHUNK_SIZE) {
    struct page_chunk *chunk = chunk_of(at);
    page_bits_set(chunk->scavenged, 0, CHUNK_PAGES);
    page_bits_clear(chunk->allocated, 0, CHUNK_PAGES);
  }
  free_pages += npages;
  scavenged_pages += npages;
  update(start, end);
  if (search_address == 0 || start < search_address)
    search_address = start;
}

// Walks [start, start+npages) chunk by chunk: the part of it in one chunk.
struct chunk_part {
  uintptr_t address; // of the part's first page
  struct page_chunk *chunk;
  unsigned first; // page within the chunk
  unsigned count; // pages
};

static struct chunk_part part_at(uintptr_t address, uintptr_t end) {
  uintptr_t chunk_end = gm_align_down(address, CHUNK_SIZE) + CHUNK_SIZE;
  uintptr_t part_end = end < chunk_end ? end : chunk_end;
  return (struct chunk_part){address, chunk_of(address),
                             (unsigned)(address >> GM_PAGE_SHIFT) & (CHUNK_PAGES - 1),
                             (unsigned)((part_end - address) >> GM_PAGE_SHIFT)};
}

static uintptr_t part_end(const struct chunk_part *part) {
  return part->address + ((size_t)part->count << GM_PAGE_SHIFT);
}

// Prepared -> Ready for the scavenged pages of a part that is being allocated.
static size_t use_scavenged(const struct chunk_part *part) {
  size_t total = 0;
  for (unsigned at = part->first; at < part->first + part->count;) {
    unsigned length = 0;
    at = page_bits_next_run(part->chunk->scavenged, at, part->first + part->count, &length);
    if (length == 0)
      break;
    sys_used(part->address + ((size_t)(at - part->first) << GM_PAGE_SHIFT), (size_t)length << GM_PAGE_SHIFT);
    total += length;
    at += length;
  }
  page_bits_clear(part->chunk->scavenged, part->first, part->count);
  return total;
}

static size_t mark_allocated(uintptr_t start, size_t npages) {
  uintptr_t end = start + (npages << GM_PAGE_SHIFT);
  size_t scavenged = 0;
  for (uintptr_t at = start; at < end;) {
    struct chunk_part part = part_at(at, end);
    size_t part_scavenged = use_scavenged(&part);
    page_bits_set(part.chunk->allocated, part.first, part.count);
    heap_arena_of(at)->retained -= part.count - part_scavenged;
    scavenged += part_scavenged;
    at = part_end(&part);
  }
  free_pages -= npages;
  scavenged_pages -= scavenged;
  update(start, end);
  return scavenged;
}

// The lowest range of addresses known to hold the first free page; narrows as find goes down.
struct first_free {
  uintptr_t low;
  uintptr_t high; // last byte
};

static void narrow(struct first_free *first, uintptr_t start, unsigned shift) {
  uintptr_t last = start + (((uintptr_t)1 << shift) - 1);
  if (first->low <= start && last <= first->high) {
    first->low = start;
    first->high = last;
  }
}

// The outcome of one level's scan: go down into `index`, or a run was found at `address`, or neither.
struct level_result {
  enum { LEVEL_NOTHING, LEVEL_DESCEND, LEVEL_FOUND } what;
  size_t index;
  uintptr_t address;
};

// Scans entries [from, to) of a level for the first place where npages fit: inside one entry, or across
// neighbours.
static struct level_result scan_level(unsigned level, size_t from, size_t to, size_t npages,
                                      struct first_free *first) {
  unsigned shift = level_shift(level);
  unsigned log_pages = shift - GM_PAGE_SHIFT;
  size_t run = 0; // free pages right before the entry
  uintptr_t run_start = 0;
  for (size_t i = from; i < to; i++) {
    page_summary sum = *summary_at(level, i);
    if (sum == 0) {
      run = 0;
      continue;
    }
    narrow(first, (uintptr_t)i << shift, shift);
    size_t start = summary_start(sum);
    if (run == 0)
      run_start = (uintptr_t)i << shift;
    if (run + start >= npages)
      return (struct level_result){LEVEL_FOUND, 0, run_start};
    if (summary_max(sum) >= npages)
      return (struct level_result){LEVEL_DESCEND, i, 0};
    if (start == (size_t)1 << log_pages) {
      run += start;
      continue;
    }
    run = summary_end(sum);
    run_start = ((uintptr_t)(i + 1) << shift) - (run << GM_PAGE_SHIFT);
  }
  return (struct level_result){LEVEL_NOTHING, 0, 0};
}

// First fit. *next_search gets the new lower bound of the first free page once the result is taken.
static uintptr_t find(size_t npages, uintptr_t *next_search) {
  struct first_free first = {0, UINTPTR_MAX};
  size_t from = root_low;
  size_t to = root_high;
  for (unsigned level = 0; level < LEVELS; level++) {
    size_t search_index = search_address >> level_shift(level);
    if (search_index > from && search_index < to)
      from = search_index;
    struct level_result result = scan_level(level, from, to, npages, &first);
    if (result.what == LEVEL_FOUND) {
      *next_search = first.low;
      return result.address;
    }
    if (result.what == LEVEL_NOTHING) {
      GM_CHECK(level == 0); // a summary promised a run that is not there
      return 0;
    }
    if (level == LEVELS - 1) {
      uintptr_t base = (uintptr_t)result.index << CHUNK_SHIFT;
      unsigned first_page = 0;
      unsigned page = page_bits_find(chunk_of(base)->allocated, (unsigned)npages, &first_page);
      GM_CHECK(page < CHUNK_PAGES);
      *next_search = first.low == base ? base + ((uintptr_t)first_page << GM_PAGE_SHIFT) : first.low;
      return base + ((uintptr_t)page << GM_PAGE_SHIFT);
    }
    from = result.index << FANOUT_BITS;
    to = from + FANOUT;
  }
  return 0;
}

uintptr_t page_alloc_find(size_t npages, size_t *scavenged) {
  if (npages == 0 || free_pages < npages)
    return 0;
  uintptr_t next_search = 0;
  uintptr_t start = find(npages, &next_search);
  if (start == 0)
    return 0;
  *scavenged = mark_allocated(start, npages);
  if (next_search > search_address)
    search_address = next_search;
  // When the run began at the lowest free page, everything up to its end is taken now.
  if (search_address >= start && search_address < start + (npages << GM_PAGE_SHIFT))
    search_address = start + (npages << GM_PAGE_SHIFT);
  return start;
}

bool page_alloc_take_at(uintptr_t start, size_t npages, size_t *scavenged) {
  uintptr_t end = start + (npages << GM_PAGE_SHIFT);
  for (uintptr_t at = start; at < end;) {
    if (heap_arena_of(at) == NULL)
      return false;
    struct chunk_part part = part_at(at, end);
    if (!page_bits_all_clear(part.chunk->allocated, part.first, part.count))
      return false;
    at = part_end(&part);
  }
  *scavenged = mark_allocated(start, npages);
  return true;
}

// After pages of the chunk went to the system: when all are there, so goes what the arena map says of them.
static void forget_when_gone(struct heap_arena *arena, unsigned chunk_index) {
  if (page_bits_all_set(arena->chunks[chunk_index].scavenged))
    heap_arena_forget_spans(arena, chunk_index);
}

void page_alloc_free(uintptr_t start, size_t npages) {
  uintptr_t end = start + (npages << GM_PAGE_SHIFT);
  for (uintptr_t at = start; at < end;) {
    struct chunk_part part = part_at(at, end);
    page_bits_clear(part.chunk->allocated, part.first, part.count);
    heap_arena_of(at)->retained += part.count;
    at = part_end(&part);
  }
  free_pages += npages;
  if (start < search_address)
    search_address = start;
  update(start, end);
}

// Releases the free, unscavenged runs of one chunk from its end; returns pages.
static size_t scavenge_chunk(struct heap_arena *arena, unsigned chunk_index) {
  struct page_chunk *chunk = &arena->chunks[chunk_index];
  uintptr_t base = arena->base + ((uintptr_t)chunk_index << CHUNK_SHIFT);
  uint64_t retained[CHUNK_WORDS];
  for (unsigned i = 0; i < CHUNK_WORDS; i++)
    retained[i] = ~chunk->allocated[i] & ~chunk->scavenged[i];
  size_t total = 0;
  for (unsigned at = 0; at < CHUNK_PAGES;) {
    unsigned length = 0;
    at = page_bits_next_run(retained, at, CHUNK_PAGES, &length);
    if (length == 0)
      break;
    sys_unused(base + ((uintptr_t)at << GM_PAGE_SHIFT), (size_t)length << GM_PAGE_SHIFT);
    page_bits_set(chunk->scavenged, at, length);
    total += length;
    at += length;
  }
  arena->retained -= total;
  scavenged_pages += total;
  if (total > 0)
    forget_when_gone(arena, chunk_index);
  return total;
}

size_t page_alloc_scavenge(size_t npages) {
  size_t total = 0;
  for (struct heap_arena *arena = heap_arena_first(); arena != NULL && total < npages; arena = arena->next)
    for (unsigned i = ARENA_CHUNKS; i-- > 0 && arena->retained > 0 && total < npages;)
      total += scavenge_chunk(arena, i);
  return total;
}

// The last retained run of a chunk, of at most `most` pages.
static unsigned last_retained(const struct page_chunk *chunk, unsigned most, unsigned *first) {
  uint64_t retained[CHUNK_WORDS];
  for (unsigned i = 0; i < CHUNK_WORDS; i++)
    retained[i] = ~chunk->allocated[i] & ~chunk->scavenged[i];
  unsigned count = 0;
  for (unsigned at = 0; at < CHUNK_PAGES;) {
    unsigned length = 0;
    at = page_bits_next_run(retained, at, CHUNK_PAGES, &length);
    if (length == 0)
      break;
    count = length;
    *first = at;
    at += length;
  }
  if (count > most) {
    *first += count - most;
    count = most;
  }
  return count;
}

size_t page_alloc_take_retained(size_t most, uintptr_t *start) {
  unsigned limit = most < CHUNK_PAGES ? (unsigned)most : CHUNK_PAGES;
  for (struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    for (unsigned i = ARENA_CHUNKS; i-- > 0 && arena->retained > 0;) {
      unsigned first = 0;
      unsigned count = last_retained(&arena->chunks[i], limit, &first);
      if (count == 0)
        continue;
      *start = arena->base + ((uintptr_t)i << CHUNK_SHIFT) + ((uintptr_t)first << GM_PAGE_SHIFT);
      (void)mark_allocated(*start, count);
      return count;
    }
  return 0;
}

void page_alloc_give_scavenged(uintptr_t start, size_t npages) {
  struct chunk_part part = part_at(start, start + (npages << GM_PAGE_SHIFT));
  GM_ASSERT(part.count == npages); // take_retained stays in one chunk
  page_alloc_free(start, npages);
  page_bits_set(part.chunk->scavenged, part.first, part.count);
  struct heap_arena *arena = heap_arena_of(start);
  arena->retained -= npages;
  scavenged_pages += npages;
  forget_when_gone(arena, (unsigned)(part.chunk - arena->chunks));
}

bool page_alloc_drop_scavenged(uintptr_t chunk) {
  const uint64_t *scavenged = chunk_of(chunk)->scavenged;
  unsigned count = 0;
  for (unsigned word = 0; word < CHUNK_WORDS; word++)
    count += (unsigned)__builtin_popcountll(scavenged[word]);
  if (count < CHUNK_PAGES / 2)
    return false;
  unsigned length = 0;
  for (unsigned at = page_bits_next_run(scavenged, 0, CHUNK_PAGES, &length); length > 0;
       at = page_bits_next_run(scavenged, at + length, CHUNK_PAGES, &length))
    sys_drop_huge_page(chunk + ((uintptr_t)at << GM_PAGE_SHIFT), (size_t)length << GM_PAGE_SHIFT);
  return true;
}

bool page_alloc_undo(uintptr_t start, size_t npages) {
  if ((start ^ (start + (npages << GM_PAGE_SHIFT) - 1)) >> CHUNK_SHIFT != 0)
    return false;
  // No system call: a page that nobody touched is not backed.
  sys_state_change(start, npages << GM_PAGE_SHIFT, SYS_MASK(SYS_READY), SYS_PREPARED);
  page_alloc_give_scavenged(start, npages);
  return true;
}

struct page_alloc_counts page_alloc_counts(void) {
  return (struct page_alloc_counts){free_pages, scavenged_pages};
}

static int fault(const char *what, uintptr_t address) {
  char line[160];
  struct text_buffer text = {line, sizeof line, 0};
  text_append(&text, "gomalloc: heap check: ");
  text_append(&text, what);
  text_append(&text, " at ");
  text_append_hex(&text, address);
  text_append(&text, "\n");
  text_write_stderr(&text);
  return 1;
}

static int check_arena(const struct heap_arena *arena, struct page_alloc_counts *counts) {
  int faults = 0;
  size_t retained = 0;
  for (unsigned i = 0; i < ARENA_CHUNKS; i++) {
    const struct page_chunk *chunk = &arena->chunks[i];
    uintptr_t base = arena->base + ((uintptr_t)i << CHUNK_SHIFT);
    for (unsigned w = 0; w < CHUNK_WORDS; w++) {
      uint64_t is_free = ~chunk->allocated[w];
      if ((chunk->allocated[w] & chunk->scavenged[w]) != 0)
        faults += fault("allocated page is marked scavenged", base);
      counts->free += (size_t)__builtin_popcountll(is_free);
      counts->scavenged += (size_t)__builtin_popcountll(chunk->scavenged[w]);
      retained += (size_t)__builtin_popcountll(is_free & ~chunk->scavenged[w]);
    }
    if (root[base >> ROOT_SHIFT].region != NULL &&
        *summary_at(LEVELS - 1, base >> CHUNK_SHIFT) != page_bits_summarize(chunk->allocated))
      faults += fault("chunk summary differs from its bitmap", base);
  }
  if (retained != arena->retained)
    faults += fault("arena's count of retained pages is wrong", arena->base);
  return faults;
}

int page_alloc_check(void) {
  int faults = 0;
  struct page_alloc_counts counts = {0, 0};
  for (struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    faults += check_arena(arena, &counts);
  if (counts.free != free_pages || counts.scavenged != scavenged_pages)
    faults += fault("page counts differ from the bitmaps", 0);
  for (unsigned level = LEVELS - 1; level-- > 0;) {
    unsigned shift = level_shift(level);
    for (size_t i = root_low << (level * FANOUT_BITS); i < root_high << (level * FANOUT_BITS); i++)
      if (root[i >> (level * FANOUT_BITS)].region != NULL &&
          *summary_at(level, i) !=
              merge(summary_at(level + 1, i << FANOUT_BITS), shift - FANOUT_BITS - GM_PAGE_SHIFT))
        faults += fault("summary differs from those below it", (uintptr_t)i << shift);
  }
  return faults;
}

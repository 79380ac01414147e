// core_fuzz_pages.c: the page allocator and the page cache against one byte per page, searched from the start. Two
// arenas, one on each side of a border between root entries of the summary tree, are grown chunk by chunk.
#include "core/page_alloc.h"
#include "core/page_cache.h"
#include "core/sys_mem.h"
#include "fuzz/core_fuzz.h"
#include "fuzz/core_fuzz_world.h"

#include <string.h>

enum { ARENAS = 2, CHUNKS = ARENAS * (int)ARENA_CHUNKS, PAGES = CHUNKS * (int)CHUNK_PAGES, RUNS = 512 };

// A border of 16 GiB lies in the middle.
#define BASE (((uintptr_t)0x210000000000) - ARENAS / 2 * ARENA_SIZE)

typedef struct run {
  size_t first;
  size_t npages;
} run;

static struct {
  bool taken[PAGES]; // or not grown yet
  bool ready[PAGES]; // backed by memory
  bool grown[CHUNKS];
  size_t free_pages, scavenged; // of the model, counted as it changes
  run runs[RUNS];               // that the input holds
  size_t run_count;
  run cached[RUNS]; // in the page cache, last put first taken
  size_t cached_count;
  size_t discarded; // pages of the last operation
} model;

static uintptr_t address_of(size_t page) {
  return BASE + (page << GM_PAGE_SHIFT);
}

// The system got pages back: only free ones that were backed may go.
static void on_discard(uintptr_t start, size_t size) {
  if (heap_arena_of(start) == NULL)
    return; // the core's own
  CORE_REQUIRE(start >= BASE && start + size <= address_of(PAGES), "what is given back is the heap's");
  for (size_t page = (start - BASE) >> GM_PAGE_SHIFT; page < (start + size - BASE) >> GM_PAGE_SHIFT; page++) {
    CORE_REQUIRE(!model.taken[page], "a page in use is given back");
    CORE_REQUIRE(model.ready[page], "a page is given back twice");
    model.ready[page] = false;
    model.scavenged++;
    model.discarded++;
  }
}

// First fit; PAGES when nothing fits.
static size_t model_find(size_t npages) {
  for (size_t at = 0; at + npages <= PAGES && npages <= model.free_pages;) {
    const bool *first = memchr(&model.taken[at], false, PAGES - at);
    if (first == NULL || first + npages > &model.taken[PAGES])
      break;
    const bool *end = memchr(first, true, npages);
    if (end == NULL)
      return (size_t)(first - model.taken);
    at = (size_t)(end - model.taken);
  }
  return PAGES;
}

static bool all_free(size_t first, size_t npages) {
  return memchr(&model.taken[first], true, npages) == NULL;
}

// Returns how many were scavenged.
static size_t model_take(size_t first, size_t npages) {
  size_t scavenged = 0;
  for (size_t i = first; i < first + npages; i++) {
    CORE_REQUIRE(!model.taken[i], "the model takes a page twice");
    scavenged += !model.ready[i];
    model.taken[i] = model.ready[i] = true;
  }
  model.free_pages -= npages;
  model.scavenged -= scavenged;
  return scavenged;
}

static void model_free(size_t first, size_t npages) {
  memset(&model.taken[first], false, npages);
  model.free_pages += npages;
}

static void hold(size_t first, size_t npages) {
  model.runs[model.run_count++] = (run){first, npages};
}

// A run of the input's; npages is 0 when it holds none.
static run pick(core_input *input, size_t *index) {
  if (model.run_count == 0)
    return (run){0, 0};
  *index = core_below(input, (uint32_t)model.run_count);
  return model.runs[*index];
}

static void drop(size_t index) {
  model.runs[index] = model.runs[--model.run_count];
}

static size_t some_pages(core_input *input) {
  uint8_t law = core_byte(input);
  if (law < 160)
    return 1 + law % 40;
  if (law < 200)
    return CHUNK_PAGES - 20 + law;
  return 1 + core_below(input, law < 240 ? 2000 : PAGES + 10);
}

// ---- Operations ----

static void grow(core_input *input) {
  size_t chunk = core_below(input, CHUNKS);
  size_t most = 1 + core_below(input, CHUNKS);
  size_t count = 0;
  while (chunk + count < CHUNKS && count < most && !model.grown[chunk + count])
    count++;
  if (count == 0)
    return;
  uint8_t failing = core_byte(input);
  if (failing >= 0xc0)
    core_world_fail(failing & 3, 1);
  uintptr_t start = address_of(chunk * CHUNK_PAGES);
  bool done = page_alloc_cover(start, count * CHUNK_PAGES) && sys_map(start, count << CHUNK_SHIFT);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE(done == (refused == 0), "whether the heap can grow");
  if (!done)
    return;
  page_alloc_grow(start, count * CHUNK_PAGES);
  memset(&model.grown[chunk], true, count);
  for (size_t i = chunk * CHUNK_PAGES; i < (chunk + count) * CHUNK_PAGES; i++)
    model.taken[i] = model.ready[i] = false;
  model.free_pages += count * CHUNK_PAGES;
  model.scavenged += count * CHUNK_PAGES;
}

// Returns the first page, or PAGES.
static size_t find(size_t npages) {
  size_t expected = model_find(npages);
  size_t scavenged = 0;
  uintptr_t got = page_alloc_find(npages, &scavenged);
  CORE_REQUIRE(got == (expected == PAGES ? 0 : address_of(expected)), "first fit by address");
  if (expected == PAGES)
    return PAGES;
  CORE_REQUIRE(scavenged == model_take(expected, npages), "how many pages were scavenged");
  return expected;
}

static void find_some(core_input *input) {
  size_t npages = some_pages(input);
  if (model.run_count == RUNS)
    return;
  size_t first = find(npages);
  if (first != PAGES)
    hold(first, npages);
}

static void take_at(core_input *input) {
  size_t npages = some_pages(input);
  size_t first = core_below(input, PAGES);
  if (first + npages > PAGES || model.run_count == RUNS)
    return;
  bool expected = all_free(first, npages);
  size_t scavenged = 0;
  CORE_REQUIRE(page_alloc_take_at(address_of(first), npages, &scavenged) == expected,
               "taking pages at a place");
  if (!expected)
    return;
  CORE_REQUIRE(scavenged == model_take(first, npages), "how many pages were scavenged");
  hold(first, npages);
}

// All of a run, or one end of it.
static void free_some(core_input *input) {
  size_t index = 0;
  run from = pick(input, &index);
  if (from.npages == 0)
    return;
  run part = from;
  uint8_t how = core_byte(input);
  if (how >= 0xc0 && from.npages > 1) {
    part.npages = 1 + core_below(input, (uint32_t)from.npages - 1);
    if (how & 1)
      part.first += from.npages - part.npages;
    model.runs[index] = (run){how & 1 ? from.first : from.first + part.npages, from.npages - part.npages};
  } else {
    drop(index);
  }
  page_alloc_free(address_of(part.first), part.npages);
  model_free(part.first, part.npages);
}

static size_t retained_in(size_t chunk) {
  size_t count = 0;
  for (size_t i = chunk * CHUNK_PAGES; i < (chunk + 1) * CHUNK_PAGES; i++)
    count += !model.taken[i] && model.ready[i];
  return count;
}

// Whole chunks from the end of the heap, until it is enough: arenas are looked through newest first.
static void scavenge(core_input *input) {
  size_t wanted = 1 + core_below(input, PAGES);
  size_t expected = 0;
  for (size_t chunk = CHUNKS; chunk-- > 0 && expected < wanted;)
    expected += retained_in(chunk);
  model.discarded = 0;
  CORE_REQUIRE(page_alloc_scavenge(wanted) == expected, "how many pages are scavenged");
  CORE_REQUIRE(model.discarded == expected, "scavenged pages that the system did not get");
}

// As the background thread does it.
static void take_retained(core_input *input) {
  size_t most = 1 + core_below(input, 600);
  uintptr_t start = 0;
  size_t got = page_alloc_take_retained(most, &start);
  CORE_REQUIRE((got == 0) == (model.free_pages == model.scavenged), "whether there are retained pages");
  if (got == 0)
    return;
  CORE_REQUIRE(got <= most && start >= BASE && start + (got << GM_PAGE_SHIFT) <= address_of(PAGES),
               "a retained run");
  size_t first = (start - BASE) >> GM_PAGE_SHIFT;
  CORE_REQUIRE(model_take(first, got) == 0, "a retained run that is scavenged");
  if ((core_byte(input) & 1) != 0 && model.run_count < RUNS)
    find_some(input); // in between, the lock is free
  model_free(first, got);
  core_world_on_discard = NULL; // it is taken, as the page allocator sees it
  sys_unused(start, got << GM_PAGE_SHIFT);
  core_world_on_discard = on_discard;
  memset(&model.ready[first], false, got);
  model.scavenged += got;
  page_alloc_give_scavenged(start, got);
}

// What is taken for nothing and put back.
static void undo(core_input *input) {
  size_t npages = some_pages(input);
  size_t before = model.scavenged;
  size_t first = find(npages);
  if (first == PAGES)
    return;
  bool within = first / CHUNK_PAGES == (first + npages - 1) / CHUNK_PAGES;
  if (before - model.scavenged == npages) {
    bool done = page_alloc_undo(address_of(first), npages);
    CORE_REQUIRE(done == within, "whether taking is undone");
    if (done) {
      memset(&model.ready[first], false, npages);
      model_free(first, npages);
      model.scavenged += npages;
      return;
    }
  }
  page_alloc_free(address_of(first), npages);
  model_free(first, npages);
}

// What huge pages brought may go, whether it was there or not: only pages that nobody has.
static void on_drop(uintptr_t start, size_t size) {
  for (size_t page = (start - BASE) >> GM_PAGE_SHIFT; page < (start + size - BASE) >> GM_PAGE_SHIFT; page++)
    CORE_REQUIRE(!model.taken[page] && !model.ready[page], "a page that is needed is dropped");
}

static void drop_scavenged(core_input *input) {
  size_t chunk = core_below(input, CHUNKS);
  if (!model.grown[chunk])
    return;
  size_t count = 0;
  for (size_t i = chunk * CHUNK_PAGES; i < (chunk + 1) * CHUNK_PAGES; i++)
    count += !model.taken[i] && !model.ready[i];
  core_world_on_discard = on_drop;
  bool dropped = page_alloc_drop_scavenged(address_of(chunk * CHUNK_PAGES));
  core_world_on_discard = on_discard;
  CORE_REQUIRE(dropped == (count >= CHUNK_PAGES / 2), "whether half of a chunk is scavenged");
}

static size_t cached_pages(void) {
  size_t pages = 0;
  for (size_t i = 0; i < model.cached_count; i++)
    pages += model.cached[i].npages;
  return pages;
}

static void cache_put(core_input *input) {
  size_t index = 0;
  run from = pick(input, &index);
  if (from.npages == 0 || model.cached_count == RUNS)
    return;
  bool kept = page_cache_put(address_of(from.first), from.npages);
  CORE_REQUIRE(kept == (from.npages <= PAGE_CACHE_RUN_MAX), "whether a run is cached");
  if (kept) {
    drop(index);
    model.cached[model.cached_count++] = from;
  }
}

// The shortest run that is long enough; of those, the last one put.
static void cache_take(core_input *input) {
  size_t wanted = 1 + core_below(input, PAGE_CACHE_RUN_MAX + 2);
  size_t most = wanted + core_below(input, 20);
  if (model.run_count == RUNS)
    return;
  size_t best = RUNS;
  for (size_t i = model.cached_count; i-- > 0;)
    if (model.cached[i].npages >= wanted &&
        (best == RUNS || model.cached[i].npages < model.cached[best].npages))
      best = i;
  bool expected = best != RUNS && model.cached[best].npages <= most && wanted <= PAGE_CACHE_RUN_MAX;
  size_t npages = wanted;
  uintptr_t got = page_cache_take(&npages, most);
  CORE_REQUIRE((got != 0) == expected, "whether the cache has a run");
  if (!expected)
    return;
  run found = model.cached[best];
  CORE_REQUIRE(npages == found.npages && got == address_of(found.first), "which run the cache gives");
  for (size_t i = best + 1; i < model.cached_count; i++)
    model.cached[i - 1] = model.cached[i];
  model.cached_count--;
  hold(found.first, found.npages);
}

static void cache_flush(void) {
  page_cache_flush();
  for (; model.cached_count > 0; model.cached_count--) {
    run last = model.cached[model.cached_count - 1];
    model_free(last.first, last.npages);
  }
}

static void visit_cached(uintptr_t start, size_t npages, void *context) {
  size_t *count = context;
  bool known = false;
  for (size_t i = 0; i < model.cached_count; i++)
    known |= start == address_of(model.cached[i].first) && npages == model.cached[i].npages;
  CORE_REQUIRE(known, "a run in the cache that nobody put there");
  ++*count;
}

static void check_all(void) {
  size_t free_pages = 0;
  size_t scavenged = 0;
  for (size_t i = 0; i < PAGES; i++) {
    free_pages += !model.taken[i];
    scavenged += !model.taken[i] && !model.ready[i];
  }
  CORE_REQUIRE(free_pages == model.free_pages && scavenged == model.scavenged, "the model's own counts");
  CORE_REQUIRE(page_alloc_check() == 0, "summaries against bitmaps");
  size_t runs = 0;
  CORE_REQUIRE(page_cache_check(visit_cached, &runs) == 0, "the page cache's lists");
  CORE_REQUIRE(runs == model.cached_count, "a run that the cache lost");
}

static void operate(core_input *input) {
  switch (core_byte(input) % 16) {
  case 0:
  case 1:
  case 2:
  case 3:
    find_some(input);
    break;
  case 4:
  case 5:
  case 6:
    free_some(input);
    break;
  case 7:
    take_at(input);
    break;
  case 8:
    grow(input);
    break;
  case 9:
    scavenge(input);
    break;
  case 10:
    take_retained(input);
    break;
  case 11:
    undo(input);
    break;
  case 12:
    drop_scavenged(input);
    break;
  case 13:
    cache_put(input);
    break;
  case 14:
    cache_take(input);
    break;
  default:
    if (core_byte(input) % 4 == 0)
      cache_flush();
    else
      check_all();
  }
}

static void check_counts(void) {
  struct page_alloc_counts counts = page_alloc_counts();
  CORE_REQUIRE(counts.free == model.free_pages, "the count of free pages");
  CORE_REQUIRE(counts.scavenged == model.scavenged, "the count of scavenged pages");
  CORE_REQUIRE(page_cache_pages() == cached_pages(), "the count of cached pages");
}

void core_fuzz_pages(core_input *input) {
  memset(&model, 0, sizeof model);
  memset(model.taken, true, sizeof model.taken);
  core_world_layout(false); // a linear one chooses its place itself
  CORE_REQUIRE(heap_arena_reserve(BASE, ARENAS * ARENA_SIZE) == BASE, "the arenas' place");
  for (unsigned i = 0; i < ARENAS; i++)
    CORE_REQUIRE(heap_arena_add(BASE + i * ARENA_SIZE) != NULL, "an arena");
  core_world_on_discard = on_discard;
  grow(input);
  while (core_more(input)) {
    operate(input);
    check_counts();
  }
  check_all();
  // Empty again, it is one run for each part that was grown.
  cache_flush();
  while (model.run_count > 0) {
    run last = model.runs[--model.run_count];
    page_alloc_free(address_of(last.first), last.npages);
    model_free(last.first, last.npages);
  }
  check_all();
  check_counts();
}

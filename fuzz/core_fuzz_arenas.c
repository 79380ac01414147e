// core_fuzz_arenas.c: arenas and the map from pages to spans (core/heap_arena.h) against lists: both layouts, limited
// address space, places that the kernel does not heed, refused requests, and lookups of any address.
#include "core/heap_arena.h"
#include "core/mspan.h"
#include "core/sys_mem.h"
#include "fuzz/core_fuzz.h"
#include "fuzz/core_fuzz_world.h"

#include <string.h>

enum { ARENAS = 10, SPANS = 64 };

static struct mspan spans[SPANS];

static struct {
  uintptr_t arenas[ARENAS]; // that were added
  size_t arena_count;
  bool span_live[SPANS];
  bool span_large[SPANS]; // only the first page is in the map
  unsigned lookups;       // where no span is: those walk far, so only some of them are made
  bool complete;          // the map has an entry for every address: no address finds another's
  bool linear;
} model;

static bool in_arena(uintptr_t address) {
  for (size_t i = 0; i < model.arena_count; i++)
    if (address - model.arenas[i] < ARENA_SIZE)
      return true;
  return false;
}

static bool covers(const struct mspan *span, uintptr_t address) {
  return address - span->start < span->npages << GM_PAGE_SHIFT;
}

static struct mspan *span_around(uintptr_t address) {
  for (unsigned i = 0; i < SPANS; i++)
    if (model.span_live[i] && covers(&spans[i], address))
      return &spans[i];
  return NULL;
}

// Below 2^48, that is: addresses above share the entries of those below.
static void check_address(uintptr_t address) {
  bool known = in_arena(address);
  const struct heap_arena *arena = heap_arena_of(address);
  CORE_REQUIRE((arena != NULL) == known, "whether an address lies in an arena");
  CORE_REQUIRE(!known || address - arena->base < ARENA_SIZE, "the arena of an address");
  struct mspan *expected = span_around(address);
  struct mspan *found = heap_arena_span_of(address);
  if (!known) {
    CORE_REQUIRE(!model.complete || found == NULL, "a span where no arena is");
    CORE_REQUIRE(found == NULL || found == &mspan_returned || !covers(found, address),
                 "a span covers what is no arena's");
    return;
  }
  bool mapped =
      expected != NULL && (!model.span_large[expected - spans] || address - expected->start < GM_PAGE_SIZE);
  if (mapped)
    CORE_REQUIRE(found == expected, "the span of a page");
  else
    CORE_REQUIRE(found == NULL || found == &mspan_returned, "a span where none is");
  if (expected != NULL || model.lookups++ % 32 == 0)
    CORE_REQUIRE(heap_arena_find_span(address) == expected, "the span around an address");
}

// First pages, last pages, and what lies beside them.
static void check_edges(void) {
  for (unsigned i = 0; i < SPANS; i++)
    if (model.span_live[i]) {
      uintptr_t end = spans[i].start + (spans[i].npages << GM_PAGE_SHIFT);
      check_address(spans[i].start);
      check_address(spans[i].start - 1);
      check_address(end - 1);
      check_address(end);
    }
  for (size_t i = 0; i < model.arena_count; i++) {
    check_address(model.arenas[i]);
    check_address(model.arenas[i] - 1);
    check_address(model.arenas[i] + ARENA_SIZE);
  }
}

static void add_arenas(core_input *input) {
  size_t wanted = 1 + core_below(input, 4);
  uint8_t how = core_byte(input);
  uintptr_t hint = CORE_WORLD_LOW + ((uintptr_t)core_below(input, 1 << 12) << 30);
  if ((how & 3) != 0 && model.arena_count > 0)
    hint = model.arenas[model.arena_count - 1] + ARENA_SIZE;
  if (model.arena_count + wanted > ARENAS)
    return;
  core_world_scatter((how & 0x1c) == 0x1c);
  if (how >= 0xc0)
    core_world_fail(how >> 2 & 7, 1 + (how & 3));
  uintptr_t base = heap_arena_reserve(hint, wanted * ARENA_SIZE);
  size_t added = 0;
  while (base != 0 && added < wanted && heap_arena_add(base + added * ARENA_SIZE) != NULL)
    added++;
  unsigned refused = core_world_stop_failing();
  core_world_scatter(false);
  if (base == 0) {
    bool full = model.linear || !model.complete;
    CORE_REQUIRE(full || refused > 0, "no place for an arena, although the system has some");
    return;
  }
  CORE_REQUIRE(base % ARENA_SIZE == 0 && base + wanted * ARENA_SIZE <= (uintptr_t)1 << GM_ADDR_BITS,
               "an arena's place");
  CORE_REQUIRE(added == wanted || refused > 0, "tables are refused by themselves");
  for (size_t i = 0; i < added; i++) {
    CORE_REQUIRE(!in_arena(base + i * ARENA_SIZE), "two arenas at one place");
    model.arenas[model.arena_count++] = base + i * ARENA_SIZE;
  }
  model.linear = heap_linear.arena_size != 0;
  model.complete = heap_pages.mask == HEAP_PAGES_MAX - 1;
  if (model.linear)
    CORE_REQUIRE(base - heap_linear.arena < heap_linear.arena_used, "an arena beside the linear one");
}

// Small spans fill the map, large ones have their first page there; none overlaps another.
static void add_span(core_input *input) {
  if (model.arena_count == 0)
    return;
  unsigned slot = core_below(input, SPANS);
  uintptr_t arena = model.arenas[core_below(input, (uint32_t)model.arena_count)];
  size_t page = core_below(input, ARENA_PAGES);
  uint8_t kind = core_byte(input);
  size_t npages = 1 + core_below(input, kind >= 0xc0 ? 3000 : 40);
  uintptr_t start = arena + (page << GM_PAGE_SHIFT);
  if (model.span_live[slot])
    return;
  for (size_t i = 0; i < npages; i++)
    if (!in_arena(start + (i << GM_PAGE_SHIFT)) || span_around(start + (i << GM_PAGE_SHIFT)) != NULL)
      return;
  spans[slot].start = start;
  spans[slot].npages = npages;
  model.span_live[slot] = true;
  model.span_large[slot] = (kind & 1) != 0;
  heap_arena_set_spans(start, model.span_large[slot] ? 1 : npages, &spans[slot]);
}

static void remove_span(core_input *input) {
  unsigned slot = core_below(input, SPANS);
  if (!model.span_live[slot])
    return;
  heap_arena_set_spans(spans[slot].start, model.span_large[slot] ? 1 : spans[slot].npages, &mspan_returned);
  model.span_live[slot] = false;
}

static void check_list(void) {
  size_t count = 0;
  for (const struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next, count++)
    CORE_REQUIRE(count < model.arena_count && arena->base == model.arenas[model.arena_count - 1 - count],
                 "all arenas, newest first");
  CORE_REQUIRE(count == model.arena_count, "an arena that the list lost");
}

void core_fuzz_arenas(core_input *input) {
  memset(&model, 0, sizeof model);
  memset(spans, 0, sizeof spans);
  uint8_t kind = core_byte(input);
  core_world_layout((kind & 1) != 0);
  if ((kind & 6) == 6)
    core_world_limit((size_t)256 << 20 << (kind >> 3));
  CORE_REQUIRE(heap_arena_of(core_word(input)) == NULL, "an arena before there is any");
  while (core_more(input)) {
    switch (core_byte(input) % 8) {
    case 0:
      add_arenas(input);
      break;
    case 1:
    case 2:
    case 3:
      add_span(input);
      break;
    case 4:
      remove_span(input);
      break;
    case 5:
      check_address(core_word(input) & (((uintptr_t)1 << GM_ADDR_BITS) - 1));
      break;
    case 6:
      if (model.arena_count > 0)
        check_address(model.arenas[0] + core_below(input, ARENAS * (uint32_t)ARENA_SIZE));
      break;
    default:
      check_edges();
    }
  }
  check_edges();
  check_list();
}

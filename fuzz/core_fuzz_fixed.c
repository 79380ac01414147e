// core_fuzz_fixed.c: memory for gomalloc's own structures (core/fixalloc.h) against a list of what is live: nothing
// overlaps, everything is aligned, persistent memory is zero, addresses keep to their own kind, and what goes back to
// the system has no live object in it.
#include "core/fixalloc.h"
#include "fuzz/core_fuzz.h"
#include "fuzz/core_fuzz_world.h"

#include <string.h>

enum { KINDS = 4, LIVE = 256 };

static struct {
  struct block {
    unsigned char *memory;
    size_t size;
    unsigned kind; // KINDS: of persistent_alloc
    unsigned char fill;
  } live[LIVE];
  size_t count;
  size_t in_use[KINDS];
} model;

static struct fixalloc kinds[KINDS];

// Which kind has which slab.
static struct slab {
  uintptr_t start;
  unsigned kind;
} slabs[4 * LIVE];
static size_t slab_count;

static void check_slab(const unsigned char *memory, unsigned kind) {
  const struct fixalloc_slab *starter = &kinds[kind].starter;
  if ((uintptr_t)memory - starter->start < starter->room * kinds[kind].size)
    return;
  uintptr_t start = gm_align_down((uintptr_t)memory, FIXALLOC_SLAB);
  for (size_t i = 0; i < slab_count; i++)
    if (slabs[i].start == start) {
      CORE_REQUIRE(slabs[i].kind == kind, "an address changes its kind");
      return;
    }
  CORE_REQUIRE(slab_count < sizeof slabs / sizeof *slabs, "more slabs than objects");
  slabs[slab_count++] = (struct slab){start, kind};
}

static void on_discard(uintptr_t start, size_t size) {
  for (size_t i = 0; i < model.count; i++) {
    uintptr_t live = (uintptr_t)model.live[i].memory;
    CORE_REQUIRE(start + size <= live || live + model.live[i].size <= start,
                 "a live structure is given back");
  }
}

static void add(unsigned char *memory, size_t size, unsigned kind) {
  for (size_t i = 0; i < model.count; i++)
    CORE_REQUIRE(memory + size <= model.live[i].memory || model.live[i].memory + model.live[i].size <= memory,
                 "two structures overlap");
  unsigned char fill = (unsigned char)(model.count + 1);
  memset(memory, fill, size);
  model.live[model.count++] = (struct block){memory, size, kind, fill};
}

// Requests fail from here on with the byte's say-so; false when none does.
static void may_fail(core_input *input) {
  uint8_t failing = core_byte(input);
  if (failing >= 0xc0)
    core_world_fail(0, 1);
}

static void take_persistent(core_input *input) {
  size_t align = (size_t)1 << core_below(input, GM_PAGE_SHIFT + 1);
  size_t size = 1 + core_below(input, core_byte(input) >= 0xe0 ? 100000 : 700);
  size_t before = persistent_reserved();
  may_fail(input);
  unsigned char *memory = persistent_alloc(size, align);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE((memory == NULL) == (refused > 0), "whether persistent memory is refused");
  if (memory == NULL) {
    CORE_REQUIRE(persistent_reserved() == before, "refused memory is counted");
    return;
  }
  CORE_REQUIRE((uintptr_t)memory % align == 0, "alignment of persistent memory");
  CORE_REQUIRE(memory[0] == 0 && memcmp(memory, memory + 1, size - 1) == 0, "persistent memory reads zero");
  add(memory, size, KINDS);
}

static void take(core_input *input, unsigned kind) {
  may_fail(input);
  unsigned char *memory = fixalloc_alloc(&kinds[kind]);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE((memory == NULL) == (refused > 0), "whether an object is refused");
  if (memory == NULL)
    return;
  model.in_use[kind]++;
  CORE_REQUIRE((uintptr_t)memory % GM_CACHE_LINE == 0, "alignment of an object");
  check_slab(memory, kind);
  add(memory, kinds[kind].size, kind);
}

static void give(size_t index) {
  struct block block = model.live[index];
  CORE_REQUIRE(block.memory[0] == block.fill && memcmp(block.memory, block.memory + 1, block.size - 1) == 0,
               "a structure's content");
  if (block.kind == KINDS)
    return; // for ever
  fixalloc_free(&kinds[block.kind], block.memory);
  model.in_use[block.kind]--;
  model.live[index] = model.live[--model.count];
}

static bool has_empty_slab(unsigned kind) {
  for (size_t i = 0; i < slab_count; i++) {
    bool used = slabs[i].kind != kind;
    for (size_t n = 0; n < model.count && !used; n++)
      used = gm_align_down((uintptr_t)model.live[n].memory, FIXALLOC_SLAB) == slabs[i].start;
    if (!used)
      return true;
  }
  return false;
}

static void release_all(unsigned kind) {
  bool any = false;
  while (fixalloc_release(&kinds[kind]))
    any = true;
  CORE_REQUIRE(!any || has_empty_slab(kind), "a slab in use is released");
  CORE_REQUIRE(kinds[kind].empty == NULL, "a slab without objects stays");
}

void core_fuzz_fixed(core_input *input) {
  memset(&model, 0, sizeof model);
  slab_count = 0;
  core_world_on_discard = on_discard;
  for (unsigned kind = 0; kind < KINDS; kind++) {
    size_t size = 1 + core_below(input, 9000);
    fixalloc_init(&kinds[kind], size);
    CORE_REQUIRE(kinds[kind].size >= size && kinds[kind].size - size < GM_CACHE_LINE, "an object's size");
  }
  while (core_more(input)) {
    uint8_t operation = core_byte(input);
    if (operation >= 0xf8)
      release_all(operation % KINDS);
    else if (operation % 4 == 3 && model.count > 0)
      give(core_below(input, (uint32_t)model.count));
    else if (model.count < LIVE && operation % 4 == 2)
      take_persistent(input);
    else if (model.count < LIVE)
      take(input, operation / 4 % KINDS);
    for (unsigned kind = 0; kind < KINDS; kind++) {
      CORE_REQUIRE(kinds[kind].in_use == model.in_use[kind], "the count of objects");
      CORE_REQUIRE(fixalloc_check(&kinds[kind]) == 0, "the counts and lists of slabs");
    }
  }
  for (size_t i = model.count; i-- > 0;)
    give(i);
}

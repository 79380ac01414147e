// core_fuzz_spans.c: the objects of a span (core/mspan.h) against one entry per object. One slot claims groups and
// hands objects out, its owner and other threads free them, announcements come late: every order of steps that the
// protocol allows, one at a time. And the lists of spans against an array.
#include "core/mspan.h"
#include "fuzz/core_fuzz.h"

#include <string.h>

// What an object is in the model; `claimed` ones are free in their span and in the slot.
enum { GONE = SPAN_CELLS_MAX };

static _Alignas(GM_CACHE_LINE) unsigned char memory[sizeof(struct mspan) + (size_t)SPAN_CELLS_MAX];
static struct mspan *const span = (struct mspan *)memory;

static struct {
  uint8_t state[SPAN_CELLS_MAX]; // enum object_state
  bool claimed[SPAN_CELLS_MAX];
  size_t count;
  uint64_t announced; // remote frees that the owner did not look at, and
  bool group_announced[SPAN_GROUPS_MAX];
  size_t silent[SPAN_CELLS_MAX]; // remote frees that are not announced yet
  size_t silent_count;
  int64_t debt;
} model;

static size_t taken_count(void) {
  size_t taken = 0;
  for (size_t i = 0; i < model.count; i++)
    taken += model.state[i] != OBJECT_FREE || model.claimed[i];
  return taken;
}

static uint64_t free_bits(size_t group) {
  uint64_t bits = 0;
  for (size_t i = group * 64; i < group * 64 + 64 && i < model.count; i++)
    if (model.state[i] == OBJECT_FREE && !model.claimed[i])
      bits |= (uint64_t)1 << i % 64;
  return bits;
}

static void check_span(void) {
  uint64_t summary = 0;
  for (size_t i = 0; i < model.count; i++)
    CORE_REQUIRE(mspan_state(&span->states[i]) == model.state[i], "an object's state");
  for (size_t group = 0; group < mspan_group_count(span); group++)
    summary |= (uint64_t)(free_bits(group) != 0) << group;
  CORE_REQUIRE(atomic_load(&span->summary) == summary, "which groups have free objects");
  CORE_REQUIRE(mspan_has_free(span) == (summary != 0), "whether a span has free objects");
  CORE_REQUIRE(atomic_load(&span->taken_count) == taken_count(), "how many objects are taken");
  CORE_REQUIRE(mspan_is_releasable(span) == (taken_count() == 0 && model.debt == 0 && model.announced == 0),
               "whether a span may go");
}

// The next object from `from` on that is in `state` and not claimed; GONE when none is.
static size_t next_in(size_t from, enum object_state state) {
  for (size_t n = 0; n < model.count; n++) {
    size_t i = (from + n) % model.count;
    if (model.state[i] == state && !model.claimed[i])
      return i;
  }
  return GONE;
}

// As mcache.c's claim_group: the first group with free objects, when the slot has none.
static void claim(void) {
  if (!mspan_has_free(span) || memchr(model.claimed, true, model.count) != NULL)
    return;
  uint64_t summary = atomic_load(&span->summary);
  uint32_t group = (uint32_t)__builtin_ctzll(summary);
  uint64_t bits = mspan_free_bits(span, group);
  CORE_REQUIRE(bits == free_bits(group), "the free objects of a group");
  atomic_store(&span->summary, summary & ~((uint64_t)1 << group));
  atomic_fetch_add(&span->taken_count, (uint32_t)__builtin_popcountll(bits));
  for (; bits != 0; bits &= bits - 1)
    model.claimed[group * 64 + (unsigned)__builtin_ctzll(bits)] = true;
}

// malloc from the slot.
static void hand_out(size_t most) {
  for (size_t i = 0; i < model.count && most > 0; i++)
    if (model.claimed[i]) {
      mspan_set_state(&span->states[i], OBJECT_LIVE);
      model.state[i] = OBJECT_LIVE;
      model.claimed[i] = false;
      most--;
    }
}

// The owner's free keeps the object on its stack, or puts it back.
static void free_locally(size_t i, bool keep) {
  if (keep) {
    mspan_set_state(&span->states[i], OBJECT_CACHED);
    model.state[i] = OBJECT_CACHED;
    return;
  }
  bool was_full = atomic_load(&span->summary) == 0;
  model.state[i] = OBJECT_FREE;
  bool changes = mspan_put_back(span, i);
  CORE_REQUIRE(changes == (was_full || taken_count() == 0), "whether a span's place changes");
}

static void free_remotely(size_t i) {
  bool live = model.state[i] == OBJECT_LIVE && !model.claimed[i];
  CORE_REQUIRE(mspan_object_is_free(span, i) == !live, "whether an object is free");
  CORE_REQUIRE(mspan_free_remotely(span, i) == live, "whether a remote free finds its object live");
  if (!live)
    return;
  model.state[i] = OBJECT_REMOTE;
  model.silent[model.silent_count++] = i;
}

// The second half of a remote free (malloc.c's free_remote).
static void announce(size_t which) {
  size_t i = model.silent[which];
  model.silent[which] = model.silent[--model.silent_count];
  atomic_fetch_add(&span->remote, (uint64_t)1 << 32);
  atomic_fetch_or(&span->remote, (uint64_t)1 << (i / 128));
  model.announced++;
  model.group_announced[i / 64] = model.group_announced[(i / 64) ^ 1] = true;
}

// The owner takes in all remote frees of the groups that were announced, those not announced yet too.
static void apply(void) {
  int64_t found = 0;
  for (size_t i = 0; i < model.count; i++)
    if (model.state[i] == OBJECT_REMOTE && model.group_announced[i / 64]) {
      model.state[i] = OBJECT_FREE;
      found++;
    }
  model.debt += found - (int64_t)model.announced;
  model.announced = 0;
  memset(model.group_announced, false, sizeof model.group_announced);
  mspan_apply_remote(span);
  CORE_REQUIRE(span->remote_debt == model.debt, "remote frees that are still to be announced");
}

static void operate(core_input *input) {
  uint8_t operation = core_byte(input);
  size_t from = core_below(input, SPAN_CELLS_MAX) % model.count;
  size_t times = operation >= 0xe0 ? 200 : 1;
  for (; times > 0; times--) {
    size_t live = next_in(from, OBJECT_LIVE);
    size_t cached = next_in(from, OBJECT_CACHED);
    switch (operation % 8) {
    case 0:
      claim();
      hand_out(64);
      break;
    case 1:
      claim();
      hand_out(1 + from % 8);
      break;
    case 2:
      if (live != GONE)
        free_locally(live, (from & 1) != 0);
      break;
    case 3:
      if (cached != GONE)
        free_locally(cached, false);
      break;
    case 4:
      if (model.silent_count < (size_t)SPAN_CELLS_MAX)
        free_remotely(from);
      break;
    case 5:
      if (live != GONE && model.silent_count < (size_t)SPAN_CELLS_MAX)
        free_remotely(live);
      break;
    case 6:
      if (model.silent_count > 0)
        announce(from % model.silent_count);
      break;
    default:
      if (times == 1)
        apply();
    }
  }
  check_span();
}

static void check_insides(core_input *input) {
  uint64_t offset = core_below(input, (uint32_t)(span->npages << GM_PAGE_SHIFT));
  uint64_t index = offset / span->object_size;
  uintptr_t expected = index < span->object_count ? span->start + index * span->object_size : 0;
  CORE_REQUIRE(mspan_object_of(span, span->start + offset) == expected, "the object around an address");
}

static void objects(core_input *input) {
  unsigned class = 1 + core_below(input, SIZE_CLASS_COUNT - 1);
  bool fresh = (core_byte(input) & 1) != 0;
  memset(memory, 0xa5, sizeof memory);
  memset(&model, 0, sizeof model);
  mspan_init_small(span, (uintptr_t)1 << 40, make_span_class(class, true), fresh);
  model.count = size_class_objects[class];
  memset(model.state, OBJECT_FREE, model.count);
  CORE_REQUIRE(span->fresh == (fresh ? atomic_load(&span->summary) : 0), "which groups read zero");
  check_span();
  while (core_more(input)) {
    operate(input);
    check_insides(input);
  }
  // Everything comes home: the span may go.
  while (model.silent_count > 0)
    announce(0);
  apply();
  hand_out(model.count);
  for (size_t i = 0; i < model.count; i++)
    if (model.state[i] != OBJECT_FREE)
      free_locally(i, false);
  check_span();
  CORE_REQUIRE(mspan_is_releasable(span), "a span without live objects stays");
}

// ---- Lists ----

enum { MEMBERS = 12 };

static void lists(core_input *input) {
  static struct mspan members[MEMBERS];
  struct mspan_list list = {NULL, NULL};
  unsigned order[MEMBERS];
  unsigned count = 0;
  memset(members, 0, sizeof members);
  while (core_more(input)) {
    unsigned member = core_below(input, MEMBERS);
    unsigned at = 0;
    while (at < count && order[at] != member)
      at++;
    if (at == count) {
      mspan_list_append(&list, &members[member]);
      order[count++] = member;
    } else {
      mspan_list_remove(&list, &members[member]);
      memmove(&order[at], &order[at + 1], (--count - at) * sizeof order[0]);
      CORE_REQUIRE(members[member].next == NULL && members[member].previous == NULL,
                   "links of a span on no list");
    }
    const struct mspan *previous = NULL;
    const struct mspan *here = list.first;
    for (unsigned i = 0; i < count; i++, previous = here, here = here->next)
      CORE_REQUIRE(here == &members[order[i]] && here->previous == previous, "the oldest span first");
    CORE_REQUIRE(here == NULL && list.last == previous, "a list's end");
  }
}

void core_fuzz_spans(core_input *input) {
  if (core_byte(input) % 8 == 7)
    lists(input);
  else
    objects(input);
}

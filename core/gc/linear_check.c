// The check of the linear collectors: the heap is walked from object to object, then every reference is
// looked up among the objects that the walk found. See linear_space.h.
#include "core/gc/linear_space.h"

#include "core/sys_mem.h"

// One bit a word of 8 bytes: an object starts behind it.
struct starts {
  uint64_t *bits;
  size_t bytes; // of the bits
};

struct check {
  struct gc_heap *heap;
  const struct linear_space *const *spaces;
  struct starts *starts; // of each space
  size_t count;
  uint64_t faults;
};

static void fault(struct check *check, const char *what, uintptr_t address) {
  if (check->faults++ < 10)
    linear_say(check->heap, what, address);
}

static void note_start(struct starts *starts, const struct linear_space *space, uintptr_t object) {
  size_t word = (object - space->base) / 8;
  starts->bits[word / 64] |= 1ull << (word % 64);
}

static bool is_start(const struct starts *starts, const struct linear_space *space, uintptr_t object) {
  size_t word = (object - space->base) / 8;
  return object % 8 == 0 && object < space->top && (starts->bits[word / 64] >> (word % 64) & 1) != 0;
}

// Headers: ends at the first unsound one, because nothing behind it can be found.
static void walk_headers(struct check *check, size_t i) {
  const struct linear_space *space = check->spaces[i];
  uintptr_t at = space->base;
  while (at < space->top) {
    gc_header header = *(gc_header *)at;
    const struct gc_type *type = linear_type(check->heap, header);
    size_t whole = type - check->heap->types < check->heap->type_count ? linear_whole(type, header) : 0;
    if ((header & ((1u << GC_HEADER_TYPE_SHIFT) - 1)) != 0 || whole < 8 || whole > space->top - at) {
      fault(check, "unsound header", at);
      return;
    }
    if (type->id != 0)
      note_start(&check->starts[i], space, at + GC_HEADER_BYTES);
    at += whole;
  }
}

static bool leads_nowhere(const struct check *check, const void *reference) {
  uintptr_t address = (uintptr_t)reference;
  for (size_t i = 0; i < check->count; i++) {
    const struct linear_space *space = check->spaces[i];
    if (address - space->base < space->end - space->base)
      return !is_start(&check->starts[i], space, address);
  }
  return false;
}

static void check_object(void *object, const struct gc_type *type, size_t count, void *argument) {
  struct check *check = argument;
  LINEAR_EACH_FIELD(object, type, count, field, {
    if (leads_nowhere(check, *field))
      fault(check, "reference to no object", (uintptr_t)field);
  });
}

static void check_root(void **slot, void *argument) {
  struct check *check = argument;
  if (leads_nowhere(check, *slot))
    fault(check, "root that leads to no object", (uintptr_t)slot);
}

uint64_t linear_check(struct gc_heap *heap, const struct linear_space *const *spaces, size_t count) {
  struct starts starts[2] = {{NULL, 0}, {NULL, 0}};
  struct check check = {.heap = heap, .spaces = spaces, .starts = starts, .count = count};
  GM_CHECK(count <= sizeof starts / sizeof starts[0]);
  for (size_t i = 0; i < count; i++) {
    starts[i].bytes = gm_align_up((spaces[i]->end - spaces[i]->base) / 64 + 8, GM_PAGE_SIZE);
    starts[i].bits = sys_alloc(starts[i].bytes);
    if (!starts[i].bits)
      gm_fatal("gc: check: the system gives no memory\n");
    walk_headers(&check, i);
  }
  if (check.faults == 0) { // else the walk would stumble
    for (size_t i = 0; i < count; i++)
      linear_walk(heap, spaces[i], check_object, &check);
    gc_each_root(heap, check_root, &check);
  }
  for (size_t i = 0; i < count; i++)
    sys_free((uintptr_t)starts[i].bits, starts[i].bytes);
  return check.faults;
}

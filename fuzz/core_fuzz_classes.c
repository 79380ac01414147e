// core_fuzz_classes.c: size classes (core/size_class.h) against searches through the table of sizes and against
// division.
#include "core/mspan.h"
#include "core/size_class.h"
#include "fuzz/core_fuzz.h"

// Class 24 keeps Go's numbers and serves no request: blocks of 16 bytes and more are 16-byte aligned.
static bool serves(unsigned class) {
  return size_class_size[class] < GM_MIN_ALIGN || size_class_size[class] % GM_MIN_ALIGN == 0;
}

// The smallest class for `size` whose size is a multiple of `align`, or 0.
static unsigned model_class(size_t size, size_t align) {
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
    if (size_class_size[class] >= size && serves(class) && size_class_size[class] % align == 0)
      return class;
  return 0;
}

static void check_size(size_t size) {
  if (size <= SIZE_CLASS_MAX)
    CORE_REQUIRE(size_class_of(size) == model_class(size, 1), "the class of a size");
  for (size_t align = 1; align <= GM_PAGE_SIZE; align *= 2)
    CORE_REQUIRE(size_class_of_aligned(size, align) == model_class(size, align),
                 "the class of an aligned size");
}

static void check_class(unsigned class) {
  size_t size = size_class_size[class];
  size_t bytes = size_class_pages[class] * GM_PAGE_SIZE;
  CORE_REQUIRE(size > size_class_size[class - 1], "sizes rise");
  size_t most = (size_t)SPAN_CELLS_MAX;
  size_t fit = bytes / size < most ? bytes / size : most;
  CORE_REQUIRE(size_class_objects[class] == fit, "as many objects as fit a span");
  CORE_REQUIRE((bytes - fit * size) * 8 <= bytes, "at most an eighth of a span is lost at its end");
}

static void check_offset(unsigned class, uint32_t offset) {
  CORE_REQUIRE(size_class_divide(class, offset) == offset / size_class_size[class],
               "division by a class's size");
}

// The index of an address that may lie anywhere, for a span anywhere.
static void check_address(unsigned class, uintptr_t start, uintptr_t address) {
  static _Alignas(GM_CACHE_LINE) unsigned char memory[sizeof(struct mspan) + (size_t)SPAN_CELLS_MAX];
  struct mspan *span = (struct mspan *)memory;
  mspan_init_small(span, start, make_span_class(class, true), false);
  size_t size = size_class_size[class];
  uint64_t offset = address - start;
  uint64_t index = mspan_divide(span, address);
  if (offset % size == 0 && offset / size < span->object_count)
    CORE_REQUIRE(index == offset / size, "the index of an object");
  else
    CORE_REQUIRE(index >= span->object_count, "an address that is no object");
}

void core_fuzz_classes(core_input *input) {
  while (core_more(input)) {
    uint8_t operation = core_byte(input);
    unsigned class = 1 + core_below(input, SIZE_CLASS_COUNT - 1);
    size_t size = size_class_size[class];
    uint32_t bytes = (uint32_t)(size_class_pages[class] * GM_PAGE_SIZE);
    uintptr_t start = core_word(input) & (((uintptr_t)1 << GM_ADDR_BITS) - 1) & ~GM_PAGE_MASK;
    switch (operation % 4) {
    case 0: // both sides of each class's edge
      for (size_t near = size < 3 ? 0 : size - 3; near <= size + 3; near++)
        check_size(near);
      break;
    case 1:
      check_size(core_below(input, SIZE_CLASS_MAX + 200));
      check_class(class);
      break;
    case 2: {
      uint32_t object = core_below(input, bytes) / (uint32_t)size * (uint32_t)size;
      for (uint32_t offset = object > 1 ? object - 2 : 0; offset < object + 3 && offset < bytes; offset++) {
        check_offset(class, offset);
        check_address(class, start, start + offset);
      }
      break;
    }
    default:
      check_address(class, start, core_word(input));
      check_address(class, start, start + size * core_below(input, SPAN_CELLS_MAX + 2));
      check_address(class, start, start - size * core_below(input, 4));
    }
  }
}

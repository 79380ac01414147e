// The lookup for aligned requests. See size_class.h.
#include "core/size_class.h"

static_assert(SIZE_CLASS_COUNT <= 128, "a span class must fit a byte");
static_assert(SIZE_CLASS_MAX == 32768, "the lookup tables end at 32 KiB");
static_assert(SIZE_CLASS_FINE_MAX == 1024, "the coarse table starts where the fine one ends");

unsigned size_class_of_aligned(size_t size, size_t align) {
  GM_ASSERT(gm_is_power_of_two(align) && align <= GM_PAGE_SIZE);
  if (size > SIZE_CLASS_MAX)
    return 0;
  size_t wanted = size < align ? align : gm_align_up(size, align); // no class below it is a multiple
  if (wanted > SIZE_CLASS_MAX)
    return 0;
  // Spans start at page boundaries, so objects are aligned when the object size is a multiple of align.
  for (unsigned class = size_class_of(wanted); class < SIZE_CLASS_COUNT; class ++)
    if ((size_class_size[class] & (align - 1)) == 0)
      return class;
  return 0;
}

// The linear allocator. See linear.h.
#include "core/textbook/linear.h"

// Distinct words, so that a foreign pointer or an overwritten header is noticed.
enum { MARK_LIVE = 0x11fe11fe, MARK_DEAD = 0x0dead0de };

struct header {
  size_t size; // of the block, a multiple of 16
  uint64_t mark;
};

static_assert(sizeof(struct header) == TEXTBOOK_ALIGNMENT, "blocks stay aligned");

static struct header *header_of(const void *block) {
  return (struct header *)((uintptr_t)block - sizeof(struct header));
}

static void *linear_allocate(void *heap, size_t alignment, size_t size) {
  struct linear *linear = heap;
  if (!region_reserve(&linear->region))
    return NULL;
  size = gm_align_up(size, TEXTBOOK_ALIGNMENT);
  uintptr_t start = linear->region.end;
  uintptr_t block = gm_align_up(start + sizeof(struct header), alignment);
  if (!region_grow(&linear->region, block + size - start))
    return NULL;
  size_t gap = block - sizeof(struct header) - start;
  if (gap > 0)
    *(struct header *)start = (struct header){gap - sizeof(struct header), MARK_DEAD};
  *header_of((void *)block) = (struct header){size, MARK_LIVE};
  linear->live_blocks++;
  linear->live_bytes += size;
  return (void *)block;
}

// Nothing is reused, but when nothing is left all of it is.
static void linear_release(void *heap, void *block) {
  struct linear *linear = heap;
  struct header *header = header_of(block);
  if (header->mark != MARK_LIVE)
    gm_fatal("textbook: linear: free of what is no live block\n");
  header->mark = MARK_DEAD;
  linear->live_blocks--;
  linear->live_bytes -= header->size;
  if (linear->live_blocks == 0)
    region_shrink(&linear->region, linear->region.base);
}

// A block may become smaller, and the newest one larger: there is nothing above it but free space.
static bool linear_resize(void *heap, void *block, size_t size) {
  struct linear *linear = heap;
  struct header *header = header_of(block);
  size = gm_align_up(size, TEXTBOOK_ALIGNMENT);
  bool newest = (uintptr_t)block + header->size == linear->region.end;
  if (!newest)
    return size <= header->size;
  if (size > header->size && !region_grow(&linear->region, size - header->size))
    return false;
  region_shrink(&linear->region, (uintptr_t)block + size);
  linear->live_bytes += size - header->size;
  header->size = size;
  return true;
}

static size_t linear_usable(const void *heap, const void *block) {
  (void)heap;
  return header_of(block)->size;
}

static size_t linear_trim(void *heap) {
  struct linear *linear = heap;
  return region_trim(&linear->region);
}

static void linear_count(const void *heap, struct textbook_counts *counts) {
  const struct linear *linear = heap;
  *counts = (struct textbook_counts){
      .live_bytes = linear->live_bytes,
      .live_blocks = linear->live_blocks,
      .heap_bytes = linear->region.end - linear->region.base,
  };
}

static int linear_check(const void *heap) {
  const struct linear *linear = heap;
  size_t live_blocks = 0;
  size_t live_bytes = 0;
  uintptr_t at = linear->region.base;
  while (at < linear->region.end) {
    const struct header *header = (const struct header *)at;
    bool live = header->mark == MARK_LIVE;
    if (!live && header->mark != MARK_DEAD)
      return textbook_fault("linear", "no header", at);
    if (header->size % TEXTBOOK_ALIGNMENT != 0 || header->size > linear->region.end - at - sizeof *header)
      return textbook_fault("linear", "a size that leads out of the heap", at);
    live_blocks += live;
    live_bytes += live ? header->size : 0;
    at += sizeof *header + header->size;
  }
  int faults = 0;
  if (live_blocks != linear->live_blocks)
    faults += textbook_fault("linear", "live blocks miscounted in the heap", linear->region.base);
  if (live_bytes != linear->live_bytes)
    faults += textbook_fault("linear", "live bytes miscounted in the heap", linear->region.base);
  return faults;
}

const struct textbook_kind textbook_linear = {
    .allocate = linear_allocate,
    .release = linear_release,
    .resize = linear_resize,
    .usable = linear_usable,
    .trim = linear_trim,
    .count = linear_count,
    .check = linear_check,
};

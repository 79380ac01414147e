// Boundary tags: splitting, joining, growing and walking the heap. See free_list.h; the policies are in fit.c.
#include "core/textbook/free_list.h"

#include "core/textbook/fit.h"

#define HEADER       sizeof(size_t)
#define GROWTH       ((size_t)64 << 10) // the heap grows by at least so much
#define DISCARD_FROM ((size_t)16 << 10) // smaller holes are not worth a system call

static struct block *block_of(const void *payload) {
  return (struct block *)((uintptr_t)payload - HEADER);
}

static void *payload_of(const struct block *block) {
  return (void *)((uintptr_t)block + HEADER);
}

static bool is_live(const struct block *block) {
  return (block->header & FREE_LIST_LIVE) != 0;
}

static bool below_is_live(const struct block *block) {
  return (block->header & FREE_LIST_BELOW_LIVE) != 0;
}

static struct block *above(const struct block *block) {
  return (struct block *)((uintptr_t)block + free_list_size(block));
}

// The free block below: its size stands in its last word.
static struct block *below(const struct block *block) {
  uint32_t units = ((const uint32_t *)block)[-1];
  return (struct block *)((uintptr_t)block - units * FREE_LIST_UNIT);
}

// Whole blocks: the header and what was asked for, at least the smallest block.
static size_t size_for(size_t request) {
  size_t size = gm_align_up(request + HEADER, FREE_LIST_UNIT);
  return size < FREE_LIST_SMALLEST ? FREE_LIST_SMALLEST : size;
}

// The end of the heap looks like a live block without bytes, so that nothing joins across it.
static struct block *sentinel(const struct free_list *list) {
  return (struct block *)(list->region.end - HEADER);
}

// Writes both tags of a free block and enters it into the index. Its neighbours are live.
static void make_hole(struct free_list *list, struct block *block, size_t size) {
  block->header = size | FREE_LIST_BELOW_LIVE;
  ((uint32_t *)((uintptr_t)block + size))[-1] = (uint32_t)(size / FREE_LIST_UNIT);
  above(block)->header &= ~FREE_LIST_BELOW_LIVE;
  fit_insert(list, block);
}

// Frees [block, block + size), joining with the holes on both sides. `block` keeps its bit about the block
// below; the header above is there.
static void free_range(struct free_list *list, struct block *block, size_t size) {
  struct block *next = (struct block *)((uintptr_t)block + size);
  if (!is_live(next)) {
    fit_remove(list, next);
    size += free_list_size(next);
  }
  if (!below_is_live(block)) {
    block = below(block);
    fit_remove(list, block);
    size += free_list_size(block);
  }
  make_hole(list, block, size);
}

// Cuts a live block down to `size` when the rest is enough for a block.
static void split(struct free_list *list, struct block *block, size_t size) {
  size_t rest = free_list_size(block) - size;
  if (rest < FREE_LIST_SMALLEST)
    return;
  block->header -= rest;
  struct block *tail = above(block);
  tail->header = rest | FREE_LIST_BELOW_LIVE;
  free_range(list, tail, rest);
}

static bool start_heap(struct free_list *list) {
  if (list->region.end > list->region.base)
    return true;
  // Half a unit stays unused, so that payloads are aligned; then the sentinel.
  if (!region_reserve(&list->region) || !region_grow(&list->region, FREE_LIST_UNIT))
    return false;
  sentinel(list)->header = FREE_LIST_LIVE | FREE_LIST_BELOW_LIVE;
  return true;
}

// Adds a hole of at least `size` bytes at the end of the heap, joined with the one that is there.
static bool grow(struct free_list *list, size_t size) {
  if (!start_heap(list))
    return false;
  struct block *end = sentinel(list);
  size_t there = below_is_live(end) ? 0 : free_list_size(below(end));
  size_t more = size > there ? size - there : 0;
  if (!region_grow(&list->region, more < GROWTH ? GROWTH : more) && !region_grow(&list->region, more))
    return false;
  sentinel(list)->header = FREE_LIST_LIVE;
  free_range(list, end, (uintptr_t)sentinel(list) - (uintptr_t)end);
  return true;
}

// A live block of at least `size` bytes, not yet split.
static struct block *take(struct free_list *list, size_t size) {
  struct block *block = fit_find(list, size);
  if (block == NULL) {
    if (!grow(list, size))
      return NULL;
    block = fit_find(list, size);
  }
  fit_remove(list, block);
  block->header |= FREE_LIST_LIVE;
  above(block)->header |= FREE_LIST_BELOW_LIVE;
  return block;
}

// Gives the front of a live block back, so that its payload starts at a multiple of `alignment`. The block has
// room for it: see list_allocate.
static struct block *align_block(struct free_list *list, struct block *block, size_t alignment) {
  uintptr_t payload = gm_align_up((uintptr_t)payload_of(block), alignment);
  size_t lead = payload - (uintptr_t)payload_of(block);
  if (lead == 0)
    return block;
  while (lead < FREE_LIST_SMALLEST) // what is left in front must be a block
    lead += alignment;
  size_t size = free_list_size(block);
  struct block *aligned = (struct block *)((uintptr_t)block + lead);
  aligned->header = (size - lead) | FREE_LIST_LIVE;
  free_range(list, block, lead);
  return aligned;
}

static void *list_allocate(void *heap, size_t alignment, size_t request) {
  struct free_list *list = heap;
  size_t size = size_for(request);
  size_t slack = alignment > FREE_LIST_UNIT ? alignment + FREE_LIST_SMALLEST : 0;
  struct block *block = take(list, size + slack);
  if (block == NULL)
    return NULL;
  if (slack > 0)
    block = align_block(list, block, alignment);
  split(list, block, size);
  list->rover = free_list_number(list, above(block));
  list->live_blocks++;
  list->live_bytes += free_list_size(block) - HEADER;
  return payload_of(block);
}

static void list_release(void *heap, void *payload) {
  struct free_list *list = heap;
  struct block *block = block_of(payload);
  if (!is_live(block) || !below_is_live(above(block)))
    gm_fatal("textbook: free list: free of what is no live block\n");
  list->live_blocks--;
  list->live_bytes -= free_list_size(block) - HEADER;
  free_range(list, block, free_list_size(block));
}

// A live block takes in the hole above it, or the end of the heap moves up, when that is enough.
static bool extend(struct free_list *list, struct block *block, size_t size) {
  struct block *next = above(block);
  size_t together = free_list_size(block) + (is_live(next) ? 0 : free_list_size(next));
  bool last = (uintptr_t)block + together == (uintptr_t)sentinel(list);
  if (together < size && !(last && grow(list, size - free_list_size(block))))
    return false;
  next = above(block);
  fit_remove(list, next);
  block->header += free_list_size(next);
  above(block)->header |= FREE_LIST_BELOW_LIVE;
  return true;
}

static bool list_resize(void *heap, void *payload, size_t request) {
  struct free_list *list = heap;
  struct block *block = block_of(payload);
  size_t size = size_for(request);
  size_t old = free_list_size(block);
  if (size > old && !extend(list, block, size))
    return false;
  split(list, block, size);
  list->live_bytes += free_list_size(block) - old;
  return true;
}

static size_t list_usable(const void *heap, const void *payload) {
  (void)heap;
  return free_list_size(block_of(payload)) - HEADER;
}

static struct block *first_block(const struct free_list *list) {
  return free_list_block(list, 1);
}

// The hole at the end goes, the pages inside the others are given back.
static size_t list_trim(void *heap) {
  struct free_list *list = heap;
  if (!start_heap(list))
    return 0;
  struct block *end = sentinel(list);
  if (!below_is_live(end)) {
    struct block *hole = below(end);
    fit_remove(list, hole);
    region_shrink(&list->region, (uintptr_t)hole + HEADER);
    sentinel(list)->header = FREE_LIST_LIVE | FREE_LIST_BELOW_LIVE;
  }
  size_t bytes = region_trim(&list->region);
  for (struct block *at = first_block(list); at < sentinel(list); at = above(at))
    if (!is_live(at) && free_list_size(at) >= DISCARD_FROM)
      bytes += region_discard((uintptr_t)(at + 1), free_list_size(at) - sizeof *at - sizeof(uint32_t));
  return bytes;
}

static void list_count(const void *heap, struct textbook_counts *counts) {
  const struct free_list *list = heap;
  *counts = (struct textbook_counts){
      .live_bytes = list->live_bytes,
      .live_blocks = list->live_blocks,
      .heap_bytes = list->region.end - list->region.base,
  };
}

// One block against its neighbours. Adds live blocks and holes to *seen and *holes.
static int check_block(const struct free_list *list, const struct block *at, bool below_live,
                       struct textbook_counts *seen, size_t *holes) {
  const char *kind = fit_names[list->fit];
  int faults = 0;
  if (below_is_live(at) != below_live)
    faults += textbook_fault(kind, "wrong word about the block below", (uintptr_t)at);
  if (is_live(at)) {
    seen->live_blocks++;
    seen->live_bytes += free_list_size(at) - HEADER;
    return faults;
  }
  ++*holes;
  if (!below_live)
    faults += textbook_fault(kind, "two holes side by side", (uintptr_t)at);
  if (below(above(at)) != at)
    faults += textbook_fault(kind, "the tags of a hole differ", (uintptr_t)at);
  return faults;
}

static int list_check(const void *heap) {
  const struct free_list *list = heap;
  const char *kind = fit_names[list->fit];
  if (list->region.end == list->region.base)
    return 0;
  struct textbook_counts seen = {0};
  size_t holes = 0;
  int faults = 0;
  bool below_live = true;
  const struct block *at = first_block(list);
  for (; at < sentinel(list); at = above(at)) {
    size_t size = free_list_size(at);
    if (size < FREE_LIST_SMALLEST || size > (uintptr_t)sentinel(list) - (uintptr_t)at)
      return faults + textbook_fault(kind, "a size that leads out of the heap", (uintptr_t)at);
    faults += check_block(list, at, below_live, &seen, &holes);
    below_live = is_live(at);
  }
  if (at->header != (FREE_LIST_LIVE | (below_live ? FREE_LIST_BELOW_LIVE : 0)))
    faults += textbook_fault(kind, "the end of the heap is overwritten", (uintptr_t)at);
  if (seen.live_blocks != list->live_blocks || seen.live_bytes != list->live_bytes)
    faults += textbook_fault(kind, "live blocks miscounted in the heap", list->region.base);
  return faults + fit_check(list, holes);
}

const struct textbook_kind textbook_free_list = {
    .allocate = list_allocate,
    .release = list_release,
    .resize = list_resize,
    .usable = list_usable,
    .trim = list_trim,
    .count = list_count,
    .check = list_check,
};

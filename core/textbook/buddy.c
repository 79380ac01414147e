// The binary buddy system. See buddy.h.
#include "core/textbook/buddy.h"

#define CHUNK_ORDER   20u // the heap grows by this much at least
#define DISCARD_ORDER 14u // smaller free blocks are not worth a system call

// What the table says of a 16-byte unit: 0, or the order of the block that begins there.
enum { ORDER_MASK = 0x3f, IS_FREE = 0x80 };

// In a free block. Numbers count units, from 1; 0 is none.
struct links {
  uint32_t next, previous;
};

static size_t bytes_of(unsigned order) {
  return (size_t)1 << order;
}

static unsigned order_for(size_t size) {
  unsigned order = size <= 1 ? 0 : 64u - (unsigned)__builtin_clzl(size - 1);
  return order < BUDDY_LEAST ? BUDDY_LEAST : order;
}

static uint8_t *mark_of(const struct buddy *buddy, uintptr_t block) {
  return (uint8_t *)(buddy->table.base + ((block - buddy->region.base) >> BUDDY_LEAST));
}

static uint32_t number_of(const struct buddy *buddy, uintptr_t block) {
  return (uint32_t)((block - buddy->region.base) >> BUDDY_LEAST) + 1;
}

static uintptr_t block_of(const struct buddy *buddy, uint32_t number) {
  return buddy->region.base + ((uintptr_t)(number - 1) << BUDDY_LEAST);
}

static struct links *links_of(const struct buddy *buddy, uint32_t number) {
  return (struct links *)block_of(buddy, number);
}

static uintptr_t buddy_of(const struct buddy *buddy, uintptr_t block, unsigned order) {
  return buddy->region.base + ((block - buddy->region.base) ^ bytes_of(order));
}

static void push(struct buddy *buddy, uintptr_t block, unsigned order) {
  uint32_t number = number_of(buddy, block);
  uint32_t next = buddy->first[order];
  *links_of(buddy, number) = (struct links){next, 0};
  if (next != 0)
    links_of(buddy, next)->previous = number;
  buddy->first[order] = number;
  *mark_of(buddy, block) = (uint8_t)(order | IS_FREE);
}

static void unlink_block(struct buddy *buddy, uintptr_t block, unsigned order) {
  const struct links *links = links_of(buddy, number_of(buddy, block));
  if (links->previous != 0)
    links_of(buddy, links->previous)->next = links->next;
  else
    buddy->first[order] = links->next;
  if (links->next != 0)
    links_of(buddy, links->next)->previous = links->previous;
  *mark_of(buddy, block) = 0;
}

// Whether a free block of exactly this order begins there, inside the heap.
static bool is_free_block(const struct buddy *buddy, uintptr_t block, unsigned order) {
  return block + bytes_of(order) <= buddy->region.end && *mark_of(buddy, block) == (order | IS_FREE);
}

// Algorithm S: joins with free buddies upwards, then frees the whole.
static void free_block(struct buddy *buddy, uintptr_t block, unsigned order) {
  while (order < BUDDY_MOST && is_free_block(buddy, buddy_of(buddy, block, order), order)) {
    uintptr_t other = buddy_of(buddy, block, order);
    unlink_block(buddy, other, order);
    block = other < block ? other : block;
    order++;
  }
  push(buddy, block, order);
}

// Moves the end up to a multiple of the order's size and then by one block of it: what lies between becomes
// free blocks as large as their addresses allow.
static bool grow(struct buddy *buddy, unsigned order) {
  if (order < CHUNK_ORDER)
    order = CHUNK_ORDER;
  if (!region_reserve(&buddy->region) || bytes_of(order) > buddy->region.limit - buddy->region.base)
    return false;
  uintptr_t start = buddy->region.end;
  uintptr_t end = gm_align_up(start, bytes_of(order)) + bytes_of(order);
  size_t table = ((end - buddy->region.base) >> BUDDY_LEAST) - (buddy->table.end - buddy->table.base);
  // The last unit's number would not fit into 32 bits.
  if (end >= buddy->region.limit || !region_grow(&buddy->table, table))
    return false;
  if (!region_grow(&buddy->region, end - start)) {
    region_shrink(&buddy->table, buddy->table.end - table);
    return false;
  }
  while (start < end) {
    unsigned fitting =
        start == buddy->region.base ? order : (unsigned)__builtin_ctzl(start - buddy->region.base);
    fitting = fitting < order ? fitting : order;
    free_block(buddy, start, fitting);
    start += bytes_of(fitting);
  }
  return true;
}

// Gives back upper halves until the block has the order that is wanted.
static void halve(struct buddy *buddy, uintptr_t block, unsigned order, unsigned wanted) {
  while (order > wanted) {
    order--;
    push(buddy, block + bytes_of(order), order);
  }
  *mark_of(buddy, block) = (uint8_t)order;
}

// Algorithm R: the smallest free block that is large enough.
static void *buddy_allocate(void *heap, size_t alignment, size_t size) {
  struct buddy *buddy = heap;
  unsigned wanted = order_for(size > alignment ? size : alignment);
  if (wanted > BUDDY_MOST)
    return NULL;
  unsigned order = wanted;
  for (;;) {
    while (order <= BUDDY_MOST && buddy->first[order] == 0)
      order++;
    if (order <= BUDDY_MOST)
      break;
    if (!grow(buddy, wanted))
      return NULL;
    order = wanted;
  }
  uintptr_t block = block_of(buddy, buddy->first[order]);
  unlink_block(buddy, block, order);
  halve(buddy, block, order, wanted);
  buddy->live_blocks++;
  buddy->live_bytes += bytes_of(wanted);
  return (void *)block;
}

// The order of a live block; the program ends when there is none.
static unsigned order_of(const struct buddy *buddy, const void *block) {
  uintptr_t offset = (uintptr_t)block - buddy->region.base;
  unsigned mark = 0;
  if (offset < buddy->region.end - buddy->region.base && offset % bytes_of(BUDDY_LEAST) == 0)
    mark = *mark_of(buddy, (uintptr_t)block);
  if (mark == 0 || (mark & IS_FREE) != 0)
    gm_fatal("textbook: buddy: no live block begins at this address\n");
  return mark;
}

static void buddy_release(void *heap, void *block) {
  struct buddy *buddy = heap;
  unsigned order = order_of(buddy, block);
  buddy->live_blocks--;
  buddy->live_bytes -= bytes_of(order);
  *mark_of(buddy, (uintptr_t)block) = 0;
  free_block(buddy, (uintptr_t)block, order);
}

// Grows by taking in upper buddies, when the block is the lower half at every step and all of them are free.
static bool buddy_resize(void *heap, void *payload, size_t size) {
  struct buddy *buddy = heap;
  uintptr_t block = (uintptr_t)payload;
  unsigned old = order_of(buddy, payload);
  unsigned wanted = order_for(size);
  for (unsigned order = old; order < wanted; order++) {
    uintptr_t other = buddy_of(buddy, block, order);
    if (other < block || !is_free_block(buddy, other, order))
      return false;
  }
  for (unsigned order = old; order < wanted; order++)
    unlink_block(buddy, buddy_of(buddy, block, order), order);
  halve(buddy, block, old > wanted ? old : wanted, wanted);
  buddy->live_bytes += bytes_of(wanted) - bytes_of(old);
  return true;
}

static size_t buddy_usable(const void *heap, const void *block) {
  return bytes_of(order_of(heap, block));
}

// The pages of free blocks, but for the first, which holds the links.
static size_t buddy_trim(void *heap) {
  struct buddy *buddy = heap;
  size_t bytes = 0;
  for (unsigned order = DISCARD_ORDER; order <= BUDDY_MOST; order++)
    for (uint32_t number = buddy->first[order]; number != 0; number = links_of(buddy, number)->next)
      bytes += region_discard(block_of(buddy, number) + sizeof(struct links),
                              bytes_of(order) - sizeof(struct links));
  return bytes;
}

static void buddy_count(const void *heap, struct textbook_counts *counts) {
  const struct buddy *buddy = heap;
  *counts = (struct textbook_counts){
      .live_bytes = buddy->live_bytes,
      .live_blocks = buddy->live_blocks,
      .heap_bytes = buddy->region.end - buddy->region.base,
      .table_bytes = buddy->table.end - buddy->table.base,
  };
}

// Walks the lists; returns the number of free blocks on them.
static size_t check_lists(const struct buddy *buddy, int *faults) {
  size_t count = 0;
  for (unsigned order = BUDDY_LEAST; order <= BUDDY_MOST; order++) {
    uint32_t previous = 0;
    for (uint32_t number = buddy->first[order]; number != 0; number = links_of(buddy, number)->next) {
      uintptr_t block = block_of(buddy, number);
      if (block >= buddy->region.end || !is_free_block(buddy, block, order) ||
          links_of(buddy, number)->previous != previous) {
        *faults += textbook_fault("buddy", "a block on the wrong list", block);
        return count; // its links lead anywhere
      }
      previous = number;
      count++;
    }
  }
  return count;
}

static int buddy_check(const void *heap) {
  const struct buddy *buddy = heap;
  int faults = 0;
  size_t free_blocks = 0;
  struct textbook_counts seen = {0};
  uintptr_t at = buddy->region.base;
  while (at < buddy->region.end) {
    unsigned mark = *mark_of(buddy, at);
    unsigned order = mark & ORDER_MASK;
    uintptr_t offset = at - buddy->region.base;
    if (order < BUDDY_LEAST || order > BUDDY_MOST || offset % bytes_of(order) != 0)
      return faults + textbook_fault("buddy", "no block begins where one ends", at);
    bool is_free = (mark & IS_FREE) != 0;
    free_blocks += is_free;
    seen.live_blocks += !is_free;
    seen.live_bytes += is_free ? 0 : bytes_of(order);
    if (is_free && is_free_block(buddy, buddy_of(buddy, at, order), order))
      faults += textbook_fault("buddy", "two free buddies side by side", at);
    at += bytes_of(order);
  }
  if (at != buddy->region.end)
    faults += textbook_fault("buddy", "the last block leads out of the heap", at);
  if (seen.live_blocks != buddy->live_blocks || seen.live_bytes != buddy->live_bytes)
    faults += textbook_fault("buddy", "live blocks miscounted in the heap", buddy->region.base);
  if (check_lists(buddy, &faults) != free_blocks)
    faults += textbook_fault("buddy", "free blocks missing from the lists of the heap", buddy->region.base);
  return faults;
}

const struct textbook_kind textbook_buddy = {
    .allocate = buddy_allocate,
    .release = buddy_release,
    .resize = buddy_resize,
    .usable = buddy_usable,
    .trim = buddy_trim,
    .count = buddy_count,
    .check = buddy_check,
};

// The free-list heap: one range of memory, holes in it, and a policy that says which hole serves a request.
//
// Boundary tags (Knuth, The Art of Computer Programming, volume 1, section 2.5, algorithm C, 1962): every
// block has its size in a word before it, and a free block also in its last word, so that a block that is freed
// finds both neighbours without a search and joins with those that are free. Free neighbours never stand side
// by side. A hole that is larger than the request is split, and the rest stays a hole.
//
//   free   | header | links for the policy's index ... ... size in units |
//   live   | header | the program's bytes                                |
//
//   header: size of the whole block in bytes; bit 0: live, bit 1: the block below is live
//
// The policies (Knuth 2.5; Wilson, Johnstone, Neely and Boles, "Dynamic storage allocation: a survey and
// critical review", 1995) differ in the index over the holes alone (fit.h):
//   first fit       the lowest hole that is large enough; or, with lifo set, the one freed last
//   next fit        as first fit, but goes on where the last search ended
//   best fit        the smallest hole that is large enough, the lowest of those
//   segregated fit  a list of holes for each class of sizes: the first list with a hole that fits
#ifndef GOMALLOC_TEXTBOOK_FREE_LIST_H
#define GOMALLOC_TEXTBOOK_FREE_LIST_H

#include "core/textbook/region.h"
#include "core/textbook/textbook.h"

enum fit { FIT_FIRST, FIT_NEXT, FIT_BEST, FIT_SEGREGATED };

// A block's number is its offset in the region in units; 0 is no block.
#define FREE_LIST_UNIT ((size_t)16)
typedef uint32_t block_number;

#define FREE_LIST_LIVE       ((size_t)1)
#define FREE_LIST_BELOW_LIVE ((size_t)2)
#define FREE_LIST_SIZE_MASK  (~(FREE_LIST_UNIT - 1))

// Only the header exists while the block is live.
struct block {
  size_t header;
  block_number left, right; // in the index: children in a tree, or previous and next in a list
  uint64_t age;             // when it became free, for lifo
  uint32_t largest;         // units of the largest block of the subtree
  uint32_t last;            // the last word of the smallest block: its size in units
};

#define FREE_LIST_SMALLEST sizeof(struct block)

static_assert(FREE_LIST_SMALLEST == 2 * FREE_LIST_UNIT, "the smallest block is two units");

#define FREE_LIST_BINS 168 // see fit_bin

struct free_list {
  enum fit fit; // chosen by whoever makes the heap
  bool lifo;    // first fit only: the hole that was freed last comes first, not the lowest one
  struct region region;
  block_number root;                 // of the tree of holes (all but segregated fit)
  block_number bins[FREE_LIST_BINS]; // the lists of holes (segregated fit)
  block_number rover;                // next fit: where the next search begins
  uint64_t clock;                    // counts frees, for their age
  size_t live_blocks, live_bytes;
};

// A block's number is its place in units from the region's start: half the size of an address.
static inline struct block *free_list_block(const struct free_list *list, block_number number) {
  return (struct block *)(list->region.base + number * FREE_LIST_UNIT - sizeof(size_t));
}

// See free_list_block.
static inline block_number free_list_number(const struct free_list *list, const struct block *block) {
  return (block_number)(((uintptr_t)block + sizeof(size_t) - list->region.base) / FREE_LIST_UNIT);
}

// Bytes of the block with its header.
static inline size_t free_list_size(const struct block *block) {
  return block->header & FREE_LIST_SIZE_MASK;
}

extern const struct textbook_kind textbook_free_list; // its heap is a struct free_list with `fit` set

#endif

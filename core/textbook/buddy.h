// The binary buddy system: blocks are powers of two and lie at multiples of their size.
//
// A block of 2^k bytes that is too large is halved until it fits; the halves are buddies. A block that is freed
// joins with its buddy when that is free as a whole, and so on upwards. The buddy's address is the block's with
// one bit changed, so nothing has to be searched: that is why systems give out pages this way (Linux does), and
// how this family leads to gomalloc's page allocator. The price is internal: a request of 2^k + 1 bytes takes
// 2^(k+1). (K. C. Knowlton, "A fast storage allocator", CACM 8(10), 1965; Knuth, The Art of Computer
// Programming, volume 1, section 2.5, algorithms R and S.)
//
// Blocks carry no header, so that 4096 bytes are 4096: one byte for each 16 bytes of heap, in a table beside it,
// says where blocks begin, their order k, and which are free. Free blocks are on a list for each order, linked
// by numbers in their first 8 bytes; the one freed last is taken first.
#ifndef GOMALLOC_TEXTBOOK_BUDDY_H
#define GOMALLOC_TEXTBOOK_BUDDY_H

#include "core/textbook/region.h"
#include "core/textbook/textbook.h"

#define BUDDY_LEAST 4u  // 16 bytes
#define BUDDY_MOST  36u // REGION_LIMIT

struct buddy {
  struct region region;            // the blocks, at a multiple of their sizes
  struct region table;             // a byte per 16 bytes of region
  uint32_t first[BUDDY_MOST + 1u]; // by order: number + 1 of the first free block, 0 for none
  size_t live_blocks, live_bytes;
};

extern const struct textbook_kind textbook_buddy; // its heap is a struct buddy

#endif

// The linear allocator (also sequential or bump allocator): a pointer that only moves up.
//
// The oldest idea there is: storage is handed out in the order of requests, so an allocation is an addition
// and a comparison, and neighbours in time are neighbours in memory. The price is that a freed block cannot
// be used again while anything above or below it lives: only a collector that moves the live blocks together
// (mark-compact, copying, generational: core/gc/) makes room. Without one, there is a single moment at which
// the memory can serve again: when nothing is live. Then the pointer goes back to the start (regions, arenas:
// D. T. Ross, "The AED free storage package", CACM 10(8), 1967).
//
//   | header | block | header | block | filler | header | aligned block |  <- region.end: the pointer
//
// A header of 16 bytes stands before each block, for realloc, for the counts and for check(); a filler is a
// header of a dead block in the gap before an aligned one.
#ifndef GOMALLOC_TEXTBOOK_LINEAR_H
#define GOMALLOC_TEXTBOOK_LINEAR_H

#include "core/textbook/region.h"
#include "core/textbook/textbook.h"

struct linear {
  struct region region; // its end is the pointer
  size_t live_blocks;
  size_t live_bytes;
};

extern const struct textbook_kind textbook_linear; // its heap is a struct linear

#endif

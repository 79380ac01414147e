// The linear layout of Go up to 1.10 (Go 1.10: mallocinit in malloc.go): one contiguous reservation of
// address space, made once, for everything.
//
//   | spans 512 MiB | bitmap 16 GiB | arena 512 GiB |
//
//   arena   64 Mi pages of 8 KiB, handed out from low to high addresses in steps of 64 MiB
//   spans   one pointer for each page of the arena: 64 Mi x 8 bytes, at the page's number modulo 64 Mi
//   bitmap  2 bits for each 8-byte word of the arena (a 32nd of it), Go's heap bitmap; the 2 MiB that belong
//           to each 64 MiB hold the page allocator's bitmaps and the other facts about them (struct
//           heap_arena) at their start
//
// It lies behind heap_arena.h: the spans area is its heap_pages, so looking up a span costs the same in both
// layouts. Differences that
// show: addresses are one range, known at the start; the heap ends when the arena is used up; address-space
// limits hit at the start.
//
// Where address space is limited (RLIMIT_AS, a container, a small machine) the three areas are halved
// together until the kernel agrees and the whole is at most half of RLIMIT_AS; below 64 MiB of arena the
// sparse layout is used, and one line on stderr says so.
//
// Units: bytes. Threads: under the heap lock, but for the inline function. Errors: false, 0.
#ifndef GOMALLOC_HEAP_LINEAR_H
#define GOMALLOC_HEAP_LINEAR_H

#include "core/base.h"

#define LINEAR_ARENA_SIZE   ((size_t)512 << 30)
#define LINEAR_SPANS_RATIO  (GM_PAGE_SIZE / sizeof(void *)) // arena bytes per byte of the spans area: 1024
#define LINEAR_BITMAP_RATIO 32                              // arena bytes per byte of the bitmap area
#define LINEAR_SPANS_SIZE   (LINEAR_ARENA_SIZE / LINEAR_SPANS_RATIO)
#define LINEAR_BITMAP_SIZE  (LINEAR_ARENA_SIZE / LINEAR_BITMAP_RATIO)

// Zero in the sparse layout.
struct heap_linear {
  uintptr_t spans;
  uintptr_t bitmap;
  uintptr_t arena;
  size_t spans_size;
  size_t bitmap_size;
  size_t arena_size;
  size_t arena_used; // handed out by heap_linear_take
};

extern struct heap_linear heap_linear;

// Makes the reservation, with the arena at a multiple of 64 MiB; `hint` is where to try, or 0. False when
// even the smallest one fails.
bool heap_linear_reserve(uintptr_t hint);

// The next `size` bytes of the arena (a multiple of 64 MiB), Reserved; 0 when it is used up.
uintptr_t heap_linear_take(size_t size);

// Makes the tables of the 64 MiB at `base` usable and sets *spans and *bitmap to their start. False without
// memory, or when `base` is not in the arena.
bool heap_linear_map_tables(uintptr_t base, void **spans, void **bitmap);

#endif

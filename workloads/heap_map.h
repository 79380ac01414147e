// heap_map.h: pictures of a heap, page by page, while blocks come and go: frames of `heaparena map`.
//
// What it knows comes from the addresses of the blocks. Address space is looked at in chunks of 64 KiB; a chunk
// belongs to the map from the first block that touches it on. Each frame tells of every page (4 KiB) of the
// chunks: how much of it is live (requested bytes), and whether it is resident. An allocator that can be walked
// (ha_alloc.walk) adds what each page is to it, and the sums over its whole address space.
//
// Frames are taken every so many operations; when there is no room for more, every second goes and the
// interval doubles, as in timeline.h.
//
// Not thread-safe: the caller holds the lock of ha_decorate_addresses(). Memory is from mmap.
#ifndef HEAPARENA_WORKLOADS_HEAP_MAP_H
#define HEAPARENA_WORKLOADS_HEAP_MAP_H

#include "adapters/alloc.h"

#include <stdio.h>

enum {
  HA_MAP_PAGE = 4096,
  HA_MAP_CHUNK_PAGES = 16,
  HA_MAP_CHUNKS = 8192, // 512 MiB of address space; what lies beyond is counted, not drawn
  HA_MAP_FRAMES_MOST = 120,
  HA_MAP_FRAMES_LEAST = 8,
};

typedef struct ha_map_options {
  unsigned frames; // that are kept at most, HA_MAP_FRAMES_LEAST to HA_MAP_FRAMES_MOST, beside the named ones
  uint64_t every;  // operations between two frames at first; at least 1
} ha_map_options;

// Starts a map, which exists once. `alloc` is walked if it can be. False if there is no memory.
bool ha_map_start(const ha_alloc *alloc, const ha_map_options *options);

// A block came, or went. Takes a frame when one is due.
void ha_map_came(void *block, size_t requested);
void ha_map_went(void *block, size_t requested);

// Takes a frame now that stays, named `phase` (static text of letters, digits and blanks).
void ha_map_frame(const char *phase);

// All frames as one JSON object. Pages are letters: of "use", in the order of "chunks", 16 a chunk, "0".."9",
// "a".."v" with live sixteenths (rounded up) in the low four bits and resident in the fifth; of "kind",
// "." not known to the walk, "R" reserved, "P" released, "F" free, "a".."k" blocks of up to 16 << (letter - 'a')
// bytes (k: more than 8 KiB), "z" blocks that are not alike. A frame covers the chunks known at its time.
void ha_map_print(FILE *out);

#endif

// Bit operations on a chunk's bitmap of 512 pages (Go: mpallocbits.go). Indexes and counts are pages.
// Threads: the caller holds the heap lock.
#ifndef GOMALLOC_PAGE_BITS_H
#define GOMALLOC_PAGE_BITS_H

#include "core/heap_arena.h"
#include "core/page_summary.h"

// Bits [first, first + count) of a chunk: set them, clear them, ask whether all are clear.
void page_bits_set(uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count);
void page_bits_clear(uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count);
bool page_bits_all_clear(const uint64_t bits[CHUNK_WORDS], unsigned first, unsigned count);

// Whether all bits of the chunk are set.
bool page_bits_all_set(const uint64_t bits[CHUNK_WORDS]);

// The first run of set bits in [from, to): returns its first page, *length its pages; *length 0 when there is
// none.
unsigned page_bits_next_run(const uint64_t bits[CHUNK_WORDS], unsigned from, unsigned to, unsigned *length);

// The first run of npages clear bits, or CHUNK_PAGES; *first_clear gets the first clear bit.
unsigned page_bits_find(const uint64_t bits[CHUNK_WORDS], unsigned npages, unsigned *first_clear);

// Start, longest and end run of clear bits.
page_summary page_bits_summarize(const uint64_t bits[CHUNK_WORDS]);

#endif

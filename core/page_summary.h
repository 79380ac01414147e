// The packed summary of a run of pages: free pages at the start, longest free run, free pages at the end
// (Go: pallocSum in mpagealloc.go). 21 bits each; a run of 2^21 free pages (16 GiB, a root entry) is bit 63
// alone.
#ifndef GOMALLOC_PAGE_SUMMARY_H
#define GOMALLOC_PAGE_SUMMARY_H

#include "core/base.h"

#define SUMMARY_BITS 21
#define SUMMARY_MAX  (1U << SUMMARY_BITS)
#define SUMMARY_MASK (SUMMARY_MAX - 1)
#define SUMMARY_ALL  ((uint64_t)1 << 63)

typedef uint64_t page_summary;

// Free pages at the start, longest run, free pages at the end; and each of them again.
GM_INLINE page_summary summary_pack(unsigned start, unsigned max, unsigned end) {
  if (max == SUMMARY_MAX)
    return SUMMARY_ALL;
  return (uint64_t)start | (uint64_t)max << SUMMARY_BITS | (uint64_t)end << (2 * SUMMARY_BITS);
}

// See summary_pack.
GM_INLINE unsigned summary_start(page_summary sum) {
  return (sum & SUMMARY_ALL) != 0 ? SUMMARY_MAX : (unsigned)sum & SUMMARY_MASK;
}

// See summary_pack.
GM_INLINE unsigned summary_max(page_summary sum) {
  return (sum & SUMMARY_ALL) != 0 ? SUMMARY_MAX : (unsigned)(sum >> SUMMARY_BITS) & SUMMARY_MASK;
}

// See summary_pack.
GM_INLINE unsigned summary_end(page_summary sum) {
  return (sum & SUMMARY_ALL) != 0 ? SUMMARY_MAX : (unsigned)(sum >> (2 * SUMMARY_BITS)) & SUMMARY_MASK;
}

#endif

// The memory of a textbook heap: one reserved range of address space that grows upwards, as sbrk's did. It is
// also the smallest use of the address-space states (sys_mem.h):
//
//   base ....... Ready ....... ready ... Prepared ... mapped ....... Reserved ....... limit
//
// `end` lies in the Ready part: the heap's bytes are [base, end). Units: bytes. Threads: the heap's lock is
// held. Errors: false when the range is used up or the kernel refuses; nothing has changed then.
#ifndef GOMALLOC_TEXTBOOK_REGION_H
#define GOMALLOC_TEXTBOOK_REGION_H

#include "core/base.h"

// 2^32 units of 16 bytes, so that 32 bits name any of them.
#define REGION_LIMIT ((size_t)1 << 36)

// Zero: nothing is reserved yet.
struct region {
  uintptr_t base;   // a multiple of REGION_LIMIT or of the reservation's size, where that is smaller
  uintptr_t end;    // the heap ends here
  uintptr_t ready;  // [base, ready) may be touched
  uintptr_t mapped; // [ready, mapped) needs no system call to become Ready
  uintptr_t limit;  // end of the reservation
};

// Reserves address space, the first time it is called: REGION_LIMIT, or as much as the kernel grants, halved
// down to 64 MiB. False when it grants not even that.
bool region_reserve(struct region *region);

// Moves the end up by `bytes`, all of which may then be touched.
bool region_grow(struct region *region, size_t bytes);

// Moves the end down to `end`. Pages above it stay Ready for the next growth; see region_trim.
void region_shrink(struct region *region, uintptr_t end);

// Gives the whole pages above the end back to the system. Returns bytes.
size_t region_trim(struct region *region);

// Gives the whole pages inside [start, start + size) back to the system: their content is lost, they read
// zero and may be touched as before. Returns bytes.
size_t region_discard(uintptr_t start, size_t size);

#endif

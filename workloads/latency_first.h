// latency_first.h: the time from the start of a process that has the allocator in it to its first block.
#ifndef HEAPARENA_WORKLOADS_LATENCY_FIRST_H
#define HEAPARENA_WORKLOADS_LATENCY_FIRST_H

#include "adapters/alloc.h"

// In the process that is started (heaparena-worker --first-allocation): allocates, and writes the time at
// which the block was there to stdout. Returns the exit status.
int ha_first_allocation_answer(const ha_alloc *alloc);

// Starts this program several times with the allocator of `spec` and returns the median in nanoseconds; a
// negative number if that failed.
double ha_first_allocation_ns(const char *spec);

#endif

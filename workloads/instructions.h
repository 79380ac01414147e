// instructions.h: reads what callgrind wrote: all instructions, and those of the allocator's calls.
#ifndef HEAPARENA_WORKLOADS_INSTRUCTIONS_H
#define HEAPARENA_WORKLOADS_INSTRUCTIONS_H

#include "adapters/alloc.h"

#include <stdio.h>

typedef struct ha_instructions {
  uint64_t total;
  // Spent in calls from the program into the allocator, with everything that the allocator calls in turn.
  uint64_t allocator;
  uint64_t calls; // from the program into the allocator
} ha_instructions;

// Reads one dump in callgrind's format (with name compression, one event). `program` is the path of the
// executable that calls the allocator. False if it is no such dump or has no end.
bool ha_instructions_read(FILE *in, const char *program, const ha_alloc *alloc, ha_instructions *out);

#endif

// class_waste.h: how much more than asked for an allocator hands out, by request size.
#ifndef HEAPARENA_WORKLOADS_CLASS_WASTE_H
#define HEAPARENA_WORKLOADS_CLASS_WASTE_H

#include "adapters/alloc.h"

#include <stdio.h>

enum { HA_CLASS_WASTE_MOST = 1 << 20 }; // the largest request measured, bytes

// Asks the opened allocator for one block of growing sizes, 1 byte to HA_CLASS_WASTE_MOST, and prints what it
// says may be used of it: {"most": N, "steps": [[requested, usable], ...]}, requests rising. Of each size
// class it takes the first and the last request; classes that lie closer than 1/32 of their size are passed
// over. An allocator that cannot tell gives {"missing": "why"}. False if `out` could not be written.
// Not thread-safe; a few milliseconds.
bool ha_class_waste_print(FILE *out, const ha_alloc *alloc);

#endif

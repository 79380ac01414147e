// listing.h: allocators and workloads as JSON, for the heaparena command.
#ifndef HEAPARENA_WORKLOADS_LISTING_H
#define HEAPARENA_WORKLOADS_LISTING_H

#include "adapters/alloc.h"

#include <stdio.h>

// {"allocators": [...], "workloads": [...]}; returns false if it could not be written.
bool ha_list_all(FILE *out);

// {"name", "version", "library", "traits", "operations"} of an opened allocator.
bool ha_list_probe(FILE *out, const ha_alloc *alloc);

#endif

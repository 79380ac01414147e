// listing.h: allocators and workloads as JSON, for the heaparena command.
#ifndef HEAPARENA_WORKLOADS_LISTING_H
#define HEAPARENA_WORKLOADS_LISTING_H

#include "workloads/workload.h"

#include <stdio.h>

// {"allocators": [...], "workloads": [...]}; returns false if it could not be written.
bool ha_list_all(FILE *out);

// What ha_list_all() says of the workload `name`. False after ha_fail(run): there is none, or it could not be
// written.
bool ha_list_workload(FILE *out, const char *name, ha_run *run);

// {"name", "version", "library", "traits", "operations"} of an opened allocator.
bool ha_list_probe(FILE *out, const ha_alloc *alloc);

#endif

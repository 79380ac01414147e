// collectors.h: the collectors as entries of a comparison. A collector is listed beside the allocators, with
// the trait HA_TRAIT_COLLECTOR; it serves only the mutator programs (workloads/gc/), which ask here for its
// table. An allocator that is no collector serves them too: there the program frees (ha_gc_manual()).
#ifndef HEAPARENA_ADAPTERS_COLLECTORS_H
#define HEAPARENA_ADAPTERS_COLLECTORS_H

#include "adapters/registry.h"
#include "core/gc/collector.h"

// The table that serves mutator programs over `alloc`: the collector's own, or that of manual freeing. NULL:
// the collector runs in a program of its own (go); ha_gc_external() has its path.
const struct gc_collector *ha_gc_collector(const ha_alloc *alloc);

// Path of the program that runs the mutator programs of this entry, NULL for entries that have a table.
const char *ha_gc_external(const ha_alloc *alloc);

// Manual freeing over an allocator, which stays in use until the process ends: gc_new() is its calloc,
// gc_free() its free.
const struct gc_collector *ha_gc_manual(const ha_alloc *alloc);

// Boehm's collector (gc_boehm.c). ha_gc_boehm_version() loads its library: "8.2.2", or NULL and a line in
// `why` if it is not there.
extern const struct gc_collector ha_gc_boehm;
const char *ha_gc_boehm_version(char *why, size_t why_size);

#endif

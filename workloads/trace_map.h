// trace_map.h: a hash table from 64-bit keys to small records, for the trace reader, writer, collector and
// replayer.
//
// Its memory comes from mmap and goes back there, so that it can be used in a process whose malloc is under
// test. Not thread-safe. Zero-initialise before use.
#ifndef HEAPARENA_WORKLOADS_TRACE_MAP_H
#define HEAPARENA_WORKLOADS_TRACE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ha_trace_entry {
  uint64_t tagged_key; // key + 1; 0: empty
  uint64_t size;
  uint64_t value;
  uint32_t thread;
  uint32_t extra;
} ha_trace_entry;

typedef struct ha_trace_map {
  ha_trace_entry *entries; // 1 << bits of them
  unsigned bits;
  uint64_t count;
} ha_trace_map;

// The entry of `key` (any value but UINT64_MAX), or NULL. Valid until the next add or remove.
ha_trace_entry *ha_trace_map_find(const ha_trace_map *map, uint64_t key);

// A zeroed entry for `key`, which must not be there yet; NULL when memory is short.
ha_trace_entry *ha_trace_map_add(ha_trace_map *map, uint64_t key);

// Removes an entry that find or add returned.
void ha_trace_map_remove(ha_trace_map *map, ha_trace_entry *entry);

// The first entry at or after position *at, moving *at behind it; NULL at the end. Start with *at = 0.
ha_trace_entry *ha_trace_map_walk(const ha_trace_map *map, uint64_t *at);

// Returns its memory; the map is empty and may be used again.
void ha_trace_map_clear(ha_trace_map *map);

// Zeroed memory from mmap, NULL when short; and its return.
void *ha_trace_pages(size_t bytes);
void ha_trace_pages_free(void *pages, size_t bytes);
// Resizes what ha_trace_pages gave (NULL with 0 bytes: a first allocation). NULL: short of memory, `pages`
// unchanged.
void *ha_trace_pages_grow(void *pages, size_t bytes, size_t new_bytes);

#endif

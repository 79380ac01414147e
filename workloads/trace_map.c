// trace_map.c: open addressing with linear probing; deletion shifts the rest of the cluster back, so that
// there are no tombstones and the table stays small beside the number of live objects, however many came and
// went.
#include "workloads/trace_map.h"

#include <sys/mman.h>

#define FIRST_BITS 10

void *ha_trace_pages(size_t bytes) {
  if (bytes == 0 || bytes > PTRDIFF_MAX)
    return NULL;
  void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

void ha_trace_pages_free(void *pages, size_t bytes) {
  if (pages != NULL)
    munmap(pages, bytes);
}

void *ha_trace_pages_grow(void *pages, size_t bytes, size_t new_bytes) {
  if (pages == NULL)
    return ha_trace_pages(new_bytes);
  void *moved = mremap(pages, bytes, new_bytes, MREMAP_MAYMOVE);
  return moved == MAP_FAILED ? NULL : moved;
}

static size_t home_of(const ha_trace_map *map, uint64_t tagged_key) {
  return (size_t)((tagged_key * 0x9e3779b97f4a7c15u) >> (64 - map->bits));
}

static size_t mask_of(const ha_trace_map *map) {
  return ((size_t)1 << map->bits) - 1;
}

ha_trace_entry *ha_trace_map_find(const ha_trace_map *map, uint64_t key) {
  if (map->count == 0)
    return NULL;
  uint64_t tagged = key + 1;
  for (size_t at = home_of(map, tagged);; at = (at + 1) & mask_of(map)) {
    if (map->entries[at].tagged_key == tagged)
      return &map->entries[at];
    if (map->entries[at].tagged_key == 0)
      return NULL;
  }
}

static ha_trace_entry *free_entry(const ha_trace_map *map, uint64_t tagged_key) {
  size_t at = home_of(map, tagged_key);
  while (map->entries[at].tagged_key != 0)
    at = (at + 1) & mask_of(map);
  return &map->entries[at];
}

static bool grow(ha_trace_map *map) {
  ha_trace_map larger = {.bits = map->entries == NULL ? FIRST_BITS : map->bits + 1, .count = map->count};
  if (larger.bits > 40)
    return false;
  larger.entries = ha_trace_pages(sizeof(ha_trace_entry) << larger.bits);
  if (larger.entries == NULL)
    return false;
  uint64_t at = 0;
  for (ha_trace_entry *entry; (entry = ha_trace_map_walk(map, &at)) != NULL;)
    *free_entry(&larger, entry->tagged_key) = *entry;
  ha_trace_map_clear(map);
  *map = larger;
  return true;
}

ha_trace_entry *ha_trace_map_add(ha_trace_map *map, uint64_t key) {
  // At most 5/8 full: clusters stay short.
  if (map->entries == NULL || (map->count + 1) * 8 > (uint64_t)5 << map->bits) {
    if (!grow(map))
      return NULL;
  }
  ha_trace_entry *entry = free_entry(map, key + 1);
  *entry = (ha_trace_entry){.tagged_key = key + 1};
  map->count++;
  return entry;
}

void ha_trace_map_remove(ha_trace_map *map, ha_trace_entry *entry) {
  size_t hole = (size_t)(entry - map->entries);
  for (size_t at = (hole + 1) & mask_of(map); map->entries[at].tagged_key != 0;
       at = (at + 1) & mask_of(map)) {
    // An entry may move into the hole if its home is not between the hole (exclusive) and itself.
    size_t home = home_of(map, map->entries[at].tagged_key);
    if (((at - home) & mask_of(map)) >= ((at - hole) & mask_of(map))) {
      map->entries[hole] = map->entries[at];
      hole = at;
    }
  }
  map->entries[hole].tagged_key = 0;
  map->count--;
}

ha_trace_entry *ha_trace_map_walk(const ha_trace_map *map, uint64_t *at) {
  if (map->entries == NULL)
    return NULL;
  for (; *at < (uint64_t)1 << map->bits; (*at)++) {
    ha_trace_entry *entry = &map->entries[*at];
    if (entry->tagged_key != 0) {
      (*at)++;
      return entry;
    }
  }
  return NULL;
}

void ha_trace_map_clear(ha_trace_map *map) {
  if (map->entries != NULL)
    ha_trace_pages_free(map->entries, sizeof(ha_trace_entry) << map->bits);
  *map = (ha_trace_map){0};
}

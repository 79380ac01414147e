// early.h: memory for a preloaded malloc before the next one is known: dlsym may allocate while it looks for it. Such
// blocks are never given back. Each library has an arena of its own; nobody else runs at that time.
#ifndef HEAPARENA_WORKLOADS_EARLY_H
#define HEAPARENA_WORKLOADS_EARLY_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct early_arena {
  alignas(16) unsigned char bytes[16384];
  size_t used;
} early_arena;

// 16-aligned, zero; NULL when the arena is full.
static inline void *early_alloc(early_arena *arena, size_t size) {
  size_t bytes = (size + 15) & ~(size_t)15;
  if (bytes < size || bytes > sizeof arena->bytes - arena->used)
    return NULL;
  void *block = arena->bytes + arena->used;
  arena->used += bytes;
  return block;
}

// Whether the block came from the arena.
static inline bool early_has(const early_arena *arena, const void *block) {
  return (uintptr_t)block - (uintptr_t)arena->bytes < sizeof arena->bytes;
}

// Bytes from the block to the arena's end: the block has no more, how many fewer is not known.
static inline size_t early_room(const early_arena *arena, const void *block) {
  return sizeof arena->bytes - (size_t)((const unsigned char *)block - arena->bytes);
}

#endif

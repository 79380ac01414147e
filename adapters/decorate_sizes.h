// decorate_sizes.h: the requested size of every live block, by its address; allocators keep only what they
// made of it. Thread-safe. Memory is from mmap, not from the heap that is watched.
#ifndef HEAPARENA_ADAPTERS_DECORATE_SIZES_H
#define HEAPARENA_ADAPTERS_DECORATE_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Once, before the first block: makes the table safe over fork().
void ha_requested_start(void);

// Notes a fresh block. Returns the bytes of memory that the table took for it, mostly 0. A block for which
// there is no memory is not noted.
size_t ha_requested_put(const void *block, size_t size);

// Forgets a block and returns its size; 0 if it was not noted. Call before the block may be handed out again.
size_t ha_requested_take(const void *block);

#endif

// bump.c: a pointer per thread that only moves up; free does nothing. The fastest allocator that hands out
// distinct memory, and the worst in memory: a bound in time, and the notes' "sequential allocator" in its
// smallest form.
#include "adapters/adapters.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_BYTES   (size_t)(1UL << 20)
#define MIN_ALIGNMENT (size_t)16

// In front of each block, so that realloc knows what to copy.
typedef struct header {
  alignas(16) size_t size;
} header;

static _Thread_local uintptr_t next_byte; // of this thread's chunk
static _Thread_local uintptr_t chunk_end;

static void *fail(void) {
  errno = ENOMEM;
  return NULL;
}

static bool new_chunk(size_t bytes) {
  size_t length = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
  void *chunk =
      mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (chunk == MAP_FAILED)
    return false;
  next_byte = (uintptr_t)chunk;
  chunk_end = next_byte + length;
  return true;
}

static uintptr_t place(size_t alignment) {
  return (next_byte + sizeof(header) + alignment - 1) & ~(alignment - 1);
}

static void *bump_aligned_alloc(size_t alignment, size_t size) {
  if (alignment < MIN_ALIGNMENT)
    alignment = MIN_ALIGNMENT;
  if (size > PTRDIFF_MAX - alignment - sizeof(header) - 4096)
    return fail();
  uintptr_t block = place(alignment);
  if (block > chunk_end || size > chunk_end - block) {
    if (!new_chunk((size + alignment + sizeof(header) + 4095) & ~(size_t)4095))
      return fail();
    block = place(alignment);
  }
  ((header *)block)[-1].size = size;
  next_byte = block + size;
  return (void *)block;
}

static void *bump_malloc(size_t size) {
  return bump_aligned_alloc(MIN_ALIGNMENT, size);
}

static void bump_free(void *block) {
  (void)block;
}

static void *bump_calloc(size_t count, size_t size) {
  size_t product;
  // Fresh from mmap, and never used before: zero already.
  return __builtin_mul_overflow(count, size, &product) ? fail() : bump_malloc(product);
}

static size_t bump_usable_size(void *block) {
  return block ? ((header *)block)[-1].size : 0;
}

static void *bump_realloc(void *block, size_t size) {
  size_t old = bump_usable_size(block);
  uintptr_t start = (uintptr_t)block;
  if (block && size <= old)
    return block;
  if (block && start + old == next_byte && size <= chunk_end - start) { // the newest block grows where it is
    ((header *)block)[-1].size = size;
    next_byte = start + size;
    return block;
  }
  void *fresh = bump_malloc(size);
  if (fresh && old)
    memcpy(fresh, block, old);
  return fresh;
}

static void *bump_reallocarray(void *block, size_t count, size_t size) {
  size_t product;
  return __builtin_mul_overflow(count, size, &product) ? fail() : bump_realloc(block, product);
}

static int bump_posix_memalign(void **block, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  int saved = errno;
  void *fresh = bump_aligned_alloc(alignment, size);
  errno = saved;
  if (!fresh)
    return ENOMEM;
  *block = fresh;
  return 0;
}

static const ha_alloc vtable = {
    .name = "bump",
    .version = "1",
    .traits = HA_TRAIT_NEVER_FREES | HA_TRAIT_BOUND,
    .malloc = bump_malloc,
    .free = bump_free,
    .calloc = bump_calloc,
    .realloc = bump_realloc,
    .aligned_alloc = bump_aligned_alloc,
    .posix_memalign = bump_posix_memalign,
    .usable_size = bump_usable_size,
    .reallocarray = bump_reallocarray,
};

const ha_adapter ha_adapter_bump = {
    .name = "bump",
    .summary = "a pointer that moves up, never frees: the bound in time for distinct blocks",
    .linked = &vtable,
};

// null.c: an "allocator" that does no work: every block is the same memory. It bounds time from below (what
// remains is the workload and the call through the vtable) and shows the harness's own memory. Not for
// programs.
#include "adapters/adapters.h"

#include <errno.h>
#include <sys/mman.h>

// Largest block served; reserved once, only what the program touches becomes resident.
#define NULL_BYTES     (size_t)(1UL << 30)
#define NULL_ALIGNMENT (size_t)(2UL << 20)

static unsigned char *memory;

__attribute__((constructor)) static void reserve(void) {
  void *p = mmap(NULL, NULL_BYTES + NULL_ALIGNMENT, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED)
    memory = (unsigned char *)(((uintptr_t)p + NULL_ALIGNMENT - 1) & ~(NULL_ALIGNMENT - 1));
}

static void *null_fail(void) {
  errno = ENOMEM;
  return NULL;
}

static void *null_malloc(size_t size) {
  return size <= NULL_BYTES && memory ? memory : null_fail();
}

static void *null_calloc(size_t count, size_t size) {
  size_t product;
  return __builtin_mul_overflow(count, size, &product) ? null_fail() : null_malloc(product);
}

static void *null_realloc(void *block, size_t size) {
  (void)block;
  return null_malloc(size);
}

static void *null_reallocarray(void *block, size_t count, size_t size) {
  (void)block;
  return null_calloc(count, size);
}

static void null_free(void *block) {
  (void)block;
}

static void null_free_sized(void *block, size_t size) {
  (void)block;
  (void)size;
}

static void null_free_aligned_sized(void *block, size_t alignment, size_t size) {
  (void)block;
  (void)alignment;
  (void)size;
}

static void *null_aligned_alloc(size_t alignment, size_t size) {
  return alignment <= NULL_ALIGNMENT ? null_malloc(size) : null_fail();
}

static int null_posix_memalign(void **block, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  if (alignment > NULL_ALIGNMENT || size > NULL_BYTES || !memory)
    return ENOMEM;
  *block = memory;
  return 0;
}

static const ha_alloc vtable = {
    .name = "null",
    .version = "1",
    .traits = HA_TRAIT_NEVER_FREES | HA_TRAIT_SHARED_BLOCKS | HA_TRAIT_BOUND,
    .malloc = null_malloc,
    .free = null_free,
    .calloc = null_calloc,
    .realloc = null_realloc,
    .aligned_alloc = null_aligned_alloc,
    .posix_memalign = null_posix_memalign,
    .free_sized = null_free_sized,
    .free_aligned_sized = null_free_aligned_sized,
    .reallocarray = null_reallocarray,
};

const ha_adapter ha_adapter_null = {
    .name = "null",
    .summary = "no work at all, every block the same memory: the bound in time",
    .linked = &vtable,
};

// oracle.c: an "allocator" that knows the future: a replayed trace's lifetimes are known before it runs, so
// the replayer packs all blocks ahead of time (workloads/replay_oracle.c), and an allocation is a look in a
// table. It bounds time from below for blocks that are distinct memory, and its packing is what memory could
// be. It knows nothing of other workloads: their allocations fail.
#include "adapters/oracle.h"
#include "adapters/adapters.h"

#include <errno.h>
#include <string.h>

static _Thread_local void *const *next_address;

void *const *ha_oracle_follow(void *const *addresses) {
  void *const *before = next_address;
  next_address = addresses;
  return before;
}

static void *no_future(void) {
  return ha_decline("oracle knows the lifetimes of recorded programs only: use it with the "
                    "workloads trace:FILE and model:FILE\n");
}

static void *oracle_malloc(size_t size) {
  (void)size;
  return __builtin_expect(next_address == NULL, 0) ? no_future() : *next_address++;
}

static void *oracle_calloc(size_t count, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(count, size, &product)) {
    errno = ENOMEM;
    return NULL;
  }
  void *block = oracle_malloc(product);
  return block == NULL ? NULL : memset(block, 0, product);
}

// A block lies where it can grow to all that it will be.
static void *oracle_realloc(void *block, size_t size) {
  if (block == NULL)
    return oracle_malloc(size);
  if (size <= PTRDIFF_MAX)
    return block;
  errno = ENOMEM;
  return NULL;
}

static void oracle_free(void *block) {
  (void)block;
}

static void oracle_free_sized(void *block, size_t size) {
  (void)block;
  (void)size;
}

static void oracle_free_aligned_sized(void *block, size_t alignment, size_t size) {
  (void)block;
  (void)alignment;
  (void)size;
}

static void *oracle_aligned_alloc(size_t alignment, size_t size) {
  (void)alignment; // planned
  return oracle_malloc(size);
}

static int oracle_posix_memalign(void **block, size_t alignment, size_t size) {
  void *got = oracle_aligned_alloc(alignment, size);
  if (got == NULL)
    return ENOMEM;
  *block = got;
  return 0;
}

static const ha_alloc vtable = {
    .name = "oracle",
    .version = "1",
    .traits = HA_TRAIT_BOUND | HA_TRAIT_TRACE_ONLY,
    .malloc = oracle_malloc,
    .free = oracle_free,
    .calloc = oracle_calloc,
    .realloc = oracle_realloc,
    .aligned_alloc = oracle_aligned_alloc,
    .posix_memalign = oracle_posix_memalign,
    .free_sized = oracle_free_sized,
    .free_aligned_sized = oracle_free_aligned_sized,
};

const ha_adapter ha_adapter_oracle = {
    .name = "oracle",
    .summary =
        "addresses computed ahead from a trace's lifetimes: the bound for distinct blocks (traces only)",
    .linked = &vtable,
};

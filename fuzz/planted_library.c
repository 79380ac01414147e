// planted_library.c: the planted allocators as a shared library with malloc's own names: what a user's unknown
// library is to the fuzzer, and what a reproducer is preloaded with. HEAPARENA_PLANTED=NAME chooses the fault.
#include "fuzz/planted.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

// libc's headers name the parameters __ptr and __size.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

static ha_alloc chosen;

static const ha_alloc *alloc(void) {
  if (chosen.malloc == NULL) {
    const char *name = getenv("HEAPARENA_PLANTED");
    const fuzz_planted *planted = name ? fuzz_planted_find(name) : NULL;
    chosen = fuzz_planted_alloc(planted ? planted : fuzz_planted_find("none"));
  }
  return &chosen;
}

EXPORT void *malloc(size_t size) {
  return alloc()->malloc(size);
}

EXPORT void free(void *block) {
  if (block)
    alloc()->free(block);
}

EXPORT void *calloc(size_t count, size_t size) {
  return alloc()->calloc(count, size);
}

EXPORT void *realloc(void *block, size_t size) {
  return alloc()->realloc(block, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  return alloc()->aligned_alloc(alignment, size);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  int before = errno;
  void *got = alloc()->aligned_alloc(alignment, size);
  errno = before;
  if (got == NULL)
    return ENOMEM;
  *block = got;
  return 0;
}

EXPORT size_t malloc_usable_size(void *block) {
  return alloc()->usable_size(block);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

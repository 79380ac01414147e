// alloc.c: what adapters, tables and tests share: see alloc.h and adapters.h.
#include "adapters/alloc.h"
#include "adapters/adapters.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

void *ha_decline(const char *text) {
  static _Atomic bool said;
  if (!atomic_exchange(&said, true)) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
  }
  errno = ENOMEM;
  return NULL;
}

size_t ha_alloc_operations(const ha_alloc *alloc, ha_alloc_operation *out, size_t capacity) {
  const ha_alloc_operation all[] = {
      {"aligned_alloc", alloc->aligned_alloc != NULL},
      {"posix_memalign", alloc->posix_memalign != NULL},
      {"usable_size", alloc->usable_size != NULL},
      {"free_sized", alloc->free_sized != NULL},
      {"free_aligned_sized", alloc->free_aligned_sized != NULL},
      {"reallocarray", alloc->reallocarray != NULL},
      {"purge", alloc->purge != NULL},
      {"stats", alloc->stats != NULL},
      {"check_heap", alloc->check_heap != NULL},
      {"thread_start", alloc->thread_start != NULL},
      {"thread_exit", alloc->thread_exit != NULL},
      {"walk", alloc->walk != NULL},
  };
  size_t count = sizeof all / sizeof all[0];
  for (size_t i = 0; i < count && i < capacity; i++)
    out[i] = all[i];
  return count;
}

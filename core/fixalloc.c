// Metadata memory. See fixalloc.h.
#include "core/fixalloc.h"

#include "core/sys_mem.h"

#include <stdatomic.h>

// Taken from the kernel at a time; only what is touched becomes resident.
static const size_t chunk_size = (size_t)256 << 10;

static uintptr_t chunk_at;
static uintptr_t chunk_end;
static _Atomic size_t reserved;

void *persistent_alloc(size_t size, size_t align) {
  GM_ASSERT(gm_is_power_of_two(align) && align <= GM_PAGE_SIZE);
  uintptr_t start = gm_align_up(chunk_at, align);
  if (chunk_at == 0 || start + size > chunk_end) {
    size_t wanted = size > chunk_size / 4 ? gm_align_up(size, GM_PAGE_SIZE) : chunk_size;
    uintptr_t fresh = (uintptr_t)sys_alloc(wanted);
    if (fresh == 0)
      return NULL;
    atomic_fetch_add_explicit(&reserved, wanted, memory_order_relaxed);
    if (wanted != chunk_size) // large things get their own mapping; the chunk goes on
      return (void *)fresh;
    start = fresh;
    chunk_end = fresh + chunk_size;
  }
  chunk_at = start + size;
  return (void *)start;
}

size_t persistent_reserved(void) {
  return atomic_load_explicit(&reserved, memory_order_relaxed);
}

void fixalloc_init(struct fixalloc *fixed, size_t size) {
  *fixed = (struct fixalloc){.size = gm_align_up(size, GM_CACHE_LINE)};
}

void *fixalloc_alloc(struct fixalloc *fixed) {
  void *object = fixed->free_list;
  if (object != NULL)
    fixed->free_list = *(void **)object;
  else
    object = persistent_alloc(fixed->size, GM_CACHE_LINE);
  if (object != NULL)
    fixed->in_use++;
  return object;
}

void fixalloc_free(struct fixalloc *fixed, void *object) {
  GM_ASSERT(fixed->in_use > 0);
  *(void **)object = fixed->free_list;
  fixed->free_list = object;
  fixed->in_use--;
}

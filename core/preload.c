// The malloc family under its standard names: the only file that exports them, so that libgomalloc.so
// replaces a program's allocator and libgomalloc.a does not.
#include "core/gomalloc.h"
#include "core/malloc_inline.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

// libc's headers name the parameters __ptr and __size.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

// glibc's headers of this age lack C23's sized frees; and cfree, valloc's kin are obsolete but still called.
GM_EXPORT void free_sized(void *pointer, size_t size);
GM_EXPORT void free_aligned_sized(void *pointer, size_t alignment, size_t size);
GM_EXPORT void cfree(void *pointer);

GM_EXPORT void *malloc(size_t size) {
  return malloc_inline(size);
}

GM_EXPORT void free(void *pointer) {
  free_inline(pointer);
}

GM_EXPORT void *calloc(size_t count, size_t size) {
  return gm_calloc(count, size);
}

GM_EXPORT void *realloc(void *pointer, size_t size) {
  return gm_realloc(pointer, size);
}

GM_EXPORT void *reallocarray(void *pointer, size_t count, size_t size) {
  return gm_reallocarray(pointer, count, size);
}

GM_EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  return gm_aligned_alloc(alignment, size);
}

GM_EXPORT int posix_memalign(void **result, size_t alignment, size_t size) {
  return gm_posix_memalign(result, alignment, size);
}

GM_EXPORT void *memalign(size_t alignment, size_t size) {
  return gm_memalign(alignment, size);
}

GM_EXPORT void *valloc(size_t size) {
  return gm_aligned_alloc((size_t)sysconf(_SC_PAGESIZE), size);
}

GM_EXPORT void *pvalloc(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t rounded = 0;
  if (__builtin_add_overflow(size, page - 1, &rounded)) {
    errno = ENOMEM;
    return NULL;
  }
  return gm_aligned_alloc(page, rounded & ~(page - 1));
}

GM_EXPORT void free_sized(void *pointer, size_t size) {
  (void)size;
  free_inline(pointer);
}

GM_EXPORT void free_aligned_sized(void *pointer, size_t alignment, size_t size) {
  (void)alignment;
  (void)size;
  free_inline(pointer);
}

GM_EXPORT void cfree(void *pointer) {
  free_inline(pointer);
}

GM_EXPORT size_t malloc_usable_size(void *pointer) {
  return gm_usable_size(pointer);
}

GM_EXPORT int malloc_trim(size_t pad) {
  (void)pad;
  return gm_purge() > 0;
}

// glibc's names: arena and hblkhd are system bytes, uordblks and fordblks bytes in use and free.
GM_EXPORT struct mallinfo2 mallinfo2(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  return (struct mallinfo2){
      .arena = stats.HeapSys,
      .uordblks = stats.HeapAlloc,
      .fordblks = stats.HeapSys - stats.HeapAlloc,
      .keepcost = stats.HeapIdle - stats.HeapReleased,
  };
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

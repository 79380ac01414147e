// The malloc family under its standard names: the only file that exports them, so that libgomalloc.so
// replaces a program's allocator and libgomalloc.a does not.
#include "core/errors.h"
#include "core/gomalloc.h"
#include "core/malloc_inline.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
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

// The classic struct has ints: what does not fit says INT_MAX.
static int clamp(size_t value) {
  return value > INT_MAX ? INT_MAX : (int)value;
}

GM_EXPORT struct mallinfo mallinfo(void) {
  struct mallinfo2 info = mallinfo2();
  return (struct mallinfo){
      .arena = clamp(info.arena),
      .uordblks = clamp(info.uordblks),
      .fordblks = clamp(info.fordblks),
      .keepcost = clamp(info.keepcost),
  };
}

// glibc's tunables have no counterpart here: 1 (accepted) for the parameters that it knows, so that programs
// which insist go on, and 0 for others. Nothing changes.
GM_EXPORT int mallopt(int parameter, int value) {
  (void)value;
  switch (parameter) {
  case M_MXFAST:
  case M_TRIM_THRESHOLD:
  case M_TOP_PAD:
  case M_MMAP_THRESHOLD:
  case M_MMAP_MAX:
  case M_CHECK_ACTION:
  case M_PERTURB:
  case M_ARENA_TEST:
  case M_ARENA_MAX:
    return 1;
  default:
    return 0;
  }
}

static size_t statistics_line(char *line, size_t size) {
  size_t length = gm_stats_json(line, size - 1);
  length = length < size - 2 ? length : size - 2;
  line[length] = '\n';
  return length + 1;
}

enum { STATISTICS_SIZE = 16384 };

// The JSON of gm_stats_json, where glibc prints its own table.
GM_EXPORT void malloc_stats(void) {
  char line[STATISTICS_SIZE];
  size_t length = statistics_line(line, sizeof line);
  text_write_stderr(&(struct text_buffer){line, length, length});
}

// As glibc, which answers EINVAL for any options. Its XML describes structures that are not here, so the
// element holds the JSON of gm_stats_json.
GM_EXPORT int malloc_info(int options, FILE *stream) {
  if (options != 0)
    return EINVAL;
  char line[STATISTICS_SIZE];
  size_t length = statistics_line(line, sizeof line);
  bool written = fputs("<malloc version=\"gomalloc-" HEAPARENA_VERSION "\">\n", stream) >= 0 &&
                 fwrite(line, 1, length, stream) == length && fputs("</malloc>\n", stream) >= 0;
  return written ? 0 : -1;
}

// glibc's own names for the same functions, which some programs call to get round a replacement: their blocks
// must not meet another allocator's free.
GM_EXPORT void *__libc_malloc(size_t size);
GM_EXPORT void __libc_free(void *pointer);
GM_EXPORT void *__libc_calloc(size_t count, size_t size);
GM_EXPORT void *__libc_realloc(void *pointer, size_t size);
GM_EXPORT void *__libc_memalign(size_t alignment, size_t size);
GM_EXPORT void *__libc_valloc(size_t size);
GM_EXPORT void *__libc_pvalloc(size_t size);
GM_EXPORT int __posix_memalign(void **result, size_t alignment, size_t size);

void *__libc_malloc(size_t size) {
  return malloc(size);
}

void __libc_free(void *pointer) {
  free(pointer);
}

void *__libc_calloc(size_t count, size_t size) {
  return calloc(count, size);
}

void *__libc_realloc(void *pointer, size_t size) {
  return realloc(pointer, size);
}

void *__libc_memalign(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

void *__libc_valloc(size_t size) {
  return valloc(size);
}

void *__libc_pvalloc(size_t size) {
  return pvalloc(size);
}

int __posix_memalign(void **result, size_t alignment, size_t size) {
  return gm_posix_memalign(result, alignment, size);
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

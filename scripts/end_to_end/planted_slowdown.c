// planted_slowdown.c: libgomalloc behind a malloc that first counts down from SPIN: the slow build that
// `heaparena compare` must flag, and with SPIN=0 the build to compare it with. By hand:
//
//   cc -O2 -shared -fPIC -DSPIN=0 -o /tmp/libbase.so scripts/end_to_end/planted_slowdown.c \
//      -Lbuild/release/lib -lgomalloc -Wl,-rpath,$PWD/build/release/lib
//
// and the same with -DSPIN=5 -o /tmp/libnew.so. Each turn is three instructions.
#include "../../core/gomalloc.h"

#ifndef SPIN
#define SPIN 0
#endif

static void spin(void) {
  for (volatile unsigned left = SPIN; left > 0; left = left - 1) {
  }
}

void *malloc(size_t size) {
  spin();
  return gm_malloc(size);
}

void free(void *block) {
  gm_free(block);
}

void *calloc(size_t count, size_t size) {
  spin();
  return gm_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  spin();
  return gm_realloc(block, size);
}

size_t malloc_usable_size(void *block) {
  return gm_usable_size(block);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
  return gm_posix_memalign(block, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  return gm_aligned_alloc(alignment, size);
}

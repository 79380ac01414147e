// subject_gomalloc.c: gomalloc linked into the fuzz program: instrumented where the build is, and without the
// preloading that a sanitizer would not share a process with.
#include "core/gomalloc.h"
#include "fuzz/subject_linked.h"

#include <dlfcn.h>
#include <string.h>

static bool purge(void) {
  gm_purge();
  return true;
}

static bool stats(ha_alloc_stats *out) {
  struct gm_stats now;
  gm_stats_read(&now);
  *out = (ha_alloc_stats){.live_bytes = now.HeapAlloc,
                          .inuse_bytes = now.HeapInuse,
                          .mapped_bytes = now.HeapSys,
                          .released_bytes = now.HeapReleased,
                          .mallocs = now.Mallocs,
                          .frees = now.Frees};
  return true;
}

static size_t usable_size(void *block) {
  return gm_usable_size(block);
}

const ha_alloc fuzz_linked_gomalloc = {
    .name = "gomalloc",
    .version = HEAPARENA_VERSION,
    .malloc = gm_malloc,
    .free = gm_free,
    .calloc = gm_calloc,
    .realloc = gm_realloc,
    .aligned_alloc = gm_aligned_alloc,
    .posix_memalign = gm_posix_memalign,
    .usable_size = usable_size,
    .free_sized = gm_free_sized,
    .free_aligned_sized = gm_free_aligned_sized,
    .reallocarray = gm_reallocarray,
    .purge = purge,
    .stats = stats,
    .check_heap = gm_check_heap,
};

static int set_action(int action) {
  return gm_set_error_action((enum gm_error_action)action);
}
_Static_assert((int)GM_ERROR_ABORT == FUZZ_MISUSE_ABORTS && (int)GM_ERROR_REPORT == FUZZ_MISUSE_COUNTS,
               "subject.h's words for it");

fuzz_misuse_reports fuzz_gomalloc_misuse(void *library) {
  fuzz_misuse_reports reports = {set_action, gm_error_count};
  if (library) {
    void *set = dlsym(library, "gm_set_error_action"), *count = dlsym(library, "gm_error_count");
    memcpy(&reports.set_action, &set, sizeof set);
    memcpy(&reports.count, &count, sizeof count);
  }
  return reports;
}

// system.c: the C library's malloc (glibc's ptmalloc). Never preloaded: it is in every process already; the
// worker takes it from libc's own handle, so that it is glibc's even if something else is preloaded.
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <gnu/libc-version.h>
#include <malloc.h>

static bool system_purge(void) {
  malloc_trim(0);
  return true;
}

static bool system_stats(ha_alloc_stats *out) {
  struct mallinfo2 info = mallinfo2();
  *out = (ha_alloc_stats){
      .live_bytes = info.uordblks + info.hblkhd,
      .inuse_bytes = UINT64_MAX,
      .mapped_bytes = info.arena + info.hblkhd,
      .released_bytes = UINT64_MAX,
      .mallocs = UINT64_MAX,
      .frees = UINT64_MAX,
  };
  return true;
}

static bool system_extend(ha_alloc *out, void *library) {
  if (!ha_library_symbol(library, "", "gnu_get_libc_version"))
    return false;
  out->version = gnu_get_libc_version();
  out->purge = system_purge;
  out->stats = system_stats;
  return true;
}

static const char *const libraries[] = {"libc.so.6", "/lib/*/libc.so.6", NULL};

const ha_adapter ha_adapter_system = {
    .name = "system",
    .summary = "the C library's malloc (glibc)",
    .libraries = libraries,
    .extend = system_extend,
};

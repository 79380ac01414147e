// tcmalloc.c: gperftools' tcmalloc, the minimal library (no profilers).
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <stdio.h>
#include <string.h>

static struct {
  const char *(*version)(int *major, int *minor, const char **patch);
  void (*free_sized)(void *block, size_t size);
  void (*release)(void);
  int (*property)(const char *name, size_t *value);
} tc;

static bool tcmalloc_purge(void) {
  tc.release();
  return true;
}

static bool read_property(const char *name, uint64_t *out) {
  size_t value = 0;
  if (!tc.property(name, &value))
    return false;
  *out = value;
  return true;
}

static bool tcmalloc_stats(ha_alloc_stats *out) {
  ha_alloc_stats stats = {.inuse_bytes = UINT64_MAX, .mallocs = UINT64_MAX, .frees = UINT64_MAX};
  if (!read_property("generic.current_allocated_bytes", &stats.live_bytes) ||
      !read_property("generic.heap_size", &stats.mapped_bytes) ||
      !read_property("tcmalloc.pageheap_unmapped_bytes", &stats.released_bytes))
    return false;
  *out = stats;
  return true;
}

static bool tcmalloc_extend(ha_alloc *out, void *library) {
  static char version[32];
  void *tc_version = ha_library_symbol(library, "tc_", "version");
  void *free_sized = ha_library_symbol(library, "tc_", "free_sized");
  void *release = ha_library_symbol(library, "MallocExtension_", "ReleaseFreeMemory");
  void *property = ha_library_symbol(library, "MallocExtension_", "GetNumericProperty");
  if (!tc_version || !free_sized || !release || !property)
    return false;
  memcpy(&tc.version, &tc_version, sizeof tc_version);
  memcpy(&tc.free_sized, &free_sized, sizeof free_sized);
  memcpy(&tc.release, &release, sizeof release);
  memcpy(&tc.property, &property, sizeof property);
  int major = 0;
  int minor = 0;
  const char *patch = "";
  tc.version(&major, &minor, &patch);
  snprintf(version, sizeof version, "%d.%d%s", major, minor, patch ? patch : "");
  out->version = version;
  out->free_sized = tc.free_sized;
  out->purge = tcmalloc_purge;
  out->stats = tcmalloc_stats;
  return true;
}

static const char *const libraries[] = {"libtcmalloc_minimal.so.4*", "libtcmalloc_minimal.so", NULL};

const ha_adapter ha_adapter_tcmalloc = {
    .name = "tcmalloc",
    .summary = "gperftools' tcmalloc (minimal)",
    .libraries = libraries,
    .package = "libtcmalloc-minimal4",
    .extend = tcmalloc_extend,
};

// mimalloc.c: Microsoft's mimalloc, versions 2 and 3.
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <stdio.h>
#include <string.h>

static struct {
  void (*collect)(bool force);
  int (*version)(void);
  void (*free_size)(void *block, size_t size);
  void (*free_size_aligned)(void *block, size_t size, size_t alignment);
} mi;

static bool mimalloc_purge(void) {
  mi.collect(true);
  return true;
}

static void mimalloc_free_aligned_sized(void *block, size_t alignment, size_t size) {
  mi.free_size_aligned(block, size, alignment);
}

// 209 -> "2.0.9"; newer ones use two digits for each, 30403 -> "3.4.3".
static const char *mimalloc_version(void) {
  static char text[32];
  int v = mi.version();
  if (v < 10000)
    snprintf(text, sizeof text, "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
  else
    snprintf(text, sizeof text, "%d.%d.%d", v / 10000, v / 100 % 100, v % 100);
  return text;
}

static bool mimalloc_extend(ha_alloc *out, void *library) {
  void *collect = ha_library_symbol(library, "mi_", "collect");
  void *version = ha_library_symbol(library, "mi_", "version");
  if (!collect || !version)
    return false;
  void *free_size = ha_library_symbol(library, "mi_", "free_size");
  void *free_size_aligned = ha_library_symbol(library, "mi_", "free_size_aligned");
  memcpy(&mi.collect, &collect, sizeof collect);
  memcpy(&mi.version, &version, sizeof version);
  memcpy(&mi.free_size, &free_size, sizeof free_size);
  memcpy(&mi.free_size_aligned, &free_size_aligned, sizeof free_size_aligned);
  out->version = mimalloc_version();
  out->purge = mimalloc_purge;
  if (!out->free_sized)
    out->free_sized = mi.free_size;
  if (!out->free_aligned_sized && mi.free_size_aligned)
    out->free_aligned_sized = mimalloc_free_aligned_sized;
  return true;
}

static const char *const libraries[] = {"libmimalloc.so.3*", "libmimalloc.so.2*", "libmimalloc.so", NULL};

const ha_adapter ha_adapter_mimalloc = {
    .name = "mimalloc",
    .summary = "Microsoft's mimalloc",
    .libraries = libraries,
    .package = "libmimalloc2.0",
    .extend = mimalloc_extend,
};

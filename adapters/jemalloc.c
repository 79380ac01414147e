// jemalloc.c: jemalloc, through its malloc family and mallctl.
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <stdio.h>
#include <string.h>

static struct {
  int (*mallctl)(const char *name, void *old, size_t *old_size, void *new_value, size_t new_size);
  void (*sdallocx)(void *block, size_t size, int flags);
} je;

static bool jemalloc_purge(void) {
  // 4096 is MALLCTL_ARENAS_ALL: every arena.
  je.mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
  return je.mallctl("arena.4096.purge", NULL, NULL, NULL, 0) == 0;
}

static bool read_size(const char *name, uint64_t *out) {
  size_t value = 0;
  size_t size = sizeof value;
  if (je.mallctl(name, &value, &size, NULL, 0) != 0)
    return false;
  *out = value;
  return true;
}

static bool jemalloc_stats(ha_alloc_stats *out) {
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  je.mallctl("epoch", &epoch, &size, &epoch, sizeof epoch); // refreshes the figures below
  ha_alloc_stats stats = {.mallocs = UINT64_MAX, .frees = UINT64_MAX};
  if (!read_size("stats.allocated", &stats.live_bytes) || !read_size("stats.active", &stats.inuse_bytes) ||
      !read_size("stats.mapped", &stats.mapped_bytes) || !read_size("stats.retained", &stats.released_bytes))
    return false;
  *out = stats;
  return true;
}

// A request of 0 bytes got the block of one of 1 byte; of 0 sdallocx would make the smallest class, whatever the
// alignment was, and hand out the block as one of it.
static size_t sized(size_t size) {
  return size ? size : 1;
}

static void jemalloc_free_sized(void *block, size_t size) {
  if (block)
    je.sdallocx(block, sized(size), 0);
}

static void jemalloc_free_aligned_sized(void *block, size_t alignment, size_t size) {
  if (block)
    je.sdallocx(block, sized(size), __builtin_ctzl(alignment)); // MALLOCX_LG_ALIGN
}

static bool jemalloc_extend(ha_alloc *out, void *library) {
  static char version[32];
  void *mallctl = ha_library_symbol(library, "", "mallctl");
  void *sdallocx = ha_library_symbol(library, "", "sdallocx");
  if (!mallctl || !sdallocx)
    return false;
  memcpy(&je.mallctl, &mallctl, sizeof mallctl);
  memcpy(&je.sdallocx, &sdallocx, sizeof sdallocx);
  const char *full = NULL;
  size_t size = sizeof full;
  if (je.mallctl("version", &full, &size, NULL, 0) == 0 && full) {
    snprintf(version, sizeof version, "%.*s", (int)strcspn(full, "-"), full);
    out->version = version;
  }
  out->purge = jemalloc_purge;
  out->stats = jemalloc_stats;
  out->free_sized = jemalloc_free_sized;
  out->free_aligned_sized = jemalloc_free_aligned_sized;
  return true;
}

static const char *const libraries[] = {"libjemalloc.so.2*", "libjemalloc.so", NULL};

const ha_adapter ha_adapter_jemalloc = {
    .name = "jemalloc",
    .summary = "jemalloc (FreeBSD, Facebook)",
    .libraries = libraries,
    .package = "libjemalloc2",
    .extend = jemalloc_extend,
};

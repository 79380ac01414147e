// gomalloc.c: our own allocator (core/), used as others use it: as the shared library libgomalloc.so,
// preloaded.
#include "core/gomalloc.h"
#include "adapters/adapters.h"
#include "adapters/library.h"
#include "core/heap_view.h"

#include <string.h>

// The library's own functions, found by name: the worker does not link with it.
static struct {
  size_t (*purge)(void);
  void (*stats_read)(struct gm_stats *);
  int (*check_heap)(void);
  const char *(*version)(void);
  size_t (*heap_view)(void (*visit)(const struct gm_view_range *, void *), void *); // NULL in older builds
} gm;

static bool gomalloc_purge(void) {
  gm.purge();
  return true;
}

static bool gomalloc_stats(ha_alloc_stats *out) {
  struct gm_stats stats;
  gm.stats_read(&stats);
  *out = (ha_alloc_stats){
      .live_bytes = stats.HeapAlloc,
      .inuse_bytes = stats.HeapInuse,
      .mapped_bytes = stats.HeapSys,
      .released_bytes = stats.HeapReleased,
      .mallocs = stats.Mallocs,
      .frees = stats.Frees,
  };
  return true;
}

typedef struct ha_walk {
  void (*visit)(const ha_heap_range *range, void *context);
  void *context;
} ha_walk;

static void visit_range(const struct gm_view_range *range, void *context) {
  static const ha_range_state states[] = {
      [GM_VIEW_RESERVED] = HA_RANGE_RESERVED,
      [GM_VIEW_PREPARED] = HA_RANGE_RELEASED,
      [GM_VIEW_READY] = HA_RANGE_FREE,
      [GM_VIEW_SPAN] = HA_RANGE_BLOCKS,
  };
  const ha_walk *walk = context;
  walk->visit(&(ha_heap_range){.start = range->start,
                               .size = range->size,
                               .state = states[range->state],
                               .block_size = range->object_size,
                               .blocks = range->objects,
                               .live_blocks = range->live_objects},
              walk->context);
}

static bool gomalloc_walk(void (*visit)(const ha_heap_range *range, void *context), void *context) {
  gm.heap_view(visit_range, &(ha_walk){.visit = visit, .context = context});
  return true;
}

static bool gomalloc_extend(ha_alloc *out, void *library) {
  void *symbols[] = {
      ha_library_symbol(library, "gm_", "purge"),
      ha_library_symbol(library, "gm_", "stats_read"),
      ha_library_symbol(library, "gm_", "check_heap"),
      ha_library_symbol(library, "gm_", "version"),
  };
  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
    if (!symbols[i])
      return false;
  memcpy(&gm.purge, &symbols[0], sizeof symbols[0]);
  memcpy(&gm.stats_read, &symbols[1], sizeof symbols[1]);
  memcpy(&gm.check_heap, &symbols[2], sizeof symbols[2]);
  memcpy(&gm.version, &symbols[3], sizeof symbols[3]);
  out->version = gm.version();
  out->purge = gomalloc_purge;
  out->stats = gomalloc_stats;
  out->check_heap = gm.check_heap;
  void *view = ha_library_symbol(library, "gm_", "heap_view");
  memcpy(&gm.heap_view, &view, sizeof view);
  out->walk = view ? gomalloc_walk : NULL;
  return true;
}

static const char *const libraries[] = {"libgomalloc.so", NULL};

const ha_adapter ha_adapter_gomalloc = {
    .name = "gomalloc",
    .summary = "Go's runtime allocator for programs that free; finds every double free (ours, core/)",
    .libraries = libraries,
    .extend = gomalloc_extend,
};

static const char *const linear_layout[] = {"GOMALLOC_LAYOUT=linear", NULL};

const ha_adapter ha_adapter_gomalloc_linear = {
    .name = "gomalloc-linear",
    .summary = "gomalloc in the linear layout of Go until 1.10 (measured when named)",
    .libraries = libraries,
    .environment = linear_layout,
    .traits = HA_TRAIT_EXAMPLE,
};

// pocket_heaparena.c: the one file of the example that knows heaparena: it fills in what symbols cannot say.
#include "pocket.h"

#include <heaparena/plugin.h>

static bool pocket_stats(ha_alloc_stats *out) {
  pocket_counts now = pocket_count();
  *out = (ha_alloc_stats){.live_bytes = now.live_bytes,
                          .inuse_bytes = UINT64_MAX, // not counted
                          .mapped_bytes = now.mapped_bytes,
                          .released_bytes = 0,
                          .mallocs = now.mallocs,
                          .frees = now.frees};
  return true;
}

static bool extend(ha_alloc *alloc) {
  alloc->version = POCKET_VERSION;
  alloc->stats = pocket_stats;
  alloc->check_heap = pocket_check;
  return true;
}

HA_PLUGIN(extend);

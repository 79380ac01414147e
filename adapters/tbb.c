// tbb.c: oneTBB's scalable allocator, as a malloc replacement through its proxy library.
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <dlfcn.h>
#include <string.h>

#define TBBMALLOC_CLEAN_ALL_BUFFERS 0

static int (*tbb_command)(int command, void *parameter);

static bool tbb_purge(void) {
  // 0 TBBMALLOC_OK, 3 TBBMALLOC_NO_EFFECT: nothing was there to be given back
  int result = tbb_command(TBBMALLOC_CLEAN_ALL_BUFFERS, NULL);
  return result == 0 || result == 3;
}

static bool tbb_extend(ha_alloc *out, void *library) {
  if (!ha_library_symbol(library, "__TBB_", "malloc_proxy"))
    return false;
  // The proxy forwards to libtbbmalloc, which it depends on: a plain dlsym is right here.
  void *command = dlsym(library, "scalable_allocation_command");
  if (!command)
    return false;
  memcpy(&tbb_command, &command, sizeof command);
  out->purge = tbb_purge;
  return true;
}

static const char *const libraries[] = {"libtbbmalloc_proxy.so.2*", "libtbbmalloc_proxy.so", NULL};

const ha_adapter ha_adapter_tbb = {
    .name = "tbb",
    .summary = "oneTBB's scalable allocator",
    .libraries = libraries,
    .package = "libtbbmalloc2",
    .extend = tbb_extend,
};

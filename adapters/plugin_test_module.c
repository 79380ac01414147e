// plugin_test_module.c: a library for plugin_test.c, built once for each HOW: what its heaparena_adapter does.
#include "adapters/plugin.h"

#include <stdlib.h>

// Names that no prefix finds: only the plug-in can say what they are.
static void *take(size_t size) {
  return malloc(size);
}
static void give(void *block) {
  free(block);
}

#define GOOD       0
#define REFUSING   1
#define INCOMPLETE 2
#define OLD        3

static bool extend(ha_alloc *alloc) {
  alloc->version = "7.1";
  alloc->traits = HA_TRAIT_NEVER_FREES;
  alloc->malloc = take;
  alloc->free = give;
  alloc->calloc = calloc;
  if (HOW != INCOMPLETE)
    alloc->realloc = realloc;
  return HOW != REFUSING;
}

#if HOW == OLD
#undef HA_PLUGIN_ABI
#define HA_PLUGIN_ABI 0u
#endif
HA_PLUGIN(extend);

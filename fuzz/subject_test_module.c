// subject_test_module.c: an allocator that only its heaparena_adapter tells of, for subject_test.c.
#include "adapters/plugin.h"

#include <stdlib.h>

// Names that no prefix finds.
static void *take(size_t size) {
  return malloc(size);
}
static void give(void *block) {
  free(block);
}

static bool extend(ha_alloc *alloc) {
  alloc->version = "7.1";
  alloc->traits = TRAITS;
  alloc->malloc = take;
  alloc->free = give;
  alloc->calloc = calloc;
  if (COMPLETE)
    alloc->realloc = realloc;
  return true;
}
HA_PLUGIN(extend);

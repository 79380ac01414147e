// decorate.c: see decorate.h.
#include "adapters/decorate.h"

ha_alloc ha_decorated(const ha_alloc *wrapped, const ha_alloc *operations) {
  ha_alloc vtable = *wrapped;
#define REPLACE(operation) vtable.operation = wrapped->operation ? operations->operation : NULL
  REPLACE(malloc);
  REPLACE(free);
  REPLACE(calloc);
  REPLACE(realloc);
  REPLACE(aligned_alloc);
  REPLACE(posix_memalign);
  REPLACE(free_sized);
  REPLACE(free_aligned_sized);
  REPLACE(reallocarray);
#undef REPLACE
  return vtable;
}

// decorate_conformance.c: makes the conformance test one of a decorated allocator: linked in front of ha_open
// (--wrap), it decorates what that returns. One program for each decorator, chosen by HEAPARENA_DECORATOR.
#include "adapters/decorate.h"
#include "adapters/registry.h"

#include <stdio.h>

// Names that the linker gives: calls of ha_open() come to the first, the second is ha_open() itself.
const ha_alloc *__wrap_ha_open(const char *spec, char *const argv[], char *why, size_t why_size);
const ha_alloc *__real_ha_open(const char *spec, char *const argv[], char *why, size_t why_size);

#if HEAPARENA_DECORATOR_ADDRESSES
static void ignore(void *context, void *block, size_t requested) {
  (void)context, (void)block, (void)requested;
}
#endif

const ha_alloc *__wrap_ha_open(const char *spec, char *const argv[], char *why, size_t why_size) {
  const ha_alloc *inner = __real_ha_open(spec, argv, why, why_size);
  if (!inner)
    return NULL;
#if HEAPARENA_DECORATOR_LATENCY
  ha_latency_clock clock;
  const ha_alloc *decorated = ha_decorate_latency(inner, &clock);
#elif HEAPARENA_DECORATOR_ADDRESSES
  const ha_alloc *decorated =
      ha_decorate_addresses(inner, &(ha_address_watcher){.came = ignore, .went = ignore});
#else
  static ha_counts counts[HA_DECORATED_THREADS];
  const ha_alloc *decorated = ha_decorate_counting(inner, counts, true);
#endif
  if (!decorated)
    snprintf(why, why_size, "%s cannot be decorated", spec);
  return decorated;
}

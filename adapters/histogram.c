// histogram.c: see histogram.h.
#include "adapters/histogram.h"

#include <math.h>

uint64_t ha_histogram_upper(unsigned bucket) {
  const unsigned per_doubling = 1u << HA_HISTOGRAM_BITS;
  if (bucket < per_doubling)
    return bucket;
  unsigned shift = (bucket >> HA_HISTOGRAM_BITS) - 1;
  uint64_t top = (bucket & (per_doubling - 1)) + per_doubling; // the value's leading 7 bits
  return ((top + 1) << shift) - 1;
}

void ha_histogram_merge(ha_histogram *into, const ha_histogram *from) {
  for (unsigned i = 0; i < HA_HISTOGRAM_BUCKETS; i++)
    into->buckets[i] += from->buckets[i];
  into->count += from->count;
  if (from->max > into->max)
    into->max = from->max;
}

uint64_t ha_histogram_percentile(const ha_histogram *h, double share) {
  if (h->count == 0)
    return 0;
  uint64_t rank = (uint64_t)ceil(share * (double)h->count);
  uint64_t seen = 0;
  for (unsigned i = 0; i < HA_HISTOGRAM_BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen >= rank && seen > 0) {
      uint64_t upper = ha_histogram_upper(i);
      return upper < h->max ? upper : h->max;
    }
  }
  return h->max;
}

// trace_bucket.h: buckets for distributions of sizes and lifetimes: 0, 1, 2, 3, and from there on quarters of
// octaves, four between each power of two and the next.
#ifndef HEAPARENA_WORKLOADS_TRACE_BUCKET_H
#define HEAPARENA_WORKLOADS_TRACE_BUCKET_H

#include <stdint.h>

#define HA_BUCKETS 256

// The bucket of a value, below HA_BUCKETS.
static inline unsigned ha_bucket(uint64_t value) {
  if (value < 4)
    return (unsigned)value;
  unsigned top = 63 - (unsigned)__builtin_clzll(value);
  return 4 * (top - 1) + (unsigned)(value >> (top - 2) & 3);
}

// The least value of a bucket; a power of two, as a double, for the one behind the last.
static inline double ha_bucket_start(unsigned bucket) {
  return bucket < 4 ? bucket : (double)((uint64_t)1 << (bucket / 4 - 1)) * (4 + bucket % 4);
}

#endif

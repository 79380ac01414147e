// histogram.h: a log-linear histogram of durations: counts in buckets whose width is at most 1/64 of their
// value, so that a percentile read from it is at most 1.6 % too high, over eleven orders of magnitude in a
// fixed 18 KiB. Recording is a few instructions and touches no other memory. Idea: HdrHistogram (Gil Tene).
#ifndef HEAPARENA_ADAPTERS_HISTOGRAM_H
#define HEAPARENA_ADAPTERS_HISTOGRAM_H

#include <stdint.h>

enum {
  HA_HISTOGRAM_BITS = 6,       // 64 buckets for each doubling
  HA_HISTOGRAM_MOST_BITS = 39, // values to 2^40: 100 s and more, in nanoseconds or in ticks of 5 GHz
  HA_HISTOGRAM_BUCKETS = (HA_HISTOGRAM_MOST_BITS - HA_HISTOGRAM_BITS + 2) << HA_HISTOGRAM_BITS,
};

// Zero-initialised is empty. Not thread-safe: one per thread, merged at the end.
typedef struct ha_histogram {
  uint64_t count;
  uint64_t max; // exact
  uint64_t buckets[HA_HISTOGRAM_BUCKETS];
} ha_histogram;

// Values below 64 have a bucket each; larger ones share it with those that agree in the top 7 bits. What is
// beyond the range falls into the last bucket.
static inline unsigned ha_histogram_bucket(uint64_t value) {
  if (value < 1u << HA_HISTOGRAM_BITS)
    return (unsigned)value;
  unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
  if (exponent > HA_HISTOGRAM_MOST_BITS)
    return HA_HISTOGRAM_BUCKETS - 1;
  unsigned shift = exponent - HA_HISTOGRAM_BITS;
  return (shift << HA_HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

// Counts one value.
static inline void ha_histogram_add(ha_histogram *h, uint64_t value) {
  h->buckets[ha_histogram_bucket(value)]++;
  h->count++;
  if (value > h->max)
    h->max = value;
}

// The largest value that falls into this bucket.
uint64_t ha_histogram_upper(unsigned bucket);

// Adds the counts of `from`, for instance of another thread.
void ha_histogram_merge(ha_histogram *into, const ha_histogram *from);

// The value that a share (0 to 1) of all values do not exceed, at most 1/64 too high and never above the
// largest; 0 for an empty histogram.
uint64_t ha_histogram_percentile(const ha_histogram *h, double share);

#endif

// ticks.h: the finest clock of this machine, for timing single calls: the processor's time-stamp counter
// where it runs at one rate in all states (invariant TSC), else clock_gettime.
#ifndef HEAPARENA_ADAPTERS_TICKS_H
#define HEAPARENA_ADAPTERS_TICKS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

// Whether ticks are those of the time-stamp counter; set by ha_ticks_calibrate().
extern bool ha_ticks_are_tsc;

// Chooses the clock and returns nanoseconds per tick, measured for 20 ms against CLOCK_MONOTONIC (1 where the
// clock is clock_gettime). Call once, before any thread reads ticks.
double ha_ticks_calibrate(void);

// The monotonic clock in ns: ticks where there is no usable counter.
static inline uint64_t ha_ticks_of_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// The fences keep the timed call's instructions between the two readings, and others outside.
static inline uint64_t ha_ticks_begin(void) {
#if defined(__x86_64__)
  if (ha_ticks_are_tsc) {
    _mm_lfence();
    uint64_t ticks = __rdtsc();
    _mm_lfence();
    return ticks;
  }
#endif
  return ha_ticks_of_clock();
}

// The ticks behind a timed part: not read before all of it is done, and nothing later begins earlier.
static inline uint64_t ha_ticks_end(void) {
#if defined(__x86_64__)
  if (ha_ticks_are_tsc) {
    unsigned processor;
    uint64_t ticks = __rdtscp(&processor); // waits for everything before it
    _mm_lfence();
    return ticks;
  }
#endif
  return ha_ticks_of_clock();
}

#endif

// ticks.c: see ticks.h.
#include "adapters/ticks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATION_NS 20000000u

bool ha_ticks_are_tsc;

// Leaf 0x80000007, EDX bit 8: the counter runs at a constant rate whatever the processor's speed and sleep.
static bool tsc_is_invariant(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#else
  return false;
#endif
}

// One moment on both clocks: of several attempts the one with the shortest distance between the readings, for
// the process may lose the processor between them.
static void both_clocks(uint64_t *ns, uint64_t *ticks) {
  uint64_t best = UINT64_MAX;
  for (unsigned i = 0; i < 16; i++) {
    uint64_t before = ha_ticks_begin();
    uint64_t clock = ha_ticks_of_clock();
    uint64_t after = ha_ticks_end();
    if (after - before >= best)
      continue;
    best = after - before;
    *ns = clock;
    *ticks = before + (after - before) / 2;
  }
}

double ha_ticks_calibrate(void) {
  ha_ticks_are_tsc = tsc_is_invariant();
  if (!ha_ticks_are_tsc)
    return 1.0;
  uint64_t ns_begin = 0, ticks_begin = 0, ns_end = 0, ticks_end = 0;
  both_clocks(&ns_begin, &ticks_begin);
  while (ha_ticks_of_clock() - ns_begin < CALIBRATION_NS) {
  }
  both_clocks(&ns_end, &ticks_end);
  if (ticks_end <= ticks_begin) { // a counter that does not move, as some emulators have it
    ha_ticks_are_tsc = false;
    return 1.0;
  }
  return (double)(ns_end - ns_begin) / (double)(ticks_end - ticks_begin);
}

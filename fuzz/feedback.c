// feedback.c: see feedback.h.
#include "fuzz/feedback.h"

#include "fuzz/os_hook.h"

#include <stdalign.h>
#include <string.h>

// libFuzzer looks at every one of them after every input: few enough to cost little, enough to be told apart.
#define COUNTERS FUZZ_FEEDBACK_BYTES
#define RECENT   512u // addresses whose last free is remembered

__attribute__((section("__libfuzzer_extra_counters"), used)) static alignas(64) uint8_t counters[COUNTERS];

static struct {
  bool off;
  uint32_t calls; // in this program
  uintptr_t last; // block returned before
  uint64_t maps, unmaps;
  struct {
    uintptr_t address;
    uint32_t at; // call that freed it
  } recent[RECENT];
} seen;

static unsigned log2_of(uint64_t value) {
  return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

// Four classes to an octave.
static unsigned class_of(size_t size) {
  unsigned bits = log2_of(size);
  return bits < 3 ? (unsigned)size : bits * 4 + ((unsigned)(size >> (bits - 3)) & 3);
}

static unsigned recent_index(uintptr_t address) {
  return (unsigned)((address * 0x9e3779b97f4a7c15u) >> 55) % RECENT;
}

static void light(uint64_t what) {
  // Seen or not: counts would make an input with one more call of the same kind a new one, and corpora swell.
  counters[(what * 0xd1b54a32d192ed03u) >> 52] = 1;
}

// Whether the call asked the system for memory (1) or gave some back (2).
static unsigned mapping_change(void) {
  unsigned change = (fuzz_os.maps != seen.maps ? 1u : 0u) | (fuzz_os.unmaps != seen.unmaps ? 2u : 0u);
  seen.maps = fuzz_os.maps;
  seen.unmaps = fuzz_os.unmaps;
  return change;
}

void fuzz_feedback_begin(void) {
  counters[0] = 1; // libFuzzer gives up where no input lights anything: a blind control lights this
  seen.calls = 0;
  seen.last = 0;
  seen.maps = fuzz_os.maps;
  seen.unmaps = fuzz_os.unmaps;
  memset(seen.recent, 0, sizeof seen.recent);
}

void fuzz_feedback_allocated(unsigned kind, uintptr_t address, size_t usable) {
  if (seen.off)
    return;
  seen.calls++;
  if (address == 0) {
    light((uint64_t)kind << 8 | 0xff);
    return;
  }
  bool ahead = address > seen.last;
  unsigned distance = seen.last == 0 ? 0 : log2_of(ahead ? address - seen.last : seen.last - address);
  unsigned index = recent_index(address);
  unsigned reuse =
      seen.recent[index].address == address ? log2_of(seen.calls - seen.recent[index].at) + 1 : 0;
  bool crosses = (address & 4095) + usable > 4096;
  // Two features rather than one: their product would make every input a new one.
  unsigned class = class_of(usable);
  light(1 | (uint64_t)kind << 4 | (uint64_t) class << 12 | (uint64_t)mapping_change() << 24 |
        (uint64_t)crosses << 28);
  light(2 | (uint64_t)(distance + (ahead ? 64u : 0u)) << 4 | (uint64_t)reuse << 12 |
        (uint64_t)(class / 4) << 20);
  seen.last = address;
}

void fuzz_feedback_freed(unsigned kind, uintptr_t address, size_t usable) {
  if (seen.off)
    return;
  seen.calls++;
  unsigned index = recent_index(address);
  seen.recent[index].address = address;
  seen.recent[index].at = seen.calls;
  light(3 | (uint64_t)kind << 4 | (uint64_t)class_of(usable) << 12 | (uint64_t)mapping_change() << 24);
}

void fuzz_feedback_enable(bool on) {
  seen.off = !on;
}

void fuzz_feedback_save(uint8_t to[FUZZ_FEEDBACK_BYTES]) {
  memcpy(to, counters, COUNTERS);
}

void fuzz_feedback_load(const uint8_t from[FUZZ_FEEDBACK_BYTES]) {
  memcpy(counters, from, COUNTERS);
}

size_t fuzz_feedback_lit(void) {
  size_t lit = 0;
  for (size_t i = 0; i < COUNTERS; i++)
    lit += counters[i] != 0;
  return lit;
}

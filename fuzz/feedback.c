// feedback.c: see feedback.h.
//
// Each family of features has its own part of the counters and is indexed without hashing: no two share a counter.
#include "fuzz/feedback.h"

#include "fuzz/op_program.h"
#include "fuzz/os_hook.h"

#include <stdalign.h>
#include <string.h>

#define CLASSES 64u  // of usable sizes: quarters of powers of two, 16 bytes to 1 MiB
#define OCTAVES 16u  // four classes each
#define RECENT  512u // addresses whose last free is remembered

#define DELAYS  12u // calls between a block's end and its return, by powers of two
#define CHANGES 4u  // of what is mapped, by one call
#define PLACES  8u  // where a block lies, seen from the one before

// What a call is to the features: calls of one group do the same to a heap.
enum { MALLOC, CALLOC, REALLOC, ALIGNED, FREE, GROUPS };
static const uint8_t groups[FUZZ_OP_KINDS] = {[FUZZ_OP_MALLOC] = MALLOC,
                                              [FUZZ_OP_CALLOC] = CALLOC,
                                              [FUZZ_OP_REALLOC] = REALLOC,
                                              [FUZZ_OP_REALLOCARRAY] = REALLOC,
                                              [FUZZ_OP_ALIGNED_ALLOC] = ALIGNED,
                                              [FUZZ_OP_POSIX_MEMALIGN] = ALIGNED,
                                              [FUZZ_OP_FREE] = FREE,
                                              [FUZZ_OP_FREE_SIZED] = FREE,
                                              [FUZZ_OP_FREE_ALIGNED_SIZED] = FREE};

static union {
  struct {
    uint8_t always; // lit by every input: libFuzzer gives up where none lights anything
    uint8_t failed[GROUPS][CLASSES];
    uint8_t crosses[CLASSES]; // a page
    uint8_t places[OCTAVES][PLACES];
    uint8_t mapped[2][CLASSES][CHANGES];  // allocation or free; asked for memory (1), gave some back (2)
    uint8_t calls[2][CLASSES];            // allocations, frees: how many
    uint8_t peak[CLASSES];                // most blocks live at once
    uint8_t reuse[OCTAVES][2][DELAYS];    // of a block that free, or realloc, had left
    uint8_t two[CLASSES][GROUPS][GROUPS]; // calls of a class one after another
    uint8_t three[OCTAVES][GROUPS][GROUPS][GROUPS];
  } of;
  uint8_t bytes[FUZZ_FEEDBACK_BYTES];
} lit __attribute__((section("__libfuzzer_extra_counters"), used, aligned(64)));
_Static_assert(sizeof lit == FUZZ_FEEDBACK_BYTES, "feedback.h says how many there are");

// Where each family ends.
static const uint16_t ends[FUZZ_FAMILIES] = {[FUZZ_FAMILY_CALLS] = offsetof(typeof(lit.of), mapped),
                                             [FUZZ_FAMILY_MAPPED] = offsetof(typeof(lit.of), calls),
                                             [FUZZ_FAMILY_COUNT] = offsetof(typeof(lit.of), reuse),
                                             [FUZZ_FAMILY_REUSE] = offsetof(typeof(lit.of), two),
                                             [FUZZ_FAMILY_PAIR] = offsetof(typeof(lit.of), three),
                                             [FUZZ_FAMILY_TRIPLE] = sizeof lit};

static struct {
  bool off;
  uint32_t calls, first_call; // ever; before this program
  const volatile uint32_t *record;
  uint64_t maps, unmaps;
  struct {
    uintptr_t last;                                     // block returned before
    uint8_t before[CLASSES], octave_before[OCTAVES][2]; // groups of the calls before, plus 1; 0: none
    uint16_t live[CLASSES];
  } program;
  struct {
    uintptr_t address;
    uint32_t at; // call that freed it
    bool moved;  // it was realloc
  } recent[RECENT];
  unsigned touched_count;
  uint16_t touched[FUZZ_FEEDBACK_BYTES];   // counters that this program lit
  uint16_t record_of[FUZZ_FEEDBACK_BYTES]; // which record did
} seen;

static unsigned log2_of(uint64_t value) {
  return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static unsigned class_of(size_t size) {
  if (size < 16)
    return 0;
  unsigned bits = log2_of(size); // 5 from 16 bytes on
  unsigned class = (bits - 5) * 4 + ((unsigned)(size >> (bits - 3)) & 3);
  return class < CLASSES ? class : CLASSES - 1;
}

static unsigned recent_index(uintptr_t address) {
  return (unsigned)((address * 0x9e3779b97f4a7c15u) >> 55) % RECENT;
}

// Whether the call asked the system for memory (1) or gave some back (2).
static unsigned mapping_change(void) {
  if (fuzz_os.maps + fuzz_os.unmaps == seen.maps + seen.unmaps)
    return 0;
  unsigned change = (fuzz_os.maps != seen.maps ? 1u : 0u) | (fuzz_os.unmaps != seen.unmaps ? 2u : 0u);
  seen.maps = fuzz_os.maps;
  seen.unmaps = fuzz_os.unmaps;
  return change;
}

void fuzz_feedback_begin(const volatile uint32_t *record) {
  lit.of.always = 1;
  memset(&seen.program, 0, sizeof seen.program);
  seen.first_call = seen.calls;
  seen.record = record;
  seen.touched_count = 0;
  seen.maps = fuzz_os.maps;
  seen.unmaps = fuzz_os.unmaps;
}

// Lit or not: counting would make an input with one more call of the same kind a new one.
static void light(uint8_t *counter) {
  if (*counter != 0)
    return;
  *counter = 1;
  size_t index = (size_t)(counter - lit.bytes);
  seen.touched[seen.touched_count++] = (uint16_t)index;
  seen.record_of[index] = (uint16_t)*seen.record;
}

// The counter becomes `value` if that is more, up to the most that it holds.
static void raise_to(uint8_t *counter, unsigned value) {
  if (value > UINT8_MAX || *counter >= value)
    return;
  if (*counter == 0)
    light(counter);
  *counter = (uint8_t)value;
  seen.record_of[counter - lit.bytes] = (uint16_t)*seen.record;
}

// The order of calls of one class.
static void follow(unsigned group, unsigned class) {
  unsigned before = seen.program.before[class];
  if (before != 0)
    light(&lit.of.two[class][before - 1][group]);
  seen.program.before[class] = (uint8_t)(group + 1);
  uint8_t *octave = seen.program.octave_before[class / 4];
  if (octave[0] != 0)
    light(&lit.of.three[class / 4][octave[0] - 1][octave[1] - 1][group]);
  octave[0] = octave[1];
  octave[1] = (uint8_t)(group + 1);
}

static void place(uintptr_t address, size_t usable, unsigned class) {
  uintptr_t last = seen.program.last;
  if ((address & 4095) + usable > 4096)
    light(&lit.of.crosses[class]);
  bool ahead = address > last;
  uintptr_t distance = ahead ? address - last : last - address;
  unsigned far = distance < 4096 ? 0 : distance < (1u << 16) ? 1 : distance < (1u << 22) ? 2 : 3;
  if (last != 0)
    light(&lit.of.places[class / 4][far + 4u * ahead]);
  seen.program.last = address;
}

static void reuse(uintptr_t address, unsigned class) {
  unsigned index = recent_index(address);
  if (seen.recent[index].address != address ||
      seen.recent[index].at - seen.first_call > seen.calls - seen.first_call)
    return;
  unsigned delay = log2_of(seen.calls - seen.recent[index].at);
  light(&lit.of.reuse[class / 4][seen.recent[index].moved][delay < DELAYS ? delay : DELAYS - 1]);
}

void fuzz_feedback_allocated(unsigned kind, uintptr_t address, size_t requested, size_t usable) {
  if (seen.off)
    return;
  unsigned group = groups[kind], class = class_of(address == 0 ? requested : usable);
  seen.calls++;
  if (address == 0) {
    light(&lit.of.failed[group][class]);
    return;
  }
  light(&lit.of.mapped[0][class][mapping_change()]);
  raise_to(&lit.of.calls[0][class], lit.of.calls[0][class] + 1u);
  follow(group, class);
  raise_to(&lit.of.peak[class], ++seen.program.live[class]);
  reuse(address, class);
  place(address, usable, class);
}

void fuzz_feedback_freed(unsigned kind, uintptr_t address, size_t usable) {
  if (seen.off)
    return;
  unsigned group = groups[kind], class = class_of(usable), index = recent_index(address);
  seen.calls++;
  seen.recent[index].address = address;
  seen.recent[index].at = seen.calls;
  seen.recent[index].moved = group == REALLOC;
  if (seen.program.live[class] != 0)
    seen.program.live[class]--;
  raise_to(&lit.of.calls[1][class], lit.of.calls[1][class] + 1u);
  if (group != FREE) // realloc: what follows is the allocation's
    return;
  light(&lit.of.mapped[1][class][mapping_change()]);
  follow(group, class);
}

void fuzz_feedback_other(void) {
  (void)mapping_change();
}

bool fuzz_feedback_feature(unsigned number, fuzz_feature *feature) {
  if (number >= seen.touched_count)
    return false;
  unsigned counter = seen.touched[number], family = 0;
  while (counter >= ends[family])
    family++;
  *feature = (fuzz_feature){.counter = (uint16_t)counter,
                            .record = seen.record_of[counter],
                            .family = (uint8_t)family,
                            .value = lit.bytes[counter]};
  return true;
}

unsigned fuzz_feedback_peers(unsigned counter, unsigned *first) {
  unsigned begin = offsetof(typeof(lit.of), mapped), end = ends[FUZZ_FAMILY_MAPPED];
  bool mapped = counter >= begin && counter < end;
  *first = mapped ? counter - (counter - begin) % CHANGES : counter;
  return mapped ? CHANGES : 1;
}

void fuzz_feedback_enable(bool on) {
  seen.off = !on;
}

void fuzz_feedback_save(uint8_t to[FUZZ_FEEDBACK_BYTES]) {
  memcpy(to, lit.bytes, sizeof lit.bytes);
}

void fuzz_feedback_load(const uint8_t from[FUZZ_FEEDBACK_BYTES]) {
  memcpy(lit.bytes, from, sizeof lit.bytes);
}

size_t fuzz_feedback_lit(void) {
  size_t number = 0;
  for (size_t i = 0; i < sizeof lit.bytes; i++)
    number += lit.bytes[i] != 0;
  return number;
}

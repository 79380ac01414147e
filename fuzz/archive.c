// archive.c: see archive.h.
#include "fuzz/archive.h"

#include "fuzz/feedback.h"
#include "fuzz/mutate.h"
#include "fuzz/subject.h"

#include <string.h>

#define MOST_RECORDS 64u // of a program that is kept: what takes longer is libFuzzer's
#define CANDIDATES   48u // of which the rarest is taken
#define DRIFT        8u // one in so many programs takes the place of a shorter one: what was an accident goes

typedef struct entry {
  uint8_t value;  // of the counter; 0: never lit
  uint8_t count;  // records
  uint32_t spent; // programs that lit it, and picks, since it was lit first or raised
} entry;

// By counter. The programs lie apart from what each execution looks at.
static entry entries[FUZZ_FEEDBACK_BYTES];
static fuzz_op (*programs)[MOST_RECORDS];
static uint64_t drift = 1;
static struct {
  uint16_t lit[FUZZ_FEEDBACK_BYTES];
  unsigned count;
} families[FUZZ_FAMILIES];

static void keep(entry *into, const fuzz_feature *feature, fuzz_program program, size_t length) {
  if (into->value == 0) {
    unsigned family = feature->family;
    families[family].lit[families[family].count++] = feature->counter;
  }
  if (feature->value > into->value)
    into->spent = 0;
  into->value = feature->value;
  into->count = (uint8_t)length;
  memcpy(programs[feature->counter], program.ops, length * sizeof *program.ops);
}

void fuzz_archive_add(fuzz_program program) {
  if (programs == NULL)
    programs = fuzz_arena(FUZZ_FEEDBACK_BYTES * sizeof *programs);
  fuzz_feature feature;
  for (unsigned i = 0; fuzz_feedback_feature(i, &feature); i++) {
    entry *known = &entries[feature.counter];
    size_t length = feature.record + (size_t)1;
    bool counts = feature.family == FUZZ_FAMILY_COUNT;
    known->spent += !counts;
    if (length > MOST_RECORDS || length > program.count || feature.value < known->value)
      continue;
    if (feature.value > known->value || length < known->count || (!counts && fuzz_chance(&drift, DRIFT) == 0))
      keep(known, &feature, program, length);
  }
}

// How often the feature was lit. Where several counters answer one question, their share counts: that a call of a small
// size asks the system for memory is remarkable if others of its class do not, and rare or not is no matter then.
static uint64_t how_often(unsigned counter) {
  unsigned first, peers = fuzz_feedback_peers(counter, &first);
  if (peers == 1)
    return entries[counter].spent;
  uint64_t all = 1;
  for (unsigned i = first; i < first + peers; i++)
    all += entries[i].spent;
  return ((uint64_t)entries[counter].spent << 32) / all;
}

size_t fuzz_archive_pick(fuzz_op *ops, size_t capacity, uint64_t *chance) {
  static const uint8_t shares[] = {
      FUZZ_FAMILY_MAPPED, FUZZ_FAMILY_MAPPED, FUZZ_FAMILY_MAPPED, FUZZ_FAMILY_COUNT, FUZZ_FAMILY_COUNT,
      FUZZ_FAMILY_COUNT,  FUZZ_FAMILY_COUNT,  FUZZ_FAMILY_REUSE,  FUZZ_FAMILY_REUSE, FUZZ_FAMILY_PAIR,
      FUZZ_FAMILY_TRIPLE, FUZZ_FAMILY_TRIPLE, FUZZ_FAMILY_CALLS};
  unsigned family = shares[fuzz_chance(chance, sizeof shares)];
  if (families[family].count == 0)
    return 0;
  unsigned picked = 0;
  uint64_t least = UINT64_MAX;
  for (unsigned i = 0; i < CANDIDATES; i++) {
    unsigned candidate = families[family].lit[fuzz_chance(chance, families[family].count)];
    uint64_t often = how_often(candidate);
    if (often < least) {
      least = often;
      picked = candidate;
    }
  }
  entry *chosen = &entries[picked];
  chosen->spent++;
  size_t count = chosen->count < capacity ? chosen->count : capacity;
  memcpy(ops, programs[picked], count * sizeof *ops);
  return count;
}

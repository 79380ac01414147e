// feedback_test.c: what the counters say of one call is that call's doing, and what is unusual is gone on from first.
#include "fuzz/archive.h"
#include "fuzz/execute.h"
#include "fuzz/feedback.h"
#include "fuzz/gomalloc_test.h"
#include "fuzz/os_hook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MAPS    1u // what a call asked of the system, as the counters of one class have it
#define GIVES   2u
#define USUAL   1000u
#define UNUSUAL 40u
#define PICKS   1000u
#define MAPPING 1000u // bytes: such a malloc asks the system, says our allocator
#define PLAIN   100u

static bool next_maps; // whatever its size

static void *mapping_malloc(size_t size) {
  if (size == MAPPING || next_maps)
    fuzz_os.maps++;
  return gomalloc()->alloc.malloc(size);
}

static void giving_free(void *block) {
  if (block != NULL)
    fuzz_os.unmaps++;
  gomalloc()->alloc.free(block);
}

static bool giving_purge(void) {
  fuzz_os.unmaps++;
  return true;
}

static bool run(const fuzz_op *ops, size_t count) {
  static fuzz_state state;
  ha_alloc alloc = gomalloc()->alloc;
  alloc.malloc = mapping_malloc;
  alloc.free = giving_free;
  alloc.purge = giving_purge;
  fuzz_subject subject = fuzz_subject_of(&alloc, 0);
  const fuzz_options options = {.oracles = FUZZ_ALL_ORACLES, .feedback = true};
  fuzz_feedback_load((const uint8_t[FUZZ_FEEDBACK_BYTES]){0}); // as libFuzzer does before each input
  return fuzz_execute((fuzz_program){ops, count}, &subject, &options, &state);
}

// What the calls of this record were the first of their class to do with the system: MAPS, GIVES, both, 0; -1: nothing new.
static int mapped_by(unsigned record) {
  fuzz_feature feature;
  int said = -1;
  for (unsigned i = 0; fuzz_feedback_feature(i, &feature); i++) {
    unsigned first, peers = fuzz_feedback_peers(feature.counter, &first);
    assert_in_range(feature.counter, first, first + peers - 1);
    assert_int_equal(peers, feature.family == FUZZ_FAMILY_MAPPED ? 4 : 1);
    if (feature.family == FUZZ_FAMILY_MAPPED && feature.record == record)
      said = (int)(feature.counter - first);
  }
  return said;
}

static void test_what_a_call_gave_back_is_not_the_next_ones(void **context) {
  (void)context;
  const fuzz_op ops[] = {
      {.kind = FUZZ_OP_MALLOC, .slot = 0, .low = PLAIN},
      {.kind = FUZZ_OP_FREE, .slot = 0},
      {.kind = FUZZ_OP_MALLOC, .slot = 1, .low = PLAIN},
      {.kind = FUZZ_OP_PURGE},
      {.kind = FUZZ_OP_MALLOC, .slot = 2, .low = PLAIN},
      {.kind = FUZZ_OP_MALLOC, .slot = 3, .low = MAPPING & 255, .high = MAPPING >> 8},
      {.kind = FUZZ_OP_MALLOC, .slot = 4, .low = 40},
  };
  enum { COUNT = sizeof ops / sizeof ops[0] };
  for (unsigned round = 0; round < 2; round++) // in the first gomalloc itself may ask for memory
    assert_true(run(ops, COUNT));
  const int expected[COUNT] = {0, (int)GIVES, -1, -1, -1, (int)MAPS, 0};
  for (unsigned record = 0; record < COUNT; record++)
    assert_int_equal(mapped_by(record), expected[record]);
}

// Once in a while a small malloc asks the system: that is more remarkable than a large one, which was seen once and did so
// too, as all of its class may.
static void test_what_is_unusual_in_its_class_is_picked_first(void **context) {
  (void)context;
  enum { SEED_USUAL = 1, SEED_UNUSUAL, SEED_LARGE };
  fuzz_op small = {.kind = FUZZ_OP_MALLOC, .low = PLAIN, .fill = SEED_USUAL};
  const fuzz_op large = {
      .kind = FUZZ_OP_MALLOC, .low = MAPPING & 255, .high = MAPPING >> 8, .fill = SEED_LARGE};
  for (unsigned i = 0; i < USUAL + UNUSUAL; i++) {
    next_maps = i >= USUAL;
    small.fill = next_maps ? SEED_UNUSUAL : SEED_USUAL;
    assert_true(run(&small, 1));
    fuzz_archive_add((fuzz_program){&small, 1});
  }
  next_maps = false;
  assert_true(run(&large, 1));
  fuzz_archive_add((fuzz_program){&large, 1});
  uint64_t chance = 1;
  unsigned picked[SEED_LARGE + 1] = {0};
  for (unsigned i = 0; i < PICKS; i++) {
    fuzz_op op;
    if (fuzz_archive_pick(&op, 1, &chance) == 1)
      picked[op.fill]++;
  }
  print_message("of %u picks %u usual, %u unusual, %u large\n", PICKS, picked[SEED_USUAL],
                picked[SEED_UNUSUAL], picked[SEED_LARGE]);
  assert_true(picked[SEED_UNUSUAL] > 2 * picked[SEED_LARGE]);
  assert_true(picked[SEED_USUAL] > 0 && picked[SEED_LARGE] > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_a_call_gave_back_is_not_the_next_ones),
      cmocka_unit_test(test_what_is_unusual_in_its_class_is_picked_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

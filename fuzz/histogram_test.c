// histogram_test.c: no operation starves: in the programs of each target, random and mutated ones, every kind that the
// target makes is not only there but also does something, often.
#include "fuzz/gomalloc_test.h"
#include "fuzz/mutate.h"
#include "fuzz/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROGRAMS 2000u
#define RECORDS  64u

// Program number `seed`: a fresh one, or a mutation of the one before.
static fuzz_program next_program(uint8_t *data, size_t *size, size_t capacity, unsigned seed, bool mutated) {
  if (*size == 0 || !mutated)
    *size = fuzz_random_program(data, RECORDS, seed);
  else
    *size = fuzz_mutate(data, *size, capacity, seed);
  return fuzz_program_decode(data, *size);
}

static void run_all(const fuzz_target *target, bool mutated, fuzz_state *state) {
  static uint8_t data[(size_t)2 * RECORDS * FUZZ_RECORD_BYTES];
  size_t size = 0;
  fuzz_options options = fuzz_target_options(target, FUZZ_ALL_ORACLES);
  options.feedback = false;
  fuzz_mutate_kinds(target->kinds, target->threads);
  for (unsigned seed = 1; seed <= PROGRAMS; seed++)
    if (!fuzz_execute(next_program(data, &size, sizeof data, seed, mutated), gomalloc(), &options, state))
      fail_msg("%s: %s: %s", target->name, fuzz_oracle_name(state->verdict.oracle), state->verdict.text);
}

// How often a kind must have run: the rarest that programs are made of are one record in 840 or so.
static uint64_t often_enough(unsigned kind) {
  switch (kind) {
  case FUZZ_OP_CHECK_HEAP: // campaigns obey it in one program of 32
  case FUZZ_OP_PURGE:      // in one of 16, and not before what the last one gave back is made up for
    return 1;
  case FUZZ_OP_CLOCK: // in one of 16
    return 3;
  case FUZZ_OP_THREAD_START: // threads begin by themselves at their first record
    return 15;
  default:
    return 60;
  }
}

static void test_target(void **context) {
  const fuzz_target *target = *context;
  for (unsigned mutated = 0; mutated < 2; mutated++) {
    static fuzz_state state;
    memset(&state, 0, sizeof state);
    run_all(target, mutated, &state);
    for (unsigned kind = 0; kind < FUZZ_OP_KINDS; kind++) {
      if (!(target->kinds & 1u << kind))
        continue;
      uint64_t did = state.histogram[kind];
      print_message("%s%s: %-18s %8llu, nothing to do %llu\n", target->name, mutated ? ", mutated" : "",
                    fuzz_op_name((fuzz_op_kind)kind), (unsigned long long)did,
                    (unsigned long long)state.skipped[kind]);
      if (did < often_enough(kind))
        fail_msg("%s: %s ran %llu times in %u programs", target->name, fuzz_op_name((fuzz_op_kind)kind),
                 (unsigned long long)did, PROGRAMS);
    }
  }
}

int main(void) {
  size_t count, used = 0;
  const fuzz_target *targets = fuzz_targets(&count);
  struct CMUnitTest *tests = calloc(count, sizeof *tests);
  if (tests == NULL)
    return 1;
  for (size_t i = 0; i < count; i++)
    if (strcmp(targets[i].name, "schedule") != 0) // it needs a library with yield points: schedule_test.c
      tests[used++] =
          (struct CMUnitTest){targets[i].name, test_target, NULL, NULL, (void *)(uintptr_t)&targets[i]};
  int failed = _cmocka_run_group_tests("histogram", tests, used, NULL, NULL);
  free(tests);
  return failed;
}

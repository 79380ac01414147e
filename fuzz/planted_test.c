// planted_test.c: every planted fault is killed by the oracle named for it, within its number of executions, and
// not when that oracle is off. Programs are random, without feedback: what guidance adds is measured elsewhere.
#include "fuzz/minimize.h"
#include "fuzz/mutate.h"
#include "fuzz/planted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS ((size_t)64) // of one execution

static fuzz_campaign campaign_of(const fuzz_subject *subject, uint32_t oracles) {
  const fuzz_target *target = fuzz_target_find("threads"); // faults of threads are among them
  return (fuzz_campaign){.target = target,
                         .subjects = {subject},
                         .subject_count = 1,
                         .options = fuzz_target_options(target, oracles)};
}

// So many executions as one program, all blocks freed between them.
static fuzz_program executions(unsigned count) {
  fuzz_op *ops = fuzz_arena(count * (RECORDS + 1) * sizeof *ops);
  for (unsigned i = 0; i < count; i++) {
    fuzz_op *at = ops + i * (RECORDS + 1);
    (void)fuzz_random_program((uint8_t *)at, RECORDS, i + 1);
    at[RECORDS] = (fuzz_op){.kind = FUZZ_OP_FREE_ALL};
  }
  return (fuzz_program){ops, count * (RECORDS + 1)};
}

static void test_planted(void **state) {
  const fuzz_planted *planted = *state;
  ha_alloc alloc = fuzz_planted_alloc(planted);
  fuzz_subject subject = fuzz_subject_of(&alloc, 0);
  fuzz_campaign campaign = campaign_of(&subject, FUZZ_ALL_ORACLES);
  fuzz_mutate_kinds(campaign.target->kinds & ~(1u << FUZZ_OP_FORK), true);
  fuzz_program program = executions(planted->executions);
  fuzz_verdict verdict;
  bool good = fuzz_trial(&campaign, program, &verdict, NULL);
  if (planted->oracle == FUZZ_ORACLES) {
    assert_true(good);
    return;
  }
  assert_false(good);
  if (verdict.oracle != planted->oracle)
    print_message("%s: %s: %s\n", planted->name, fuzz_oracle_name(verdict.oracle), verdict.text);
  assert_int_equal(verdict.oracle, planted->oracle);
  print_message("%s: killed by %s after %zu executions\n", planted->name, fuzz_oracle_name(verdict.oracle),
                verdict.op / (RECORDS + 1) + 1);
  // Blind to it: the same program does not show it this way.
  campaign.options.oracles &= ~(1u << planted->oracle);
  program.count = verdict.op + 1;
  (void)fuzz_trial(&campaign, program, &verdict, NULL);
  assert_false(verdict.failed && verdict.oracle == planted->oracle);
}

// A finding among a thousand records becomes a few.
static void test_minimizes(void **state) {
  (void)state;
  ha_alloc alloc = fuzz_planted_alloc(fuzz_planted_find("zeroing"));
  fuzz_subject subject = fuzz_subject_of(&alloc, 0);
  fuzz_campaign campaign = campaign_of(&subject, FUZZ_ALL_ORACLES);
  fuzz_mutate_kinds(campaign.target->kinds & ~(1u << FUZZ_OP_FORK), true);
  fuzz_reduced reduced;
  assert_true(fuzz_minimize(&campaign, executions(100), 30, &reduced));
  assert_int_equal(reduced.verdict.oracle, FUZZ_ORACLE_ZEROED);
  assert_int_equal(reduced.count, 1);
  assert_int_equal(fuzz_op_get_kind(&reduced.ops[0]), FUZZ_OP_CALLOC);
  assert_int_equal(reduced.repeats, 3);
  assert_int_equal(reduced.event_count, 1);
}

int main(void) {
  size_t count;
  const fuzz_planted *all = fuzz_planted_all(&count);
  struct CMUnitTest *tests = calloc(count + 1, sizeof *tests);
  if (tests == NULL)
    return 1;
  for (size_t i = 0; i < count; i++)
    tests[i] = (struct CMUnitTest){all[i].name, test_planted, NULL, NULL, (void *)(uintptr_t)&all[i]};
  tests[count] = (struct CMUnitTest)cmocka_unit_test(test_minimizes);
  int failed = _cmocka_run_group_tests("planted", tests, count + 1, NULL, NULL);
  free(tests);
  return failed;
}

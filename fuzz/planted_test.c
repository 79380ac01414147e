// planted_test.c: every planted fault is killed by the oracle named for it, within its number of executions, and
// not when that oracle is off.
//
//   fuzz_planted_test             all faults, as a test
//   fuzz_planted_test list        one line each: name|what|target|oracle|executions, and one of all oracles
//   fuzz_planted_test ORACLES [FAULT]   the faults, or one, with these oracles alone (as heaparena fuzz --oracles takes
//                                 them): exit status 1 when one is not killed as named
#include "fuzz/minimize.h"
#include "fuzz/mutate.h"
#include "fuzz/planted.h"
#include "fuzz/planted_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGET "threads" // faults of threads and forks are among them

static uint32_t all_oracles = FUZZ_ALL_ORACLES;

static bool killed(const fuzz_planted *planted, bool (*ask)(const fuzz_planting *, uint32_t)) {
  ha_alloc alloc = fuzz_planted_alloc(planted);
  fuzz_subject subject = fuzz_subject_of(&alloc, 0);
  const fuzz_planting planting = {.name = planted->name,
                                  .subject = &subject,
                                  .target = fuzz_target_find(TARGET),
                                  .oracle = planted->oracle,
                                  .within = planted->executions};
  return ask(&planting, all_oracles);
}

static void test_planted(void **state) {
  assert_true(killed(*state, fuzz_planted_test));
}

// Where allocators disagree: with every other oracle off, the comparison finds a request that one refuses.
static void test_differential(void **state) {
  (void)state;
  ha_alloc allocs[] = {fuzz_planted_alloc(fuzz_planted_find("refusing")),
                       fuzz_planted_alloc(fuzz_planted_find("none"))};
  fuzz_subject subjects[] = {fuzz_subject_of(&allocs[0], 0), fuzz_subject_of(&allocs[1], 0)};
  const fuzz_target *target = fuzz_target_find("differential");
  fuzz_campaign campaign = {.target = target,
                            .subjects = {&subjects[0], &subjects[1]},
                            .subject_count = 2,
                            .options = fuzz_target_options(target, 1u << FUZZ_ORACLE_DIFFERENTIAL)};
  fuzz_mutate_kinds(target->kinds, false);
  static fuzz_op ops[20000];
  fuzz_program program = {ops, fuzz_random_program((uint8_t *)ops, 20000, 1) / FUZZ_RECORD_BYTES};
  fuzz_verdict verdict;
  assert_false(fuzz_trial(&campaign, program, &verdict, NULL));
  assert_int_equal(verdict.oracle, FUZZ_ORACLE_DIFFERENTIAL);
  campaign.options.oracles = 0;
  assert_true(fuzz_trial(&campaign, program, &verdict, NULL));
}

// A finding among a thousand records becomes a few.
static void test_minimizes(void **state) {
  (void)state;
  ha_alloc alloc = fuzz_planted_alloc(fuzz_planted_find("zeroing"));
  fuzz_subject subject = fuzz_subject_of(&alloc, 0);
  const fuzz_target *target = fuzz_target_find(TARGET);
  fuzz_campaign campaign = {.target = target,
                            .subjects = {&subject},
                            .subject_count = 1,
                            .options = fuzz_target_options(target, FUZZ_ALL_ORACLES)};
  fuzz_mutate_kinds(target->kinds & ~(1u << FUZZ_OP_FORK), true);
  static fuzz_op ops[1000];
  fuzz_program program = {ops, fuzz_random_program((uint8_t *)ops, 1000, 1) / FUZZ_RECORD_BYTES};
  fuzz_reduced reduced;
  assert_true(fuzz_minimize(&campaign, program, 30, &reduced));
  assert_int_equal(reduced.verdict.oracle, FUZZ_ORACLE_ZEROED);
  assert_int_equal(reduced.count, 1);
  assert_int_equal(fuzz_op_get_kind(&reduced.ops[0]), FUZZ_OP_CALLOC);
  assert_int_equal(reduced.repeats, 3);
  assert_int_equal(reduced.event_count, 1);
}

static int list(const fuzz_planted *all, size_t count) {
  printf("oracles");
  for (unsigned oracle = 0; oracle < FUZZ_ORACLES; oracle++)
    printf("|%s", fuzz_oracle_name((fuzz_oracle)oracle));
  printf("\n");
  for (size_t i = 0; i < count; i++)
    if (all[i].oracle != FUZZ_ORACLES)
      printf("%s|%s|%s|%s|%u\n", all[i].name, all[i].what, TARGET, fuzz_oracle_name(all[i].oracle),
             all[i].executions);
  return 0;
}

static int run_with(const fuzz_planted *all, size_t count, const char *oracles, const char *only) {
  char why[128];
  if (!fuzz_oracles_parse(oracles, &all_oracles, why, sizeof why)) {
    fprintf(stderr, "fuzz_planted_test: %s\n", why);
    return 2;
  }
  unsigned asked = 0, survived = 0;
  for (size_t i = 0; i < count; i++) {
    if (only && strcmp(all[i].name, only) != 0)
      continue;
    asked++;
    survived += !killed(&all[i], fuzz_planted_killed);
  }
  printf("%u of %u not killed as named\n", survived, asked);
  return survived != 0 || asked == 0;
}

int main(int argc, char *argv[]) {
  size_t count;
  const fuzz_planted *all = fuzz_planted_all(&count);
  if (argc > 1)
    return strcmp(argv[1], "list") == 0 ? list(all, count) : run_with(all, count, argv[1], argv[2]);
  struct CMUnitTest *tests = calloc(count + 2, sizeof *tests);
  if (tests == NULL)
    return 1;
  for (size_t i = 0; i < count; i++)
    tests[i] = (struct CMUnitTest){all[i].name, test_planted, NULL, NULL, (void *)(uintptr_t)&all[i]};
  tests[count] = (struct CMUnitTest)cmocka_unit_test(test_differential);
  tests[count + 1] = (struct CMUnitTest)cmocka_unit_test(test_minimizes);
  int failed = _cmocka_run_group_tests("planted", tests, count + 2, NULL, NULL);
  free(tests);
  return failed;
}

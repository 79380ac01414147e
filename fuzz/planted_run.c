// planted_run.c: see planted_run.h.
#include "fuzz/planted_run.h"

#include "fuzz/minimize.h"
#include "fuzz/mutate.h"

#define RECORDS ((size_t)64) // of one execution
#define ENDING  ((size_t)5)  // records behind them

// All blocks freed, the threads gone, and the heap looked at.
static void end_execution(fuzz_op *at) {
  *at++ = (fuzz_op){.kind = FUZZ_OP_FREE_ALL};
  for (unsigned thread = 1; thread < FUZZ_THREADS; thread++)
    *at++ = (fuzz_op){.kind = FUZZ_OP_THREAD_EXIT, .thread = (uint8_t)thread};
  *at = (fuzz_op){.kind = FUZZ_OP_CHECK_HEAP};
}
_Static_assert(ENDING == 1 + (FUZZ_THREADS - 1) + 1, "one record to free, one to check, one for each thread");

// Executions `from` .. `from + count - 1` as one program.
static fuzz_program executions(unsigned from, unsigned count) {
  static fuzz_op *ops;
  static size_t room;
  size_t each = RECORDS + ENDING;
  if (ops == NULL || room < count * each) {
    room = count * each;
    ops = fuzz_arena(room * sizeof *ops);
  }
  for (unsigned i = 0; i < count; i++) {
    fuzz_op *at = ops + i * each;
    (void)fuzz_random_program((uint8_t *)at, RECORDS, from + i + 1);
    end_execution(at + RECORDS);
  }
  return (fuzz_program){ops, count * each};
}

// Seconds of processor time until the executions of one child count as hung: few for faults that hang, which take so long
// twice; else enough for a sanitizer's build.
static unsigned patience_for(const fuzz_planting *planting) {
  return planting->oracle == FUZZ_ORACLE_HANG ? 3 : 30 + planting->within / 50;
}

fuzz_kill fuzz_planted_run(const fuzz_planting *planting, uint32_t oracles) {
  const fuzz_target *target = planting->target;
  fuzz_campaign campaign = {.target = target,
                            .subjects = {planting->subject},
                            .subject_count = 1,
                            .patience = patience_for(planting),
                            .options = fuzz_target_options(target, oracles)};
  fuzz_mutate_kinds(target->kinds, target->threads);
  // Where the system refuses memory, each execution finds a heap that has none yet.
  unsigned together = target->failures ? 1 : planting->within;
  fuzz_kill kill = {.executions = 0};
  while (kill.executions < planting->within) {
    fuzz_program program = executions(planting->first + kill.executions, together);
    if (!fuzz_trial(&campaign, program, &kill.verdict, NULL)) {
      unsigned which = (unsigned)(kill.verdict.op / (RECORDS + ENDING)) + 1;
      kill.executions += which < together ? which : together;
      break;
    }
    kill.executions += together;
  }
  return kill;
}

bool fuzz_planted_killed(const fuzz_planting *planting, uint32_t oracles) {
  printf("%s: ", planting->name);
  fuzz_planting rest = *planting;
  unsigned crashes = 0;
  for (;;) {
    fuzz_kill kill = fuzz_planted_run(&rest, oracles);
    unsigned after = planting->within - rest.within + kill.executions;
    if (!kill.verdict.failed) {
      printf("nothing found in %u executions\n", after);
      return planting->oracle == FUZZ_ORACLES;
    }
    if (kill.verdict.oracle == planting->oracle || planting->oracle == FUZZ_ORACLES) {
      printf("killed by %s after %u executions: %s\n", fuzz_oracle_name(kill.verdict.oracle), after,
             kill.verdict.text);
      return kill.verdict.oracle == planting->oracle;
    }
    bool crash = kill.verdict.oracle == FUZZ_ORACLE_CRASH;
    if (!crash || crashes++ == 0)
      printf("(%s after %u) ", fuzz_oracle_name(kill.verdict.oracle), after);
    if (!crash) {
      oracles &= ~(1u << kill.verdict.oracle);
      continue;
    }
    // Off or not, no oracle speaks of what its process did not live to do: the next one goes on behind it.
    rest.first += kill.executions;
    rest.within -= kill.executions;
  }
}

bool fuzz_planted_test(const fuzz_planting *planting, uint32_t oracles) {
  if (!fuzz_planted_killed(planting, oracles))
    return false;
  if (planting->oracle == FUZZ_ORACLES)
    return true;
  printf("without %s, ", fuzz_oracle_name(planting->oracle));
  return !fuzz_planted_killed(planting, oracles & ~(1u << planting->oracle));
}

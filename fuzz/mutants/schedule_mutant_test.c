// schedule_mutant_test.c: the runner of schedule.txt's mutants: each is a library with yield points (schedule.cmake).
//
//   fuzz_schedule_mutants NAME LIBRARY ORACLES WITHIN
//
// Ends with 0 when, of all oracles, one of ORACLES ("empty,heap") is the first to kill it under the target `schedule`,
// within so many executions, and the target `threads` finds nothing in as many as that took; ORACLES "none": when neither finds
// anything.
#include "fuzz/planted_run.h"
#include "fuzz/schedule.h"

#include <stdlib.h>
#include <string.h>

static void print_kill(const char *name, const char *target, const fuzz_kill *kill) {
  if (kill->verdict.failed)
    printf("%s: %s: killed by %s after %u executions: %s\n", name, target,
           fuzz_oracle_name(kill->verdict.oracle), kill->executions, kill->verdict.text);
  else
    printf("%s: %s: nothing found in %u executions\n", name, target, kill->executions);
}

int main(int argc, char *argv[]) {
  if (argc != 5) {
    fprintf(stderr, "usage: %s NAME LIBRARY ORACLES WITHIN\n", argv[0]);
    return 2;
  }
  char why[512] = "", spec[4096];
  uint32_t named = 0;
  bool sound = strcmp(argv[3], "none") == 0;
  snprintf(spec, sizeof spec, "%s=%s:gm_", argv[1], argv[2]);
  const fuzz_subject *subject = fuzz_schedule_open(spec, argv, why, sizeof why);
  if (subject == NULL || (!sound && !fuzz_oracles_parse(argv[3], &named, why, sizeof why))) {
    fprintf(stderr, "%s: %s\n", argv[0], why);
    return 2;
  }
  fuzz_planting planting = {.name = argv[1],
                            .subject = subject,
                            .target = fuzz_target_find("schedule"),
                            .oracle = FUZZ_ORACLES,
                            .within = (unsigned)strtoul(argv[4], NULL, 10)};
  fuzz_kill kill = fuzz_planted_run(&planting, FUZZ_ALL_ORACLES);
  print_kill(argv[1], "schedule", &kill);
  if (kill.verdict.failed ? !(named & 1u << kill.verdict.oracle) : !sound)
    return 1;
  // In as many executions, calls that nothing interrupts do not show it: it is a race.
  planting.within = kill.executions;
  planting.target = fuzz_target_find("threads");
  kill = fuzz_planted_run(&planting, FUZZ_ALL_ORACLES);
  print_kill(argv[1], "threads", &kill);
  return kill.verdict.failed ? 1 : 0;
}

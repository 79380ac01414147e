// mutant_test.c: the runner of gomalloc's mutants (mutants.cmake): each is linked with its own changed gomalloc.
//
//   fuzz_mutant_NAME NAME TARGET ORACLE WITHIN [ORACLES [FIRST]]
//
// Ends with 0 when that oracle, of ORACLES (as heaparena fuzz --oracles takes them; default all), kills it within so
// many executions, from that of seed FIRST on, and does not when it is off; ORACLE "none": when nothing does.
#include "fuzz/planted_run.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char *argv[]) {
  if (argc < 5 || argc > 7) {
    fprintf(stderr, "usage: %s NAME TARGET ORACLE WITHIN [ORACLES [FIRST]]\n", argv[0]);
    return 2;
  }
  char why[256] = "";
  const fuzz_target *target = fuzz_target_find(argv[2]);
  uint32_t named = 0, oracles = FUZZ_ALL_ORACLES;
  bool sound = strcmp(argv[3], "none") == 0;
  if (target == NULL)
    snprintf(why, sizeof why, "no target is called \"%s\"", argv[2]);
  else if ((sound || fuzz_oracles_parse(argv[3], &named, why, sizeof why)) && argc > 5)
    (void)fuzz_oracles_parse(argv[5], &oracles, why, sizeof why);
  const fuzz_subject *subject = fuzz_subject_open("gomalloc", argv, why, sizeof why);
  if (why[0] != '\0' || subject == NULL) {
    fprintf(stderr, "%s: %s\n", argv[0], why);
    return 2;
  }
  const fuzz_planting planting = {.name = argv[1],
                                  .subject = subject,
                                  .target = target,
                                  .oracle = sound ? FUZZ_ORACLES : (fuzz_oracle)__builtin_ctz(named),
                                  .within = (unsigned)strtoul(argv[4], NULL, 10),
                                  .first = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0};
  return fuzz_planted_test(&planting, oracles) ? 0 : 1;
}

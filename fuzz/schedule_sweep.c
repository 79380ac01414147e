// schedule_sweep.c: see schedule_sweep.h.
#include "fuzz/schedule_sweep.h"

#include "fuzz/schedule_race.h"

#include <string.h>

// Behind each variant: blocks are what they were, then nothing lives, the first thread is alone, the heap is looked at and purged, and the allocator's
// own thread finds that it has nothing to do.
static const fuzz_op ending[] = {{.kind = FUZZ_OP_VERIFY},
                                 {.kind = FUZZ_OP_FREE_ALL},
                                 {.kind = FUZZ_OP_THREAD_EXIT, .thread = 1},
                                 {.kind = FUZZ_OP_THREAD_EXIT, .thread = 2},
                                 {.kind = FUZZ_OP_THREAD_EXIT, .thread = 3},
                                 {.kind = FUZZ_OP_CHECK_HEAP},
                                 {.kind = FUZZ_OP_CLOCK, .high = 64}};
#define ENDING (sizeof ending / sizeof ending[0])

static fuzz_op *add(fuzz_op *at, fuzz_program program) {
  memcpy(at, program.ops, program.count * sizeof *at);
  memcpy(at + program.count, ending, sizeof ending);
  return at + program.count + ENDING;
}

static unsigned changes_of(fuzz_program program) {
  unsigned changes = 0;
  for (size_t i = 0; i < program.count; i++)
    for (unsigned which = 0; which < FUZZ_RACE_CHANGES; which++)
      changes += fuzz_op_get_kind(&program.ops[i]) == FUZZ_OP_RACE &&
                 fuzz_race_of(&program.ops[i]).change[which] != 0;
  return changes;
}

bool fuzz_schedule_sweep(const fuzz_campaign *campaign, fuzz_program program, unsigned most, unsigned *tried,
                         fuzz_program *found, fuzz_verdict *verdict) {
  size_t each = program.count + ENDING;
  *tried = 1 + changes_of(program) * most;
  fuzz_op *ops = fuzz_arena(*tried * each * sizeof *ops);
  fuzz_op *at = add(ops, program);
  for (size_t i = 0; i < program.count; i++) {
    if (fuzz_op_get_kind(&program.ops[i]) != FUZZ_OP_RACE)
      continue;
    for (unsigned which = 0; which < FUZZ_RACE_CHANGES; which++)
      for (unsigned point = 1; point <= most && fuzz_race_of(&program.ops[i]).change[which] != 0; point++) {
        fuzz_op *variant = at;
        at = add(at, program);
        fuzz_race_move(&variant[i], which, point);
      }
  }
  if (fuzz_trial(campaign, (fuzz_program){ops, (size_t)(at - ops)}, verdict, NULL))
    return true;
  size_t which = verdict->op / each;
  *tried = which < *tried ? (unsigned)which + 1 : *tried;
  *found = (fuzz_program){ops + (*tried - 1) * each, program.count};
  fuzz_verdict alone;
  if (fuzz_trial(campaign, *found, &alone, NULL))
    *found = (fuzz_program){ops, *tried * each};
  else
    *verdict = alone;
  return false;
}

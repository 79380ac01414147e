// target.h: what a campaign runs: which records a target makes and obeys, and the entry that libFuzzer calls.
#ifndef HEAPARENA_FUZZ_TARGET_H
#define HEAPARENA_FUZZ_TARGET_H

#include "fuzz/journal.h"

typedef struct fuzz_target {
  const char *name, *summary;
  uint32_t kinds;                         // of records that mutations make, bits
  bool threads, forks, failures, against; // as in fuzz_options; against: over several subjects at once
  bool schedule;                          // as in fuzz_options: for gomalloc with yield points alone
} fuzz_target;

// The targets that run op programs; *count of them. Immutable.
const fuzz_target *fuzz_targets(size_t *count);
const fuzz_target *fuzz_target_find(const char *name);

// The options of a run of this target: the given oracles, no log.
fuzz_options fuzz_target_options(const fuzz_target *target, uint32_t oracles);

// One run of a campaign: which subjects (the first is the one under test), what is kept where.
typedef struct fuzz_campaign {
  const fuzz_target *target;
  const fuzz_subject *subjects[FUZZ_MAX_SUBJECTS];
  unsigned subject_count;
  fuzz_options options;
  bool blind; // no feedback, and every input a random program: the control of the experiment in README.md
  unsigned patience; // seconds of processor time until a trial (minimize.h) counts as hung; 0: enough for any
  bool aborts;       // a finding ends the process by abort(), for programs that others run
  fuzz_journal *journal; // needed for fuzz_campaign_input
} fuzz_campaign;

// Prepares the process for inputs: mutations learn the subject's classes. Call once.
void fuzz_campaign_begin(const fuzz_campaign *campaign);

// Runs one input; ends the process with FUZZ_EXIT_FOUND when the oracle speaks, after one line on stderr.
int fuzz_campaign_input(const uint8_t *data, size_t size);
#define FUZZ_EXIT_FOUND 77

// Runs the program as the campaign's target does: the one way for campaigns, replays and minimising.
bool fuzz_campaign_run(const fuzz_campaign *campaign, fuzz_program program, fuzz_state *state);

#endif

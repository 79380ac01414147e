// target_fuzz.c: an op target as a libFuzzer program of its own, as OSS-Fuzz and the preset `fuzz` build it: once
// for each target (FUZZ_TARGET). A finding aborts, so that whatever runs the program sees it. The allocator is
// gomalloc, instrumented, or what HEAPARENA_FUZZ_ALLOCATOR names.
#include "fuzz/target.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  static fuzz_campaign campaign;
  const char *named = getenv("HEAPARENA_FUZZ_ALLOCATOR");
  char why[512];
  campaign.target = fuzz_target_find(FUZZ_TARGET);
  campaign.subjects[0] = fuzz_subject_open(named ? named : "gomalloc", *argv, why, sizeof why);
  campaign.subject_count = 1;
  campaign.aborts = true;
  campaign.journal = fuzz_journal_create(NULL, why, sizeof why);
  if (campaign.target == NULL || campaign.subjects[0] == NULL || campaign.journal == NULL) {
    fprintf(stderr, "%s: %s\n", FUZZ_TARGET, why);
    exit(2);
  }
  campaign.options = fuzz_target_options(campaign.target, FUZZ_ALL_ORACLES);
  fuzz_campaign_begin(&campaign);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  return fuzz_campaign_input(data, size);
}

// minimize.h: from a finding to the shortest program that shows it.
//
// Every trial runs in a forked child, whose heap is as fresh as that of a new process. Delta debugging works on
// records (not bytes): chunks, then single ones; then threads become one, runs shorter, sizes, alignments and
// fills plainer. A trial counts when it ends with the same oracle.
//
// Idea: Zeller's ddmin; ArcHeap's reduction by operations.
#ifndef HEAPARENA_FUZZ_MINIMIZE_H
#define HEAPARENA_FUZZ_MINIMIZE_H

#include "fuzz/target.h"

typedef struct fuzz_reduced {
  fuzz_op *ops; // memory of fuzz_arena
  size_t count;
  fuzz_verdict verdict; // of the last trial that counted
  fuzz_event *events;   // the calls that it made
  size_t event_count;
  unsigned trials;
  unsigned repeats; // of three more runs of the result, how many failed alike
} fuzz_reduced;

// One run of the program in a child: its verdict, with death by signal or hang as such. True: nothing found.
// `log` may be NULL.
bool fuzz_trial(const fuzz_campaign *campaign, fuzz_program program, fuzz_verdict *verdict, fuzz_log *log);

// Reduces the program within about `seconds`. False when it does not fail in a fresh process.
bool fuzz_minimize(const fuzz_campaign *campaign, fuzz_program program, unsigned seconds,
                   fuzz_reduced *reduced);

// The same for a finding that `last` alone does not show, because it needs what earlier inputs did to the heap:
// first with many pairs of malloc and free of one of its sizes before it (what most such faults wait for), then
// with more and more of the history's end, and last with all of it.
bool fuzz_minimize_history(const fuzz_campaign *campaign, fuzz_program last, fuzz_program history,
                           unsigned seconds, fuzz_reduced *reduced);

#endif

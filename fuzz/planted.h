// planted.h: allocators with a fault put in on purpose: the proof that the oracles look.
// (Faults inside gomalloc: mutants/.)
//
// Each is a wrapper around the small allocator of adapters/template.c, sound but for one thing. The oracle that
// must see it is named here; planted_test.c holds that it does, within a stated number of executions, and that it
// does not when it is switched off. planted_library.c makes a shared library of them, without instrumentation, for
// campaigns and reproducers: HEAPARENA_PLANTED=NAME chooses the fault.
#ifndef HEAPARENA_FUZZ_PLANTED_H
#define HEAPARENA_FUZZ_PLANTED_H

#include "fuzz/shadow.h"

typedef struct fuzz_planted {
  const char *name, *what;        // what is wrong, one line
  fuzz_oracle oracle;             // that must kill it
  unsigned executions;            // of 64 records, within which blind programs must have met it
  void (*plant)(ha_alloc *alloc); // replaces what is to be wrong
} fuzz_planted;

// All of them, *count. The first, "none", is sound.
const fuzz_planted *fuzz_planted_all(size_t *count);
// Those that need several steps (planted_steps.c), too many for chance: `executions` is 0, fuzz/feedback_experiment.py
// measures them.
const fuzz_planted *fuzz_planted_steps(size_t *count);
// Of both; NULL for an unknown name.
const fuzz_planted *fuzz_planted_find(const char *name);

// The allocator with that fault. All share one heap and some state: one fault per process.
ha_alloc fuzz_planted_alloc(const fuzz_planted *planted);

#endif

// planted_run.h: whether an allocator with a fault is killed by the oracle named for it, by random programs alone.
//
// Programs have no feedback: what guidance adds is measured elsewhere. They are the same for every fault of a
// target: execution n is the program of seed n, unless told otherwise. Each ends with all blocks freed, its threads gone, and the
// allocator's own checks; for targets whose requests fail each has a process and a heap of its own, else all share
// one. The runs themselves are in children: what a fault does to its heap stays there.
#ifndef HEAPARENA_FUZZ_PLANTED_RUN_H
#define HEAPARENA_FUZZ_PLANTED_RUN_H

#include "fuzz/target.h"

typedef struct fuzz_kill {
  fuzz_verdict verdict; // failed: it was killed
  unsigned executions;  // made until then, or all
} fuzz_kill;

// What is said about a fault.
typedef struct fuzz_planting {
  const char *name;
  const fuzz_subject *subject; // that has it
  const fuzz_target *target;   // whose programs meet it
  fuzz_oracle oracle;          // that must kill it; FUZZ_ORACLES: the allocator is sound, and nothing must
  unsigned within;             // executions
  unsigned first;              // execution n is the program of seed first + n
} fuzz_planting;

// Makes executions on the subject, in children, until an oracle of `oracles` speaks.
fuzz_kill fuzz_planted_run(const fuzz_planting *planting, uint32_t oracles);

// Whether the named oracle, of `oracles`, kills the fault: it or, should others speak before it, it when those are off,
// and should a program crash before, it in the programs after that one. Prints one line for people: who killed it and after how many executions.
bool fuzz_planted_killed(const fuzz_planting *planting, uint32_t oracles);

// As a test: the named oracle kills it, and with that one off the same question is answered with no.
bool fuzz_planted_test(const fuzz_planting *planting, uint32_t oracles);

#endif

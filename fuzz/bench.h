// bench.h: how fast programs run without libFuzzer: what the executor, the shadow and the allocator cost.
#ifndef HEAPARENA_FUZZ_BENCH_H
#define HEAPARENA_FUZZ_BENCH_H

#include "fuzz/target.h"

typedef struct fuzz_bench_program {
  unsigned calls; // of the allocator: those of a FILL_RUN and the like one by one, and the frees at the end
  double seconds; // of one execution: the median of its rounds, so that what else runs does not count
} fuzz_bench_program;

typedef struct fuzz_bench {
  unsigned rounds; // each runs every program once, one after another as a campaign does
  double seconds;  // of processor time, for all of them
} fuzz_bench;

// Runs the programs under the campaign's rules for about so many seconds of processor time, at least once and at most
// 255 times, after one round that is not measured and finds an empty heap. each[i] is what was seen of programs[i].
// False: a program found a fault, and `state` says which.
bool fuzz_bench_run(const fuzz_campaign *campaign, const fuzz_program *programs, size_t count, double seconds,
                    fuzz_state *state, fuzz_bench_program *each, fuzz_bench *result);

// Executions a second as a table, by the number of calls. Sorts `each`.
void fuzz_bench_print(FILE *out, fuzz_bench_program *each, size_t count, const fuzz_bench *result);

#endif

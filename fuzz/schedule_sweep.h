// schedule_sweep.h: a program of the target `schedule` with its change points elsewhere.
//
// Where a change point lies is counted in yield points, which move with every change of gomalloc's code and with the
// compiler. What a finding says about the code as it will be is in its calls: so a regression is replayed with each of
// its change points at every place, one at a time: all schedules of its windows with one switch, and those near the
// recorded one.
#ifndef HEAPARENA_FUZZ_SCHEDULE_SWEEP_H
#define HEAPARENA_FUZZ_SCHEDULE_SWEEP_H

#include "fuzz/minimize.h"

// Runs the program, and then with each change point of each RACE record at 1 .. most, in one child. True: nothing was
// found in all of them (*tried: how many). False: *found is the program that fails, alone if it does, else behind
// those before it; memory of fuzz_arena.
bool fuzz_schedule_sweep(const fuzz_campaign *campaign, fuzz_program program, unsigned most, unsigned *tried,
                         fuzz_program *found, fuzz_verdict *verdict);

#endif

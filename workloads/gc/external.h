// external.h: a mutator program that runs in a process of its own, because its collector is a language's
// runtime (Go).
#ifndef HEAPARENA_WORKLOADS_GC_EXTERNAL_H
#define HEAPARENA_WORKLOADS_GC_EXTERNAL_H

#include "workloads/runner.h"

// Starts `path` for the work of `run` and waits for it: its figures go to *measured, its collector's to run's
// counters. The program gets one processor (GOMAXPROCS=1), as all others have one mutator and collect on it.
// False after ha_fail().
bool gc_external_run(ha_run *run, const char *path, ha_measurement *measured, uint64_t *checksum,
                     uint64_t *objects);

#endif

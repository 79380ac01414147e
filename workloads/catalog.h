// catalog.h: the workloads by name, and how a workload spec becomes a run.
//
//   NAME[:key=value]...          e.g. churn:live=50000:law=pareto
//   trace:FILE[:key=value]...    the replay of a trace file
#ifndef HEAPARENA_WORKLOADS_CATALOG_H
#define HEAPARENA_WORKLOADS_CATALOG_H

#include "workloads/workload.h"

#define HA_MAX_PARAMS 16

// All workloads, `*count` of them, in the order in which they are listed. Immutable.
const ha_workload *const *ha_catalog(size_t *count);

// Parses `spec` into run->workload and run->values (storage from the C library's heap, kept for the process).
// Returns false after ha_fail() on an unknown workload (with the nearest name), key, or value out of range.
bool ha_catalog_parse(ha_run *run, const char *spec);

#endif

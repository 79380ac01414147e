// fleet_program.h: a profile of fleet_law.h made into a list of allocations and frees, before any clock
// starts.
//
// The program begins with a heap in its steady state: each bin has its share of the live objects. Then one
// allocation after the other is drawn by alloc_share and given a lifetime, geometrically distributed with
// the bin's mean; a geometric lifetime has no memory, so the live shares stay what they are from the first
// step on.
#ifndef HEAPARENA_WORKLOADS_FLEET_PROGRAM_H
#define HEAPARENA_WORKLOADS_FLEET_PROGRAM_H

#include "workloads/fleet_law.h"
#include "workloads/workload.h"

// Takes the slot if size is not 0, else drops it.
typedef struct ha_fleet_op {
  uint32_t slot;
  uint32_t size; // bytes
} ha_fleet_op;

typedef struct ha_fleet_program {
  ha_fleet_op *ops;
  uint64_t count;   // of ops
  uint32_t slots;   // that the ops use
  uint32_t objects; // live at the start: that many allocations come first
} ha_fleet_program;

// Makes a program of `steps` allocations after the first `objects`. False after ha_fail().
bool ha_fleet_program_make(ha_run *run, const ha_fleet_law *law, uint32_t objects, uint32_t steps,
                           uint64_t *random, ha_fleet_program *program);

// Bytes of tables that this takes.
double ha_fleet_program_bytes(double objects, double steps);

#endif

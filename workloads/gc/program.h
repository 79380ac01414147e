// program.h: mutator programs: workloads whose objects live in a collected heap (core/gc/mutator.h), or are
// freed by hand where the allocator is not a collector. One program text serves all of them and is compiled
// twice, with frames linked and without (GC_MUTATOR_CONSERVATIVE); the same program exists in Go (go/).
//
// A program is a `struct gc_program`: its parameters, and a function that does the work and leaves a checksum
// of what it computed, which must be the same over every collector and in Go. The workload around it, with
// its counters, is in workload.c; a new program is a file here, a line in programs.h, and a function in go/.
#ifndef HEAPARENA_WORKLOADS_GC_PROGRAM_H
#define HEAPARENA_WORKLOADS_GC_PROGRAM_H

#include "core/gc/mutator.h"
#include "workloads/workload.h"

#include <setjmp.h>

typedef struct gc_run {
  ha_run *run;
  struct gc_thread *thread;
  uint64_t objects;  // allocations, counted by the program
  uint64_t checksum; // of what it computed
  uint64_t random;   // starts at the run's seed
  jmp_buf give_up;   // where gc_lack() goes
} gc_run;

// The work; allocation failures and wrong results end it with gc_lack() and gc_wrong().
typedef void gc_work(gc_run *run);

#if GC_MUTATOR_CONSERVATIVE
#define GC_WORK(name) gc_work_##name##_conservative
#else
#define GC_WORK(name) gc_work_##name##_precise
#endif

// Ends the program: an allocation failed.
__attribute__((noreturn, cold)) void gc_lack(gc_run *run);
// Ends the program: what it computed is wrong.
__attribute__((noreturn, cold)) void gc_wrong(gc_run *run, const char *what);

// Registers a type; `pointers` are offsets. Ends the program if that is refused.
const struct gc_type *gc_program_type(gc_run *run, const char *name, size_t size, bool array,
                                      const uint32_t *pointers, size_t pointer_count);

// As gc_new() and gc_new_array(), but counted, and they return memory or not at all. Safepoints.
static inline void *gc_make(gc_run *run, const struct gc_type *type, size_t bytes) {
  run->objects++;
  void *object = gc_new(run->thread, type, bytes);
  if (__builtin_expect(!object, 0))
    gc_lack(run);
  return object;
}

// The same with an array of `count` elements.
static inline void *gc_make_array(gc_run *run, const struct gc_type *type, size_t count) {
  run->objects++;
  void *object = gc_new_array(run->thread, type, count);
  if (__builtin_expect(!object, 0))
    gc_lack(run);
  return object;
}

// A table of references: an array of type `gc_references(run)`.
const struct gc_type *gc_references(gc_run *run);

#endif

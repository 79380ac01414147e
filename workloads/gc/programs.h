// programs.h: the mutator programs, by name; the work of `name` is in name.c, and in Go in go/.
#ifndef HEAPARENA_WORKLOADS_GC_PROGRAMS_H
#define HEAPARENA_WORKLOADS_GC_PROGRAMS_H

#include "workloads/gc/program.h"

#define GC_PROGRAMS(X) X(bench) X(trees) X(map) X(lists) X(lru) X(frag)

#define GC_DECLARE(name)                                                                                     \
  gc_work gc_work_##name##_precise;                                                                          \
  gc_work gc_work_##name##_conservative;
GC_PROGRAMS(GC_DECLARE)

#endif

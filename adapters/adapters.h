// adapters.h: every adapter's descriptor, for the registry. One line here, one in registry.c and one in
// CMakeLists.txt is all that a new adapter file needs.
#ifndef HEAPARENA_ADAPTERS_ADAPTERS_H
#define HEAPARENA_ADAPTERS_ADAPTERS_H

#include "adapters/registry.h"

extern const ha_adapter ha_adapter_system;          // system.c: glibc
extern const ha_adapter ha_adapter_gomalloc;        // gomalloc.c: core/, our own
extern const ha_adapter ha_adapter_gomalloc_linear; // gomalloc.c: the same in its other layout
extern const ha_adapter ha_adapter_mimalloc;        // mimalloc.c
extern const ha_adapter ha_adapter_jemalloc;        // jemalloc.c
extern const ha_adapter ha_adapter_tcmalloc;        // tcmalloc.c: gperftools, minimal
extern const ha_adapter ha_adapter_scudo;           // scudo.c: LLVM's, standalone
extern const ha_adapter ha_adapter_tbb;    // tbb.c: oneTBB's scalable allocator, through its malloc proxy
extern const ha_adapter ha_adapter_null;   // null.c: no work at all, the bound in time
extern const ha_adapter ha_adapter_bump;   // bump.c: never frees
extern const ha_adapter ha_adapter_oracle; // oracle.c: addresses known ahead, for traces
// textbook.c: core/textbook/, the reference versions of the ideas
extern const ha_adapter ha_adapter_linear;
extern const ha_adapter ha_adapter_firstfit;
extern const ha_adapter ha_adapter_nextfit;
extern const ha_adapter ha_adapter_bestfit;
extern const ha_adapter ha_adapter_segfit;
extern const ha_adapter ha_adapter_buddy;
extern const ha_adapter ha_adapter_template; // template.c: copy this one
// collectors.c: collectors, for mutator programs
extern const ha_adapter ha_adapter_markcompact;
extern const ha_adapter ha_adapter_copying;
extern const ha_adapter ha_adapter_generational;
extern const ha_adapter ha_adapter_marksweep;
extern const ha_adapter ha_adapter_boehm;
extern const ha_adapter ha_adapter_go;

// For an adapter that serves only some workloads: says `text`, a line, on stderr, once in this process, where
// `heaparena run` finds why a cell failed. Returns NULL with ENOMEM.
void *ha_decline(const char *text);

#endif

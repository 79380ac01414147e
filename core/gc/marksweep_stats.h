// What the collector did: pauses, cycles, figures (Go: mstats.go). See gm_gc.h.
#ifndef GOMALLOC_GC_MARKSWEEP_STATS_H
#define GOMALLOC_GC_MARKSWEEP_STATS_H

#include "core/gc/marksweep.h"

// All under the world lock.
void gc_stats_clear(void);
void gc_stats_note_cycle(struct gc_marked marked, uint64_t mark_ns);
void gc_stats_note_pause(uint64_t ns);
void gc_stats_before_pause(void);
void gc_stats_after_pause(void);

#endif

// core_fuzz_heap.h: what core_fuzz_heap.c (blocks) and core_fuzz_scavenge.c (what goes back to the system when) share.
#ifndef HEAPARENA_FUZZ_CORE_FUZZ_HEAP_H
#define HEAPARENA_FUZZ_CORE_FUZZ_HEAP_H

#include "fuzz/core_fuzz.h"

// Free pages that are backed by memory, as scavenge.c counts them.
size_t core_heap_retained(void);

// Pages that went back to the system since the input began.
size_t core_heap_discarded(void);

// The options of an input.
void core_scavenge_begin(core_input *input);

// After an operation that took pages.
void core_scavenge_after_alloc(void);

// After one that freed `freed` pages; the other figures are those before it.
void core_scavenge_after_free(size_t retained, size_t discarded, size_t freed);

// Frees give nothing back to the system by themselves at the moment.
bool core_scavenge_is_quiet(void);

// Of several frees in one step, while it is quiet: after each, with what is in spans then; and after all.
void core_scavenge_note_shrinking(size_t in_use);
void core_scavenge_check_shrinks(void);

// Operations of the scavenger's own: time passes, options change, the thread starts or takes a step, a child is forked.
void core_scavenge_operate(core_input *input);

#endif

// reproducer.h: what people get of a finding: a C program of plain malloc and free calls, a trace, and a
// paragraph that says which rule was broken and by which blocks.
#ifndef HEAPARENA_FUZZ_REPRODUCER_H
#define HEAPARENA_FUZZ_REPRODUCER_H

#include "fuzz/minimize.h"

// Writes the C program of the calls. It needs nothing but a C compiler (`cc FILE -pthread`), runs on whatever
// malloc it finds (LD_PRELOAD), exits with 1 and one line when it sees the fault, dies as the finding did when
// that was a signal, and exits with 0 on an allocator without the fault. Threads take turns by semaphores. False
// and a line in `why` when it cannot be written.
bool fuzz_write_c(const fuzz_campaign *campaign, const fuzz_reduced *reduced, const char *path, char *why,
                  size_t why_size);

// The paragraph: rule, calls, blocks involved, how to run it again.
void fuzz_explain(FILE *out, const fuzz_campaign *campaign, const fuzz_reduced *reduced, const char *base);

#endif

// journal.h: what a fuzzing process leaves when it dies: its state and its inputs, in a file that it has mapped.
//
// Heaps are not reset between inputs, so a fault may need what earlier inputs did. The journal keeps each input
// before it runs, the newest 8 to 16 MiB of them, and how far the process got: whatever kills it, the program
// that did it is there.
#ifndef HEAPARENA_FUZZ_JOURNAL_H
#define HEAPARENA_FUZZ_JOURNAL_H

#include "fuzz/execute.h"

typedef struct fuzz_journal fuzz_journal;

// Creates the file (replacing its contents) or, with NULL, a journal in memory that is shared with children.
// NULL and one line in `why` when it cannot be made.
fuzz_journal *fuzz_journal_create(const char *path, char *why, size_t why_size);
// Maps a journal that another process left.
fuzz_journal *fuzz_journal_open(const char *path, char *why, size_t why_size);

// What the process that runs programs says of itself, in the journal's shared memory.
fuzz_state *fuzz_journal_state(fuzz_journal *journal);
// Keeps an input. Whole records only; FUZZ_MAX_RECORDS at most.
void fuzz_journal_add(fuzz_journal *journal, const void *data, size_t size);

// The newest input. Valid while the journal is mapped.
fuzz_program fuzz_journal_last(const fuzz_journal *journal);
// All kept inputs as one program, which frees everything and ends its threads between them; memory of
// fuzz_arena. False in *complete when older inputs are no longer there.
fuzz_program fuzz_journal_history(const fuzz_journal *journal, bool *complete);

#endif

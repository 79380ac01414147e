// subject_linked.h: subjects that are linked into the fuzz programs and are no adapters of their own.
#ifndef HEAPARENA_FUZZ_SUBJECT_LINKED_H
#define HEAPARENA_FUZZ_SUBJECT_LINKED_H

#include "fuzz/subject.h"

// gomalloc's gm_* functions, all of them.
extern const ha_alloc fuzz_linked_gomalloc;

// Its reports of misuse: the linked one's or, of a library that has the same functions, that one's.
fuzz_misuse_reports fuzz_gomalloc_misuse(void *library);

#endif

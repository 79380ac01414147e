// subject_linked.h: subjects that are linked into the fuzz programs and are no adapters of their own.
#ifndef HEAPARENA_FUZZ_SUBJECT_LINKED_H
#define HEAPARENA_FUZZ_SUBJECT_LINKED_H

#include "adapters/alloc.h"

// gomalloc's gm_* functions, all of them.
extern const ha_alloc fuzz_linked_gomalloc;

#endif

// planted_parts.h: what the files of planted faults share.
#ifndef HEAPARENA_FUZZ_PLANTED_PARTS_H
#define HEAPARENA_FUZZ_PLANTED_PARTS_H

#include "fuzz/planted.h"

#include "adapters/adapters.h"

// The allocator that the faults are put into.
static inline const ha_alloc *sound(void) {
  return ha_adapter_template.linked;
}

// The faults of one file, for the table of planted.c.
typedef struct fuzz_planted_part {
  const fuzz_planted *faults;
  size_t count;
} fuzz_planted_part;

fuzz_planted_part fuzz_planted_blocks(void); // planted_blocks.c: which bytes a block has
fuzz_planted_part fuzz_planted_life(void);   // planted_life.c: failures, threads, processes

#endif

// pocket.h: what the example allocator offers besides malloc's own names.
#ifndef POCKET_H
#define POCKET_H

#include <stddef.h>
#include <stdint.h>

#define POCKET_VERSION "1.0"

// Counts since the start, and bytes now. Taken together, under the lock.
typedef struct pocket_counts {
  uint64_t mallocs, frees;
  uint64_t live_bytes;   // usable bytes of live blocks
  uint64_t mapped_bytes; // taken from the system
} pocket_counts;

// The counts so far; any thread.
pocket_counts pocket_count(void);

// Walks all carved blocks; returns the number of damaged headers, each with a line on stderr. Blocks of more
// than half a chunk are mapped alone and not walked.
int pocket_check(void);

#endif

// oracle.h: the oracle allocator's one secret: whoever knows what a thread will allocate tells it where.
#ifndef HEAPARENA_ADAPTERS_ORACLE_H
#define HEAPARENA_ADAPTERS_ORACLE_H

// From now on the calling thread's allocations return these addresses, one after the other; there must be
// enough of them, each with room for all that its block will be resized to. Returns the place that the thread
// had reached before (NULL: none), so that a caller can go on there later.
void *const *ha_oracle_follow(void *const *addresses);

#endif

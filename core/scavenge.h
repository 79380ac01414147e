// When free pages go back to the system (Go: mgcscavenge.go). First version: no background thread; whoever
// frees pages releases the surplus over a goal, in whole free runs, late and many at a time. Heap lock held.
#ifndef GOMALLOC_SCAVENGE_H
#define GOMALLOC_SCAVENGE_H

#include <stddef.h>

// Called after pages were freed: `in_use` pages are in spans.
void scavenge_surplus(size_t in_use);

#endif

// What the three collectors over linear memory share besides the space itself: when a collection is due,
// attaching threads, and the order of steps of one collection.
//
// A heap of `live` bytes after a collection is collected again when it holds live x (1 + goal / 100), but not
// below 4 MiB (Go's GOGC and its least heap), and not beyond the heap's limit.
#ifndef GOMALLOC_GC_LINEAR_HEAP_H
#define GOMALLOC_GC_LINEAR_HEAP_H

#include "core/gc/linear_space.h"

#define LINEAR_LEAST_GOAL ((size_t)4 << 20)

// Bytes at which a space of at most `most` bytes is collected next.
size_t linear_goal(const struct gc_heap *heap, size_t live, size_t most);

// gc_collector.attach: gives the thread its struct linear_thread. detach: gives it back; its piece was
// retired.
bool linear_attach(struct gc_thread *thread, char *why, size_t why_size);
void linear_detach(struct gc_thread *thread);

// Counts an allocation in stress mode; true when a collection is due for it.
bool linear_stress_due(struct gc_thread *thread);

// Notes what is taken from the system now.
void linear_note_bytes(struct gc_heap *heap, size_t bytes);

// errno ENOMEM and NULL.
void *linear_out_of_memory(void);

// False with a line in `why` if the linear collectors cannot have a heap of that size.
bool linear_limit_fits(const struct gc_heap *heap, char *why, size_t why_size);

// After a collection with options.verify: ends the program if the heap's check finds a fault.
void linear_verify(struct gc_heap *heap);

#endif

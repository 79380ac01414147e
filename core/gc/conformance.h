// The conformance test of collectors: what every one must do, whatever it is made of. A test program compiles
// conformance*.c with GC_MUTATOR_CONSERVATIVE as its collector wants, and calls gc_conformance().
//
// Conservative collectors may take any bit pattern for a reference, so they are held to less in one point
// only: of what is unreachable, they must reclaim half instead of all. (The graphs hang together: one word
// that was left on the stack may hold a large part. What can be cleared of the stack is cleared before the
// collections that count.)
//
// GC_TEST_NODES sets the size of the large random graph (50000; 1000000 is the figure to try by hand),
// GC_TEST_SEEDS the number of random programs (12).
#ifndef GOMALLOC_GC_CONFORMANCE_H
#define GOMALLOC_GC_CONFORMANCE_H

#include "core/gc/collector.h"

// Runs all tests; returns the number that failed.
int gc_conformance(const struct gc_collector *collector);

// A number from the environment, or `fallback`.
uint64_t gc_test_number(const char *name, uint64_t fallback);

// A heap with one mutator, for tests.
struct gc_test {
  struct gc_heap *heap;
  struct gc_thread *thread;
  bool precise;       // exactly what is reachable must be kept
  uint64_t left_over; // objects of earlier heaps that a collector with one heap may still hold
};

// A heap of the collector with this thread attached, for one test; fails the test when there is none. And
// its end.
void gc_test_open(struct gc_test *test, const struct gc_collector *collector, struct gc_options options);
void gc_test_close(struct gc_test *test);

// Overwrites what earlier calls left on the machine stack below the caller.
void gc_test_clear_stack(void);

// Random programs on a graph of objects against a model (graph_test.c).
void gc_test_graph(const struct gc_collector *collector, uint64_t seed, size_t nodes, size_t steps,
                   struct gc_options options);

// One graph of `count` vertices, of which less and less is reachable (large_graph_test.c).
void gc_test_large_graph(const struct gc_collector *collector, uint32_t count, struct gc_options options);

#endif

// conformance.h: what the conformance test's two files share. The test program runs over one allocator a
// process:
//   adapters_conformance_test --allocator SPEC
#ifndef HEAPARENA_ADAPTERS_CONFORMANCE_H
#define HEAPARENA_ADAPTERS_CONFORMANCE_H

#include "adapters/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

extern const ha_alloc *under_test;

// Blocks keep what is written to them: false only for the null allocator.
bool keeps_contents(void);

// Whether the allocator under test, in this very version, is known to break the contract in this way. Prints
// the deviation the first time. A version that is not in the table gets no leave.
typedef enum deviation {
  ERRNO_LEFT_ALONE,          // a failed call does not set errno
  ERRNO_LEFT_ALONE_REALLOC,  // the same, only when resizing a live block
  ERRNO_LEFT_ALONE_OVERFLOW, // the same, only when calloc's product overflows
  MISALIGNED_SMALL_BLOCKS,   // aligned_alloc of at most 1 KiB at alignments above 128
  FORK_MAY_DEADLOCK,         // a child forked while another thread allocates may hang
} deviation;
bool deviates(deviation what);

// Writes a pattern of `tag` over the block; and whether it is still there, to the last byte.
void fill(void *block, size_t size, unsigned tag);
bool holds(const void *block, size_t size, unsigned tag);

// Threads and processes (conformance_threads_test.c).
void test_cross_thread_free(void **state);
void test_thread_exit_with_live_blocks(void **state);
void test_many_short_threads(void **state);
void test_fork_in_threaded_process(void **state);

#endif

// trace_test_support.h: what the tests of traces share: a scratch folder and random programs that keep the
// rules.
#ifndef HEAPARENA_WORKLOADS_TRACE_TEST_SUPPORT_H
#define HEAPARENA_WORKLOADS_TRACE_TEST_SUPPORT_H

#include "workloads/trace.h"

// A path of that name in a folder of this test's own, made at the first call below the current folder. The
// string is overwritten by the eighth call after.
const char *test_path(const char *name);
// Removes the folder and what is in it.
void test_remove_folder(void);

typedef struct test_program {
  ha_op *ops;
  size_t count;
  uint32_t threads;
} test_program;

// `count` operations of all kinds on `threads` threads; about one free in `remote_one_in` is of another
// thread's object (0: none). The same seed gives the same program. Free it with test_program_free.
test_program test_random_program(uint64_t seed, size_t count, uint32_t threads, uint32_t remote_one_in);
void test_program_free(test_program *program);
// Writes it to `path`; fails the test if the writer refuses.
void test_write_program(const char *path, const test_program *program, const char *meta,
                        ha_trace_totals *totals);

// Reads a whole file; the caller frees it.
unsigned char *test_read_file(const char *path, size_t *size);
void test_write_file(const char *path, const void *bytes, size_t size);

#endif

// gomalloc_test.h: for tests: gomalloc as the fuzzer's subject.
#ifndef HEAPARENA_FUZZ_GOMALLOC_TEST_H
#define HEAPARENA_FUZZ_GOMALLOC_TEST_H

#include "fuzz/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// The linked gomalloc, opened once and there until the program ends. The test fails if it cannot be opened. From the main
// thread only.
static inline const fuzz_subject *gomalloc(void) {
  static const fuzz_subject *opened;
  char why[256] = "";
  if (opened == NULL)
    opened = fuzz_subject_open("gomalloc", NULL, why, sizeof why);
  assert_string_equal(why, "");
  return opened;
}

#endif

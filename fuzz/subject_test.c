// subject_test.c: subjects that are libraries with a heaparena_adapter (adapters/plugin.h), and what is let pass for
// which library.
#include "fuzz/execute.h"
#include "fuzz/mutate.h"
#include "fuzz/permitted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void refuses(const char *spec, const char *expected) {
  char why[512] = "";
  assert_null(fuzz_subject_open(spec, NULL, why, sizeof why));
  if (strstr(why, expected) == NULL)
    fail_msg("%s was refused with \"%s\", which does not say \"%s\"", spec, why, expected);
}

static void test_a_plug_in_gives_the_functions(void **state) {
  (void)state;
  char why[512] = "";
  const fuzz_subject *subject = fuzz_subject_open("mine=" MODULE_GOOD, NULL, why, sizeof why);
  if (subject == NULL) {
    fail_msg("%s", why);
    return;
  }
  assert_string_equal(subject->alloc.name, "mine");
  assert_string_equal(subject->alloc.version, "7.1");
  static fuzz_state run;
  uint8_t bytes[64 * FUZZ_RECORD_BYTES];
  fuzz_options options = {.oracles = FUZZ_ALL_ORACLES, .check_every = 1};
  fuzz_mutate_kinds(1u << FUZZ_OP_MALLOC | 1u << FUZZ_OP_REALLOC | 1u << FUZZ_OP_FREE, false);
  size_t size = fuzz_random_program(bytes, 64, 5);
  assert_true(fuzz_execute(fuzz_program_decode(bytes, size), subject, &options, &run));
  assert_in_range(run.histogram[FUZZ_OP_MALLOC], 1, 64);
}

static void test_faults_are_said(void **state) {
  (void)state;
  refuses("mine=" MODULE_INCOMPLETE, "leaves out one of malloc, free, calloc, realloc");
  refuses("mine=" MODULE_BOUND, "mine is a bound, not an allocator");
  refuses("null", "null is a bound, not an allocator");
}

static void test_only_the_known_deed_is_let_pass(void **state) {
  (void)state;
  fuzz_subject subject = {.alloc = {.name = "mine", .version = "2.0.9", .library = "/x/libmimalloc.so.2.0"}};
  const fuzz_deed misses = {
      .oracle = FUZZ_ORACLE_ALIGNMENT, .kind = FUZZ_OP_ALIGNED_ALLOC, .requested = 512, .alignment = 256};
  fuzz_deed other = misses;
  assert_true(fuzz_permitted(&subject, &misses));
  other.alignment = 128;
  assert_false(fuzz_permitted(&subject, &other));
  other = misses;
  other.requested = 2048;
  assert_false(fuzz_permitted(&subject, &other));
  other = misses;
  other.oracle = FUZZ_ORACLE_OVERLAP;
  assert_false(fuzz_permitted(&subject, &other));
  const fuzz_deed mute = {.oracle = FUZZ_ORACLE_ERRNO, .kind = FUZZ_OP_MALLOC, .requested = SIZE_MAX - 7};
  assert_true(fuzz_permitted(&subject, &mute));
  other = mute;
  other.requested = (size_t)1 << 50; // of such it sets errno
  assert_false(fuzz_permitted(&subject, &other));
  subject.alloc.version = "2.1.0";
  assert_false(fuzz_permitted(&subject, &misses));
  subject.alloc.version = "2.0.9";
  subject.alloc.library = "/x/libother.so";
  assert_false(fuzz_permitted(&subject, &misses));
  subject.alloc.library = "/x/libtcmalloc_minimal.so.4";
  subject.alloc.version = "2.10";
  fuzz_deed misfiled = {
      .oracle = FUZZ_ORACLE_ALIGNMENT, .kind = FUZZ_OP_FREE_SIZED, .requested = 120, .live = true};
  assert_true(fuzz_permitted(&subject, &misfiled));
  misfiled.live = false; // malloc's own are freed with their size
  assert_false(fuzz_permitted(&subject, &misfiled));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_plug_in_gives_the_functions),
      cmocka_unit_test(test_faults_are_said),
      cmocka_unit_test(test_only_the_known_deed_is_let_pass),
  };
  return cmocka_run_group_tests_name("subject", tests, NULL, NULL);
}

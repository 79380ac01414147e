// plugin_test.c: libraries that tell about themselves, rightly and wrongly (plugin_test_module.c).
#include "adapters/plugin.h"

#include "adapters/library.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

// Opens a module and asks it; its path goes into the words of a refusal.
static bool ask(const char *path, ha_alloc *out, char *why, size_t why_size) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  memset(out, 0, sizeof *out);
  return ha_library_plugin(out, library, path, why, why_size);
}

static void refuses(const char *path, const char *expected) {
  ha_alloc alloc;
  char why[512] = "";
  assert_false(ask(path, &alloc, why, sizeof why));
  if (!strstr(why, expected) || !strstr(why, path))
    fail_msg("%s was refused with \"%s\", which does not say \"%s\"", path, why, expected);
}

static void test_functions_and_facts_come_from_the_library(void **state) {
  (void)state;
  ha_alloc alloc;
  char why[512] = "";
  assert_true(ask(MODULE_GOOD, &alloc, why, sizeof why));
  assert_string_equal(alloc.version, "7.1");
  assert_int_equal(alloc.traits, HA_TRAIT_NEVER_FREES);
  void *block = alloc.malloc(100);
  assert_non_null(block);
  block = alloc.realloc(block, 200);
  assert_non_null(block);
  alloc.free(block);
}

static void test_faults_are_said(void **state) {
  (void)state;
  refuses(MODULE_REFUSING, "refuses to be used here");
  refuses(MODULE_INCOMPLETE, "leaves out one of malloc, free, calloc, realloc");
  refuses(MODULE_OLD, "is of version 0");
}

static void test_a_library_without_it_is_left_as_it_is(void **state) {
  (void)state;
  ha_alloc alloc;
  char why[512] = "as before";
  assert_false(ask("libc.so.6", &alloc, why, sizeof why));
  assert_string_equal(why, "as before");
  assert_null(alloc.malloc);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_functions_and_facts_come_from_the_library),
      cmocka_unit_test(test_faults_are_said),
      cmocka_unit_test(test_a_library_without_it_is_left_as_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

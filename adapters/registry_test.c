// registry_test.c: specs good and bad, and the words with which bad ones are refused.
#include "adapters/library.h"
#include "adapters/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *const no_arguments[] = {NULL};

static void refuses(const char *spec, const char *expected_part) {
  char why[512] = "";
  assert_null(ha_open(spec, no_arguments, why, sizeof why));
  if (!strstr(why, expected_part))
    fail_msg("\"%s\" was refused with \"%s\", which does not say \"%s\"", spec, why, expected_part);
}

static void test_unknown_name_suggests_the_nearest(void **state) {
  (void)state;
  refuses("mimaloc", "did you mean \"mimalloc\"");
  refuses("jmalloc", "did you mean \"jemalloc\"");
  refuses("", "give a name");
}

static void test_bad_libraries(void **state) {
  (void)state;
  refuses("x=/nonexistent/lib.so", "No such file");
  refuses("x=", "give a path");
  char path[] = "/tmp/heaparena-registry-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
  char spec[128];
  snprintf(spec, sizeof spec, "x=%s", path);
  refuses(spec, "not a shared library");
  // An ELF header of another machine.
  char self[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
  self[16] = 3;    // ET_DYN
  self[18] = 0x28; // 32-bit Arm
  assert_int_equal(pwrite(fd, self, sizeof self, 0), (ssize_t)sizeof self);
  refuses(spec, "another architecture");
  close(fd);
  unlink(path);
}

static void test_linked_allocators_open(void **state) {
  (void)state;
  char why[512];
  const ha_alloc *bump = ha_open("bump", no_arguments, why, sizeof why);
  assert_non_null(bump);
  assert_string_equal(bump->name, "bump");
  assert_null(bump->library);
  void *block = bump->malloc(100);
  assert_non_null(block);
  bump->free(block);
}

static void test_operations_are_said(void **state) {
  (void)state;
  char why[512];
  const ha_alloc *null = ha_open("null", no_arguments, why, sizeof why);
  assert_non_null(null);
  ha_alloc_operation operations[32];
  size_t count = ha_alloc_operations(null, operations, 32);
  assert_true(count > 0 && count <= 32);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(operations[i].name, "usable_size") == 0)
      assert_false(operations[i].present);
    if (strcmp(operations[i].name, "aligned_alloc") == 0)
      assert_true(operations[i].present);
  }
}

static void test_registry_names_are_distinct(void **state) {
  (void)state;
  size_t count;
  const ha_adapter *const *all = ha_registry(&count);
  for (size_t i = 0; i < count; i++) {
    assert_ptr_equal(ha_registry_find(all[i]->name), all[i]);
    assert_true((all[i]->linked != NULL) != (all[i]->libraries != NULL));
    assert_true(strlen(all[i]->summary) > 10);
  }
}

static void test_file_version(void **state) {
  (void)state;
  char version[32];
  ha_library_file_version("/nonexistent/libfoo.so.2", version, sizeof version);
  assert_string_equal(version, "unknown");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unknown_name_suggests_the_nearest),
      cmocka_unit_test(test_bad_libraries),
      cmocka_unit_test(test_linked_allocators_open),
      cmocka_unit_test(test_operations_are_said),
      cmocka_unit_test(test_registry_names_are_distinct),
      cmocka_unit_test(test_file_version),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

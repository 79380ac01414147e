// class_waste_test.c: the curve of an allocator whose classes are known, and of those that cannot tell.
#include "workloads/class_waste.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t asked;
static unsigned held; // blocks

static void *fake_malloc(size_t size) {
  static char block;
  asked = size;
  held++;
  return &block;
}

static void fake_free(void *block) {
  if (block)
    held--;
}

// Classes are powers of two from 16.
static size_t powers(void *block) {
  (void)block;
  size_t class = 16;
  while (class < asked)
    class *= 2;
  return class;
}

static size_t multiples_of_16(void *block) {
  (void)block;
  return (asked + 15) / 16 * 16;
}

static size_t too_little(void *block) {
  (void)block;
  return asked / 2;
}

static char *printed(size_t (*usable_size)(void *)) {
  ha_alloc alloc = {.name = "fake", .malloc = fake_malloc, .free = fake_free, .usable_size = usable_size};
  char *text = NULL;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  assert_non_null(out);
  assert_true(ha_class_waste_print(out, &alloc));
  fclose(out);
  assert_int_equal(held, 0);
  return text;
}

static void test_first_and_last_request_of_every_class(void **state) {
  (void)state;
  char *text = printed(powers);
  assert_non_null(strstr(text, "{\"most\": 1048576, \"steps\": [[1,16],[16,16],[17,32],[32,32],[33,64],"));
  assert_non_null(strstr(text, "[524289,1048576],[1048576,1048576]]}\n"));
  free(text);
}

static void test_fine_classes_are_passed_over(void **state) {
  (void)state;
  char *text = printed(multiples_of_16);
  unsigned steps = 0;
  size_t before = 0, size, usable;
  for (const char *at = strstr(text, "[["); at && sscanf(at + 1, "[%zu,%zu]", &size, &usable) == 2; steps++) {
    assert_true(size > before && usable >= size && usable < size + 16);
    before = size;
    at = strchr(strchr(at + 1, ']'), ',');
  }
  assert_true(steps > 300 && steps < 1200);
  assert_int_equal(before, HA_CLASS_WASTE_MOST);
  free(text);
}

static void test_who_cannot_tell_says_so(void **state) {
  (void)state;
  char *none = printed(NULL), *little = printed(too_little);
  assert_string_equal(none, "{\"missing\": \"it has no usable_size\"}\n");
  assert_string_equal(little, "{\"missing\": \"its usable_size says less than was asked for\"}\n");
  free(none);
  free(little);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_first_and_last_request_of_every_class),
      cmocka_unit_test(test_fine_classes_are_passed_over),
      cmocka_unit_test(test_who_cannot_tell_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// Libraries that come and go: modules that allocate in their constructors, destructors and threads' ends, and
// libgomalloc.so itself opened by a program that runs on libc's malloc. Called with the paths of the module
// and of libgomalloc.so; runs with and without LD_PRELOAD.
#include "core/gomalloc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *module_path;
static const char *library_path;

static void *function_of(void *library, const char *name) {
  void *function = dlsym(library, name);
  assert_non_null(function);
  return function;
}

struct module {
  void *handle;
  char *(*make)(size_t size);
  void (*leave_in_thread)(void);
};

static struct module open_module(void) {
  struct module module = {.handle = dlopen(module_path, RTLD_NOW | RTLD_LOCAL)};
  assert_non_null(module.handle);
  void *make = function_of(module.handle, "module_make");
  void *leave = function_of(module.handle, "module_leave_in_thread");
  memcpy(&module.make, &make, sizeof make);
  memcpy(&module.leave_in_thread, &leave, sizeof leave);
  return module;
}

static void *use_module(void *argument) {
  struct module module = open_module();
  module.leave_in_thread();
  char **block = argument;
  *block = module.make(1000);
  assert_int_equal(dlclose(module.handle), 0); // its thread-local destructors are still to come
  return NULL;
}

static void test_modules_come_and_go(void **state) {
  (void)state;
  for (int round = 0; round < 100; round++) {
    struct module module = open_module();
    char *block = module.make(300);
    assert_int_equal(dlclose(module.handle), 0);
    for (int i = 0; i < 300; i++)
      assert_int_equal(block[i], 'm');
    free(block); // after its maker is gone
    pthread_t thread;
    char *from_thread = NULL;
    assert_int_equal(pthread_create(&thread, NULL, use_module, &from_thread), 0);
    (void)pthread_join(thread, NULL);
    free(from_thread);
  }
}

// libgomalloc.so stays for ever once it is loaded (RTLD_NODELETE): threads and fork handlers know it.
static void test_library_itself(void **state) {
  (void)state;
  void *(*allocate)(size_t) = NULL;
  void (*release)(void *) = NULL;
  int (*check_heap)(void) = NULL;
  char *kept = NULL;
  for (int round = 0; round < 10; round++) {
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *found = function_of(library, "gm_malloc");
    memcpy(&allocate, &found, sizeof found);
    found = function_of(library, "gm_free");
    memcpy(&release, &found, sizeof found);
    found = function_of(library, "gm_check_heap");
    memcpy(&check_heap, &found, sizeof found);
    if (kept != NULL)
      release(kept);
    kept = allocate(200);
    memset(kept, 5, 200);
    assert_int_equal(dlclose(library), 0);
    assert_int_equal(kept[199], 5);
  }
  release(kept);
  assert_int_equal(check_heap(), 0);
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  module_path = argv[1];
  library_path = argv[2];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_modules_come_and_go),
      cmocka_unit_test(test_library_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

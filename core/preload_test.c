// The malloc family by its standard names, run under LD_PRELOAD=libgomalloc.so: who answers, what each
// function does, and allocation at every moment of a program's life: constructors, destructors, atexit, ends
// of threads.
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// Not in the headers of this glibc.
void free_sized(void *pointer, size_t size) __attribute__((weak));
void free_aligned_sized(void *pointer, size_t alignment, size_t size) __attribute__((weak));
void cfree(void *pointer) __attribute__((weak));

static char *constructed;

__attribute__((constructor(101))) static void allocate_early(void) {
  constructed = strdup("from a constructor, before those of most libraries");
  char *other = malloc(100000);
  other = realloc(other, 200000);
  free(other);
}

__attribute__((destructor(101))) static void free_late(void) {
  free(constructed);
  free(malloc(5000));
}

static size_t opaque(size_t value) {
  volatile size_t copy = value;
  return copy;
}

static void *symbol(const char *name) {
  return dlsym(RTLD_DEFAULT, name);
}

static void test_every_name_is_ours(void **state) {
  (void)state;
  const char *const names[] = {"malloc",
                               "calloc",
                               "realloc",
                               "reallocarray",
                               "free",
                               "free_sized",
                               "free_aligned_sized",
                               "cfree",
                               "aligned_alloc",
                               "posix_memalign",
                               "memalign",
                               "valloc",
                               "pvalloc",
                               "malloc_usable_size",
                               "malloc_trim",
                               "mallinfo",
                               "mallinfo2",
                               "mallopt",
                               "malloc_stats",
                               "malloc_info",
                               "sigaction",
                               "signal",
                               "_Znwm",
                               "_ZdlPv",
                               "__libc_malloc",
                               "__libc_free",
                               "__libc_memalign",
                               "gm_malloc",
                               "gm_set_option"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    Dl_info info;
    void *function = symbol(names[i]);
    if (function == NULL || dladdr(function, &info) == 0 || strstr(info.dli_fname, "libgomalloc") == NULL)
      fail_msg("%s does not come from libgomalloc", names[i]);
  }
  assert_null(symbol("mcache_refill")); // nothing else is visible
}

static void test_family(void **state) {
  (void)state;
  char *block = malloc(opaque(100));
  assert_int_equal(malloc_usable_size(block), 112);
  block = reallocarray(block, 10, 30);
  assert_true(malloc_usable_size(block) >= 300);
  free_sized(block, 300);
  block = aligned_alloc(512, 1000);
  assert_int_equal((uintptr_t)block % 512, 0);
  free_aligned_sized(block, 512, 1000);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  block = valloc(1);
  assert_int_equal((uintptr_t)block % page, 0);
  cfree(block);
  block = pvalloc(page + 1);
  assert_int_equal((uintptr_t)block % page, 0);
  assert_true(malloc_usable_size(block) >= 2 * page);
  free(block);
  errno = 0;
  assert_null(pvalloc(opaque(SIZE_MAX)));
  assert_int_equal(errno, ENOMEM);
  block = memalign(opaque(96), 10); // rounded up to 128
  assert_int_equal((uintptr_t)block % 128, 0);
  free(block);
  assert_int_equal(malloc_usable_size(NULL), 0);
  free_sized(NULL, 10);
}

static void test_information(void **state) {
  (void)state;
  void *block = malloc(opaque(1 << 20));
  struct mallinfo2 info = mallinfo2();
  assert_true(info.uordblks >= (1 << 20) && info.arena >= info.uordblks);
  assert_int_equal(info.arena, info.uordblks + info.fordblks);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  struct mallinfo old = mallinfo();
#pragma GCC diagnostic pop
  assert_int_equal(old.uordblks, (int)info.uordblks);
  free(block);
  (void)malloc_trim(0);
  assert_int_equal(malloc_trim(0), 0); // all of it is back already
  assert_int_equal(mallopt(M_MMAP_THRESHOLD, 65536), 1);
  assert_int_equal(mallopt(12345, 1), 0);
  char text[32768] = "";
  FILE *file = fmemopen(text, sizeof text, "w");
  assert_non_null(file);
  assert_int_equal(malloc_info(1, file), EINVAL);
  assert_int_equal(malloc_info(0, file), 0);
  (void)fclose(file);
  assert_non_null(strstr(text, "<malloc version=\"gomalloc-"));
  assert_non_null(strstr(text, "\"HeapAlloc\": "));
  malloc_stats();
}

// The first pages were asked for before any constructor of ours ran; the option counts all the same.
static void test_layout_of_the_environment(void **state) {
  (void)state;
  size_t (*stats_json)(char *, size_t) = NULL;
  void *found = symbol("gm_stats_json");
  memcpy(&stats_json, &found, sizeof found);
  static char text[16384];
  assert_in_range(stats_json(text, sizeof text), 100, sizeof text - 1);
  const char *layout = getenv("GOMALLOC_LAYOUT");
  char expected[64];
  (void)snprintf(expected, sizeof expected, "\"Layout\": \"%s\"", layout != NULL ? layout : "sparse");
  assert_non_null(strstr(text, expected));
}

static pthread_key_t keys[40];
static _Atomic int destroyed;

static void destroy(void *value) {
  free(value);
  void *other = malloc(500);
  free(other);
  atomic_fetch_add(&destroyed, 1);
}

static void *use_keys(void *argument) {
  for (int i = 0; i < 40; i++) // more than the 32 that libc keeps without allocating
    (void)pthread_setspecific(keys[i], malloc(64));
  return argument;
}

static void test_ends_of_threads(void **state) {
  (void)state;
  for (int i = 0; i < 40; i++)
    assert_int_equal(pthread_key_create(&keys[i], destroy), 0);
  for (int round = 0; round < 50; round++) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, use_keys, NULL), 0);
    for (int i = 0; i < 4; i++)
      (void)pthread_join(threads[i], NULL);
  }
  assert_int_equal(atomic_load(&destroyed), 40 * 4 * 50);
}

static size_t resident_bytes(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file != NULL) {
    (void)fscanf(file, "%*u %lu", &pages);
    (void)fclose(file);
  }
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void *short_thread(void *argument) {
  char *blocks[20];
  for (size_t i = 0; i < 20; i++)
    blocks[i] = calloc(1, (size_t)16 << (i % 8));
  for (size_t i = 0; i < 20; i++)
    free(blocks[i]);
  return argument;
}

// SHORT_THREADS=100000 for the whole proof.
static void test_short_threads_leave_nothing(void **state) {
  (void)state;
  const char *asked = getenv("SHORT_THREADS");
  int count = asked != NULL ? atoi(asked) : 5000;
  size_t early = 0;
  for (int i = 0; i < count; i++) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, short_thread, NULL), 0);
    (void)pthread_join(thread, NULL);
    if (i == 500)
      early = resident_bytes();
  }
  size_t late = resident_bytes();
  print_message("resident after 500 threads %zu KiB, after %d %zu KiB\n", early >> 10, count, late >> 10);
  assert_true(late <= early + (256 << 10));
}

static void at_exit_function(void) {
  char *block = malloc(1000);
  block = realloc(block, 100000);
  free(block);
  free(calloc(100, 100));
}

// exit from a thread while others allocate, with functions that allocate at every stage.
static void *exit_here(void *argument) {
  (void)argument;
  exit(23);
}

static void *allocate_for_ever(void *argument) {
  for (;;)
    free(malloc((size_t)(uintptr_t)argument));
  return NULL;
}

static void test_exit_while_others_allocate(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) {
    pid_t child = fork();
    if (child == 0) {
      (void)atexit(at_exit_function);
      pthread_t thread;
      for (uintptr_t t = 1; t <= 3; t++)
        if (pthread_create(&thread, NULL, allocate_for_ever, (void *)(t * 1000)) != 0)
          _exit(1);
      (void)pthread_create(&thread, NULL, exit_here, NULL);
      for (;;)
        free(malloc(77));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 23);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_name_is_ours),
      cmocka_unit_test(test_family),
      cmocka_unit_test(test_information),
      cmocka_unit_test(test_layout_of_the_environment),
      cmocka_unit_test(test_ends_of_threads),
      cmocka_unit_test(test_short_threads_leave_nothing),
      cmocka_unit_test(test_exit_while_others_allocate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

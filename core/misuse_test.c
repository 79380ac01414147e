// Every kind of wrong pointer is found, with the exact message: each case runs in a child that must abort.
#include "core/child_test.h"
#include "core/gomalloc.h"
#include "core/mcache.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// The child names the address on stderr first, then must die with `expected`, where %p stands for that
// address and %b for the span's base as the message has it.
static void assert_caught(void (*action)(void), const char *what, const char *tail_start) {
  char output[512];
  int status = run_child(action, output, sizeof output);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
    fail_msg("child was not aborted; it said: %s", output);
  uintptr_t address = 0;
  int consumed = 0;
  assert_int_equal(sscanf(output, "address %lx\n%n", &address, &consumed), 1);
  char expected[256];
  (void)snprintf(expected, sizeof expected, "gomalloc: %s 0x%lx%s", what, address, tail_start);
  if (strncmp(output + consumed, expected, strlen(expected)) != 0)
    fail_msg("said: %s expected: %s", output + consumed, expected);
  // One line, nothing after it.
  assert_ptr_equal(strchr(output + consumed, '\n'), output + strlen(output) - 1);
}

// Volatile, so that the compiler cannot see the misuse.
static void *volatile block;

static void name(const void *address) {
  dprintf(STDERR_FILENO, "address %lx\n", (uintptr_t)address);
}

static void make(size_t size) {
  block = gm_malloc(size);
  name(block);
}

static void double_free(void) {
  make(64);
  gm_free(block);
  gm_free(block);
}

static void double_free_later(void) {
  make(64);
  void *others[200];
  for (int i = 0; i < 200; i++)
    others[i] = gm_malloc(64);
  gm_free(block);
  for (int i = 0; i < 200; i++)
    gm_free(others[i]);
  gm_free(block);
}

// The freed block is claimed by the slot again when it is freed again: it was freed when the stack was full,
// and the stack is used up.
static void double_free_of_claimed(void) {
  enum { STACK = MCACHE_STACK_ENTRIES };
  void *first[1024]; // spans of 64-byte objects, whose groups are 64 objects
  for (int i = 0; i < 1024; i++)
    first[i] = gm_malloc(64);
  block = first[2 * STACK - 2];
  name(block);
  for (int i = 0; i < 2 * STACK; i++)
    gm_free(first[i]);
  for (int i = 0; i < STACK + 8; i++)
    if (gm_malloc(64) == block)
      _exit(1);
  gm_free(block);
}

// The freed block waits below others on the stack.
static void double_free_of_cached(void) {
  void *first[10];
  for (int i = 0; i < 10; i++)
    first[i] = gm_malloc(640);
  block = first[3];
  name(block);
  for (int i = 0; i < 10; i++)
    gm_free(first[i]);
  if (gm_malloc(640) != first[9])
    _exit(1);
  gm_free(block);
}

static void double_free_tiny(void) {
  make(3);
  void *neighbour = gm_malloc(3);
  gm_free(block);
  gm_free(neighbour);
  gm_free(block);
}

static void double_free_large(void) {
  make(100000);
  gm_free(block);
  gm_free(block);
}

static void *free_block(void *unused) {
  gm_free(block);
  return unused;
}

static void in_thread(void *(*action)(void *)) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, action, NULL) != 0)
    _exit(9);
  (void)pthread_join(thread, NULL);
}

static void remote_then_remote(void) {
  make(64);
  in_thread(free_block);
  in_thread(free_block);
}

static void local_then_remote(void) {
  make(64);
  gm_free(block);
  in_thread(free_block);
}

static void remote_then_local(void) {
  make(64);
  in_thread(free_block);
  gm_free(block);
}

// Freed by its owner and claimed again by the slot, then freed by another thread.
static void claimed_then_remote(void) {
  make(64);
  void *first[1024];
  for (int i = 0; i < 1023; i++)
    first[i] = gm_malloc(64);
  gm_free(block);
  for (int i = 63; i >= 1; i--)
    gm_free(first[i]);
  (void)gm_malloc(64); // claims the first word with free objects
  (void)gm_malloc(64);
  block = first[60];
  name(block);
  in_thread(free_block);
}

static void *allocate_block(void *unused) {
  make(64);
  return unused;
}

static void free_after_owner_ended_twice(void) {
  in_thread(allocate_block);
  gm_free(block);
  gm_free(block);
}

static void interior_free(void) {
  make(64);
  block = (char *)block + 16;
  name(block);
  gm_free(block);
}

static void interior_free_large(void) {
  block = (char *)gm_malloc(1 << 20) + 65536;
  name(block);
  gm_free(block);
}

static void misaligned_free(void) {
  block = (char *)gm_malloc(64) + 3;
  name(block);
  gm_free(block);
}

static void stack_free(void) {
  _Alignas(16) char local[64] = "";
  block = local;
  name(block);
  gm_free(block);
}

static void static_free(void) {
  static _Alignas(16) char variable[64];
  block = variable;
  name(block);
  gm_free(block);
}

static void kernel_address_free(void) {
  block = (void *)(uintptr_t)0xffff800000000010;
  name(block);
  gm_free(block);
}

static void free_of_never_allocated(void) {
  block = (char *)gm_malloc(64) + 64; // the next object of the span
  name(block);
  gm_free(block);
}

static void realloc_of_freed(void) {
  make(64);
  gm_free(block);
  block = gm_realloc(block, 1000);
}

static void usable_size_of_freed(void) {
  make(64);
  gm_free(block);
  (void)gm_usable_size(block);
}

static void realloc_of_freed_large(void) {
  make(100000);
  gm_free(block);
  block = gm_realloc(block, 200000);
}

static void usable_size_of_freed_large(void) {
  make(100000);
  gm_free(block);
  (void)gm_usable_size(block);
}

// The pages went back to the page heap, and with them what was known of the block.
static void free_into_returned_pages(void) {
  make(32768);
  void *others[64];
  for (int i = 0; i < 64; i++)
    others[i] = gm_malloc(32768);
  gm_free(block);
  for (int i = 0; i < 64; i++)
    gm_free(others[i]);
  (void)gm_purge();
  gm_free(block);
}

static void sized_double_free(void) {
  make(64);
  gm_free_sized(block, 64);
  gm_free_aligned_sized(block, 16, 64);
}

// Sizes are not checked (gomalloc.h): a wrong one is no misuse.
static void sized_free_of_another_size(void) {
  make(64);
  gm_free_sized(block, 4000);
  make(64);
  gm_free_aligned_sized(block, 4096, 1);
  if (gm_error_count() != 0 || gm_check_heap() != 0)
    _exit(1);
  abort();
}

static void realloc_of_stack(void) {
  _Alignas(16) char local[64] = "";
  block = local;
  name(block);
  block = gm_realloc(block, 10);
}

static void test_double_frees(void **state) {
  (void)state;
  const char *tail = " (size class 64, span 0x";
  assert_caught(double_free, "double free of", tail);
  assert_caught(double_free_later, "double free of", tail);
  assert_caught(double_free_of_claimed, "double free of", tail);
  assert_caught(double_free_of_cached, "double free of", " (size class 640");
  assert_caught(double_free_tiny, "double free of", " (size class 8, span 0x");
  assert_caught(double_free_large, "double free of", "\n");
  assert_caught(remote_then_remote, "double free of", tail);
  assert_caught(local_then_remote, "double free of", tail);
  assert_caught(remote_then_local, "double free of", tail);
  assert_caught(free_after_owner_ended_twice, "double free of", "");
}

static void test_claimed_then_remote(void **state) {
  (void)state;
  char output[512];
  int status = run_child(claimed_then_remote, output, sizeof output);
  assert_true(WIFSIGNALED(status));
  assert_non_null(strstr(output, "gomalloc: double free of 0x"));
}

static void test_wrong_addresses(void **state) {
  (void)state;
  assert_caught(interior_free_large, "interior free of", " (size class 1048576, span 0x");
  assert_caught(misaligned_free, "misaligned free of", " (size class 64, span 0x");
  assert_caught(stack_free, "foreign free of", "\n");
  assert_caught(static_free, "foreign free of", "\n");
  assert_caught(kernel_address_free, "foreign free of", "\n");
  assert_caught(free_of_never_allocated, "double free of", "");
}

static void test_interior_free(void **state) {
  (void)state;
  char output[512];
  int status = run_child(interior_free, output, sizeof output);
  assert_true(WIFSIGNALED(status));
  assert_non_null(strstr(output, "gomalloc: interior free of 0x"));
}

static void test_other_calls(void **state) {
  (void)state;
  const char *tail = " (size class 64, span 0x";
  assert_caught(realloc_of_freed, "realloc of freed block", tail);
  assert_caught(usable_size_of_freed, "usable size of freed block", tail);
  assert_caught(realloc_of_freed_large, "realloc of freed block", "\n");
  assert_caught(usable_size_of_freed_large, "usable size of freed block", "\n");
  assert_caught(free_into_returned_pages, "double free of", "");
  assert_caught(sized_double_free, "double free of", tail);
  assert_caught(realloc_of_stack, "realloc of foreign pointer", "\n");
}

static void test_sized_frees_of_another_size(void **state) {
  (void)state;
  char output[512];
  int status = run_child(sized_free_of_another_size, output, sizeof output);
  assert_true(WIFSIGNALED(status)); // its own abort, without a message
  assert_null(strstr(output, "gomalloc:"));
}

// With the report action the program goes on, and the heap stays sound.
static void report_and_go_on(void) {
  if (gm_set_error_action(GM_ERROR_REPORT) != 0)
    _exit(1);
  block = gm_malloc(64);
  gm_free(block);
  for (int i = 0; i < 10; i++)
    gm_free(block);
  in_thread(free_block);
  errno = 0;
  if (gm_realloc(block, 10) != NULL || errno != EINVAL || gm_usable_size(block) != 0)
    _exit(2);
  if (gm_error_count() != 13 || gm_check_heap() != 0)
    _exit(3);
}

static void test_report_goes_on(void **state) {
  (void)state;
  char output[4096];
  int status = run_child(report_and_go_on, output, sizeof output);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  size_t lines = 0;
  for (const char *at = output; (at = strchr(at, '\n')) != NULL; at++)
    lines++;
  assert_int_equal(lines, 13);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_double_frees),
      cmocka_unit_test(test_claimed_then_remote),
      cmocka_unit_test(test_wrong_addresses),
      cmocka_unit_test(test_interior_free),
      cmocka_unit_test(test_other_calls),
      cmocka_unit_test(test_report_goes_on),
      cmocka_unit_test(test_sized_frees_of_another_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

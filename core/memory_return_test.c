// A program that frees everything gets small again: not only the blocks' pages go back to the system, but also what
// gomalloc knew about them. Each case runs in a child, so that it begins with a process that has no heap.
#include "core/child_test.h"
#include "core/gomalloc.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { DEADLINE_TENTHS = 100 };

// What may stay in memory: tables' first pages, the thread's mcache and its last spans, the scavenger's stack: about a
// tenth of the smallest programs' 1.6 MiB. For a further thread: its stack, which libc keeps, and its mcache, which
// is the next one's.
enum { LEFT_KIB = 192, LEFT_KIB_THREAD = 80 };

// What the process wrote, without the pages of files that it happened to run through. Without stdio, which allocates.
static size_t written_kib(void) {
  char text[4096];
  int file = open("/proc/self/smaps_rollup", O_RDONLY);
  ssize_t length = file >= 0 ? read(file, text, sizeof text - 1) : 0;
  if (file >= 0)
    (void)close(file);
  text[length > 0 ? length : 0] = '\0';
  const char *found = strstr(text, "Anonymous:");
  return found != NULL ? (size_t)strtoul(found + strlen("Anonymous:"), NULL, 10) : 0;
}

struct plan {
  size_t (*size_of)(size_t i);
  size_t total;
  unsigned threads;
};

static size_t sixteen(size_t i) {
  (void)i;
  return 16;
}

static size_t sixty_four(size_t i) {
  (void)i;
  return 64;
}

static size_t page(size_t i) {
  (void)i;
  return 4096;
}

// All classes.
static size_t mixed(size_t i) {
  size_t random = i * 2654435761u >> 4;
  return 8 + random % ((size_t)16 << random % 12);
}

static size_t large(size_t i) {
  return 40 * KIB + i * 7919 * 16 % (3 * MIB);
}

static void *fill_and_empty(void *argument) {
  const struct plan *plan = argument;
  size_t most = plan->total / 16 + 1;
  void **blocks =
      mmap(NULL, most * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (blocks == MAP_FAILED)
    abort();
  size_t count = 0;
  for (size_t bytes = 0; bytes < plan->total && count < most; count++) {
    size_t size = plan->size_of(count);
    blocks[count] = gm_malloc(size);
    if (blocks[count] == NULL)
      abort();
    memset(blocks[count], 1, size);
    bytes += size;
  }
  for (size_t i = 0; i < count; i++)
    gm_free(blocks[i]);
  (void)munmap(blocks, most * sizeof *blocks);
  return NULL;
}

static struct plan chosen;

static void say_and_exit(const char *what, size_t before, size_t now) {
  char line[160];
  int length = snprintf(line, sizeof line, "%s: %zu KiB before, %zu KiB now", what, before, now);
  (void)!write(STDERR_FILENO, line, (size_t)length);
  _exit(1);
}

static void run_plan(void) {
  size_t before = written_kib();
  struct plan part = chosen;
  part.total /= part.threads;
  pthread_t threads[4];
  for (unsigned i = 1; i < part.threads; i++)
    if (pthread_create(&threads[i], NULL, fill_and_empty, &part) != 0)
      abort();
  (void)fill_and_empty(&part);
  for (unsigned i = 1; i < part.threads; i++)
    (void)pthread_join(threads[i], NULL);
  size_t allowed = before + LEFT_KIB + (part.threads - 1) * (size_t)LEFT_KIB_THREAD;
  size_t now = written_kib();
  for (unsigned waited = 0; now > allowed && waited < DEADLINE_TENTHS; waited++) {
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    now = written_kib();
  }
  if (gm_check_heap() != 0)
    say_and_exit("the heap is not sound", before, now);
  if (now > allowed)
    say_and_exit("memory stays", before, now);
  // And it serves as before.
  (void)fill_and_empty(&part);
  if (gm_check_heap() != 0)
    say_and_exit("the heap is not sound afterwards", before, now);
}

static void expect_small_again(size_t (*size_of)(size_t i), size_t total, unsigned threads) {
  chosen = (struct plan){size_of, total, threads};
  char output[200];
  int status = run_child(run_plan, output, sizeof output);
  if (status != 0)
    fail_msg("status %d: %s", status, output);
}

static void test_blocks_of_one_size(void **state) {
  (void)state;
  expect_small_again(sixteen, 50 * MIB, 1);
  expect_small_again(sixty_four, 100 * MIB, 1);
  expect_small_again(page, 100 * MIB, 1);
}

static void test_blocks_of_all_sizes(void **state) {
  (void)state;
  expect_small_again(mixed, 100 * MIB, 1);
}

static void test_large_blocks(void **state) {
  (void)state;
  expect_small_again(large, 100 * MIB, 1);
}

static void test_two_threads(void **state) {
  (void)state;
  expect_small_again(sixty_four, 100 * MIB, 2);
  expect_small_again(mixed, 100 * MIB, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_of_one_size),
      cmocka_unit_test(test_blocks_of_all_sizes),
      cmocka_unit_test(test_large_blocks),
      cmocka_unit_test(test_two_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

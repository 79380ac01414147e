// The two layouts of address space: the numbers of Go's designs, and that an address finds its span in both.
// Each test runs in a child, because a process chooses its layout once.
#include "core/heap_arena.h"

#include "core/gomalloc.h"
#include "core/mspan.h"
#include "core/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_numbers_of_the_sparse_layout(void **state) {
  (void)state;
  assert_int_equal(ARENA_MAP_COUNT, 4194304);
  assert_int_equal(ARENA_SIZE, 64 << 20);
  assert_int_equal(ARENA_MAP_COUNT * ARENA_SIZE, (uint64_t)256 << 40);
  assert_int_equal(ARENA_PAGES * GM_PAGE_SIZE, ARENA_SIZE);
}

static void test_numbers_of_the_linear_layout(void **state) {
  (void)state;
  assert_int_equal(LINEAR_ARENA_SIZE, (uint64_t)512 << 30);
  assert_int_equal(LINEAR_ARENA_SIZE / GM_PAGE_SIZE, (uint64_t)64 << 20);
  assert_int_equal(LINEAR_SPANS_SIZE, (uint64_t)512 << 20);
  assert_int_equal(LINEAR_SPANS_SIZE, LINEAR_ARENA_SIZE / GM_PAGE_SIZE * 8);
  assert_int_equal(LINEAR_BITMAP_SIZE, (uint64_t)16 << 30);
  assert_int_equal(LINEAR_BITMAP_SIZE * 8, LINEAR_ARENA_SIZE / 8 * 2); // two bits for each word
}

static void test_numbers_of_the_centrals(void **state) {
  (void)state;
  // 67 classes of objects; Go's 134 mcentrals left out class 0, the large objects, which today's count
  // includes.
  assert_int_equal((SIZE_CLASS_COUNT - 1) * 2, 134);
  assert_int_equal(SPAN_CLASS_COUNT, 136);
}

static void in_child(void (*action)(void)) {
  pid_t child = fork();
  if (child == 0) {
    action();
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fail_msg("the child ended with %d in line %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0,
             WEXITSTATUS(status));
}

// The child's status says where: lines are below 256 apart from the file's start.
#define REQUIRE(condition)                                                                                   \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      _exit(__LINE__ % 255 + 1);                                                                             \
  } while (0)

static void fill_heap(void) {
  enum { COUNT = 3000 };
  static char *blocks[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = gm_malloc(i * 37 % 60000 + 1);
    REQUIRE(blocks[i] != NULL);
    blocks[i][0] = 1;
  }
  char *large = gm_malloc((size_t)200 << 20);
  REQUIRE(large != NULL);
  large[0] = 1;
  large[((size_t)200 << 20) - 1] = 1;
  REQUIRE(gm_usable_size(large) == (size_t)200 << 20);
  REQUIRE(gm_check_heap() == 0);
  for (size_t i = 0; i < COUNT; i++)
    gm_free(blocks[i]);
  gm_free(large);
  REQUIRE(gm_check_heap() == 0);
}

static void use_linear(void) {
  REQUIRE(gm_set_option("layout", "linear") == 0);
  char *block = gm_malloc(100);
  REQUIRE(heap_linear.arena_size >= ARENA_SIZE && heap_linear.arena_size <= LINEAR_ARENA_SIZE);
  REQUIRE(heap_linear.spans + heap_linear.spans_size == heap_linear.bitmap);
  REQUIRE(heap_linear.bitmap + heap_linear.bitmap_size == heap_linear.arena);
  REQUIRE(heap_linear.arena % ARENA_SIZE == 0);
  REQUIRE(heap_linear.spans_size == heap_linear.arena_size / GM_PAGE_SIZE * 8);
  uintptr_t address = (uintptr_t)block;
  REQUIRE(address - heap_linear.arena < heap_linear.arena_size);
  // As in Go 1.10 the page's number indexes the spans area, modulo its length instead of less the arena's start.
  struct mspan **spans = (struct mspan **)heap_linear.spans;
  REQUIRE(spans[(address >> GM_PAGE_SHIFT) % (heap_linear.spans_size / 8)] == heap_arena_span_of(address));
  uintptr_t arena = (uintptr_t)heap_arena_of(address);
  REQUIRE(arena - heap_linear.bitmap < heap_linear.bitmap_size);
  gm_free(block);
  fill_heap();
  // The heap is one range: what it took follows in order.
  REQUIRE(heap_linear.arena_used >= (size_t)256 << 20);
  REQUIRE(heap_arena_of(heap_linear.arena + heap_linear.arena_used - 1) != NULL);
  REQUIRE(heap_arena_of(heap_linear.arena + heap_linear.arena_used) == NULL);
}

static void use_sparse(void) {
  REQUIRE(gm_set_option("layout", "sparse") == 0);
  fill_heap();
  REQUIRE(heap_linear.arena_size == 0);
}

static void limit_address_space(size_t bytes) {
  struct rlimit limit = {bytes, bytes};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void use_linear_scaled_down(void) {
  limit_address_space((size_t)8 << 30);
  REQUIRE(gm_set_option("layout", "linear") == 0);
  fill_heap();
  REQUIRE(heap_linear.arena_size == (size_t)2 << 30); // with its tables at most half of the limit
  REQUIRE(heap_linear.spans_size == (size_t)2 << 20);
  REQUIRE(heap_linear.bitmap_size == (size_t)64 << 20);
  REQUIRE(gm_malloc((size_t)3 << 30) == NULL); // the arena is all there is
  fill_heap();
}

static void fall_back_to_sparse(void) {
  limit_address_space((size_t)200 << 20);
  REQUIRE(gm_set_option("layout", "linear") == 0);
  REQUIRE(close(STDERR_FILENO) == 0); // says one line
  REQUIRE(gm_malloc(100) != NULL);
  REQUIRE(heap_linear.arena_size == 0 && gm_option_get(&gm_options.layout) == GM_LAYOUT_SPARSE);
}

static void test_linear(void **state) {
  (void)state;
  in_child(use_linear);
}

static void test_sparse(void **state) {
  (void)state;
  in_child(use_sparse);
}

// A sanitizer's shadow needs more address space than the limits leave.
static void test_limited_address_space(void **state) {
  (void)state;
  if (getenv("HEAP_ARENA_TEST_NO_LIMITS") != NULL)
    skip();
  in_child(use_linear_scaled_down);
  in_child(fall_back_to_sparse);
}

int main(void) {
  // Read now, so that the environment does not override a test's choice.
  options_load();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers_of_the_sparse_layout),
      cmocka_unit_test(test_numbers_of_the_linear_layout),
      cmocka_unit_test(test_numbers_of_the_centrals),
      cmocka_unit_test(test_linear),
      cmocka_unit_test(test_sparse),
      cmocka_unit_test(test_limited_address_space),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// The picture of the heap must agree with what the program holds and with the statistics.
#include "core/heap_view.h"

#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/size_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RANGES = 8192 };

struct picture {
  struct gm_view_range ranges[RANGES];
  size_t count;
};

static struct picture picture;

static void take(const struct gm_view_range *range, void *context) {
  (void)context;
  if (picture.count < RANGES)
    picture.ranges[picture.count] = *range;
  picture.count++;
}

static void look(void) {
  picture.count = 0;
  size_t told = gm_heap_view(take, NULL);
  assert_int_equal(told, picture.count);
  assert_true(picture.count > 0 && picture.count <= RANGES);
}

static const struct gm_view_range *range_of(const void *block) {
  for (size_t i = 0; i < picture.count; i++)
    if ((uintptr_t)block - picture.ranges[i].start < picture.ranges[i].size)
      return &picture.ranges[i];
  return NULL;
}

static size_t bytes_in(enum gm_view_state state) {
  size_t sum = 0;
  for (size_t i = 0; i < picture.count; i++)
    sum += picture.ranges[i].state == state ? picture.ranges[i].size : 0;
  return sum;
}

static void check_against_statistics(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  look();
  assert_int_equal(bytes_in(GM_VIEW_SPAN), stats.HeapInuse);
  assert_int_equal(bytes_in(GM_VIEW_PREPARED), stats.HeapReleased);
  assert_int_equal(bytes_in(GM_VIEW_READY), stats.HeapIdle - stats.HeapReleased);
  assert_int_equal((bytes_in(GM_VIEW_RESERVED) + stats.HeapSys) % ARENA_SIZE, 0);
  for (size_t i = 0; i < picture.count; i++)
    for (size_t j = 0; j < i; j++)
      assert_true(picture.ranges[i].start >= picture.ranges[j].start + picture.ranges[j].size ||
                  picture.ranges[j].start >= picture.ranges[i].start + picture.ranges[i].size);
}

static void test_small_blocks(void **state) {
  (void)state;
  static void *blocks[500];
  for (size_t i = 0; i < 500; i++)
    blocks[i] = gm_malloc(100);
  for (size_t i = 0; i < 500; i += 2)
    gm_free(blocks[i]);
  check_against_statistics();
  uint64_t live = 0;
  for (size_t i = 0; i < picture.count; i++)
    if (picture.ranges[i].object_size == 112)
      live += picture.ranges[i].live_objects;
  assert_int_equal(live, 250);
  const struct gm_view_range *range = range_of(blocks[1]);
  assert_non_null(range);
  assert_int_equal(range->state, GM_VIEW_SPAN);
  assert_int_equal(size_class_size[range->size_class], 112);
  assert_true(range->objects * 112 <= range->size);
  for (size_t i = 1; i < 500; i += 2)
    gm_free(blocks[i]);
}

static void test_large_block_over_two_arenas(void **state) {
  (void)state;
  char *block = gm_malloc(ARENA_SIZE + ARENA_SIZE / 2);
  assert_non_null(block);
  memset(block, 1, 4096);
  check_against_statistics();
  const struct gm_view_range *range = range_of(block + ARENA_SIZE);
  assert_non_null(range);
  assert_int_equal(range->start, block);
  assert_int_equal(range->size_class, 0);
  assert_int_equal(range->live_objects, 1);
  gm_free(block);
  check_against_statistics();
  range = range_of(block);
  assert_true(range && range->state != GM_VIEW_SPAN);
}

static void test_pages_given_back(void **state) {
  (void)state;
  char *block = gm_malloc(1 << 20);
  memset(block, 1, 1 << 20);
  gm_free(block);
  gm_purge();
  check_against_statistics();
  assert_int_equal(range_of(block)->state, GM_VIEW_PREPARED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_small_blocks),
      cmocka_unit_test(test_large_block_over_two_arenas),
      cmocka_unit_test(test_pages_given_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// What every collector must do: see conformance.h. graph_test.c has the random programs.
#include "core/gc/conformance.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static const struct gc_collector *under_test;

uint64_t gc_test_number(const char *name, uint64_t fallback) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 10) : fallback;
}

__attribute__((noinline)) void gc_test_clear_stack(void) {
  volatile unsigned char left[16384];
  for (size_t i = 0; i < sizeof left; i++)
    left[i] = 0;
}

void gc_test_open(struct gc_test *test, const struct gc_collector *collector, struct gc_options options) {
  char why[256] = "";
  test->heap = gc_heap_start(collector, &options, why, sizeof why);
  if (!test->heap)
    fail_msg("%s", why);
  test->thread = gc_thread_attach(test->heap, why, sizeof why);
  if (!test->thread)
    fail_msg("%s", why);
  test->precise = (collector->traits & GC_CONSERVATIVE) == 0;
  test->left_over = 0;
  if (collector->traits & GC_ONE_HEAP) {
    assert_true(gc_collect(test->thread));
    test->left_over = gc_figures_of(test->heap)->live_objects;
  }
}

void gc_test_close(struct gc_test *test) {
  gc_thread_detach(test->thread);
  gc_heap_stop(test->heap);
}

struct link {
  struct link *next;
  uint64_t number;
};

static const struct gc_type *link_type(struct gc_test *test) {
  static const uint32_t map[] = {offsetof(struct link, next)};
  char why[256];
  const struct gc_type *type =
      gc_type_register(test->heap,
                       &(struct gc_type_spec){
                           .name = "link", .size = sizeof(struct link), .pointers = map, .pointer_count = 1},
                       why, sizeof why);
  assert_non_null(type);
  return type;
}

static void test_random_programs(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= gc_test_number("GC_TEST_SEEDS", 12); seed++)
    gc_test_graph(under_test, seed, 1500, 4000,
                  (struct gc_options){.heap_limit = 64 * MIB, .nursery_bytes = MIB, .verify = seed % 2 == 0});
}

// A collection at every few allocations, each followed by a check of the whole heap.
static void test_random_programs_under_stress(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++)
    gc_test_graph(
        under_test, 100 + seed, 300, 900,
        (struct gc_options){.heap_limit = 16 * MIB, .nursery_bytes = MIB, .stress = seed, .verify = true});
}

static void test_large_graph(void **state) {
  (void)state;
  uint64_t nodes = gc_test_number("GC_TEST_NODES", 50000);
  gc_test_large_graph(under_test, (uint32_t)nodes,
                      (struct gc_options){.heap_limit = 64 * MIB + nodes * 256, .goal_percent = 50});
}

// Many collections of a heap that holds little: what is taken from the system stays bounded.
static void test_no_leak(void **state) {
  (void)state;
  struct gc_test test;
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 64 * MIB, .nursery_bytes = MIB});
  const struct gc_type *type = link_type(&test);
  GC_FRAME(test.thread, frame, 2);
  uint64_t rounds = gc_test_number("GC_TEST_COLLECTIONS", 10000), early = 0;
  for (uint64_t round = 0; round < rounds; round++) {
    frame.slot[0] = NULL;
    for (uint64_t i = 0; i < 20; i++) {
      struct link *link = gc_new(test.thread, type, sizeof *link);
      assert_non_null(link);
      gc_store(test.thread, link, (void **)&link->next, frame.slot[0]);
      link->number = i;
      frame.slot[0] = link;
    }
    assert_true(gc_collect(test.thread));
    if (round == 100)
      early = gc_figures_of(test.heap)->heap_peak_bytes;
  }
  const struct gc_figures *figures = gc_figures_of(test.heap);
  assert_true(figures->collections >= rounds);
  assert_true(figures->live_objects >= 20);
  assert_true(figures->live_objects <= (test.precise ? 20 : test.left_over + 2000));
  assert_true(figures->heap_peak_bytes <= early + MIB);
  uint64_t count = 0;
  for (const struct link *link = frame.slot[0]; link; link = link->next)
    assert_int_equal(link->number, 19 - count++);
  assert_int_equal(count, 20);
  GC_FRAME_END(test.thread, frame);
  gc_test_close(&test);
}

// Grows the list at *slot until an allocation fails; returns its length. A function of its own, so that the
// stack of the caller holds no part of the list besides *slot.
static __attribute__((noinline)) uint64_t grow_until_it_fails(struct gc_thread *thread,
                                                              const struct gc_type *type, void **slot) {
  for (uint64_t made = 0;; made++) {
    errno = 0;
    struct link *link = gc_new(thread, type, sizeof *link);
    if (!link)
      return made;
    link->number = made;
    gc_store(thread, link, (void **)&link->next, *slot);
    *slot = link;
    assert_true(made < MIB);
  }
}

// The list is whole; makes *slot lead to its older half.
static __attribute__((noinline)) void drop_newer_half(uint64_t made, void **slot) {
  uint64_t at = made;
  void *middle = NULL;
  for (struct link *link = *slot; link; link = link->next) {
    assert_int_equal(link->number, --at);
    if (at == made / 2)
      middle = link;
  }
  assert_int_equal(at, 0);
  *slot = middle;
}

// A list is grown until there is no memory: that allocation fails, the list is whole, and with half of it
// gone there is memory again.
static void test_exhaustion(void **state) {
  (void)state;
  struct gc_test test;
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 2 * MIB});
  const struct gc_type *type = link_type(&test);
  GC_FRAME(test.thread, frame, 1);
  uint64_t made = grow_until_it_fails(test.thread, type, &frame.slot[0]);
  assert_int_equal(errno, ENOMEM);
  assert_true(made > 2 * MIB / 2 / 64);
  assert_int_equal(under_test->check(test.heap), 0);
  drop_newer_half(made, &frame.slot[0]);
  gc_test_clear_stack();
  assert_true(gc_collect(test.thread));
  for (uint64_t i = 0; i < made / 4; i++) {
    struct link *link = gc_new(test.thread, type, sizeof *link);
    assert_non_null(link);
  }
  GC_FRAME_END(test.thread, frame);
  gc_test_close(&test);
}

// Requests that no heap can meet fail and change nothing.
static void test_impossible_requests(void **state) {
  (void)state;
  struct gc_test test;
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 16 * MIB});
  char why[256];
  const struct gc_type *bytes = gc_type_register(
      test.heap, &(struct gc_type_spec){.name = "bytes", .size = 1000, .array = true}, why, sizeof why);
  assert_non_null(bytes);
  const size_t counts[] = {20000, GC_MOST_COUNT, (size_t)GC_MOST_COUNT + 1, SIZE_MAX / 1000 + 1, SIZE_MAX};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    errno = 0;
    assert_null(gc_new_array(test.thread, bytes, counts[i]));
    assert_int_equal(errno, ENOMEM);
  }
  assert_non_null(gc_new_array(test.thread, bytes, 0));
  assert_non_null(gc_new_array(test.thread, bytes, 1000));
  gc_test_close(&test);
}

// Large arrays among small objects: contents survive collections, and their space is used again.
static void test_large_arrays(void **state) {
  (void)state;
  struct gc_test test;
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 64 * MIB});
  char why[256];
  const struct gc_type *words = gc_type_register(
      test.heap, &(struct gc_type_spec){.name = "words", .size = 8, .array = true}, why, sizeof why);
  assert_non_null(words);
  GC_FRAME(test.thread, frame, 2);
  for (uint64_t round = 0; round < 60; round++) {
    size_t count = 1000 + round * 7919 % 400000;
    uint64_t *array = gc_new_array(test.thread, words, count);
    assert_non_null(array);
    assert_true(array[0] == 0 && array[count / 2] == 0 && array[count - 1] == 0);
    array[0] = array[count - 1] = array[count / 2] = round;
    frame.slot[round % 2] = array;
    const uint64_t *before = frame.slot[(round + 1) % 2];
    if (before)
      assert_int_equal(before[0], round - 1);
  }
  GC_FRAME_END(test.thread, frame);
  gc_test_close(&test);
}

struct order {
  uint64_t last, count;
};

static void note_order(void *object, const struct gc_type *type, size_t count, void *argument) {
  struct order *order = argument;
  const struct link *link = object;
  assert_int_equal(count, 1);
  assert_string_equal(type->name, "link");
  assert_true(link->number > order->last);
  order->last = link->number;
  order->count++;
}

// Every third of many objects survives; in memory they stand as they were made.
static void test_order(void **state) {
  (void)state;
  if ((under_test->traits & GC_KEEPS_ORDER) == 0)
    skip();
  struct gc_test test;
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 16 * MIB});
  const struct gc_type *type = link_type(&test);
  GC_FRAME(test.thread, frame, 1);
  for (uint64_t i = 1; i <= 30000; i++) {
    struct link *link = gc_new(test.thread, type, sizeof *link);
    assert_non_null(link);
    link->number = i;
    if (i % 3 == 0) {
      gc_store(test.thread, link, (void **)&link->next, frame.slot[0]);
      frame.slot[0] = link;
    }
  }
  assert_true(gc_collect(test.thread));
  struct order order = {0, 0};
  under_test->each_object(test.heap, note_order, &order);
  assert_int_equal(order.count, 10000);
  GC_FRAME_END(test.thread, frame);
  gc_test_close(&test);
}

// Pauses and figures: each collection is timed and counted.
static void test_figures(void **state) {
  (void)state;
  struct gc_test test;
  uint64_t start = gc_now_ns();
  gc_test_open(&test, under_test, (struct gc_options){.heap_limit = 16 * MIB});
  const struct gc_type *type = link_type(&test);
  for (uint64_t i = 0; i < 1000; i++)
    assert_non_null(gc_new(test.thread, type, sizeof(struct link)));
  for (uint64_t i = 0; i < 5; i++)
    assert_true(gc_collect(test.thread));
  const struct gc_figures *figures = gc_figures_of(test.heap);
  assert_true(figures->collections >= 5);
  assert_true(figures->allocated_bytes >= 1000 * sizeof(struct link));
  assert_true(figures->heap_bytes <= figures->heap_peak_bytes && figures->heap_peak_bytes > 0);
  assert_true(test.heap->pause_count >= 5);
  uint64_t median = gc_pause_quantile(test.heap, 0.5), most = gc_pause_quantile(test.heap, 1);
  assert_true(median > 0 && median <= most);
  assert_int_equal(most, test.heap->pause_most_ns);
  uint64_t end = gc_now_ns();
  double utilisation = gc_least_utilisation(test.heap, end - start, start, end);
  assert_true(utilisation >= 0 && utilisation < 1);
  gc_test_close(&test);
}

int gc_conformance(const struct gc_collector *collector) {
  under_test = collector;
  // Exhaustion before the large graph: a process's only heap (Boehm's) keeps the size that it has grown to.
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_programs), cmocka_unit_test(test_random_programs_under_stress),
      cmocka_unit_test(test_exhaustion),      cmocka_unit_test(test_large_graph),
      cmocka_unit_test(test_no_leak),         cmocka_unit_test(test_impossible_requests),
      cmocka_unit_test(test_large_arrays),    cmocka_unit_test(test_order),
      cmocka_unit_test(test_figures),
  };
  return cmocka_run_group_tests_name(collector->name, tests, NULL, NULL);
}

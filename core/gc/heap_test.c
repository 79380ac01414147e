// Bad input is refused with a line that says what is wrong, and changes nothing; what the clocks say of
// pauses; the parts of the linear collectors that have sums to get wrong.
#include "core/gc/collector.h"
#include "core/gc/mark_bits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MIB  ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static char why[256];

static struct gc_heap *start(const struct gc_collector *collector) {
  struct gc_heap *heap =
      gc_heap_start(collector, &(struct gc_options){.heap_limit = 4 * MIB}, why, sizeof why);
  assert_non_null(heap);
  return heap;
}

static void says(const char *part) {
  if (!strstr(why, part))
    fail_msg("it said \"%s\", which does not have \"%s\"", why, part);
}

static void refuses_options(struct gc_options options, const char *part) {
  why[0] = '\0';
  assert_null(gc_heap_start(&gc_markcompact, &options, why, sizeof why));
  says(part);
}

static void test_options_out_of_range(void **state) {
  (void)state;
  refuses_options((struct gc_options){.heap_limit = MIB - 1}, "give 1 MiB to 1 TiB");
  refuses_options((struct gc_options){.heap_limit = SIZE_MAX}, "give 1 MiB to 1 TiB");
  refuses_options((struct gc_options){.goal_percent = 9}, "give 10 to 10000");
  refuses_options((struct gc_options){.goal_percent = 10001}, "give 10 to 10000");
  refuses_options((struct gc_options){.heap_limit = 4 * MIB, .nursery_bytes = MIB + 1},
                  "a quarter of the heap limit");
  refuses_options((struct gc_options){.nursery_bytes = 1000}, "give 64 KiB");
  refuses_options((struct gc_options){.heap_limit = (size_t)64 << 30}, "linear collectors take at most");
}

static void refuses_type(struct gc_heap *heap, struct gc_type_spec spec, const char *part) {
  why[0] = '\0';
  uint32_t before = heap->type_count;
  assert_null(gc_type_register(heap, &spec, why, sizeof why));
  says(part);
  says("\"bad\"");
  assert_int_equal(heap->type_count, before);
}

static void test_pointer_maps_outside_of_the_object(void **state) {
  (void)state;
  static const uint32_t outside[] = {0, 24}, across[] = {20}, falling[] = {8, 0}, twice[] = {8, 8},
                        odd[] = {4}, huge[] = {UINT32_MAX - 7};
  struct gc_heap *heap = start(&gc_markcompact);
  refuses_type(heap,
               (struct gc_type_spec){.name = "bad", .size = 24, .pointers = outside, .pointer_count = 2},
               "offset 24 of 24 bytes, which is outside of the object");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 24, .pointers = across, .pointer_count = 1},
               "not a multiple of 8");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 24, .pointers = huge, .pointer_count = 1},
               "outside of the object");
  refuses_type(heap,
               (struct gc_type_spec){.name = "bad", .size = 24, .pointers = falling, .pointer_count = 2},
               "does not rise");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 24, .pointers = twice, .pointer_count = 2},
               "does not rise");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 24, .pointers = odd, .pointer_count = 1},
               "not a multiple of 8");
  refuses_type(heap,
               (struct gc_type_spec){.name = "bad", .size = 20, .pointers = falling, .pointer_count = 1},
               "a size that is a multiple of 8");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 8, .pointer_count = 1}, "it needs a map");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 0}, "give 1 to 2^30");
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = (1u << 30) + 1}, "give 1 to 2^30");
  static const uint32_t last[] = {16};
  assert_non_null(gc_type_register(
      heap, &(struct gc_type_spec){.name = "good", .size = 24, .pointers = last, .pointer_count = 1}, why,
      sizeof why));
  gc_heap_stop(heap);
}

static void test_too_many_types(void **state) {
  (void)state;
  struct gc_heap *heap = start(&gc_copying);
  for (uint32_t i = 1; i < GC_MOST_TYPES; i++)
    assert_non_null(gc_type_register(heap, &(struct gc_type_spec){.name = "t", .size = 8}, why, sizeof why));
  refuses_type(heap, (struct gc_type_spec){.name = "bad", .size = 8}, "no further types");
  gc_heap_stop(heap);
}

static void refuses_roots(struct gc_heap *heap, void *from, size_t bytes, const char *part) {
  why[0] = '\0';
  size_t before = heap->root_count;
  assert_false(gc_roots_add(heap, from, bytes, why, sizeof why));
  says(part);
  assert_int_equal(heap->root_count, before);
}

static void test_root_ranges_that_are_not_mapped(void **state) {
  (void)state;
  struct gc_heap *heap = start(&gc_generational);
  unsigned char *pages = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(pages, MAP_FAILED);
  assert_int_equal(munmap(pages + PAGE, PAGE), 0);
  assert_int_equal(mprotect(pages + 3 * PAGE, PAGE, PROT_READ), 0);
  assert_int_equal(mprotect(pages + 4 * PAGE, PAGE, PROT_NONE), 0);
  refuses_roots(heap, pages + PAGE, 8, "not all of it is mapped");        // a hole
  refuses_roots(heap, pages, PAGE + 8, "not all of it is mapped");        // into the hole
  refuses_roots(heap, pages + PAGE, 2 * PAGE, "not all of it is mapped"); // out of it
  refuses_roots(heap, pages + 3 * PAGE, 8, "not all of it is mapped");    // cannot be written
  refuses_roots(heap, pages + 4 * PAGE, 8, "not all of it is mapped");    // cannot be read
  refuses_roots(heap, NULL, 8, "not all of it is mapped");
  refuses_roots(heap, (void *)(UINTPTR_MAX - 7), 16, "not all of it is mapped");
  refuses_roots(heap, pages + 4, 8, "multiples of 8");
  refuses_roots(heap, pages, 12, "multiples of 8");
  refuses_roots(heap, pages, 0, "multiples of 8");
  assert_true(gc_roots_add(heap, pages, PAGE, why, sizeof why));
  assert_true(gc_roots_add(heap, pages + 2 * PAGE, PAGE, why, sizeof why));
  refuses_roots(heap, pages + PAGE - 8, 8, "overlaps");
  assert_false(gc_roots_remove(heap, pages + 8));
  assert_true(gc_roots_remove(heap, pages));
  assert_true(gc_roots_add(heap, pages + PAGE - 8, 8, why, sizeof why));
  gc_heap_stop(heap);
  assert_int_equal(munmap(pages, PAGE), 0);
  assert_int_equal(munmap(pages + 2 * PAGE, 3 * PAGE), 0);
}

static void test_threads_that_do_not_fit(void **state) {
  (void)state;
  struct gc_heap *heap = start(&gc_markcompact);
  assert_null(gc_thread_attach_as(heap, true, why, sizeof why));
  says("compiled with linked frames");
  struct gc_thread *thread = gc_thread_attach(heap, why, sizeof why);
  assert_non_null(thread);
  assert_null(gc_thread_attach(heap, why, sizeof why));
  says("at most 1 threads");
  gc_thread_detach(thread);
  gc_heap_stop(heap);
}

// The clocks, with pauses set by hand: 2 ms at 10, 1 ms at 13, 4 ms at 50, in a run from 0 to 100 ms.
static void test_pauses(void **state) {
  (void)state;
  const uint64_t ms = 1000000;
  struct gc_heap *heap = start(&gc_markcompact);
  assert_int_equal(gc_pause_quantile(heap, 0.5), 0);
  assert_true(gc_least_utilisation(heap, 10 * ms, 0, 100 * ms) == 1);
  heap->pauses[0] = (struct gc_pause){10 * ms, 2 * ms};
  heap->pauses[1] = (struct gc_pause){13 * ms, 1 * ms};
  heap->pauses[2] = (struct gc_pause){50 * ms, 4 * ms};
  heap->pause_count = 3;
  assert_int_equal(gc_pause_quantile(heap, 0.01), 1 * ms);
  assert_int_equal(gc_pause_quantile(heap, 0.5), 2 * ms);
  assert_int_equal(gc_pause_quantile(heap, 2.0 / 3), 2 * ms);
  assert_int_equal(gc_pause_quantile(heap, 0.99), 4 * ms);
  assert_float_equal(gc_least_utilisation(heap, 4 * ms, 0, 100 * ms), 0, 1e-9);
  assert_float_equal(gc_least_utilisation(heap, 5 * ms, 0, 100 * ms), 0.2, 1e-9);
  assert_float_equal(gc_least_utilisation(heap, 100 * ms, 0, 100 * ms), 0.93, 1e-9);
  heap->pause_count = 2; // both fit into a window of 4 ms
  assert_float_equal(gc_least_utilisation(heap, 4 * ms, 0, 100 * ms), 0.25, 1e-9);
  assert_float_equal(gc_least_utilisation(heap, 2 * ms, 0, 100 * ms), 0, 1e-9);
  gc_heap_stop(heap);
}

// The bitmap against a plain array.
static void test_mark_bits(void **state) {
  (void)state;
  enum { WORDS = 1000 };
  bool model[WORDS] = {false};
  struct mark_bits marks;
  void *memory = calloc(1, mark_bits_bytes(WORDS));
  assert_non_null(memory);
  mark_bits_open(&marks, memory, WORDS);
  const size_t runs[][2] = {{0, 1}, {3, 61}, {64, 64}, {130, 200}, {383, 2}, {450, 129}, {999, 1}};
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    mark_bits_set(&marks, runs[i][0], runs[i][1]);
    for (size_t word = runs[i][0]; word < runs[i][0] + runs[i][1]; word++)
      model[word] = true;
  }
  size_t total = mark_bits_sum(&marks, 0, WORDS, 0), rank = 0;
  for (size_t word = 0; word < WORDS; word++) {
    assert_int_equal(mark_bits_get(&marks, word), model[word]);
    assert_int_equal(mark_bits_rank(&marks, word), rank);
    size_t next = word;
    while (next < WORDS && !model[next])
      next++;
    assert_int_equal(mark_bits_next(&marks, word, WORDS), next);
    rank += model[word];
  }
  assert_int_equal(total, rank);
  assert_int_equal(mark_bits_sum(&marks, 512, WORDS, 7), 7 + (579 - 512) + 1);
  mark_bits_clear(&marks, 512, WORDS);
  assert_int_equal(mark_bits_next(&marks, 512, WORDS), WORDS);
  assert_true(mark_bits_get(&marks, 511));
  free(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_options_out_of_range),
      cmocka_unit_test(test_pointer_maps_outside_of_the_object),
      cmocka_unit_test(test_too_many_types),
      cmocka_unit_test(test_root_ranges_that_are_not_mapped),
      cmocka_unit_test(test_threads_that_do_not_fit),
      cmocka_unit_test(test_pauses),
      cmocka_unit_test(test_mark_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

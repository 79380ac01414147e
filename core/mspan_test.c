// Spans: division, set-up, remote frees, lists.
#include "core/errors.h"
#include "core/mspan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BASE = 1 << 30 }; // an address that nothing is read from

static struct mspan *new_span(unsigned size_class, bool fresh) {
  size_t size = sizeof(struct mspan) + (size_t)SPAN_CELLS_MAX;
  struct mspan *span = aligned_alloc(GM_CACHE_LINE, size);
  assert_non_null(span);
  mspan_init_small(span, BASE, make_span_class(size_class, true), fresh);
  return span;
}

static void test_divide_accepts_exact_starts_only(void **state) {
  (void)state;
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    struct mspan *span = new_span(class, true);
    uint32_t size = size_class_size[class];
    uint32_t bytes = size_class_pages[class] * (uint32_t)GM_PAGE_SIZE;
    for (uint32_t offset = 0; offset < bytes; offset++) {
      uint64_t index = mspan_divide(span, (uintptr_t)BASE + offset);
      if (offset % size == 0 && offset / size < span->object_count)
        assert_int_equal(index, offset / size);
      else
        assert_true(index >= span->object_count);
    }
    assert_true(mspan_divide(span, (uintptr_t)BASE - size) >= span->object_count);
    assert_true(mspan_divide(span, UINTPTR_MAX) >= span->object_count);
    free(span);
  }
}

static void test_large_span_has_one_start(void **state) {
  (void)state;
  struct mspan *span = new_span(1, true);
  for (size_t npages = 1; npages < 3000; npages = npages * 3 + 1) {
    mspan_init_large(span, BASE, npages, make_span_class(0, true), false);
    assert_int_equal(mspan_divide(span, BASE), 0);
    for (uintptr_t offset = 8; offset < npages << GM_PAGE_SHIFT; offset += 8184)
      assert_true(mspan_divide(span, BASE + offset) >= 1);
    assert_true(span->needs_zero);
  }
  free(span);
}

static void test_new_span_is_free(void **state) {
  (void)state;
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    struct mspan *span = new_span(class, class % 2 == 0);
    uint32_t bits = 0;
    for (uint32_t g = 0; g < mspan_group_count(span); g++) {
      assert_true((atomic_load(&span->summary) >> g & 1) == 1);
      bits += (uint32_t)__builtin_popcountll(mspan_free_bits(span, g));
    }
    assert_int_equal(bits, span->object_count);
    assert_int_equal(atomic_load(&span->taken_count), 0);
    assert_int_equal(span->fresh, class % 2 == 0 ? atomic_load(&span->summary) : 0);
    assert_true(mspan_is_releasable(span));
    free(span);
  }
}

static void test_object_of(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(112), true);
  assert_int_equal(mspan_object_of(span, BASE), BASE);
  assert_int_equal(mspan_object_of(span, BASE + 223), BASE + 112);
  assert_int_equal(mspan_object_of(span, BASE + 65535), 0); // the tail
  free(span);
}

static void test_free_bits(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(16), true);
  uint64_t expected = 0x8000000180f0a005;
  for (unsigned i = 0; i < 64; i++)
    span->states[64 + i] = (expected >> i & 1) != 0 ? OBJECT_FREE : (uint8_t)(i % 3);
  assert_int_equal(mspan_free_bits(span, 1), expected);
  assert_int_equal(mspan_free_bits(span, 0), UINT64_MAX);
  free(span);
}

// Takes all objects of the span away, as an owner that handed them out.
static void take_all(struct mspan *span) {
  memset(span->states, OBJECT_LIVE, span->object_count);
  atomic_store(&span->summary, 0);
  atomic_store(&span->taken_count, (uint32_t)span->object_count);
}

static void announce(struct mspan *span, uint64_t index) {
  atomic_fetch_add(&span->remote, (uint64_t)1 << 32);
  atomic_fetch_or(&span->remote, (uint64_t)1 << (index / 128));
}

static void test_remote_frees_are_applied(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(16), true);
  take_all(span);
  const uint64_t freed[] = {0, 2, (uint64_t)7 * 64};
  for (int i = 0; i < 3; i++) {
    assert_true(mspan_free_remotely(span, freed[i]));
    assert_false(mspan_free_remotely(span, freed[i])); // a double free
    announce(span, freed[i]);
  }
  mspan_apply_remote(span);
  assert_int_equal(mspan_free_bits(span, 0), 5);
  assert_int_equal(mspan_free_bits(span, 7), 1);
  assert_int_equal(atomic_load(&span->summary), 1 | 1 << 7);
  assert_int_equal(atomic_load(&span->taken_count), span->object_count - 3);
  assert_int_equal(atomic_load(&span->remote), 0);
  assert_int_equal(span->remote_debt, 0);
  free(span);
}

static void test_debt_keeps_a_span(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(8192), true);
  take_all(span);
  for (uint64_t i = 0; i < span->object_count; i++)
    assert_true(mspan_free_remotely(span, i));
  for (uint64_t i = 1; i < span->object_count; i++)
    announce(span, i); // the first thread has not announced its free yet
  mspan_apply_remote(span);
  assert_int_equal(atomic_load(&span->taken_count), 0);
  assert_int_equal(span->remote_debt, 1);
  assert_false(mspan_is_releasable(span));
  announce(span, 0);
  assert_false(mspan_is_releasable(span));
  mspan_apply_remote(span);
  assert_true(mspan_is_releasable(span));
  free(span);
}

// The owner and another thread free an object in the same moment: both saw it live, the owner's state covers
// the other's, and the announcement tells.
static void test_free_by_two_threads_at_once(void **state) {
  (void)state;
  errors_set_action(ERROR_REPORT);
  struct mspan *span = new_span(size_class_of(64), true);
  take_all(span);
  assert_true(mspan_free_remotely(span, 3));
  mspan_set_state(&span->states[3], OBJECT_CACHED);
  announce(span, 3);
  uint64_t before = errors_count();
  mspan_apply_remote(span);
  assert_int_equal(errors_count() - before, 1);
  assert_int_equal(span->states[3], OBJECT_CACHED);
  assert_int_equal(atomic_load(&span->taken_count), span->object_count);
  assert_int_equal(span->remote_debt, 0);
  errors_set_action(ERROR_ABORT);
  free(span);
}

static void test_lists(void **state) {
  (void)state;
  struct mspan_list list = {NULL, NULL};
  struct mspan *spans[3];
  for (int i = 0; i < 3; i++) {
    spans[i] = new_span(5, true);
    mspan_list_append(&list, spans[i]);
  }
  assert_ptr_equal(list.first, spans[0]);
  assert_ptr_equal(list.last, spans[2]);
  mspan_list_remove(&list, spans[1]);
  assert_ptr_equal(list.first->next, spans[2]);
  mspan_list_remove(&list, spans[0]);
  assert_ptr_equal(list.first, spans[2]);
  mspan_list_remove(&list, spans[2]);
  assert_null(list.first);
  assert_null(list.last);
  for (int i = 0; i < 3; i++)
    free(spans[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_divide_accepts_exact_starts_only),
      cmocka_unit_test(test_large_span_has_one_start),
      cmocka_unit_test(test_new_span_is_free),
      cmocka_unit_test(test_object_of),
      cmocka_unit_test(test_free_bits),
      cmocka_unit_test(test_remote_frees_are_applied),
      cmocka_unit_test(test_debt_keeps_a_span),
      cmocka_unit_test(test_free_by_two_threads_at_once),
      cmocka_unit_test(test_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

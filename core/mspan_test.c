// Spans: division, set-up, remote frees, lists.
#include "core/errors.h"
#include "core/mspan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BASE = 1 << 30 }; // an address that nothing is read from

static struct mspan *new_span(unsigned size_class, bool fresh) {
  size_t size = sizeof(struct mspan) + SPAN_WORDS_MAX * sizeof(struct span_word);
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
    for (uint32_t w = 0; w < mspan_word_count(span); w++) {
      assert_true((atomic_load(&span->summary) >> w & 1) == 1);
      bits += (uint32_t)__builtin_popcountll(atomic_load(&span->words[w].free));
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

// Takes all objects of the span away, as an owner that handed them out.
static void take_all(struct mspan *span) {
  for (uint32_t w = 0; w < mspan_word_count(span); w++)
    atomic_store(&span->words[w].free, 0);
  atomic_store(&span->summary, 0);
  atomic_store(&span->taken_count, span->object_count);
}

static void test_remote_frees_are_applied(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(64), true);
  take_all(span);
  atomic_fetch_or(&span->words[0].remote, 5);
  atomic_fetch_or(&span->words[7].remote, 1);
  atomic_fetch_add(&span->remote_count, 3);
  mspan_apply_remote(span);
  assert_int_equal(atomic_load(&span->words[0].free), 5);
  assert_int_equal(atomic_load(&span->words[7].free), 1);
  assert_int_equal(atomic_load(&span->summary), 1 | 1 << 7);
  assert_int_equal(atomic_load(&span->taken_count), span->object_count - 3);
  assert_int_equal(atomic_load(&span->remote_count), 0);
  assert_int_equal(span->remote_debt, 0);
  free(span);
}

static void test_debt_keeps_a_span(void **state) {
  (void)state;
  struct mspan *span = new_span(size_class_of(8192), true);
  take_all(span);
  atomic_store(&span->words[0].remote, 0xff);
  atomic_store(&span->remote_count, 7); // the eighth thread has set its bit and not announced it
  mspan_apply_remote(span);
  assert_int_equal(atomic_load(&span->taken_count), 0);
  assert_int_equal(span->remote_debt, 1);
  assert_false(mspan_is_releasable(span));
  atomic_fetch_add(&span->remote_count, 1);
  assert_false(mspan_is_releasable(span));
  mspan_apply_remote(span);
  assert_true(mspan_is_releasable(span));
  free(span);
}

static void test_remote_double_frees_are_counted(void **state) {
  (void)state;
  errors_set_action(ERROR_REPORT);
  struct mspan *span = new_span(size_class_of(64), true);
  take_all(span);
  atomic_store(&span->words[0].free, 1);
  atomic_store(&span->summary, 1);
  atomic_store(&span->taken_count, span->object_count - 1);
  atomic_store(&span->words[2].claimed, 4);
  atomic_store(&span->words[0].remote, 3);  // object 0 is free already
  atomic_store(&span->words[2].remote, 12); // object 130 is in the slot
  atomic_store(&span->remote_count, 4);
  uint64_t before = errors_count();
  mspan_apply_remote(span);
  assert_int_equal(errors_count() - before, 2);
  assert_int_equal(atomic_load(&span->words[0].free), 3);
  assert_int_equal(atomic_load(&span->words[2].free), 8);
  assert_int_equal(atomic_load(&span->taken_count), span->object_count - 3);
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
      cmocka_unit_test(test_remote_frees_are_applied),
      cmocka_unit_test(test_debt_keeps_a_span),
      cmocka_unit_test(test_remote_double_frees_are_counted),
      cmocka_unit_test(test_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

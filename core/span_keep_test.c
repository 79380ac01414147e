// Empty spans that threads keep: they serve the next mallocs of their class, and the page heap gets them when it asks.
#include "core/span_keep.h"

#include "core/child_test.h"
#include "core/gomalloc.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BLOCKS = 4000, SIZE = 64 }; // a quarter of a MiB: too little for the scavenger's thread
enum { PAGES = BLOCKS * SIZE / (int)GM_PAGE_SIZE };

static void *blocks[BLOCKS];

static void fill(size_t size) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i] = gm_malloc(size);
    assert_non_null(blocks[i]);
  }
}

static void empty(void) {
  for (unsigned i = 0; i < BLOCKS; i++)
    gm_free(blocks[i]);
}

static struct span_keep *own(void) {
  return &mcache_current->keep;
}

static size_t own_pages(void) {
  return atomic_load(&own()->pages);
}

static void check_sound(void) {
  assert_int_equal(gm_check_heap(), 0);
}

static int begin(void **state) {
  (void)state;
  span_keep_open(true);
  fill(SIZE);
  empty();
  return 0;
}

static int end(void **state) {
  (void)state;
  span_keep_open(false);
  (void)gm_purge();
  return own_pages() != 0 || span_keep_pages() >= SPAN_KEEP_UNTOLD ? -1 : gm_check_heap();
}

static void test_kept_spans_serve_again(void **state) {
  (void)state;
  assert_in_range(own_pages(), PAGES / 2, PAGES + 2);
  check_sound();
  size_t spans = gm_heap.span_count;
  fill(SIZE);
  assert_int_equal(gm_heap.span_count, spans);
  assert_int_equal(own_pages(), 0);
  check_sound();
  empty();
  assert_int_equal(gm_heap.span_count, spans);
}

static void test_closed_keeps_take_nothing(void **state) {
  (void)state;
  fill(SIZE);
  span_keep_open(false);
  empty();
  assert_int_equal(own_pages(), 0);
  span_keep_open(true);
  assert_int_equal(gm_set_option("memlimit", "1GiB"), 0);
  fill(SIZE);
  empty();
  assert_int_equal(own_pages(), 0);
  assert_int_equal(gm_set_option("memlimit", "none"), 0);
}

static size_t taken(size_t most, enum span_keep_which which) {
  mheap_lock();
  size_t pages = mheap_take_kept(most, which);
  mheap_unlock();
  return pages;
}

static void begin_tick(void) {
  mheap_lock();
  span_keep_begin_tick();
  mheap_unlock();
}

// What was not needed since the last tick is cold, and nothing else.
static void test_cold_spans(void **state) {
  (void)state;
  size_t kept = own_pages();
  assert_int_equal(taken(SIZE_MAX, KEPT_COLD), 0); // it came during this tick
  begin_tick();
  void *few[BLOCKS / 4];
  for (unsigned i = 0; i < BLOCKS / 4; i++)
    few[i] = gm_malloc(SIZE);
  size_t untouched = own_pages();
  assert_in_range(untouched, kept / 2, kept - 1);
  for (unsigned i = 0; i < BLOCKS / 4; i++)
    gm_free(few[i]);
  assert_int_equal(taken(SIZE_MAX, KEPT_COLD), untouched);
  assert_int_equal(taken(SIZE_MAX, KEPT_COLD), 0);
  assert_in_range(own_pages(), 1, kept - untouched);
  check_sound();
  begin_tick();
  assert_in_range(taken(3, KEPT_COLD), 3, 4);
}

// A class that grows gets what another one of the thread keeps, before memory that was never used.
static void test_own_spans_come_before_new_memory(void **state) {
  (void)state;
  mheap_lock();
  page_cache_flush();
  (void)page_alloc_scavenge(SIZE_MAX); // nothing but what is kept is resident
  size_t scavenged = page_alloc_counts().scavenged;
  mheap_unlock();
  size_t kept = own_pages();
  for (unsigned i = 0; i < BLOCKS / 4; i++)
    blocks[i] = gm_malloc((size_t)2 * SIZE);
  assert_int_equal(own_pages(), 0);
  assert_int_equal(page_alloc_counts().scavenged, scavenged);
  assert_true(kept > PAGES / 2);
  for (unsigned i = 0; i < BLOCKS / 4; i++)
    gm_free(blocks[i]);
}

static void test_purge_takes_all(void **state) {
  (void)state;
  assert_true(own_pages() > 0);
  assert_true(gm_purge() > 0);
  assert_int_equal(own_pages(), 0);
}

static void test_freed_twice_while_kept(void **state) {
  (void)state;
  assert_int_equal(gm_set_error_action(GM_ERROR_REPORT), 0);
  uint64_t errors = gm_error_count();
  for (unsigned i = 0; i < BLOCKS; i += 1000)
    gm_free(blocks[i]);
  assert_int_equal(gm_error_count() - errors, BLOCKS / 1000);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
  check_sound();
}

// ---- Several threads

static _Atomic int step;
static _Atomic size_t pages_of_other;

static void wait_for(int wanted) {
  while (atomic_load(&step) != wanted)
    (void)usleep(1000);
}

static void *other_thread(void *unused) {
  void *mine[BLOCKS / 4];
  for (int round = 0; round < 2; round++) {
    for (unsigned i = 0; i < BLOCKS / 4; i++)
      mine[i] = gm_malloc(SIZE);
    for (unsigned i = 0; i < BLOCKS / 4; i++)
      gm_free(mine[i]);
    atomic_store(&pages_of_other, own_pages());
    atomic_store(&step, 2 * round + 1);
    wait_for(2 * round + 2);
  }
  return unused;
}

static void test_others_take_what_an_idle_thread_keeps(void **state) {
  (void)state;
  (void)gm_purge();
  pthread_t thread;
  atomic_store(&step, 0);
  assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
  wait_for(1);
  size_t its = atomic_load(&pages_of_other);
  assert_true(its > 0);
  assert_int_equal(span_keep_count_pages(), its);
  assert_int_equal(taken(SIZE_MAX, KEPT_OWN), 0);
  assert_int_equal(taken(SIZE_MAX, KEPT_ALL), its);
  check_sound();
  atomic_store(&step, 2);
  wait_for(3); // it went on
  assert_int_equal(span_keep_count_pages(), atomic_load(&pages_of_other));
  atomic_store(&step, 4);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(span_keep_count_pages(), 0); // an ended thread keeps nothing
  check_sound();
}

// A child has the scavenger's thread no more, and nothing of threads that are not there.
static void look_in_child(void) {
  if (span_keep_count_pages() != 0 || gm_check_heap() != 0)
    _exit(2);
  fill(SIZE);
  empty();
  if (gm_check_heap() != 0 || own_pages() != 0)
    _exit(3);
}

static void test_fork_keeps_nothing(void **state) {
  (void)state;
  pthread_t thread;
  atomic_store(&step, 0);
  assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
  wait_for(1);
  char output[200];
  assert_true(own_pages() > 0);
  assert_int_equal(run_child(look_in_child, output, sizeof output), 0);
  assert_true(own_pages() > 0);
  atomic_store(&step, 2);
  wait_for(3);
  atomic_store(&step, 4);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_kept_spans_serve_again),
      TEST(test_closed_keeps_take_nothing),
      TEST(test_cold_spans),
      TEST(test_own_spans_come_before_new_memory),
      TEST(test_purge_takes_all),
      TEST(test_freed_twice_while_kept),
      TEST(test_others_take_what_an_idle_thread_keeps),
      TEST(test_fork_keeps_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

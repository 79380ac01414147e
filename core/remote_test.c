// Frees by other threads while the owner does not allocate: the pages go back without it, and nothing else
// changes.
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/remote.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCKS = 60000, SIZE = 160, MIB = 1 << 20 };

static void *blocks[BLOCKS];

static void allocate(size_t count) {
  for (size_t i = 0; i < count; i++) {
    blocks[i] = gm_malloc(SIZE);
    assert_non_null(blocks[i]);
    memset(blocks[i], (int)(i & 0xff), SIZE);
  }
}

static void *free_all(void *argument) {
  gm_free(gm_malloc(SIZE)); // an mcache, so that this thread could adopt spans
  for (size_t i = 0; i < BLOCKS; i++) {
    const unsigned char *bytes = blocks[i];
    if (bytes[0] != (i & 0xff) || bytes[SIZE - 1] != (i & 0xff))
      abort();
    gm_free(blocks[i]);
  }
  return argument;
}

static void in_thread(void *(*run)(void *), void *argument) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run, argument), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

static uint64_t heap_in_use(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  return stats.HeapInuse;
}

// This thread sleeps while another one frees what it allocated.
static void test_pages_go_back_without_the_owner(void **state) {
  (void)state;
  for (int round = 0; round < 4; round++) {
    allocate(BLOCKS);
    uint64_t full = heap_in_use();
    assert_true(full > (uint64_t)BLOCKS * SIZE);
    in_thread(free_all, NULL);
    // At most 32 spans of 16 KiB wait for the owner, and what it keeps itself.
    assert_true(heap_in_use() < 3 * (uint64_t)MIB);
    assert_int_equal(gm_check_heap(), 0);
    (void)gm_purge(); // the owner looks
    assert_true(heap_in_use() < (uint64_t)MIB);
    assert_int_equal(gm_check_heap(), 0);
  }
}

static void *allocate_and_wait(void *argument) {
  allocate(BLOCKS);
  in_thread(free_all, NULL);
  return argument;
}

// The owner ends with hollow spans in its lists; their structs are used again.
static void test_owner_ends(void **state) {
  (void)state;
  struct gm_stats early = {0};
  for (int round = 0; round < 12; round++) {
    in_thread(allocate_and_wait, NULL);
    assert_int_equal(gm_check_heap(), 0);
    if (round == 1)
      gm_stats_read(&early);
  }
  struct gm_stats late;
  gm_stats_read(&late);
  assert_int_equal(late.MetadataSys, early.MetadataSys);
  assert_true(late.HeapInuse < early.HeapInuse + MIB);
}

// Objects of pages that were taken are freed objects like others.
static void test_second_free_is_found(void **state) {
  (void)state;
  allocate(BLOCKS);
  in_thread(free_all, NULL);
  assert_int_equal(gm_set_error_action(GM_ERROR_REPORT), 0);
  uint64_t before = gm_error_count();
  for (size_t i = 0; i < BLOCKS; i += 1000)
    gm_free(blocks[i]);
  assert_int_equal(gm_error_count() - before, BLOCKS / 1000);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
  assert_int_equal(gm_check_heap(), 0);
}

// The owner freed an object in the moment in which another thread announced it: as many announcements as objects,
// but one object lives.
static void *announce_too_often(void *argument) {
  struct mspan *span = argument;
  for (uint64_t i = 1; i < span->object_count; i++) {
    assert_true(mspan_free_remotely(span, i));
    remote_announce(span, i);
  }
  remote_announce(span, 1);
  return argument;
}

static void test_live_object_keeps_pages(void **state) {
  (void)state;
  struct mcache *cache = mcache_current;
  size_t size = 1408; // of which nothing is in use yet: the span is full, and no object on a stack
  uintptr_t first = (uintptr_t)gm_malloc(size);
  struct mspan *span = heap_arena_span_of(first);
  assert_int_equal(first, span->start);
  for (uint64_t i = 1; i < span->object_count; i++)
    assert_ptr_equal(heap_arena_span_of((uintptr_t)gm_malloc(size)), span);
  atomic_store(&cache->backlog, 1000);
  in_thread(announce_too_often, span);
  assert_ptr_equal(heap_arena_span_of(first), span);
  assert_int_equal(gm_set_error_action(GM_ERROR_REPORT), 0);
  uint64_t before = gm_error_count();
  (void)gm_purge();
  assert_int_equal(gm_error_count() - before, 1);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
  gm_free((void *)first);
  assert_int_equal(gm_check_heap(), 0);
}

static pthread_barrier_t barrier;

static void *stay(void *argument) {
  gm_free(gm_malloc(SIZE));
  (void)pthread_barrier_wait(&barrier);
  (void)pthread_barrier_wait(&barrier);
  return argument;
}

// In the child, where the queue of another thread's frees is made anew from the spans that have pages.
static int use_heap_in_child(void) {
  if (gm_check_heap() != 0)
    return 1;
  allocate(BLOCKS / 2); // so little that no background thread starts: ThreadSanitizer forbids it here
  for (size_t i = 0; i < BLOCKS / 2; i++)
    gm_free(blocks[i]);
  (void)gm_purge();
  return gm_check_heap() == 0 ? 7 : 2;
}

static void test_fork_with_hollow_spans(void **state) {
  (void)state;
  pthread_t thread;
  assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
  assert_int_equal(pthread_create(&thread, NULL, stay, NULL), 0);
  (void)pthread_barrier_wait(&barrier);
  allocate(BLOCKS);
  in_thread(free_all, NULL);
  pid_t child = fork();
  if (child == 0)
    _exit(use_heap_in_child());
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 7);
  (void)pthread_barrier_wait(&barrier);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(pthread_barrier_destroy(&barrier), 0);
}

// A heap that goes around a ring of threads, as in the workload blowup, but all of them work at once: each fills a
// crate and empties one of another thread, whose owner may be asleep, draining or ending.
enum { CRATES = 6, CRATE = 9000, TURNS = 40, THREADS = 4 };

struct crate {
  size_t size;
  void *blocks[CRATE];
};

static _Atomic(struct crate *) crates[CRATES];
static _Atomic bool damaged;

static void empty_crate(struct crate *crate) {
  for (size_t i = 0; i < CRATE; i++) {
    const unsigned char *bytes = crate->blocks[i];
    if (bytes[0] != (unsigned char)(i + crate->size) || bytes[crate->size - 1] != bytes[0])
      atomic_store(&damaged, true);
    gm_free(crate->blocks[i]);
  }
  free(crate);
}

static struct crate *fill_crate(size_t size) {
  struct crate *crate = malloc(sizeof *crate);
  if (crate == NULL)
    abort();
  crate->size = size;
  for (size_t i = 0; i < CRATE; i++) {
    crate->blocks[i] = gm_malloc(size);
    memset(crate->blocks[i], (int)((i + size) & 0xff), size);
  }
  return crate;
}

static void *work(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15;
  for (int turn = 0; turn < TURNS; turn++) {
    random = random * 6364136223846793005 + 1442695040888963407;
    struct crate *mine = fill_crate((size_t)16 << (random >> 62));
    struct crate *theirs =
        atomic_exchange_explicit(&crates[(random >> 33) % CRATES], mine, memory_order_acq_rel);
    if (theirs != NULL)
      empty_crate(theirs);
  }
  return NULL;
}

static void test_ring(void **state) {
  (void)state;
  for (int round = 0; round < 3; round++) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
      assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(gm_check_heap(), 0);
  }
  for (int i = 0; i < CRATES; i++)
    if (crates[i] != NULL)
      empty_crate(crates[i]);
  assert_false(atomic_load(&damaged));
  (void)gm_purge();
  assert_int_equal(gm_check_heap(), 0);
  struct gm_stats stats;
  gm_stats_read(&stats);
  assert_int_equal(stats.HeapAlloc, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pages_go_back_without_the_owner),
      cmocka_unit_test(test_owner_ends),
      cmocka_unit_test(test_second_free_is_found),
      cmocka_unit_test(test_live_object_keeps_pages),
      cmocka_unit_test(test_fork_with_hollow_spans),
      cmocka_unit_test(test_ring),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

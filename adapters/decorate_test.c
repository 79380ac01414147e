// decorate_test.c: the decorators forward every operation with its arguments and result, leave out what is
// not there, and record what happened; the clock they use is sound. That a decorated allocator keeps the
// whole contract is shown by the conformance test over it (decorate_conformance.c).
#include "adapters/decorate.h"
#include "adapters/decorate_sizes.h"
#include "adapters/ticks.h"

#include "adapters/registry.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// An allocator that notes how it was called.
static struct {
  const char *operation;
  void *block;
  size_t a, b;
} last;
static unsigned char served[64];

static void *note(const char *operation, void *block, size_t a, size_t b) {
  last.operation = operation;
  last.block = block;
  last.a = a;
  last.b = b;
  return served;
}

static void *fake_malloc(size_t size) {
  return note("malloc", NULL, size, 0);
}
static void fake_free(void *block) {
  note("free", block, 0, 0);
}
static void *fake_calloc(size_t count, size_t size) {
  return note("calloc", NULL, count, size);
}
static void *fake_realloc(void *block, size_t size) {
  return note("realloc", block, size, 0);
}
static void *fake_aligned_alloc(size_t alignment, size_t size) {
  return note("aligned_alloc", NULL, alignment, size);
}
static int fake_posix_memalign(void **block, size_t alignment, size_t size) {
  note("posix_memalign", NULL, alignment, size);
  *block = served;
  return EINVAL;
}
static size_t fake_usable_size(void *block) {
  return block ? 100 : 0; // says nothing: decorators ask for it on their own
}
static void fake_free_sized(void *block, size_t size) {
  note("free_sized", block, size, 0);
}
static void fake_free_aligned_sized(void *block, size_t alignment, size_t size) {
  note("free_aligned_sized", block, alignment, size);
}
static void *fake_reallocarray(void *block, size_t count, size_t size) {
  return note("reallocarray", block, count, size);
}
static bool fake_purge(void) {
  return true;
}

static const ha_alloc full = {
    .name = "full",
    .version = "7",
    .library = "/lib/full.so",
    .traits = HA_TRAIT_EXAMPLE,
    .malloc = fake_malloc,
    .free = fake_free,
    .calloc = fake_calloc,
    .realloc = fake_realloc,
    .aligned_alloc = fake_aligned_alloc,
    .posix_memalign = fake_posix_memalign,
    .usable_size = fake_usable_size,
    .free_sized = fake_free_sized,
    .free_aligned_sized = fake_free_aligned_sized,
    .reallocarray = fake_reallocarray,
    .purge = fake_purge,
};

static const ha_alloc bare = {
    .name = "bare",
    .malloc = fake_malloc,
    .free = fake_free,
    .calloc = fake_calloc,
    .realloc = fake_realloc,
    .usable_size = fake_usable_size,
};

static ha_counts counts[HA_DECORATED_THREADS];
static ha_latency latency;

static const ha_alloc *counted(const ha_alloc *inner) {
  memset(counts, 0, sizeof counts);
  const ha_alloc *decorated = ha_decorate_counting(inner, counts, true);
  assert_non_null(decorated);
  return decorated;
}

static const ha_alloc *timed(const ha_alloc *inner) {
  ha_latency_clock clock;
  const ha_alloc *decorated = ha_decorate_latency(inner, &clock);
  assert_non_null(decorated);
  memset(&latency, 0, sizeof latency);
  return decorated;
}

static void was_called(const char *operation, const void *block, size_t a, size_t b) {
  assert_string_equal(last.operation, operation);
  assert_ptr_equal(last.block, block);
  assert_int_equal(last.a, a);
  assert_int_equal(last.b, b);
}

static void forwards_everything(const ha_alloc *d) {
  int block;
  void *out = NULL;
  assert_ptr_equal(d->malloc(11), served);
  was_called("malloc", NULL, 11, 0);
  assert_ptr_equal(d->calloc(3, 5), served);
  was_called("calloc", NULL, 3, 5);
  assert_ptr_equal(d->realloc(&block, 12), served);
  was_called("realloc", &block, 12, 0);
  assert_ptr_equal(d->aligned_alloc(64, 128), served);
  was_called("aligned_alloc", NULL, 64, 128);
  assert_int_equal(d->posix_memalign(&out, 32, 96), EINVAL);
  was_called("posix_memalign", NULL, 32, 96);
  assert_ptr_equal(out, served);
  assert_ptr_equal(d->reallocarray(&block, 7, 9), served);
  was_called("reallocarray", &block, 7, 9);
  d->free(&block);
  was_called("free", &block, 0, 0);
  d->free_sized(&block, 21);
  was_called("free_sized", &block, 21, 0);
  d->free_aligned_sized(&block, 16, 48);
  was_called("free_aligned_sized", &block, 16, 48);
  assert_int_equal(d->usable_size(&block), 100);
  assert_true(d->purge());
  assert_string_equal(d->name, "full");
  assert_string_equal(d->version, "7");
  assert_string_equal(d->library, "/lib/full.so");
  assert_int_equal(d->traits, HA_TRAIT_EXAMPLE);
}

static void lacks_the_same(const ha_alloc *d, const ha_alloc *inner) {
  ha_alloc_operation theirs[32], ours[32];
  size_t count = ha_alloc_operations(inner, theirs, 32);
  assert_int_equal(ha_alloc_operations(d, ours, 32), count);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(ours[i].present, theirs[i].present);
}

static void test_everything_is_forwarded(void **state) {
  (void)state;
  forwards_everything(timed(&full));
  forwards_everything(counted(&full));
}

static void test_what_is_not_there_stays_away(void **state) {
  (void)state;
  lacks_the_same(timed(&full), &full);
  lacks_the_same(timed(&bare), &bare);
  lacks_the_same(counted(&full), &full);
  lacks_the_same(counted(&bare), &bare);
  static const ha_alloc mute = {.malloc = fake_malloc, .free = fake_free};
  assert_null(ha_decorate_counting(&mute, counts, false));
}

static void test_latency_tells_the_calls_apart(void **state) {
  (void)state;
  forwards_everything(timed(&full));
  ha_latency_take(&latency);
  assert_int_equal(latency.calls[HA_CALL_MALLOC].count, 4);
  assert_int_equal(latency.calls[HA_CALL_REALLOC].count, 2);
  assert_int_equal(latency.calls[HA_CALL_FREE].count, 3);
  memset(&latency, 0, sizeof latency);
  ha_latency_take(&latency);
  assert_int_equal(latency.calls[HA_CALL_MALLOC].count, 0);
}

static void *slow_malloc(size_t size) {
  uint64_t end = ha_ticks_of_clock() + size;
  while (ha_ticks_of_clock() < end) {
  }
  return NULL;
}

static void test_latency_is_that_of_the_call(void **state) {
  (void)state;
  ha_alloc slow = full;
  slow.malloc = slow_malloc;
  ha_latency_clock clock;
  const ha_alloc *d = ha_decorate_latency(&slow, &clock);
  assert_non_null(d);
  for (unsigned i = 0; i < 50; i++)
    d->malloc(200000);
  memset(&latency, 0, sizeof latency);
  ha_latency_take(&latency);
  double shortest = (double)ha_histogram_percentile(&latency.calls[HA_CALL_MALLOC], 0) * clock.ns_per_tick;
  assert_true(shortest > 195000 && shortest < 220000);
}

static void test_the_clock_is_sound(void **state) {
  (void)state;
  ha_latency_clock clock;
  assert_non_null(ha_decorate_latency(&full, &clock));
  assert_true(clock.overhead_ns >= 0 && clock.overhead_ns < 1000);
  uint64_t before = ha_ticks_begin();
  for (unsigned i = 0; i < 100000; i++) {
    uint64_t now = ha_ticks_end();
    assert_true(now >= before);
    before = now;
  }
  uint64_t first = ha_ticks_begin();
  uint64_t ns_before = ha_ticks_of_clock();
  while (ha_ticks_of_clock() - ns_before < 20000000) {
  }
  double by_ticks = (double)(ha_ticks_end() - first) * clock.ns_per_tick;
  double by_clock = (double)(ha_ticks_of_clock() - ns_before);
  assert_true(by_ticks > by_clock * 0.99 && by_ticks < by_clock * 1.01);
}

// ---- Threads

enum { ROUNDS = 40, EACH = 500 };

static void *allocate_and_end(void *argument) {
  const ha_alloc *d = argument;
  for (unsigned i = 0; i < EACH; i++)
    d->free(d->malloc(i));
  return NULL;
}

static void in_many_threads(const ha_alloc *d) {
  for (unsigned round = 0; round < ROUNDS; round++) {
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_end, (void *)(uintptr_t)d), 0);
    for (unsigned i = 0; i < 3; i++)
      pthread_join(threads[i], NULL);
  }
}

static const ha_alloc *example(void) {
  return ha_registry_find("template")->linked;
}

static void test_ended_threads_are_in_the_sums(void **state) {
  (void)state;
  const uint64_t calls = (uint64_t)ROUNDS * 3 * EACH;
  in_many_threads(timed(example()));
  ha_latency_take(&latency);
  assert_int_equal(latency.calls[HA_CALL_MALLOC].count, calls);
  assert_int_equal(latency.calls[HA_CALL_FREE].count, calls);
  in_many_threads(counted(example()));
  ha_counted sum = ha_counting_sum(counts);
  assert_int_equal(sum.allocations, calls);
  assert_int_equal(sum.usable_bytes, 0);
  assert_int_equal(sum.requested_bytes, 0);
  assert_int_equal(atomic_load(&counts[3].allocations), 0); // never more than three at a time
}

static void test_bytes_are_those_that_live(void **state) {
  (void)state;
  const ha_alloc *d = counted(example());
  int64_t usable = 0, requested = 0;
  void *blocks[100];
  for (unsigned i = 0; i < 100; i++) {
    blocks[i] = i % 2 ? d->calloc(i, 7) : d->malloc((size_t)i * 7);
    blocks[i] = d->realloc(blocks[i], (size_t)i * 31);
    usable += (int64_t)d->usable_size(blocks[i]);
    requested += (int64_t)i * 31;
  }
  assert_null(d->realloc(blocks[5], SIZE_MAX)); // fails, and changes nothing
  assert_null(d->malloc(SIZE_MAX));
  assert_int_equal(ha_counting_sum(counts).usable_bytes, usable);
  assert_int_equal(ha_counting_sum(counts).requested_bytes, requested);
  for (unsigned i = 0; i < 100; i++)
    d->free(blocks[i]);
  d->free(NULL);
  assert_int_equal(ha_counting_sum(counts).usable_bytes, 0);
  assert_int_equal(ha_counting_sum(counts).requested_bytes, 0);
}

// The table of sizes against a plain one: 20000 blocks at neighbouring addresses come and go at random.
static void test_sizes_are_remembered(void **state) {
  (void)state;
  enum { PLACES = 20000 };
  static unsigned char places[PLACES];
  static size_t sizes[PLACES]; // 0: not there
  uint64_t random = 5, taken = 0;
  for (unsigned i = 0; i < 40 * PLACES; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    unsigned place = (unsigned)(random >> 33) % PLACES;
    assert_int_equal(ha_requested_take(&places[place]), sizes[place]);
    sizes[place] = random & 1 ? 0 : i + 1;
    if (sizes[place])
      taken += ha_requested_put(&places[place], sizes[place]);
  }
  for (unsigned i = 0; i < PLACES; i++)
    assert_int_equal(ha_requested_take(&places[i]), sizes[i]);
  assert_true(taken <= (uint64_t)PLACES * 16 * 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything_is_forwarded),
      cmocka_unit_test(test_what_is_not_there_stays_away),
      cmocka_unit_test(test_latency_tells_the_calls_apart),
      cmocka_unit_test(test_latency_is_that_of_the_call),
      cmocka_unit_test(test_the_clock_is_sound),
      cmocka_unit_test(test_ended_threads_are_in_the_sums),
      cmocka_unit_test(test_bytes_are_those_that_live),
      cmocka_unit_test(test_sizes_are_remembered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

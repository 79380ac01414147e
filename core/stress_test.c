// Threads: objects passed around and freed by others, threads that end with live blocks, adoption, fork.
// STRESS_SECONDS=1800 repeats everything for so long, each time with other random numbers, and says how many
// operations that were.
#include "core/gomalloc.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, SLOTS = 512, ROUNDS = 60000 };

// A block that carries its own description, so that whoever gets it can check it.
struct parcel {
  size_t size;
  uint64_t seed;
};

static _Atomic(struct parcel *) exchange_slots[SLOTS];
static _Atomic int damaged;
static _Atomic uint64_t operations; // mallocs, frees and reallocs of the traders
static uint64_t repetition;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static size_t parcel_size(uint64_t random) {
  if (random % 64 == 0)
    return sizeof(struct parcel) + random / 64 % 60000;
  return sizeof(struct parcel) + random / 64 % 700;
}

static struct parcel *make_parcel(uint64_t *state) {
  uint64_t random = next_random(state);
  size_t size = parcel_size(random);
  struct parcel *parcel = random % 5 == 0 ? gm_calloc(1, size) : gm_malloc(size);
  if (parcel == NULL)
    return NULL;
  *parcel = (struct parcel){size, random};
  memset(parcel + 1, (int)(random & 0xff), size - sizeof *parcel);
  return parcel;
}

static void open_parcel(struct parcel *parcel) {
  const unsigned char *bytes = (const unsigned char *)(parcel + 1);
  for (size_t i = 0; i < parcel->size - sizeof *parcel; i++)
    if (bytes[i] != (unsigned char)parcel->seed) {
      atomic_fetch_add(&damaged, 1);
      break;
    }
  gm_free(parcel);
}

static void trade(uint64_t seed, int rounds) {
  uint64_t state = (seed + (repetition << 32)) * 0x9e3779b97f4a7c15 + 1;
  uint64_t reallocs = 0;
  for (int i = 0; i < rounds; i++) {
    struct parcel *mine = make_parcel(&state);
    if (mine == NULL)
      abort();
    if (next_random(&state) % 16 == 0) {
      size_t size = parcel_size(next_random(&state));
      size = size < mine->size ? mine->size : size; // growing keeps the whole old content
      mine = gm_realloc(mine, size);
      memset((char *)mine + mine->size, (int)(mine->seed & 0xff), size - mine->size);
      mine->size = size;
      reallocs++;
    }
    // Release and acquire: the content travels with the pointer.
    struct parcel *theirs =
        atomic_exchange_explicit(&exchange_slots[next_random(&state) % SLOTS], mine, memory_order_acq_rel);
    if (theirs != NULL)
      open_parcel(theirs);
  }
  atomic_fetch_add(&operations, 2 * (uint64_t)rounds + reallocs);
}

static void *trader(void *argument) {
  trade((uint64_t)(uintptr_t)argument, ROUNDS);
  return NULL;
}

static void empty_exchange(void) {
  for (int i = 0; i < SLOTS; i++) {
    struct parcel *parcel = atomic_exchange(&exchange_slots[i], NULL);
    if (parcel != NULL)
      open_parcel(parcel);
  }
}

static void start_all(pthread_t *threads, int count, void *(*run)(void *)) {
  for (int i = 0; i < count; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)(i + 1)), 0);
}

static void join_all(const pthread_t *threads, int count) {
  for (int i = 0; i < count; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
}

// Bytes in live blocks; remote frees that nobody has taken in yet count as free.
static uint64_t live_bytes(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  return stats.HeapAlloc;
}

static void test_traders(void **state) {
  (void)state;
  uint64_t before = live_bytes();
  pthread_t threads[THREADS];
  start_all(threads, THREADS, trader);
  join_all(threads, THREADS);
  assert_int_equal(gm_check_heap(), 0);
  empty_exchange();
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(gm_check_heap(), 0);
  assert_int_equal(live_bytes(), before);
}

static void *short_trader(void *argument) {
  trade((uint64_t)(uintptr_t)argument, 300);
  return NULL;
}

// Threads come and go with live blocks behind them; the heap must not grow for ever.
static void test_short_threads(void **state) {
  (void)state;
  uint64_t before = live_bytes();
  struct gm_stats early = {0};
  for (int round = 0; round < 300; round++) {
    pthread_t threads[THREADS];
    start_all(threads, THREADS, short_trader);
    join_all(threads, THREADS);
    if (round == 100)
      gm_stats_read(&early);
  }
  struct gm_stats late;
  gm_stats_read(&late);
  // 1 to 2.5 MiB at any moment; a leak of one span a thread would be 13 MiB more by now.
  assert_true(late.HeapInuse < 2 * early.HeapInuse + ((uint64_t)4 << 20));
  assert_true(late.MetadataSys < 2 * early.MetadataSys);
  empty_exchange();
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(gm_check_heap(), 0);
  assert_int_equal(live_bytes(), before);
}

enum { LEFT = 5000 };
static void *left[LEFT];

static void *leave_blocks(void *argument) {
  for (int i = 0; i < LEFT; i++) {
    left[i] = gm_malloc(48);
    memset(left[i], 0x11, 48);
  }
  return argument;
}

// The spans of an ended thread are adopted: the next thread allocates from their free objects.
static void test_adoption(void **state) {
  (void)state;
  pthread_t thread;
  start_all(&thread, 1, leave_blocks);
  join_all(&thread, 1);
  struct gm_stats before;
  gm_stats_read(&before);
  for (int i = 0; i < LEFT; i += 2) // full, ownerless spans become partial
    gm_free(left[i]);
  for (int i = 0; i < LEFT; i += 2)
    left[i] = gm_malloc(48);
  struct gm_stats after;
  gm_stats_read(&after);
  assert_true(after.HeapInuse <= before.HeapInuse + 2 * (uint64_t)73728);
  assert_int_equal(gm_check_heap(), 0);
  for (int i = 0; i < LEFT; i++)
    gm_free(left[i]);
  assert_int_equal(gm_check_heap(), 0);
}

static _Atomic bool stop;

static void *busy(void *argument) {
  uint64_t seed = (uint64_t)(uintptr_t)argument;
  while (!atomic_load(&stop))
    trade(seed++, 50);
  return NULL;
}

// fork while other threads allocate: the child has all locks free and a heap that works.
static void test_fork_among_threads(void **state) {
  (void)state;
  pthread_t threads[2];
  atomic_store(&stop, false);
  start_all(threads, 2, busy);
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    if (child == 0) {
      void *blocks[100];
      for (int n = 0; n < 100; n++)
        blocks[n] = gm_malloc((size_t)n * 600 + 1);
      for (int n = 0; n < 100; n++)
        gm_free(blocks[n]);
      empty_exchange(); // blocks of threads that do not exist here
      _exit(gm_check_heap() == 0 ? 7 : 8);
    }
    assert_true(child > 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
  }
  atomic_store(&stop, true);
  join_all(threads, 2);
  empty_exchange();
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(gm_check_heap(), 0);
}

static pthread_key_t late_key;
static _Atomic int late_rounds;

// Allocates in its thread's last rounds of destructors, also after the allocator's own, which gives up the
// thread's mcache in the last round but one. It ends there too, because ThreadSanitizer's own destructor runs
// in the last.
static void late_destructor(void *value) {
  static __thread int round;
  gm_free(value);
  gm_free(gm_malloc(3000));
  atomic_fetch_add(&late_rounds, 1);
  if (++round < PTHREAD_DESTRUCTOR_ITERATIONS - 1 && pthread_setspecific(late_key, gm_calloc(1, 200)) != 0)
    abort();
}

static void *use_late_key(void *argument) {
  (void)pthread_setspecific(late_key, gm_malloc(64));
  return argument;
}

static void test_allocation_in_last_destructors(void **state) {
  (void)state;
  assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
  atomic_store(&late_rounds, 0);
  pthread_t threads[THREADS];
  start_all(threads, THREADS, use_late_key);
  join_all(threads, THREADS);
  assert_int_equal(atomic_load(&late_rounds), (PTHREAD_DESTRUCTOR_ITERATIONS - 1) * THREADS);
  assert_int_equal(pthread_key_delete(late_key), 0);
  assert_int_equal(gm_check_heap(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_traders),
      cmocka_unit_test(test_short_threads),
      cmocka_unit_test(test_adoption),
      cmocka_unit_test(test_fork_among_threads),
      cmocka_unit_test(test_allocation_in_last_destructors),
  };
  const char *asked = getenv("STRESS_SECONDS");
  time_t end = time(NULL) + (asked != NULL ? strtol(asked, NULL, 10) : 0);
  int failed = 0;
  do {
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    repetition++;
    (void)printf("stress: %llu repetitions, %llu operations\n", (unsigned long long)repetition,
                 (unsigned long long)atomic_load(&operations));
  } while (failed == 0 && time(NULL) < end);
  return failed;
}

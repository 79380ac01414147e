// conformance_threads_test.c: the part of the conformance test that needs threads and processes. Threads
// report through return values and flags, because cmocka's assertions may fail in the main thread only.
#include "adapters/conformance.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void thread_begins(void) {
  if (under_test->thread_start)
    under_test->thread_start();
}

static void thread_ends(void) {
  if (under_test->thread_exit)
    under_test->thread_exit();
}

static pthread_t start(void *(*body)(void *), void *argument) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
  return thread;
}

static void finish_well(pthread_t thread) {
  void *failures;
  assert_int_equal(pthread_join(thread, &failures), 0);
  assert_null(failures);
}

// ---- A ring of blocks from one thread to another ----

#define RING   256
#define PASSED 40000

static _Atomic(void *) ring[RING];

static size_t passed_size(unsigned i) {
  return i % 64 == 0 ? 50000 : 16 + (i * 7919u) % 2000;
}

static void *producer(void *argument) {
  (void)argument;
  uintptr_t failures = 0;
  thread_begins();
  for (unsigned i = 0; i < PASSED; i++) {
    size_t size = passed_size(i);
    void *block = under_test->malloc(size);
    if (!block) {
      failures++;
      block = &ring; // the consumer knows it by its address
    } else {
      fill(block, size, i);
    }
    void *empty = NULL;
    while (!atomic_compare_exchange_weak_explicit(&ring[i % RING], &empty, block, memory_order_release,
                                                  memory_order_relaxed)) {
      empty = NULL;
      sched_yield();
    }
  }
  thread_ends();
  return (void *)failures;
}

static void *consumer(void *argument) {
  (void)argument;
  uintptr_t failures = 0;
  thread_begins();
  for (unsigned i = 0; i < PASSED; i++) {
    void *block;
    while (!(block = atomic_exchange_explicit(&ring[i % RING], NULL, memory_order_acquire)))
      sched_yield();
    if (block == &ring)
      continue;
    if (keeps_contents() && !holds(block, passed_size(i), i))
      failures++;
    under_test->free(block);
  }
  thread_ends();
  return (void *)failures;
}

void test_cross_thread_free(void **state) {
  (void)state;
  pthread_t a = start(producer, NULL);
  pthread_t b = start(consumer, NULL);
  finish_well(a);
  finish_well(b);
}

// ---- Threads that end while their blocks live on ----

#define LEFT_BEHIND 3000

static void *leave_blocks(void *argument) {
  void **blocks = argument;
  thread_begins();
  for (unsigned i = 0; i < LEFT_BEHIND; i++) {
    size_t size = 8 + i * 5 % 3000;
    blocks[i] = under_test->malloc(size);
    if (blocks[i])
      fill(blocks[i], size, i);
  }
  thread_ends();
  return NULL;
}

void test_thread_exit_with_live_blocks(void **state) {
  (void)state;
  static void *blocks[4][LEFT_BEHIND];
  for (unsigned t = 0; t < 4; t++)
    finish_well(start(leave_blocks, blocks[t]));
  for (unsigned t = 0; t < 4; t++)
    for (unsigned i = 0; i < LEFT_BEHIND; i++) {
      size_t size = 8 + i * 5 % 3000;
      assert_non_null(blocks[t][i]);
      if (keeps_contents())
        assert_true(holds(blocks[t][i], size, i));
      if (i % 3 == 0) {
        void *moved = under_test->realloc(blocks[t][i], size * 2);
        assert_non_null(moved);
        if (keeps_contents())
          assert_true(holds(moved, size, i));
        blocks[t][i] = moved;
      }
      under_test->free(blocks[t][i]);
    }
}

static void *short_life(void *argument) {
  _Atomic(void *) *slot = argument;
  thread_begins();
  void *mine = under_test->malloc(100);
  void *before = atomic_exchange(slot, mine); // a block of a thread that may be gone
  under_test->free(before);
  thread_ends();
  return mine ? NULL : (void *)1;
}

void test_many_short_threads(void **state) {
  (void)state;
  static _Atomic(void *) slots[8];
  for (unsigned round = 0; round < 200; round++) {
    pthread_t threads[8];
    for (unsigned i = 0; i < 8; i++)
      threads[i] = start(short_life, &slots[(i + round) % 8]);
    for (unsigned i = 0; i < 8; i++)
      finish_well(threads[i]);
  }
  for (unsigned i = 0; i < 8; i++)
    under_test->free(atomic_exchange(&slots[i], NULL));
}

// ---- Fork while other threads are inside the allocator ----

static atomic_bool stop_churning;

static void *churn(void *argument) {
  (void)argument;
  thread_begins();
  void *blocks[64] = {NULL};
  for (unsigned i = 0; !atomic_load_explicit(&stop_churning, memory_order_relaxed); i++) {
    unsigned slot = i * 31u % 64;
    under_test->free(blocks[slot]);
    blocks[slot] = under_test->malloc(i % 50 == 0 ? 100000 : i * 97u % 4000);
  }
  for (unsigned i = 0; i < 64; i++)
    under_test->free(blocks[i]);
  thread_ends();
  return NULL;
}

// The child allocates at once, while its parent's other threads may have held any lock of the allocator.
static void child_works(void) {
  alarm(5); // a deadlock ends by SIGALRM, which the parent sees
  void *blocks[200];
  for (unsigned i = 0; i < 200; i++) {
    blocks[i] = under_test->malloc(i * 61 % 9000 + 1);
    if (!blocks[i])
      _exit(1);
    fill(blocks[i], i * 61 % 9000 + 1, i);
  }
  for (unsigned i = 0; i < 200; i++) {
    if (keeps_contents() && !holds(blocks[i], i * 61 % 9000 + 1, i))
      _exit(2);
    under_test->free(blocks[i]);
  }
  _exit(0);
}

void test_fork_in_threaded_process(void **state) {
  (void)state;
  atomic_store(&stop_churning, false);
  pthread_t a = start(churn, NULL);
  pthread_t b = start(churn, NULL);
  int bad_status = 0;
  for (unsigned i = 0; i < 40 && bad_status == 0; i++) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
      child_works();
    assert_int_equal(waitpid(child, &bad_status, 0), child);
  }
  atomic_store(&stop_churning, true);
  finish_well(a);
  finish_well(b);
  bool hung = WIFSIGNALED(bad_status) && WTERMSIG(bad_status) == SIGALRM;
  if (!hung || !deviates(FORK_MAY_DEADLOCK))
    assert_int_equal(bad_status, 0);
}

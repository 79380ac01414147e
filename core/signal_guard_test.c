// Signal handlers that allocate, run under LD_PRELOAD=libgomalloc.so: a storm of timer signals that
// interrupts malloc and free at every instruction, handlers inside handlers, on an alternate stack, left by
// siglongjmp, that fork; and what sigaction answers.
#include "core/gomalloc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// What the check forbids is what is tested.
// NOLINTBEGIN(bugprone-signal-handler)

static int (*check_heap)(void);
static uint64_t (*error_count)(void);

static int find_library(void **state) {
  (void)state;
  void *check = dlsym(RTLD_DEFAULT, "gm_check_heap");
  void *count = dlsym(RTLD_DEFAULT, "gm_error_count");
  memcpy(&check_heap, &check, sizeof check);
  memcpy(&error_count, &count, sizeof count);
  return check != NULL && count != NULL ? 0 : -1;
}

enum { SLOTS = 256 };

static _Atomic(unsigned char *) exchange_slots[SLOTS];
static _Atomic unsigned long handled;
static _Atomic unsigned long damaged;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

// The first byte fills the block; the second and third hold its size, so that whoever gets it can check it.
static unsigned char *make_block(uint64_t random) {
  size_t size = random % 16 == 0 ? 1000 + random / 16 % 60000 : 3 + random / 16 % 600;
  unsigned char *block = random % 3 == 0 ? calloc(1, size) : malloc(size);
  if (block == NULL)
    return NULL;
  if (random % 3 == 0)
    for (size_t i = 0; i < size; i++)
      if (block[i] != 0)
        atomic_fetch_add(&damaged, 1);
  memset(block, (int)(random >> 40 & 0xff), size);
  block[1] = (unsigned char)size;
  block[2] = (unsigned char)(size >> 8);
  return block;
}

static void end_block(unsigned char *block) {
  if (block == NULL)
    return;
  size_t size = (size_t)block[1] | (size_t)block[2] << 8;
  for (size_t i = 3; i < size; i++)
    if (block[i] != block[0]) {
      atomic_fetch_add(&damaged, 1);
      break;
    }
  free(block);
}

static void trade(uint64_t *seed) {
  uint64_t random = next_random(seed);
  unsigned char *block = make_block(random);
  end_block(atomic_exchange(&exchange_slots[random >> 20 & (SLOTS - 1)], block));
}

static void storm_handler(int number) {
  (void)number;
  static _Atomic uint64_t seeds = 88172645463325252U;
  uint64_t seed = atomic_fetch_add(&seeds, 0x9e3779b97f4a7c15U) | 1;
  for (int i = 0; i < 4; i++)
    trade(&seed);
  atomic_fetch_add(&handled, 1);
}

// For a queued signal, whose siginfo must survive when it has to wait for the allocator.
static void storm_info_handler(int number, siginfo_t *info, void *context) {
  (void)context;
  if (info->si_signo != number || info->si_code != SI_QUEUE || info->si_value.sival_int != 4711)
    atomic_fetch_add(&damaged, 1);
  storm_handler(number);
}

static _Atomic unsigned long handled_once;

// System V's: the handler is gone when it runs, and comes back before the next signal is sent.
static void storm_once_handler(int number) {
  (void)sysv_signal(number, storm_once_handler);
  storm_handler(number);
  atomic_fetch_add(&handled_once, 1);
}

static _Atomic bool stop;

static void *work(void *argument) {
  uint64_t seed = (uint64_t)(uintptr_t)argument * 7919 + 1;
  while (!atomic_load(&stop))
    trade(&seed);
  return NULL;
}

static void empty_exchange(void) {
  for (int i = 0; i < SLOTS; i++)
    end_block(atomic_exchange(&exchange_slots[i], NULL));
}

// STORM_HANDLERS=1000000 for a long storm. Counted, not timed: on a busy machine signals to threads that wait
// their turn become one.
static unsigned long storm_handlers(void) {
  const char *asked = getenv("STORM_HANDLERS");
  return asked != NULL ? strtoul(asked, NULL, 10) : 1500;
}

// Two kinds of signals, which interrupt each other's handlers too, at two threads that do nothing but
// allocate and free.
static void test_storm(void **state) {
  (void)state;
  enum { THREADS = 2 };
  (void)signal(SIGUSR1, storm_handler);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = storm_info_handler;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
  pthread_t threads[THREADS];
  atomic_store(&stop, false);
  for (uintptr_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
  (void)sysv_signal(SIGHUP, storm_once_handler);
  unsigned long sent_once = 0;
  for (unsigned i = 0; atomic_load(&handled) < storm_handlers(); i++) {
    if (atomic_load(&handled_once) == sent_once) {
      sent_once++;
      (void)pthread_kill(threads[0], SIGHUP);
    }
    if (i % 3 == 0)
      (void)pthread_sigqueue(threads[i % THREADS], SIGUSR2, (union sigval){.sival_int = 4711});
    else
      (void)pthread_kill(threads[i % THREADS], SIGUSR1);
    (void)sched_yield();
    for (volatile int pause = 0; pause < (int)(i % 64) * 20; pause++)
      continue;
  }
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++)
    (void)pthread_join(threads[i], NULL);
  empty_exchange();
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(error_count(), 0);
  assert_int_equal(check_heap(), 0);
}

// The interval timer interrupts the main thread itself.
static void test_timer(void **state) {
  (void)state;
  atomic_store(&handled, 0);
  (void)signal(SIGALRM, storm_handler);
  struct itimerval often = {{0, 100}, {0, 100}};
  assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
  uint64_t seed = 12345;
  while (atomic_load(&handled) < storm_handlers() / 2)
    trade(&seed);
  struct itimerval never = {{0, 0}, {0, 0}};
  assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
  (void)signal(SIGALRM, SIG_DFL);
  empty_exchange();
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(error_count(), 0);
  assert_int_equal(check_heap(), 0);
}

// Volatile: the compiler knows that raise does not call back into this file.
static volatile int depth_seen;
static void *volatile nested_blocks[20];

static void nested_handler(int number) {
  int depth = depth_seen++;
  nested_blocks[depth] = malloc(100);
  if (depth < 14) // deeper than gomalloc keeps count of
    (void)raise(number);
  free(malloc(50));
}

static void test_nested_handlers(void **state) {
  (void)state;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = nested_handler;
  action.sa_flags = SA_NODEFER;
  assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
  depth_seen = 0;
  (void)raise(SIGUSR1);
  assert_int_equal(depth_seen, 15);
  for (int i = 0; i < 15; i++) {
    assert_non_null(nested_blocks[i]);
    free(nested_blocks[i]);
  }
  assert_int_equal(check_heap(), 0);
}

static void inner_handler(int number) {
  (void)number;
  free(malloc(64));
}

static void outer_handler(int number) {
  (void)number;
  (void)raise(SIGUSR2); // on the other stack
  free(malloc(64));
}

static void test_alternate_stack(void **state) {
  (void)state;
  static char memory[65536];
  stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
  assert_int_equal(sigaltstack(&stack, NULL), 0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_flags = SA_ONSTACK;
  for (int outer_on_stack = 0; outer_on_stack < 2; outer_on_stack++) {
    action.sa_handler = outer_handler;
    action.sa_flags = outer_on_stack ? SA_ONSTACK : 0;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    action.sa_handler = inner_handler;
    action.sa_flags = SA_ONSTACK;
    assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
    for (int i = 0; i < 100; i++)
      (void)raise(SIGUSR1);
  }
  stack.ss_flags = SS_DISABLE;
  assert_int_equal(sigaltstack(&stack, NULL), 0);
  assert_int_equal(check_heap(), 0);
}

static sigjmp_buf back;

static void leaving_handler(int number) {
  (void)number;
  free(malloc(64));
  siglongjmp(back, 1);
}

// Afterwards the thread has its own mcache again: two objects of one class that follow each other are
// neighbours there.
static void test_left_by_longjmp(void **state) {
  (void)state;
  (void)signal(SIGUSR1, leaving_handler);
  for (volatile int i = 0; i < 100; i++)
    if (sigsetjmp(back, 1) == 0)
      (void)raise(SIGUSR1);
  char *blocks[2000];
  for (int i = 0; i < 2000; i++)
    blocks[i] = malloc(48);
  int neighbours = 0;
  for (int i = 1; i < 2000; i++)
    neighbours += blocks[i] - blocks[i - 1] == 48;
  for (int i = 0; i < 2000; i++)
    free(blocks[i]);
  assert_true(neighbours > 1000);
  assert_int_equal(check_heap(), 0);
}

static pthread_key_t late_key;
static _Atomic int late_calls;

static void late_destructor(void *value) {
  free(value);
  free(malloc(300));
  if (atomic_fetch_add(&late_calls, 1) % 4 != 3) // in every round, also after gomalloc's own destructor
    (void)pthread_setspecific(late_key, malloc(77));
}

static void exiting_handler(int number) {
  (void)number;
  free(malloc(100));
  pthread_exit(NULL);
}

static void *end_in_handler(void *argument) {
  free(malloc(40));
  (void)pthread_setspecific(late_key, malloc(77));
  (void)pthread_kill(pthread_self(), SIGUSR1);
  return argument;
}

static void test_thread_ends_in_handler(void **state) {
  (void)state;
  assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
  (void)signal(SIGUSR1, exiting_handler);
  for (int i = 0; i < 200; i++) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_in_handler, NULL), 0);
    (void)pthread_join(thread, NULL);
  }
  assert_int_equal(atomic_load(&late_calls), 800);
  assert_int_equal(error_count(), 0);
  assert_int_equal(check_heap(), 0);
}

static _Atomic int children_well;

static void forking_handler(int number) {
  (void)number;
  pid_t child = fork();
  if (child == 0) {
    for (size_t size = 1; size < 100000; size = size * 2 + 1)
      free(malloc(size));
    _exit(7);
  }
  int status = 0;
  if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7)
    atomic_fetch_add(&children_well, 1);
}

static void *be_interrupted(void *argument) {
  return work(argument);
}

static void test_fork_in_handler(void **state) {
  (void)state;
  enum { FORKS = 30 };
  (void)signal(SIGUSR1, forking_handler);
  atomic_store(&stop, false);
  pthread_t threads[2];
  for (uintptr_t i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, be_interrupted, (void *)(i + 77)), 0);
  for (int i = 0; i < FORKS; i++) {
    (void)pthread_kill(threads[0], SIGUSR1);
    while (atomic_load(&children_well) == i)
      (void)usleep(200);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++)
    (void)pthread_join(threads[i], NULL);
  empty_exchange();
  assert_int_equal(atomic_load(&children_well), FORKS);
  assert_int_equal(error_count(), 0);
  assert_int_equal(check_heap(), 0);
}

static _Atomic int info_value;
static sigset_t mask_inside;

static void info_handler(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  atomic_store(&info_value, info->si_value.sival_int);
  (void)pthread_sigmask(SIG_BLOCK, NULL, &mask_inside);
}

// The program sees its own handlers, flags and masks, and its handlers see what the kernel would give them.
static void test_sigaction_answers(void **state) {
  (void)state;
  struct sigaction action;
  struct sigaction old;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = info_handler;
  action.sa_flags = SA_SIGINFO;
  (void)sigaddset(&action.sa_mask, SIGHUP);
  assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
  assert_int_equal(sigaction(SIGUSR2, NULL, &old), 0);
  assert_ptr_equal(old.sa_sigaction, info_handler);
  assert_true((old.sa_flags & SA_SIGINFO) != 0);
  assert_int_equal(sigismember(&old.sa_mask, SIGHUP), 1);
  assert_int_equal(sigismember(&old.sa_mask, SIGINT), 0);
  assert_int_equal(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 4711}), 0);
  assert_int_equal(atomic_load(&info_value), 4711);
  assert_int_equal(sigismember(&mask_inside, SIGHUP), 1);
  assert_int_equal(sigismember(&mask_inside, SIGUSR2), 1);
  assert_int_equal(sigismember(&mask_inside, SIGINT), 0);
  assert_ptr_equal(signal(SIGUSR2, inner_handler), info_handler);
  assert_int_equal(sigaction(SIGUSR2, NULL, &old), 0);
  assert_int_equal(old.sa_flags & SA_SIGINFO, 0);
  assert_ptr_equal(signal(SIGUSR2, SIG_IGN), inner_handler);
  assert_ptr_equal(signal(SIGUSR2, SIG_DFL), SIG_IGN);
  assert_ptr_equal(sysv_signal(SIGUSR2, inner_handler), SIG_DFL);
  (void)raise(SIGUSR2);
  assert_ptr_equal(signal(SIGUSR2, SIG_DFL), SIG_DFL); // it was for once
  assert_int_equal(sigaction(SIGKILL, &action, NULL), -1);
  assert_int_equal(sigaction(1000, &action, NULL), -1);
  assert_ptr_equal(signal(SIGUSR1, SIG_ERR), SIG_ERR);
}

static void (*kernel_handler(int signal))(int) {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {NULL, 0, NULL, 0}; // the kernel's own sigaction
  assert_int_equal(syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask), 0);
  return action.handler;
}

static void do_nothing(int signal) {
  (void)signal;
}

static void test_can_be_switched_off(void **state) {
  (void)state;
  int (*set_option)(const char *, const char *) = NULL;
  void *symbol = dlsym(RTLD_DEFAULT, "gm_set_option");
  assert_non_null(symbol);
  memcpy(&set_option, &symbol, sizeof symbol);
  (void)signal(SIGUSR2, do_nothing);
  assert_ptr_not_equal(kernel_handler(SIGUSR2), do_nothing);
  assert_int_equal(set_option("signals", "0"), 0);
  (void)signal(SIGUSR2, do_nothing);
  assert_ptr_equal(kernel_handler(SIGUSR2), do_nothing);
  assert_int_equal(set_option("signals", "1"), 0);
  (void)signal(SIGUSR2, SIG_DFL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_storm),
      cmocka_unit_test(test_timer),
      cmocka_unit_test(test_nested_handlers),
      cmocka_unit_test(test_alternate_stack),
      cmocka_unit_test(test_left_by_longjmp),
      cmocka_unit_test(test_thread_ends_in_handler),
      cmocka_unit_test(test_fork_in_handler),
      cmocka_unit_test(test_sigaction_answers),
      cmocka_unit_test(test_can_be_switched_off),
  };
  return cmocka_run_group_tests(tests, find_library, NULL);
}

// NOLINTEND(bugprone-signal-handler)

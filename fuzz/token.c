// token.c: see token.h.
#include "fuzz/token.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS_TO_STAY 256u

void fuzz_token_wait_while(_Atomic uint32_t *word, uint32_t value) {
  while (atomic_load_explicit(word, memory_order_acquire) == value)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void fuzz_token_set(_Atomic uint32_t *word, uint32_t value) {
  atomic_store_explicit(word, value, memory_order_release);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void fuzz_token_stay_on_processor(void) {
  static cpu_set_t all;
  static unsigned calls;
  if (calls++ % CALLS_TO_STAY != 0)
    return;
  if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  (void)sched_setaffinity(0, sizeof all, &all);
  (void)sched_yield();
  int here = sched_getcpu();
  cpu_set_t one;
  CPU_ZERO(&one);
  if (here >= 0 && here < CPU_SETSIZE) {
    CPU_SET((unsigned)here, &one);
    (void)sched_setaffinity(0, sizeof one, &one); // what it is for is speed alone
  }
}

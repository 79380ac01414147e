// schedule_points.c: the runtime that gomalloc's instrumented accesses call. See schedule_gate.h. It is linked into
// the library gomalloc-schedule and is not instrumented itself.
//
// The functions' names and types are the compiler's: gcc's sanitizer.def and clang's ThreadSanitizer pass.
#include "fuzz/schedule_gate.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

__attribute__((visibility("default"))) struct schedule_gate gomalloc_schedule_gate = {
    .left = UINT64_MAX,
    .library = &gomalloc_schedule_gate,
};

#define gate          gomalloc_schedule_gate
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE bool is_own(const volatile void *address) {
  return (uintptr_t)address - gate.own < gate.own_size;
}

ALWAYS_INLINE void point(schedule_access access, const volatile void *address, const void *site) {
  if (__builtin_expect(--gate.left != 0, 1))
    return;
  gate.left = UINT64_MAX;
  if (gate.stop)
    gate.stop(access, (const void *)address, site);
}

ALWAYS_INLINE void atomic_point(schedule_access access, const volatile void *address, const void *site) {
  if (!is_own(address))
    point(access, address, site);
}

ALWAYS_INLINE void plain_point(schedule_access access, const volatile void *address, const void *site) {
  if (gate.plain && !is_own(address))
    point(access, address, site);
}

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,bugprone-macro-parentheses)
#define SITE __builtin_return_address(0)

void __tsan_init(void);
void __tsan_init(void) {}

// ---- Plain accesses ----

#define PLAIN(name, access)                                                                                  \
  void name(void *address);                                                                                  \
  void name(void *address) {                                                                                 \
    plain_point(access, address, SITE);                                                                      \
  }

#define PLAIN_SIZES(prefix, access)                                                                          \
  PLAIN(prefix##1, access)                                                                                   \
  PLAIN(prefix##2, access) PLAIN(prefix##4, access) PLAIN(prefix##8, access) PLAIN(prefix##16, access)

PLAIN_SIZES(__tsan_read, SCHEDULE_READ)
PLAIN_SIZES(__tsan_write, SCHEDULE_WRITE)
PLAIN_SIZES(__tsan_unaligned_read, SCHEDULE_READ)
PLAIN_SIZES(__tsan_unaligned_write, SCHEDULE_WRITE)

#define RANGE(name, access)                                                                                  \
  void name(void *address, size_t size);                                                                     \
  void name(void *address, size_t size) {                                                                    \
    (void)size;                                                                                              \
    plain_point(access, address, SITE);                                                                      \
  }

RANGE(__tsan_read_range, SCHEDULE_READ)
RANGE(__tsan_write_range, SCHEDULE_WRITE)

// clang's later versions call these in place of the C library's.
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int value, size_t size);

void *__tsan_memcpy(void *to, const void *from, size_t size) {
  plain_point(SCHEDULE_WRITE, to, SITE);
  return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size) {
  plain_point(SCHEDULE_WRITE, to, SITE);
  return memmove(to, from, size);
}

void *__tsan_memset(void *to, int value, size_t size) {
  plain_point(SCHEDULE_WRITE, to, SITE);
  return memset(to, value, size);
}

void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_func_entry(void *caller) {
  (void)caller;
}
void __tsan_func_exit(void) {}

// ---- Atomic operations: the strongest order, since one thread runs at a time anyway ----

#define UPDATE(bits, type, name, builtin)                                                                    \
  type __tsan_atomic##bits##_##name(volatile type *address, type value, int order);                          \
  type __tsan_atomic##bits##_##name(volatile type *address, type value, int order) {                         \
    (void)order;                                                                                             \
    atomic_point(SCHEDULE_UPDATE, address, SITE);                                                            \
    return builtin(address, value, __ATOMIC_SEQ_CST);                                                        \
  }

#define ATOMIC(bits, type)                                                                                   \
  type __tsan_atomic##bits##_load(const volatile type *address, int order);                                  \
  type __tsan_atomic##bits##_load(const volatile type *address, int order) {                                 \
    (void)order;                                                                                             \
    atomic_point(SCHEDULE_LOAD, address, SITE);                                                              \
    return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                                       \
  }                                                                                                          \
  void __tsan_atomic##bits##_store(volatile type *address, type value, int order);                           \
  void __tsan_atomic##bits##_store(volatile type *address, type value, int order) {                          \
    (void)order;                                                                                             \
    atomic_point(SCHEDULE_STORE, address, SITE);                                                             \
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                          \
  UPDATE(bits, type, exchange, __atomic_exchange_n)                                                          \
  UPDATE(bits, type, fetch_add, __atomic_fetch_add)                                                          \
  UPDATE(bits, type, fetch_sub, __atomic_fetch_sub)                                                          \
  UPDATE(bits, type, fetch_and, __atomic_fetch_and)                                                          \
  UPDATE(bits, type, fetch_or, __atomic_fetch_or)                                                            \
  UPDATE(bits, type, fetch_xor, __atomic_fetch_xor)                                                          \
  UPDATE(bits, type, fetch_nand, __atomic_fetch_nand)                                                        \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value,     \
                                                     int order, int failure);                                \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value,     \
                                                     int order, int failure) {                               \
    (void)order, (void)failure;                                                                              \
    atomic_point(SCHEDULE_UPDATE, address, SITE);                                                            \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                          \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected, type value,       \
                                                   int order, int failure);                                  \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected, type value,       \
                                                   int order, int failure) {                                 \
    (void)order, (void)failure;                                                                              \
    atomic_point(SCHEDULE_UPDATE, address, SITE);                                                            \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                          \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value,         \
                                                  int order, int failure);                                   \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value,         \
                                                  int order, int failure) {                                  \
    (void)order, (void)failure;                                                                              \
    atomic_point(SCHEDULE_UPDATE, address, SITE);                                                            \
    (void)__atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return expected;                                                                                         \
  }

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_thread_fence(int order) {
  (void)order;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int order) {
  (void)order;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

// ---- Sleeping in the kernel (the library is linked with --wrap for these) ----

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_futex && gate.wait && gate.wake) {
    const uint32_t *word = (const uint32_t *)a; // NOLINT(performance-no-int-to-ptr)
    long what = b & FUTEX_CMD_MASK;
    if (what == FUTEX_WAIT && gate.wait(word, (uint32_t)c, SITE))
      return 0;
    if (what == FUTEX_WAKE && gate.wake(word, (unsigned)c, SITE))
      return 0;
  }
  return __real_syscall(number, a, b, c, d, e, f);
}

// Its clock is the program's, so that a program does the same each time.
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
  (void)clock;
  now->tv_sec = (time_t)(gate.now_ns / 1000000000);
  now->tv_nsec = (long)(gate.now_ns % 1000000000);
  return 0;
}

// A thread of the library's own is one more that the scheduler knows; without a scheduler the system has none.
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument) {
  (void)attributes;
  *thread = pthread_self(); // nobody asks which
  return gate.create && gate.create(start, argument) ? 0 : EAGAIN;
}

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
  return gate.sleep && gate.sleep(SITE) ? 0 : __real_nanosleep(time, left);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,bugprone-macro-parentheses)

// recorder.c: libheaparena-record.so, preloaded into a program to record what it does with its heap.
//
// It stands before the program's malloc, whichever that is (RTLD_NEXT: also another preloaded allocator),
// forwards every call, and notes it in the calling thread's own tail of the spool (trace_spool.h). No lock is
// taken on the way; several threads share one table, by cache lines of their own. Threads and processes are followed: pthread_create and
// pthread_join are noted, a forked child begins a record of its own, an executed program too (the environment
// is kept).
//
// Not seen: programs linked statically or with a malloc of their own, which is said; memory from mmap or a
// program's private allocator; C++ operators that an allocator library defines itself. A signal handler that
// allocates (which POSIX forbids) is recorded, unless it interrupts the writing of a record: then its event is
// counted as lost.
#include "workloads/early.h"
#include "workloads/trace_record.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct next_functions {
  void *(*malloc)(size_t);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void (*free)(void *);
  void (*free_sized)(void *, size_t);
  void (*free_aligned_sized)(void *, size_t, size_t);
  void *(*aligned_alloc)(size_t, size_t);
  int (*posix_memalign)(void **, size_t, size_t);
  void *(*memalign)(size_t, size_t);
  void *(*valloc)(size_t);
  void *(*pvalloc)(size_t);
  int (*malloc_trim)(size_t);
  int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  int (*pthread_join)(pthread_t, void **);
  int (*pthread_tryjoin_np)(pthread_t, void **);
  int (*pthread_timedjoin_np)(pthread_t, void **, const struct timespec *);
  int (*thrd_create)(thrd_t *, thrd_start_t, void *);
  int (*thrd_join)(thrd_t, int *);
} next_functions;

static next_functions next;
static enum { UNRESOLVED, RESOLVING, RESOLVED } state;
static pthread_key_t end_key;

static early_arena early; // until the next malloc is known

static void thread_ends(void *rounds);

#define FIND(member, name) RECORD_FIND(next.member, name)

// Whether the program defines malloc itself: symbols of the program come before those that are preloaded. A
// program that only takes malloc's address may have an undefined symbol with a value: its jump to ours.
static bool hides_recorder(void) {
  Dl_info first, own;
  void *symbol = NULL, *found = dlsym(RTLD_DEFAULT, "malloc");
  if (dladdr1(found, &first, &symbol, RTLD_DL_SYMENT) == 0 || dladdr(&next, &own) == 0)
    return false;
  const ElfW(Sym) *entry = symbol;
  return first.dli_fbase != own.dli_fbase && (entry == NULL || entry->st_shndx != SHN_UNDEF);
}

// Once per process, in its first thread.
static __attribute__((noinline, cold)) void resolve(void) {
  if (state != UNRESOLVED)
    return;
  state = RESOLVING;
  FIND(malloc, "malloc");
  FIND(calloc, "calloc");
  FIND(realloc, "realloc");
  FIND(free, "free");
  FIND(free_sized, "free_sized");
  FIND(free_aligned_sized, "free_aligned_sized");
  FIND(aligned_alloc, "aligned_alloc");
  FIND(posix_memalign, "posix_memalign");
  FIND(memalign, "memalign");
  FIND(valloc, "valloc");
  FIND(pvalloc, "pvalloc");
  FIND(malloc_trim, "malloc_trim");
  FIND(pthread_create, "pthread_create");
  FIND(pthread_join, "pthread_join");
  FIND(pthread_tryjoin_np, "pthread_tryjoin_np");
  FIND(pthread_timedjoin_np, "pthread_timedjoin_np");
  FIND(thrd_create, "thrd_create");
  FIND(thrd_join, "thrd_join");
  pthread_key_create(&end_key, thread_ends);
  record_find_ends();
  record_own_malloc = hides_recorder();
  record_start();
  state = RESOLVED;
}

// True when the next functions may be called.
static inline bool ready(void) {
  if (__builtin_expect(state == RESOLVED, 1))
    return true;
  resolve();
  return state == RESOLVED;
}

bool record_ready(void) {
  return ready();
}

__attribute__((constructor)) static void constructor(void) {
  resolve();
}
__attribute__((destructor)) static void destructor(void) {
  record_ended(HA_ENDED_EXIT);
}

// ---- The malloc family ----

static unsigned log2_ceiling(size_t alignment) {
  return alignment <= 1 ? 0 : 64 - (unsigned)__builtin_clzl(alignment - 1);
}

EXPORT void *malloc(size_t size) {
  if (!ready())
    return early_alloc(&early, size);
  void *block = next.malloc(size);
  record_event(HA_RAW_MALLOC, block, 0, size);
  return block;
}

EXPORT void *calloc(size_t nmemb, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(nmemb, size, &product))
    product = SIZE_MAX; // the next calloc fails
  if (!ready())
    return early_alloc(&early, product); // fresh: zero
  void *block = next.calloc(nmemb, size);
  record_event(HA_RAW_CALLOC, block, 0, product);
  return block;
}

EXPORT void free(void *ptr) {
  if (ptr == NULL || early_has(&early, ptr) || !ready())
    return;
  record_event(HA_RAW_FREE, ptr, 0, 0);
  next.free(ptr);
}

static void *leave_early(const void *block, size_t size) {
  void *moved = malloc(size);
  size_t most = early_room(&early, block);
  if (moved != NULL)
    memcpy(moved, block, size < most ? size : most);
  return moved;
}

EXPORT void *realloc(void *ptr, size_t size) {
  if (ptr == NULL)
    return malloc(size);
  if (early_has(&early, ptr) || !ready())
    return leave_early(ptr, size);
  // The old ptr may be another thread's before we return, the new one was perhaps another's a moment ago.
  record_event(HA_RAW_REALLOC_BEGIN, ptr, 0, 0);
  void *moved = next.realloc(ptr, size);
  record_event(HA_RAW_REALLOC_END, moved, 0, size);
  return moved;
}

EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(nmemb, size, &product)) {
    record_event(HA_RAW_REALLOC_BEGIN, ptr, 0, 0);
    record_event(HA_RAW_REALLOC_END, NULL, 0, SIZE_MAX);
    errno = ENOMEM;
    return NULL;
  }
  // Not the next reallocarray: the C library's calls realloc by name, which is ours, and would be noted
  // twice.
  return realloc(ptr, product);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  if (!ready())
    return NULL;
  void *block = next.aligned_alloc(alignment, size);
  record_event(HA_RAW_ALIGNED_ALLOC, block, log2_ceiling(alignment), size);
  return block;
}

EXPORT void *memalign(size_t alignment, size_t size) {
  if (!ready())
    return NULL;
  void *block = next.memalign(alignment, size);
  record_event(HA_RAW_ALIGNED_ALLOC, block, log2_ceiling(alignment), size);
  return block;
}

EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size) {
  if (!ready())
    return ENOMEM;
  int error = next.posix_memalign(memptr, alignment, size);
  if (error != EINVAL) // a wrong alignment is no request that an allocator could serve
    record_event(HA_RAW_POSIX_MEMALIGN, error == 0 ? *memptr : NULL, log2_ceiling(alignment), size);
  return error;
}

EXPORT void *valloc(size_t size) {
  if (!ready())
    return NULL;
  void *block = next.valloc(size);
  record_event(HA_RAW_ALIGNED_ALLOC, block, 12, size);
  return block;
}

EXPORT void *pvalloc(size_t size) {
  if (!ready())
    return NULL;
  void *block = next.pvalloc(size);
  record_event(HA_RAW_ALIGNED_ALLOC, block, 12, (size + 4095) & ~(size_t)4095);
  return block;
}

EXPORT void free_sized(void *block, size_t size);
EXPORT void free_sized(void *block, size_t size) {
  if (block == NULL || early_has(&early, block) || !ready())
    return;
  record_event(HA_RAW_FREE_SIZED, block, 0, size);
  if (next.free_sized != NULL)
    next.free_sized(block, size);
  else
    next.free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size);
EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size) {
  if (block == NULL || early_has(&early, block) || !ready())
    return;
  record_event(HA_RAW_FREE_SIZED, block, log2_ceiling(alignment), size);
  if (next.free_aligned_sized != NULL)
    next.free_aligned_sized(block, alignment, size);
  else
    next.free(block);
}

EXPORT int malloc_trim(size_t pad) {
  if (!ready() || next.malloc_trim == NULL)
    return 0;
  record_event(HA_RAW_PURGE, NULL, 0, 0);
  return next.malloc_trim(pad);
}

// ---- Threads ----

// What a new thread must be told. Its slot is free again once the thread has read it.
typedef struct birth {
  _Atomic bool taken;
  uint32_t token;
  uint64_t process;
  void *(*routine)(void *);
  thrd_start_t c11_routine; // of thrd_create
  void *argument;
} birth;

static birth births[1024];
static _Atomic uint32_t birth_hint;
static _Atomic uint32_t unborn; // threads that were announced and did not begin yet

static birth *take_birth(void) {
  for (;;) {
    for (unsigned tries = 0; tries < 1024; tries++) {
      birth *one = &births[atomic_fetch_add_explicit(&birth_hint, 1, memory_order_relaxed) % 1024];
      bool expected = false;
      if (atomic_compare_exchange_strong(&one->taken, &expected, true)) {
        atomic_fetch_add(&unborn, 1);
        return one;
      }
    }
    sched_yield(); // a thousand threads made and not yet begun: they will
  }
}

static void leave_birth(birth *slot) {
  atomic_store(&slot->taken, false);
  atomic_fetch_sub(&unborn, 1);
}

// The new thread's first act: takes its number, and what it is to run out of the slot.
static birth begin_any(birth *slot) {
  birth own = {.routine = slot->routine, .c11_routine = slot->c11_routine, .argument = slot->argument};
  record_tls.process = slot->process;
  record_name_thread(slot->token);
  leave_birth(slot);
  pthread_setspecific(end_key, (void *)1);
  return own;
}

static void *begin_thread(void *argument) {
  birth own = begin_any(argument);
  return own.routine(own.argument);
}

static int begin_c11_thread(void *argument) {
  birth own = begin_any(argument);
  return own.c11_routine(own.argument);
}

// Keys' destructors run in up to PTHREAD_DESTRUCTOR_ITERATIONS rounds, and others' may free: be there in the
// last.
static void thread_ends(void *rounds) {
  if ((uintptr_t)rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
    pthread_setspecific(end_key, (void *)((uintptr_t)rounds + 1));
  else
    record_close_thread();
}

static birth *announce_thread(void *argument) {
  record_begin();
  if (record_alive[0] == RECORD_SINGLE)
    record_alive[0] = RECORD_THREADED;
  birth *child = take_birth();
  child->argument = argument;
  child->token = record_next_token();
  child->process = record_process();
  record_thread_event(HA_RAW_SPAWN, child->token);
  return child;
}

EXPORT int pthread_create(pthread_t *newthread, const pthread_attr_t *attr, void *(*start_routine)(void *),
                          void *arg) {
  if (!ready())
    return EAGAIN;
  birth *child = announce_thread(arg);
  child->routine = start_routine;
  int error = next.pthread_create(newthread, attr, begin_thread, child);
  if (error != 0)
    leave_birth(child);
  return error;
}

// The C library's thrd_create does not come through pthread_create by name.
EXPORT int thrd_create(thrd_t *thr, thrd_start_t func, void *arg) {
  if (!ready() || next.thrd_create == NULL)
    return thrd_error;
  birth *child = announce_thread(arg);
  child->c11_routine = func;
  int result = next.thrd_create(thr, begin_c11_thread, child);
  if (result != thrd_success)
    leave_birth(child);
  return result;
}

// A thread's token is in its thread-local storage, which glibc keeps at a fixed distance from its pthread_t
// until it is joined. 0 if the thread did not begin yet or was not made here.
static uint32_t token_of(pthread_t thread) {
  ptrdiff_t distance = (char *)&record_tls.token - (char *)pthread_self();
  return __atomic_load_n((uint32_t *)((char *)thread + distance), __ATOMIC_ACQUIRE);
}

// Whoever joins a thread that did not begin yet waits for that, which on a busy machine may take long. Not for ever:
// in the child of a fork `unborn` may count threads of the parent.
static uint32_t token_to_join(pthread_t thread) {
  const struct timespec nap = {.tv_nsec = 1000000};
  for (unsigned tries = 0; tries < 10000; tries++) {
    bool waits = atomic_load(&unborn) != 0; // before the look: who is not counted any more has its token
    uint32_t token = token_of(thread);
    if (token != 0 || !waits)
      return token;
    if (tries < 100)
      sched_yield();
    else
      (void)nanosleep(&nap, NULL);
  }
  return 0;
}

static void joined(uint32_t token) {
  if (token != 0)
    record_thread_event(HA_RAW_JOIN, token);
}

// Every way to join: the token is read before, as the thread's memory goes with the call.
#define JOIN(type, thread, good, call)                                                                       \
  do {                                                                                                       \
    uint32_t token_ = token_to_join(thread);                                                                 \
    type result_ = (call);                                                                                   \
    if (result_ == (good))                                                                                   \
      joined(token_);                                                                                        \
    return result_;                                                                                          \
  } while (0)

EXPORT int pthread_join(pthread_t th, void **thread_return) {
  if (!ready())
    return EINVAL;
  JOIN(int, th, 0, next.pthread_join(th, thread_return));
}

EXPORT int pthread_tryjoin_np(pthread_t th, void **thread_return) {
  if (!ready() || next.pthread_tryjoin_np == NULL)
    return EINVAL;
  JOIN(int, th, 0, next.pthread_tryjoin_np(th, thread_return));
}

EXPORT int pthread_timedjoin_np(pthread_t th, void **thread_return, const struct timespec *abstime) {
  if (!ready() || next.pthread_timedjoin_np == NULL)
    return EINVAL;
  JOIN(int, th, 0, next.pthread_timedjoin_np(th, thread_return, abstime));
}

EXPORT int thrd_join(thrd_t thr, int *res) {
  if (!ready() || next.thrd_join == NULL)
    return thrd_error;
  JOIN(int, thr, thrd_success, next.thrd_join(thr, res));
}

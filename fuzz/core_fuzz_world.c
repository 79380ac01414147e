// core_fuzz_world.c: see core_fuzz_world.h. Never calls the C library's mmap and its like, but the kernel: a sanitizer
// would do its book-keeping for terabytes of address space.
#include "fuzz/core_fuzz_world.h"

#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/options.h"
#include "fuzz/core_fuzz.h"
#include "fuzz/os_wrap.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { KERNEL_PAGE = 4096 };

void (*core_world_on_discard)(uintptr_t start, size_t size);

static struct {
  uintptr_t next;      // where the next place without hint is
  uintptr_t end;       // no mapping lies beyond it
  unsigned skip, more; // requests to let through, then to refuse
  unsigned refused;
  bool locked_pages;
  bool scatter;
  size_t limit;
  uint64_t now_ms;
} world;

static struct {
  enum core_scavenger state;
  pthread_t thread;
  void *(*body)(void *argument);
  bool woken;  // since it fell asleep
  bool ending; // the next stop is its last
  uint64_t nap_ms;
  sem_t go;      // to the thread
  sem_t stopped; // to the input
} scavenger;

// The core's code runs in this thread at the moment: the harness's own calls are not for the world.
static __thread bool in_core;
static __thread bool is_scavenger;
static __thread bool may_be_fatal;

// ---- The core's variables ----

// The linker's names for the ends of sections.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern char __start_core_bss[], __stop_core_bss[], __start_core_data[], __stop_core_data[];
// NOLINTEND(bugprone-reserved-identifier)

#define NO_CHECKS __attribute__((no_sanitize("address"), no_builtin))

// Between variables may lie a sanitizer's red zones, which memcpy and memset would report.
NO_CHECKS static void copy_bytes(char *to, const char *from, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = from[i];
}

NO_CHECKS static void clear_bytes(char *from, const char *end) {
  for (; from < end; from++)
    *from = 0;
}

static void restore_variables(void) {
  static char *data;
  size_t size = (size_t)(__stop_core_data - __start_core_data);
  if (data == NULL) { // the first input: nothing ran yet
    data = malloc(size);
    CORE_REQUIRE(data != NULL, "no memory for the harness");
    copy_bytes(data, __start_core_data, size);
  }
  copy_bytes(__start_core_data, data, size);
  // The tables for all addresses are large and hardly touched: the kernel forgets their pages.
  char *first = (char *)gm_align_up((uintptr_t)__start_core_bss, KERNEL_PAGE);
  char *last = (char *)gm_align_down((uintptr_t)__stop_core_bss, KERNEL_PAGE);
  clear_bytes(__start_core_bss, first);
  CORE_REQUIRE(syscall(SYS_madvise, first, last - first, MADV_DONTNEED) == 0, "the core's variables");
  clear_bytes(last, __stop_core_bss);
  mcache_current = &mcache_none;
}

// ---- The system ----

static bool refuse(void) {
  if (world.skip > 0) {
    world.skip--;
    return false;
  }
  if (world.more == 0)
    return false;
  world.more--;
  world.refused++;
  errno = ENOMEM;
  return true;
}

static void *map_at(uintptr_t address, size_t length, int protection, int flags) {
  return (void *)syscall(SYS_mmap, address, length, protection, flags | MAP_FIXED_NOREPLACE, -1, 0L);
}

static bool in_world(uintptr_t address, size_t length) {
  return address >= CORE_WORLD_LOW && address < CORE_WORLD_HIGH && length <= CORE_WORLD_HIGH - address;
}

static void *map_in_world(uintptr_t hint, size_t length, int protection, int flags) {
  length = gm_align_up(length, KERNEL_PAGE);
  void *memory = MAP_FAILED;
  if (flags & MAP_FIXED) {
    CORE_REQUIRE(in_world(hint, length), "the core maps over what is not its own");
    return (void *)syscall(SYS_mmap, hint, length, protection, flags, -1, 0L);
  }
  if (hint % KERNEL_PAGE == 0 && in_world(hint, length) && !world.scatter)
    memory = map_at(hint, length, protection, flags);
  while (memory == MAP_FAILED && in_world(world.next, length)) {
    uintptr_t place = world.next + (world.scatter ? KERNEL_PAGE : 0);
    memory = map_at(place, length, protection, flags);
    world.next = memory == MAP_FAILED ? world.next + ((uintptr_t)1 << 30)
                                      : gm_align_up(place + length, (size_t)64 << 20);
  }
  if (memory != MAP_FAILED && (uintptr_t)memory + length > world.end)
    world.end = (uintptr_t)memory + length;
  return memory;
}

// As in os_wrap.h.
// NOLINTBEGIN(bugprone-reserved-identifier)
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument);
void __real_gm_fatal(const char *message) __attribute__((noreturn));
void __wrap_gm_fatal(const char *message) __attribute__((noreturn));

// The scavenger's thread waits here until the input lets it go on.
static void stop(enum core_scavenger state) {
  scavenger.state = state;
  sem_post(&scavenger.stopped);
  while (sem_wait(&scavenger.go) != 0)
    continue;
  if (scavenger.ending)
    pthread_exit(NULL);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (!in_core)
    return __real_mmap(address, length, protection, flags, fd, offset);
  return refuse() ? MAP_FAILED : map_in_world((uintptr_t)address, length, protection, flags);
}

int __wrap_mprotect(void *address, size_t length, int protection) {
  if (!in_core)
    return __real_mprotect(address, length, protection);
  CORE_REQUIRE(in_world((uintptr_t)address, length), "the core protects what is not its own");
  // Only what makes memory accessible may fail for want of it.
  return protection != PROT_NONE && refuse() ? -1
                                             : (int)__real_syscall(SYS_mprotect, address, length, protection);
}

int __wrap_munmap(void *address, size_t length) {
  if (!in_core)
    return __real_munmap(address, length);
  CORE_REQUIRE(in_world((uintptr_t)address, length), "the core unmaps what is not its own");
  return (int)__real_syscall(SYS_munmap, address, length);
}

int __wrap_madvise(void *address, size_t length, int advice) {
  if (!in_core)
    return __real_madvise(address, length, advice);
  CORE_REQUIRE(in_world((uintptr_t)address, length), "the core advises on what is not its own");
  if (advice != MADV_DONTNEED)
    return 0; // huge pages: a hint that this system does not heed
  if (is_scavenger && heap_arena_of((uintptr_t)address) !=
                          NULL) // what it gives back of the core's own, it does with the lock
    stop(SCAVENGER_RELEASING);
  if (core_world_on_discard != NULL)
    core_world_on_discard((uintptr_t)address, length);
  if (world.locked_pages) {
    errno = EINVAL;
    return -1;
  }
  return (int)__real_syscall(SYS_madvise, address, length, advice);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
  if (!in_core)
    return __real_clock_gettime(clock, now);
  *now = (struct timespec){(time_t)(world.now_ms / 1000), (long)(world.now_ms % 1000) * 1000000};
  return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
  if (!is_scavenger)
    return __real_nanosleep(time, left);
  scavenger.nap_ms = (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_nsec / 1000000;
  stop(SCAVENGER_NAPPING);
  return 0;
}

int __wrap_getrlimit(int resource, struct rlimit *limit) {
  if (!in_core || resource != RLIMIT_AS)
    return __real_getrlimit(resource, limit);
  limit->rlim_cur = limit->rlim_max = world.limit == SIZE_MAX ? RLIM_INFINITY : world.limit;
  return 0;
}

long __wrap_syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long a = va_arg(arguments, long);
  long b = va_arg(arguments, long);
  long c = va_arg(arguments, long);
  long d = va_arg(arguments, long);
  long e = va_arg(arguments, long);
  long f = va_arg(arguments, long);
  va_end(arguments);
  if (!in_core || number != SYS_futex)
    return __real_syscall(number, a, b, c, d, e, f);
  // Nobody else runs, so locks are free, and the only futex is what the scavenger sleeps on.
  if (b == FUTEX_WAKE_PRIVATE) {
    scavenger.woken = true;
    return 1;
  }
  CORE_REQUIRE(is_scavenger && b == FUTEX_WAIT_PRIVATE, "a lock was left held");
  scavenger.woken = false;
  stop(SCAVENGER_ASLEEP);
  return 0;
}

static void *scavenger_thread(void *argument) {
  (void)argument;
  is_scavenger = true;
  in_core = true;
  return scavenger.body(NULL);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument) {
  if (!in_core)
    return __real_pthread_create(thread, attributes, body, argument);
  if (world.more > 0 && refuse())
    return EAGAIN;
  CORE_REQUIRE(scavenger.state == SCAVENGER_NONE, "a second scavenger");
  scavenger.body = body;
  scavenger.ending = scavenger.woken = false;
  sem_init(&scavenger.go, 0, 0);
  sem_init(&scavenger.stopped, 0, 0);
  int error = __real_pthread_create(&scavenger.thread, NULL, scavenger_thread, NULL);
  CORE_REQUIRE(error == 0, "no thread for the harness");
  while (sem_wait(&scavenger.stopped) != 0)
    continue;
  *thread = scavenger.thread;
  return 0;
}

void __wrap_gm_fatal(const char *message) {
  if (may_be_fatal)
    pthread_exit((void *)1);
  __real_gm_fatal(message);
}
// NOLINTEND(bugprone-reserved-identifier)

void core_world_fail(unsigned skip, unsigned more) {
  world.skip = skip;
  world.more = more;
  world.refused = 0;
}

unsigned core_world_stop_failing(void) {
  unsigned refused = world.refused;
  world.skip = world.more = world.refused = 0;
  return refused;
}

void core_world_lock_pages(bool locked) {
  world.locked_pages = locked;
}

void core_world_scatter(bool scatter) {
  world.scatter = scatter;
}

void core_world_layout(bool linear) {
  // As the environment would have it: the options are read once, and then again from this.
  static char wanted[2][32] = {"GOMALLOC_LAYOUT=sparse", "GOMALLOC_LAYOUT=linear"};
  options_load();
  options_load_from((char *[]){wanted[linear], NULL});
}

void core_world_limit(size_t bytes) {
  world.limit = bytes;
}

void core_world_advance(uint64_t milliseconds) {
  world.now_ms += milliseconds;
}

enum core_scavenger core_world_scavenger(void) {
  return scavenger.state;
}

uint64_t core_world_nap(void) {
  return scavenger.nap_ms;
}

bool core_world_tick(void) {
  if (scavenger.state == SCAVENGER_NONE || (scavenger.state == SCAVENGER_ASLEEP && !scavenger.woken))
    return false;
  sem_post(&scavenger.go);
  while (sem_wait(&scavenger.stopped) != 0)
    continue;
  return true;
}

bool core_world_is_woken(void) {
  return scavenger.woken;
}

void core_world_lose_scavenger(void) {
  if (scavenger.state == SCAVENGER_NONE)
    return;
  scavenger.ending = true;
  sem_post(&scavenger.go);
  pthread_join(scavenger.thread, NULL);
  scavenger.state = SCAVENGER_NONE;
}

// An action that may be fatal runs in a thread of its own, which gm_fatal ends.
typedef struct attempt {
  void (*action)(void *context);
  void *context;
} attempt;

static void *try_action(void *argument) {
  const attempt *this = argument;
  in_core = true;
  may_be_fatal = true;
  this->action(this->context);
  return NULL;
}

bool core_world_is_fatal(void (*action)(void *context), void *context) {
  attempt this = {action, context};
  pthread_t thread;
  void *result = NULL;
  CORE_REQUIRE(__real_pthread_create(&thread, NULL, try_action, &this) == 0, "no thread for the harness");
  pthread_join(thread, &result);
  return result != NULL;
}

void core_world_begin(void) {
  world.next = world.end = CORE_WORLD_LOW;
  world.limit = SIZE_MAX;
  world.now_ms = 1000;
  world.locked_pages = world.scatter = false;
  core_world_on_discard = NULL;
  core_world_fail(0, 0);
  restore_variables();
  in_core = true;
}

void core_world_end(void) {
  in_core = false;
  core_world_lose_scavenger();
  if (world.end > CORE_WORLD_LOW)
    CORE_REQUIRE(syscall(SYS_munmap, CORE_WORLD_LOW, world.end - CORE_WORLD_LOW) == 0,
                 "what the core mapped");
}

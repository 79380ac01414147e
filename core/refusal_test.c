// What gomalloc does when the system refuses: the k-th request for memory of a fresh heap fails, for every k that it makes,
// and with it all further ones or none. Calls fail with ENOMEM or are served, nothing is lost, and when the system has
// memory again all is well. And what is to happen without being asked for: memory goes back after a block shrank, and does
// not when decay was switched off. Each test runs in a child, with a heap of its own.
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/mheap.h"
#include "core/options.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- The system, led here by the linker's --wrap ----

static __thread bool refusing; // only where a test says so
static unsigned to_skip;
static unsigned to_refuse;
static unsigned refused;

static bool refuse(void) {
  if (!refusing)
    return false;
  if (to_skip > 0) {
    to_skip--;
    return false;
  }
  if (to_refuse == 0)
    return false;
  to_refuse--;
  refused++;
  errno = ENOMEM;
  return true;
}

// NOLINTBEGIN(bugprone-reserved-identifier)
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection);
int __real_madvise(void *address, size_t length, int advice);
int __wrap_madvise(void *address, size_t length, int advice);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument);

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return refuse() ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
}

int __wrap_mprotect(void *address, size_t length, int protection) {
  return refuse() ? -1 : __real_mprotect(address, length, protection);
}

// As for pages that are locked: mapping them afresh is the way out.
int __wrap_madvise(void *address, size_t length, int advice) {
  if (refusing && advice == MADV_DONTNEED && to_refuse > 0) {
    errno = EINVAL;
    return -1;
  }
  return __real_madvise(address, length, advice);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *argument) {
  return refuse() ? EAGAIN : __real_pthread_create(thread, attributes, body, argument);
}
// NOLINTEND(bugprone-reserved-identifier)

static void start_refusing(unsigned skip, unsigned more) {
  to_skip = skip;
  to_refuse = more;
  refused = 0;
  refusing = true;
}

static unsigned stop_refusing(void) {
  refusing = false;
  to_skip = to_refuse = 0;
  return refused;
}

// ---- Children ----

// The child's status says where: lines are below 256 apart from the file's start.
#define REQUIRE(condition)                                                                                   \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      _exit(__LINE__ % 255 + 1);                                                                             \
  } while (0)

// Runs the action in a child; returns what the child does, its exit status.
static int status_of(int (*action)(unsigned), unsigned argument) {
  pid_t child = fork();
  if (child == 0) {
    (void)alarm(100);
    (void)signal(SIGSEGV, SIG_DFL); // cmocka would go on with its tests here
    _exit(action(argument));
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status))
    fail_msg("the child with argument %u ended with signal %d", argument, WTERMSIG(status));
  return WEXITSTATUS(status);
}

enum { GOOD = 0, NOTHING_REFUSED = 1 };

// ---- Refusals ----

enum { BLOCKS = 24 };

static size_t size_of(unsigned i) {
  static const size_t sizes[] = {8, 100, 3000, 32768, 50000, 300000, 5000000, 70000000, 24, 12000};
  return sizes[i % (sizeof sizes / sizeof sizes[0])] + i;
}

// A heap's first calls, through all of its parts. Returns whether all of them were served.
static bool use_heap(void) {
  static char *blocks[BLOCKS];
  bool all = true;
  for (unsigned i = 0; i < BLOCKS; i++) {
    errno = 0;
    size_t align = (size_t)64 << i % 16;
    blocks[i] = i % 7 == 3 ? gm_aligned_alloc(align, size_of(i)) : gm_malloc(size_of(i));
    REQUIRE(blocks[i] != NULL || errno == ENOMEM);
    all &= blocks[i] != NULL;
    if (blocks[i] == NULL)
      continue;
    memset(blocks[i], (int)i + 1, size_of(i) < 4096 ? size_of(i) : 4096);
    bool grows = i % 3 == 0 && size_of(i) < 1000000;
    char *moved = grows ? gm_realloc(blocks[i], size_of(i) * 2) : blocks[i];
    REQUIRE(moved != NULL || errno == ENOMEM);
    all &= moved != NULL;
    blocks[i] = moved != NULL ? moved : blocks[i];
  }
  for (unsigned i = 0; i < BLOCKS; i++) {
    if (blocks[i] != NULL)
      REQUIRE(blocks[i][0] == (char)(i + 1) &&
              blocks[i][size_of(i) < 4096 ? size_of(i) - 1 : 4095] == (char)(i + 1));
    gm_free(blocks[i]);
  }
  (void)gm_purge();
  return all;
}

// What the map says of an address that is no arena's leads to no block of the heap.
static bool finds_nothing(uintptr_t address) {
  const struct mspan *span = heap_arena_span_of(address);
  return span == NULL || span->object_count == 0 || mspan_divide(span, address) >= span->object_count;
}

static int refuse_from(unsigned skip, unsigned more) {
  start_refusing(skip, more);
  bool all = use_heap();
  bool any = stop_refusing() > 0;
  REQUIRE(all || any);
  REQUIRE(gm_check_heap() == 0);
  // An address that is nobody's, everywhere in the map: lookups work whatever was refused.
  if (heap_pages.mask != 0)
    for (uintptr_t page = 0; page <= heap_pages.mask; page += heap_pages.mask / 200 + 1)
      (void)heap_arena_span_of(page << GM_PAGE_SHIFT);
  REQUIRE(use_heap());
  REQUIRE(gm_check_heap() == 0);
  for (struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next) {
    uintptr_t end = arena->base + ARENA_SIZE;
    REQUIRE(heap_arena_of(arena->base - 1) != NULL || finds_nothing(arena->base - 1));
    REQUIRE(heap_arena_of(end) != NULL || finds_nothing(end));
  }
  return any ? GOOD : NOTHING_REFUSED;
}

static int refuse_one(unsigned skip) {
  return refuse_from(skip, 1);
}

static int refuse_all(unsigned skip) {
  return refuse_from(skip, 1000000);
}

// Until a child makes fewer requests.
static void refuse_each(int (*action)(unsigned skip)) {
  unsigned skip = 0;
  for (int status = GOOD; status != NOTHING_REFUSED; skip++) {
    status = status_of(action, skip);
    if (status != GOOD && status != NOTHING_REFUSED)
      fail_msg("request %u refused: wrong in line %d", skip, status - 1);
    assert_true(skip < 500);
  }
  assert_true(skip > 10);
}

static void test_one_refusal(void **state) {
  (void)state;
  refuse_each(refuse_one);
}

static void test_no_more_memory(void **state) {
  (void)state;
  refuse_each(refuse_all);
}

// ---- What happens by itself ----

static uint64_t released(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  return stats.HeapReleased;
}

// A heap with the background thread, which has nothing to do.
static void start_thread(void) {
  REQUIRE(gm_set_option("decay", "100") == 0);
  char *block = gm_malloc((size_t)40 << 20);
  REQUIRE(block != NULL);
  for (unsigned i = 0; i < 20; i++)
    gm_free(gm_malloc(100 + 2000 * i)); // through the slow paths, where it is started
  gm_free(block);
  uint64_t before = released();
  for (unsigned i = 0; i < 100 && released() <= before; i++)
    (void)usleep(50000);
  REQUIRE(released() > before);
  (void)usleep(300000); // it is asleep now
}

static int shrink_a_block(unsigned unused) {
  (void)unused;
  start_thread();
  char *block = gm_malloc((size_t)32 << 20);
  REQUIRE(block != NULL);
  memset(block, 1, (size_t)32 << 20);
  uint64_t before = released();
  REQUIRE(gm_realloc(block, (size_t)17 << 20) == block);
  for (unsigned i = 0; i < 100 && released() < before + ((uint64_t)14 << 20); i++)
    (void)usleep(50000);
  REQUIRE(released() >= before + ((uint64_t)14 << 20));
  return GOOD;
}

static void test_a_block_that_shrank(void **state) {
  (void)state;
  assert_int_equal(status_of(shrink_a_block, 0), GOOD);
}

static int switch_decay_off(unsigned unused) {
  (void)unused;
  start_thread();
  REQUIRE(gm_set_option("decay", "400") == 0);
  REQUIRE(gm_set_option("retain_min", "64MiB") == 0);
  char *block = gm_malloc((size_t)16 << 20);
  REQUIRE(block != NULL);
  memset(block, 1, (size_t)16 << 20);
  gm_free(block);
  (void)usleep(250000); // half of what it would wait
  REQUIRE(gm_set_option("decay", "none") == 0);
  (void)usleep(50000);
  uint64_t before = released();
  (void)usleep(3000000); // a nap without decay is a second
  REQUIRE(released() <= before + ((uint64_t)1 << 20));
  return GOOD;
}

static void test_decay_switched_off(void **state) {
  (void)state;
  assert_int_equal(status_of(switch_decay_off, 0), GOOD);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_refusal),
      cmocka_unit_test(test_no_more_memory),
      cmocka_unit_test(test_a_block_that_shrank),
      cmocka_unit_test(test_decay_switched_off),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

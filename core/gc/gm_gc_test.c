// The collector's C interface: what stays alive and what does not, bad input, manual blocks beside collected
// objects.
#include "core/gc/gm_gc.h"
#include "core/gc/marksweep_packets.h"
#include "core/gomalloc.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// The roots of most tests: outside of the stack, so that what the compiler leaves there does not matter.
static void *roots[64];

// What a test looks for has a size that nothing else has.
enum { ODD_SIZE = 416, CELLS = 100 };

static const size_t os_page = 4096;

struct cell {
  struct cell *next;
  uint64_t number;
};

static void start(struct gm_gc_options options) {
  memset(roots, 0, sizeof roots);
  options.checkmark = true;
  options.verify = true;
  assert_int_equal(gm_gc_init(&options), 0);
  assert_int_equal(gm_gc_root_add(roots, sizeof roots), 0);
}

static void finish(void) {
  assert_int_equal(gm_gc_check(), 0);
  assert_int_equal(gm_gc_shutdown(), 0);
  assert_int_equal(gm_check_heap(), 0);
}

static void count_size(void *object, size_t size, void *context) {
  size_t *wanted = context; // a size, and how many there are of it
  (void)object;
  wanted[1] += size == wanted[0];
}

// Writes over the dead part of the stack, where old pointers lie.
static GM_NOINLINE void scrub(void) {
  volatile unsigned char junk[16 << 10];
  for (size_t i = 0; i < sizeof junk; i++)
    junk[i] = 0;
}

static size_t collect_and_count(size_t size) {
  scrub();
  assert_int_equal(gm_gc_collect(), 0);
  size_t wanted[2] = {size, 0};
  assert_int_equal(gm_gc_each_object(count_size, wanted), 0);
  return wanted[1];
}

static const gm_gc_type *cell_type(void) {
  static const size_t pointers[] = {offsetof(struct cell, next)};
  const gm_gc_type *type = gm_gc_type_define(sizeof(struct cell), pointers, 1);
  assert_non_null(type);
  return type;
}

static bool reads_zero(const unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

// Every size, fresh and used before.
static void test_sizes(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  for (int round = 0; round < 3; round++) {
    for (size_t size = 0; size <= 98304; size += size < 1100 ? 1 : 509) {
      unsigned char *object = round % 2 == 0 ? gm_gc_alloc_noscan(size) : gm_gc_alloc_conservative(size);
      assert_non_null(object);
      size_t real = gm_gc_size(object);
      assert_true(real >= size && real >= 8 && real <= size + size / 4 + GM_PAGE_SIZE);
      assert_int_equal((uintptr_t)object % (real % 16 == 0 ? 16 : 8), 0);
      assert_true(reads_zero(object, real));
      assert_ptr_equal(gm_gc_base(object + real - 1), object);
      memset(object, 0xab, real);
    }
    assert_int_equal(gm_gc_collect(), 0);
  }
  assert_int_equal(gm_gc_size(gm_gc_alloc_noscan(24)), 24);
  finish();
}

// A whole span of every class: the division by the class's magic number finds each byte's object.
static void test_every_class(void **state) {
  (void)state;
  start((struct gm_gc_options){.growth_percent = 10000});
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    size_t size = size_class_size[class];
    unsigned char *first = gm_gc_alloc_noscan(size);
    const struct gc_span *span = gc_span_at((uintptr_t)first);
    assert_non_null(span);
    assert_int_equal(span->bytes, size);
    assert_true(span->object_count * size <= gc_span_pages_bytes(gc_span_at((uintptr_t)first)));
    for (uint64_t i = 0; i < span->object_count; i++) {
      uintptr_t object = span->start + i * size;
      assert_int_equal(gc_span_index(span, object), i);
      assert_int_equal(gc_span_index(span, object + size - 1), i);
    }
  }
  finish();
}

static GM_NOINLINE void make_odd(size_t count, size_t keep, size_t offset) {
  for (size_t i = 0; i < count; i++) {
    unsigned char *object = gm_gc_alloc_noscan(ODD_SIZE);
    assert_non_null(object);
    memset(object, 0x11, ODD_SIZE);
    if (i < keep)
      roots[i] = object + offset;
  }
}

static void test_interior_pointers(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  const size_t offsets[] = {0, 1, 200, ODD_SIZE - 1};
  for (size_t i = 0; i < 4; i++) {
    make_odd(CELLS, 10, offsets[i]);
    size_t kept = collect_and_count(ODD_SIZE);
    assert_in_range(kept, 10, 13);
    for (size_t k = 0; k < 10; k++)
      assert_int_equal(*(const unsigned char *)gm_gc_base(roots[k]), 0x11);
    memset(roots, 0, sizeof roots);
  }
  assert_in_range(collect_and_count(ODD_SIZE), 0, 3);
  finish();
}

// A large object stays by a pointer anywhere into it, and what it points at with it.
static GM_NOINLINE void make_large(size_t size, bool scanned) {
  void **large = scanned ? gm_gc_alloc_conservative(size) : gm_gc_alloc_noscan(size);
  assert_non_null(large);
  for (size_t i = 0; i < CELLS; i++)
    large[size / sizeof *large / CELLS * i] = gm_gc_alloc_noscan(ODD_SIZE);
  roots[0] = (char *)large + size - 8;
}

static void test_large_objects(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  make_large((size_t)3 << 20, true);
  assert_in_range(collect_and_count(ODD_SIZE), CELLS, CELLS + 3);
  make_large((size_t)3 << 20, false);
  assert_in_range(collect_and_count(ODD_SIZE), 0, CELLS / 4);
  for (size_t i = 0; i < 8; i++)
    make_large((size_t)3 << 20, i % 2 == 0);
  roots[0] = NULL;
  assert_in_range(collect_and_count((size_t)3 << 20), 0, 3);
  finish();
}

// Words that are not in the pointer map are not followed, those that are, are; for maps of a word and of
// several.
static GM_NOINLINE void make_typed(size_t words, size_t pointer_at, size_t decoy_at) {
  size_t offset = pointer_at * 8;
  const gm_gc_type *type = gm_gc_type_define(words * 8, &offset, 1);
  assert_non_null(type);
  for (size_t i = 0; i < 10; i++) {
    void **object = gm_gc_alloc(type);
    assert_non_null(object);
    roots[i] = (void *)object;
    object[pointer_at] = gm_gc_alloc_noscan(ODD_SIZE);
    object[decoy_at] = gm_gc_alloc_noscan(ODD_SIZE);
  }
}

static void test_pointer_maps(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  const struct {
    size_t words;
    size_t pointer_at;
    size_t decoy_at;
  } shapes[] = {{2, 1, 0}, {3, 0, 2}, {64, 63, 0}, {200, 130, 131}, {200, 3, 199}, {9000, 8999, 64}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    make_typed(shapes[i].words, shapes[i].pointer_at, shapes[i].decoy_at);
    assert_in_range(collect_and_count(ODD_SIZE), 10, 12);
    memset(roots, 0, sizeof roots);
  }
  size_t same = 8;
  assert_ptr_equal(gm_gc_type_define(16, &same, 1), gm_gc_type_define(16, &same, 1));
  finish();
}

static GM_NOINLINE void hide_in_noscan(void) {
  void **holder = gm_gc_alloc_noscan(sizeof(void *));
  *holder = gm_gc_alloc_noscan(ODD_SIZE);
  roots[0] = (void *)holder;
}

static void test_noscan_is_not_scanned(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  hide_in_noscan();
  make_odd(CELLS, 0, 0); // whoever was on the stack is not the hidden one
  assert_in_range(collect_and_count(ODD_SIZE), 0, 3);
  finish();
}

// A local variable and a register are enough.
static void test_stack_is_a_root(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  struct cell *list = NULL;
  for (uint64_t i = 0; i < 1000; i++) {
    struct cell *cell = gm_gc_alloc(cell_type());
    cell->next = list;
    cell->number = i;
    list = cell;
    if (i % 100 == 0)
      assert_int_equal(gm_gc_collect(), 0);
  }
  uint64_t number = 1000;
  for (const struct cell *cell = list; cell != NULL; cell = cell->next)
    assert_int_equal(cell->number, --number);
  assert_int_equal(number, 0);
  finish();
}

// free, realloc and usable_size know what a collected object is; a manual block in its neighbourhood is left
// alone.
static void test_misuse(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  assert_int_equal(gm_set_error_action(GM_ERROR_REPORT), 0);
  struct cell *cell = gm_gc_alloc(cell_type());
  char *large = gm_gc_alloc_noscan(100000);
  uint64_t errors = gm_error_count();
  gm_free(cell);
  gm_free(large);
  gm_free(large + GM_PAGE_SIZE * 3);
  assert_int_equal(gm_error_count(), errors + 3);
  errno = 0;
  assert_null(gm_realloc(cell, 100));
  assert_int_equal(errno, EINVAL);
  assert_int_equal(gm_usable_size(cell), 0);
  assert_int_equal(gm_error_count(), errors + 5);
  cell->number = 7;
  assert_int_equal(gm_gc_collect(), 0);
  assert_int_equal(cell->number, 7);
  assert_int_equal(gm_set_error_action(GM_ERROR_ABORT), 0);
  finish();
}

// Manual blocks are no roots and are not touched.
static void test_beside_malloc(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  enum { BLOCKS = 500 };
  unsigned char *blocks[BLOCKS];
  for (size_t round = 0; round < 5; round++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = gm_malloc(i * 37 + 1);
      memset(blocks[i], (int)i, i * 37 + 1);
      void *object = gm_gc_alloc_conservative(i * 29);
      memset(object, 0xff, i * 29);
    }
    assert_int_equal(gm_gc_collect(), 0);
    assert_int_equal(gm_gc_check(), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
      assert_int_equal(blocks[i][i * 37], (unsigned char)i);
      gm_free(blocks[i]);
    }
    assert_int_equal(gm_gc_check(), 0);
  }
  finish();
}

static void *unregistered(void *argument) {
  errno = 0;
  void *object = gm_gc_alloc_noscan(16);
  *(int *)argument = object == NULL ? errno : 0;
  return NULL;
}

static void test_bad_input(void **state) {
  (void)state;
  assert_null(gm_gc_type_define(8, NULL, 0));
  assert_int_equal(errno, EPERM);
  assert_int_equal(gm_gc_collect(), -1);
  const struct gm_gc_options bad[] = {
      {.growth_percent = 10001}, {.mark_threads = 65}, {.stop = (enum gm_gc_stop)7}, {.stop_signal = -1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(gm_gc_init(&bad[i]), -1);
    assert_int_equal(errno, EINVAL);
  }
  start((struct gm_gc_options){0});
  assert_int_equal(gm_gc_init(NULL), -1);
  assert_int_equal(errno, EBUSY);
  const size_t offsets[] = {4, 8, 16, SIZE_MAX};
  for (size_t i = 0; i < 4; i++) {
    errno = 0;
    assert_null(gm_gc_type_define(i == 1 ? 15 : 16, &offsets[i], 1));
    assert_int_equal(errno, EINVAL);
  }
  assert_null(gm_gc_type_define(0, NULL, 0));
  assert_null(gm_gc_type_define(16, NULL, 1));
  assert_int_equal(gm_gc_root_add((char *)roots + 1, 8), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(gm_gc_root_add(roots, 0), -1);
  unsigned char *pages = mmap(NULL, 3 * os_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(pages, MAP_FAILED);
  assert_int_equal(mprotect(pages + os_page, os_page, PROT_NONE), 0);
  errno = 0;
  assert_int_equal(gm_gc_root_add(pages, 3 * os_page), -1);
  assert_int_equal(errno, EFAULT);
  assert_int_equal(munmap(pages, 3 * os_page), 0);
  assert_int_equal(gm_gc_root_add(pages, os_page), -1);
  assert_int_equal(gm_gc_root_remove(pages), -1);
  assert_int_equal(gm_gc_root_visitor(NULL, NULL), -1);
  errno = 0;
  assert_null(gm_gc_alloc_noscan(SIZE_MAX));
  assert_int_equal(errno, ENOMEM);
  pthread_t thread;
  int error = 0;
  assert_int_equal(pthread_create(&thread, NULL, unregistered, &error), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(error, EPERM);
  finish();
}

static void *hidden[CELLS];

static void visit_hidden(gm_gc_mark_words *mark, void *marker, void *context) {
  mark(marker, hidden, *(size_t *)context);
}

static GM_NOINLINE void make_hidden(void) {
  for (size_t i = 0; i < CELLS; i++)
    hidden[i] = gm_gc_alloc_noscan(ODD_SIZE);
}

static void test_visitors(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  size_t count = CELLS;
  assert_int_equal(gm_gc_root_visitor(visit_hidden, &count), 0);
  make_hidden();
  assert_in_range(collect_and_count(ODD_SIZE), CELLS, CELLS + 3);
  count = 10;
  assert_in_range(collect_and_count(ODD_SIZE), 10, 13);
  finish();
}

// More grey objects than the pool's packets hold: the walk over marked objects finds what was left out.
static void test_mark_overflow(void **state) {
  (void)state;
  for (unsigned threads = 1; threads <= 4; threads += 3) {
    start((struct gm_gc_options){.mark_threads = threads});
    assert_int_equal(gm_gc_collect(), 0); // has the pool take its first packets
    enum { MANY = 60000 };
    atomic_store(&gc_packets_limit, 0);
    struct cell **cells = gm_gc_alloc_conservative(MANY * sizeof(void *));
    roots[0] = (void *)cells;
    for (uint64_t i = 0; i < MANY; i++) {
      cells[i] = gm_gc_alloc(cell_type());
      cells[i]->number = i;
      cells[i]->next = gm_gc_alloc(cell_type());
      cells[i]->next->number = ~i;
    }
    assert_int_equal(gm_gc_collect(), 0);
    atomic_store(&gc_packets_limit, UINT32_MAX);
    struct gm_gc_stats stats;
    gm_gc_stats_read(&stats);
    assert_in_range(stats.live_objects, 2 * MANY + 1, 2 * MANY + 10);
    for (uint64_t i = 0; i < MANY; i++)
      assert_true(cells[i]->number == i && cells[i]->next->number == ~i);
    finish();
  }
}

static void test_heap_limit(void **state) {
  (void)state;
  start((struct gm_gc_options){.heap_limit = (size_t)4 << 20});
  size_t count = 0;
  for (;; count++) {
    struct cell *cell = gm_gc_alloc(cell_type());
    if (cell == NULL)
      break;
    cell->next = roots[0];
    cell->number = count;
    roots[0] = cell;
  }
  assert_int_equal(errno, ENOMEM);
  assert_in_range(count, (4 << 20) / 16 * 3 / 4, (4 << 20) / 16);
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  assert_true(stats.heap_peak_bytes <= (uint64_t)4 << 20);
  for (const struct cell *cell = roots[0]; cell != NULL; cell = cell->next)
    assert_int_equal(cell->number, --count);
  roots[0] = NULL;
  for (size_t i = 0; i < 300000; i++)
    assert_non_null(gm_gc_alloc(cell_type()));
  finish();
}

// Near the memory limit the goal shrinks, and cycles are more.
static void test_memory_limit(void **state) {
  (void)state;
  start((struct gm_gc_options){.growth_percent = 400});
  roots[0] = gm_gc_alloc_noscan((size_t)8 << 20);
  assert_int_equal(gm_gc_collect(), 0);
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  assert_true(stats.goal_bytes >= (uint64_t)32 << 20);
  assert_int_equal(gm_set_option("memlimit", "20MiB"), 0);
  assert_int_equal(gm_gc_collect(), 0);
  gm_gc_stats_read(&stats);
  assert_true(stats.goal_bytes <= (uint64_t)20 << 20 && stats.goal_bytes > (uint64_t)8 << 20);
  assert_int_equal(gm_set_option("memlimit", "none"), 0);
  finish();
}

static void test_stats(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  struct gm_gc_stats before;
  gm_gc_stats_read(&before);
  for (size_t i = 0; i < 1000; i++)
    assert_non_null(gm_gc_alloc_noscan(ODD_SIZE));
  struct gm_gc_stats after;
  gm_gc_stats_read(&after);
  assert_int_equal(after.allocated_objects - before.allocated_objects, 1000);
  assert_int_equal(after.allocated_bytes - before.allocated_bytes, 1000 * ODD_SIZE);
  for (size_t i = 0; i < 5; i++)
    assert_int_equal(gm_gc_collect(), 0);
  gm_gc_stats_read(&after);
  assert_int_equal(after.cycles - before.cycles, 5);
  assert_true(after.pause_most_ns > 0 && after.pause_total_ns >= after.pause_most_ns);
  assert_true(after.mark_total_ns <= after.pause_total_ns && after.threads == 1);
  uint64_t counts[GM_GC_PAUSE_BUCKETS];
  gm_gc_pause_histogram(counts);
  uint64_t sum = 0;
  for (size_t i = 0; i < GM_GC_PAUSE_BUCKETS; i++)
    sum += counts[i];
  assert_int_equal(sum, after.cycles);
  finish();
}

// Collections without end take no memory.
static void test_no_leak(void **state) {
  (void)state;
  const char *wanted = getenv("GM_GC_TEST_COLLECTIONS");
#ifdef GM_TSAN
  size_t fallback = 1500; // each takes a hundred times as long
#else
  size_t fallback = 10000;
#endif
  size_t rounds = wanted != NULL ? strtoul(wanted, NULL, 10) : fallback;
  memset(roots, 0, sizeof roots);
  assert_int_equal(gm_gc_init(&(struct gm_gc_options){.mark_threads = 1}), 0);
  assert_int_equal(gm_gc_root_add(roots, sizeof roots), 0);
  struct gm_gc_stats early = {0};
  for (size_t round = 0; round < rounds; round++) {
    for (size_t i = 0; i < 30; i++)
      roots[(round + i) % 64] = gm_gc_alloc_conservative((round * 7919 + i * 104729) % 2000);
    if (round % 64 == 0)
      roots[0] = gm_gc_alloc_noscan(100000);
    assert_int_equal(gm_gc_collect(), 0);
    if (round == 1000)
      gm_gc_stats_read(&early);
  }
  struct gm_gc_stats late;
  gm_gc_stats_read(&late);
  assert_int_equal(late.cycles, rounds);
  assert_true(rounds <= 1000 || late.heap_peak_bytes <= early.heap_peak_bytes + ((uint64_t)1 << 20));
  finish();
}

static void test_fork(void **state) {
  (void)state;
  start((struct gm_gc_options){0});
  struct cell *cell = gm_gc_alloc(cell_type());
  cell->number = 42;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    for (size_t i = 0; i < 200000; i++)
      if (gm_gc_alloc(cell_type()) == NULL)
        _exit(1);
    _exit(gm_gc_collect() == 0 && cell->number == 42 && gm_gc_check() == 0 ? 0 : 2);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_int_equal(gm_gc_collect(), 0);
  assert_int_equal(cell->number, 42);
  finish();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_every_class),
      cmocka_unit_test(test_interior_pointers),
      cmocka_unit_test(test_large_objects),
      cmocka_unit_test(test_pointer_maps),
      cmocka_unit_test(test_noscan_is_not_scanned),
      cmocka_unit_test(test_stack_is_a_root),
      cmocka_unit_test(test_misuse),
      cmocka_unit_test(test_beside_malloc),
      cmocka_unit_test(test_bad_input),
      cmocka_unit_test(test_visitors),
      cmocka_unit_test(test_mark_overflow),
      cmocka_unit_test(test_heap_limit),
      cmocka_unit_test(test_memory_limit),
      cmocka_unit_test(test_stats),
      cmocka_unit_test(test_no_leak),
      cmocka_unit_test(test_fork),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

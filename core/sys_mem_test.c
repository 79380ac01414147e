// Address-space states, metadata memory and the arena map.
#include "core/fixalloc.h"
#include "core/heap_arena.h"
#include "core/mspan.h"
#include "core/sys_mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 1 << 20 };

// The signal that ends a child which runs `action`, or 0.
static int signal_of(void (*action)(uintptr_t), uintptr_t address) {
  pid_t child = fork();
  if (child == 0) {
    (void)signal(SIGSEGV, SIG_DFL); // a sanitizer's handler would turn the signal into an exit
    action(address);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void read_byte(uintptr_t address) {
  (void)*(volatile char *)address;
}

static void test_life_of_a_range(void **state) {
  (void)state;
  uintptr_t start = (uintptr_t)sys_reserve(0, SIZE);
  assert_int_not_equal(start, 0);
  assert_int_equal(signal_of(read_byte, start), SIGSEGV);
  assert_true(sys_map(start, SIZE));
  sys_used(start, SIZE);
  memset((void *)start, 1, SIZE);
  sys_unused(start, SIZE / 2);
  assert_int_equal(*(char *)start, 0);
  assert_int_equal(*(char *)(start + SIZE / 2), 1);
  sys_used(start, SIZE / 2);
  assert_true(sys_fault(start, SIZE));
  assert_int_equal(signal_of(read_byte, start), SIGSEGV);
  sys_free(start, SIZE);
}

static void test_aligned_reservations(void **state) {
  (void)state;
  for (size_t align = GM_PAGE_SIZE; align <= ARENA_SIZE; align *= 4) {
    uintptr_t start = (uintptr_t)sys_reserve_aligned(0, 3 * GM_PAGE_SIZE, align);
    assert_int_not_equal(start, 0);
    assert_int_equal(start % align, 0);
    sys_free(start, 3 * GM_PAGE_SIZE);
  }
}

static void test_refusal_is_not_fatal(void **state) {
  (void)state;
  assert_null(sys_reserve(0, (size_t)1 << 60));
  assert_null(sys_reserve_aligned(0, (size_t)1 << 60, ARENA_SIZE));
  assert_null(sys_alloc((size_t)1 << 60));
}

#ifndef NDEBUG
static void use_reserved(uintptr_t address) {
  sys_used(address, SIZE);
}

static void map_twice(uintptr_t address) {
  (void)sys_map(address, SIZE);
  (void)sys_map(address, SIZE);
}

static void free_none(uintptr_t address) {
  sys_free(address, SIZE);
  sys_free(address, SIZE);
}

static void test_wrong_transitions_abort(void **state) {
  (void)state;
  uintptr_t start = (uintptr_t)sys_reserve(0, SIZE);
  assert_int_equal(signal_of(use_reserved, start), SIGABRT);
  assert_int_equal(signal_of(map_twice, start), SIGABRT);
  assert_int_equal(signal_of(free_none, start), SIGABRT);
  sys_free(start, SIZE);
}

static void test_states_are_recorded(void **state) {
  (void)state;
  uintptr_t start = (uintptr_t)sys_reserve(0, SIZE);
  uintptr_t middle = start + SIZE / 2;
  assert_int_equal(sys_state_of(start), SYS_RESERVED);
  assert_true(sys_map(middle, SIZE / 4));
  assert_int_equal(sys_state_of(middle - 1), SYS_RESERVED);
  assert_int_equal(sys_state_of(middle), SYS_PREPARED);
  sys_used(middle, GM_PAGE_SIZE);
  assert_int_equal(sys_state_of(middle), SYS_READY);
  assert_int_equal(sys_state_of(middle + GM_PAGE_SIZE), SYS_PREPARED);
  sys_free(start, SIZE);
  assert_int_equal(sys_state_of(middle), SYS_NONE);
}
#endif

static void test_persistent_memory(void **state) {
  (void)state;
  char *previous = NULL;
  for (size_t size = 1; size < 5000; size += 37) {
    char *memory = persistent_alloc(size, 64);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 64, 0);
    assert_ptr_not_equal(memory, previous);
    for (size_t i = 0; i < size; i++)
      assert_int_equal(memory[i], 0);
    memset(memory, 0xff, size);
    previous = memory;
  }
  assert_non_null(persistent_alloc(SIZE, 4096));
  assert_true(persistent_reserved() >= SIZE);
}

static void test_fixalloc_recycles(void **state) {
  (void)state;
  struct fixalloc fixed;
  fixalloc_init(&fixed, 100);
  void *first = fixalloc_alloc(&fixed);
  void *second = fixalloc_alloc(&fixed);
  assert_ptr_not_equal(first, second);
  assert_true((char *)second >= (char *)first + 100 || (char *)first >= (char *)second + 100);
  assert_int_equal((uintptr_t)first % GM_CACHE_LINE, 0);
  assert_int_equal(fixed.in_use, 2);
  fixalloc_free(&fixed, first);
  assert_ptr_equal(fixalloc_alloc(&fixed), first);
  assert_int_equal(fixed.in_use, 2);
}

// Slabs go back once none of their objects is in use, and serve again, reading zero.
static void test_fixalloc_releases(void **state) {
  (void)state;
  enum { COUNT = 1000, SIZE_EACH = 192 };
  static unsigned char *objects[COUNT];
  struct fixalloc fixed;
  fixalloc_init(&fixed, SIZE_EACH);
  assert_false(fixalloc_release(&fixed));
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT; i++) {
      objects[i] = fixalloc_alloc(&fixed);
      assert_non_null(objects[i]);
      memset(objects[i], (int)(i & 0xff), SIZE_EACH);
    }
    assert_false(fixalloc_release(&fixed));
    size_t reserved = persistent_reserved();
    assert_int_equal(fixalloc_check(&fixed), 0);
    const unsigned char *kept = objects[COUNT / 2];
    for (size_t i = 0; i < COUNT; i++)
      if (objects[i] != kept)
        fixalloc_free(&fixed, objects[i]);
    size_t slabs = 0;
    while (fixalloc_release(&fixed))
      slabs++;
    assert_int_equal(fixalloc_check(&fixed), 0);
    // All but the one with the object that is left, whose content stays.
    assert_true(slabs + 1 >= (size_t)COUNT * SIZE_EACH / FIXALLOC_SLAB);
    for (size_t i = 0; i < SIZE_EACH; i++)
      assert_int_equal(kept[i], COUNT / 2 & 0xff);
    uintptr_t kept_slab = gm_align_down((uintptr_t)kept, FIXALLOC_SLAB);
    for (size_t i = fixed.starter.room; i < COUNT; i++)
      if (gm_align_down((uintptr_t)objects[i], FIXALLOC_SLAB) != kept_slab)
        assert_int_equal(objects[i][SIZE_EACH - 1], 0); // and a stale pointer finds zeros
    fixalloc_free(&fixed, objects[COUNT / 2]);
    assert_true(round == 0 || persistent_reserved() == reserved);
  }
}

static void test_arena_map(void **state) {
  (void)state;
  uintptr_t base = heap_arena_reserve(0, ARENA_SIZE);
  assert_null(heap_arena_of(base));
  assert_non_null(heap_arena_add(base));
  assert_non_null(heap_arena_of(base + ARENA_SIZE - 1));
  assert_null(heap_arena_span_of(base));
  static struct mspan span;
  span.start = base + 3 * GM_PAGE_SIZE;
  span.npages = 5;
  heap_arena_set_spans(span.start, 5, &span);
  assert_null(heap_arena_span_of(span.start - 1));
  assert_ptr_equal(heap_arena_span_of(span.start), &span);
  assert_ptr_equal(heap_arena_span_of(span.start + 5 * GM_PAGE_SIZE - 1), &span);
  assert_null(heap_arena_span_of(span.start + 5 * GM_PAGE_SIZE));
  // A large span is known by its first page alone, and found from inside by walking back.
  heap_arena_set_spans(span.start + GM_PAGE_SIZE, 4, NULL);
  assert_ptr_equal(heap_arena_find_span(span.start + 4 * GM_PAGE_SIZE + 5), &span);
  assert_null(heap_arena_find_span(span.start + 6 * GM_PAGE_SIZE));
}

static void test_addresses_outside_the_map(void **state) {
  (void)state;
  // Volatile: gcc 12 warns of the constant index although the range check comes first.
  const volatile uintptr_t addresses[] = {0, 12345, (uintptr_t)1 << GM_ADDR_BITS, UINTPTR_MAX};
  for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    assert_null(heap_arena_of(addresses[i]));
    assert_null(heap_arena_span_of(addresses[i]));
    assert_null(heap_arena_find_span(addresses[i]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_life_of_a_range),           cmocka_unit_test(test_aligned_reservations),
      cmocka_unit_test(test_refusal_is_not_fatal),
#ifndef NDEBUG
      cmocka_unit_test(test_wrong_transitions_abort),   cmocka_unit_test(test_states_are_recorded),
#endif
      cmocka_unit_test(test_persistent_memory),         cmocka_unit_test(test_fixalloc_recycles),
      cmocka_unit_test(test_fixalloc_releases),         cmocka_unit_test(test_arena_map),
      cmocka_unit_test(test_addresses_outside_the_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

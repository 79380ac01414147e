// The textbook allocators: each policy takes the block that a walk over the whole heap would choose, every
// heap survives random work with its check() run again and again, and check() finds what was planted.
#include "core/textbook/buddy.h"
#include "core/textbook/fit.h"
#include "core/textbook/linear.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(uint64_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % bound;
}

static void fill(void *block, size_t size, unsigned tag) {
  memset(block, (int)(tag * 29 + 7) & 0xff, size);
}

static bool holds(const unsigned char *block, size_t size, unsigned tag) {
  for (size_t i = 0; i < size; i++)
    if (block[i] != (unsigned char)(tag * 29 + 7))
      return false;
  return true;
}

// ---- Random work over all kinds ----

#define SLOTS  400
#define ROUNDS 20000

struct slot {
  unsigned char *block;
  size_t size;
};

static void replace(struct textbook *book, struct slot *slot, unsigned tag) {
  size_t size = next_random(8) == 0 ? next_random(200000) + 1 : next_random(2000) + 1;
  unsigned what = (unsigned)next_random(4);
  if (slot->block != NULL)
    assert_true(holds(slot->block, slot->size, tag));
  if (slot->block != NULL && what == 0) {
    size_t kept = slot->size < size ? slot->size : size;
    slot->block = textbook_realloc(book, slot->block, size);
    assert_non_null(slot->block);
    assert_true(holds(slot->block, kept, tag));
  } else {
    textbook_free(book, slot->block);
    size_t alignment = what == 1 ? (size_t)16 << next_random(10) : 16;
    slot->block = textbook_aligned_alloc(book, alignment, size);
    assert_non_null(slot->block);
    assert_int_equal((uintptr_t)slot->block % alignment, 0);
  }
  slot->size = size;
  assert_true(textbook_usable_size(book, slot->block) >= size);
  fill(slot->block, size, tag);
}

static void work(struct textbook *book, unsigned rounds) {
  static struct slot slots[SLOTS];
  memset(slots, 0, sizeof slots);
  for (unsigned round = 0; round < rounds; round++) {
    unsigned tag = (unsigned)next_random(SLOTS);
    replace(book, &slots[tag], tag);
    if (round % 200 == 0)
      assert_int_equal(textbook_check(book), 0);
    if (round % 3000 == 0)
      textbook_purge(book);
  }
  struct textbook_counts counts;
  uint64_t mallocs = 0;
  uint64_t frees = 0;
  textbook_count(book, &counts, &mallocs, &frees);
  assert_int_equal(counts.live_blocks, mallocs - frees);
  for (unsigned tag = 0; tag < SLOTS; tag++) {
    assert_true(slots[tag].block == NULL || holds(slots[tag].block, slots[tag].size, tag));
    textbook_free(book, slots[tag].block);
  }
  textbook_count(book, &counts, &mallocs, &frees);
  assert_int_equal(counts.live_blocks, 0);
  assert_int_equal(counts.live_bytes, 0);
  assert_int_equal(textbook_check(book), 0);
}

static void test_linear_random_work(void **state) {
  (void)state;
  static struct linear heap;
  struct textbook book = TEXTBOOK_INIT(&textbook_linear, &heap);
  work(&book, ROUNDS / 10);
}

static void test_fits_random_work(void **state) {
  (void)state;
  static struct free_list heaps[] = {{.fit = FIT_FIRST},
                                     {.fit = FIT_FIRST, .lifo = true},
                                     {.fit = FIT_NEXT},
                                     {.fit = FIT_BEST},
                                     {.fit = FIT_SEGREGATED}};
  for (size_t i = 0; i < sizeof heaps / sizeof heaps[0]; i++) {
    struct textbook book = TEXTBOOK_INIT(&textbook_free_list, &heaps[i]);
    work(&book, ROUNDS);
    textbook_purge(&book);
    struct textbook_counts counts;
    textbook_free_list.count(&heaps[i], &counts);
    assert_true(counts.heap_bytes <= 16); // all joined to one hole, and that was given back
  }
}

static void test_buddy_random_work(void **state) {
  (void)state;
  static struct buddy heap;
  struct textbook book = TEXTBOOK_INIT(&textbook_buddy, &heap);
  work(&book, ROUNDS);
}

// ---- Which hole each policy takes ----

// The hole that the policy's definition names, found by a walk over the whole heap.
static const struct block *chosen_by_walk(const struct free_list *list, size_t size) {
  const struct block *chosen = NULL;
  const struct block *wrapped = NULL;
  const struct block *end = (const struct block *)(list->region.end - sizeof(size_t));
  const struct block *at = free_list_block(list, 1);
  for (; at < end; at = (const struct block *)((uintptr_t)at + free_list_size(at))) {
    if ((at->header & FREE_LIST_LIVE) != 0 || free_list_size(at) < size)
      continue;
    bool past_rover = free_list_number(list, at) >= list->rover;
    if (list->fit == FIT_NEXT && !past_rover)
      wrapped = wrapped == NULL ? at : wrapped;
    else if (chosen == NULL || (list->lifo && at->age > chosen->age) ||
             (list->fit == FIT_BEST && free_list_size(at) < free_list_size(chosen)))
      chosen = at;
  }
  return chosen != NULL ? chosen : wrapped;
}

static void agrees_with_walk(struct free_list *list) {
  void *blocks[SLOTS] = {NULL};
  unsigned compared = 0;
  for (unsigned round = 0; round < 4000; round++) {
    unsigned slot = (unsigned)next_random(SLOTS);
    if (blocks[slot] != NULL) {
      textbook_free_list.release(list, blocks[slot]);
      blocks[slot] = NULL;
      continue;
    }
    size_t request = next_random(600) + 24;
    const struct block *expected = NULL;
    if (list->region.base != 0)
      expected = chosen_by_walk(list, gm_align_up(request + sizeof(size_t), FREE_LIST_UNIT));
    blocks[slot] = textbook_free_list.allocate(list, 16, request);
    if (expected != NULL)
      assert_ptr_equal(blocks[slot], (uintptr_t)expected + sizeof(size_t));
    compared += expected != NULL;
  }
  assert_true(compared > 1000);
}

static void test_fits_choose_as_defined(void **state) {
  (void)state;
  static struct free_list heaps[] = {
      {.fit = FIT_FIRST}, {.fit = FIT_FIRST, .lifo = true}, {.fit = FIT_NEXT}, {.fit = FIT_BEST}};
  for (size_t i = 0; i < sizeof heaps / sizeof heaps[0]; i++)
    agrees_with_walk(&heaps[i]);
}

// Holes of 400, 112 and 208 bytes in the order of addresses; the 112 was freed last.
static void *pick(struct free_list *list, size_t request) {
  static const size_t sizes[] = {392, 16, 104, 16, 200, 16};
  void *blocks[6];
  for (unsigned i = 0; i < 6; i++)
    blocks[i] = textbook_free_list.allocate(list, 16, sizes[i]);
  textbook_free_list.release(list, blocks[4]);
  textbook_free_list.release(list, blocks[0]);
  textbook_free_list.release(list, blocks[2]);
  list->rover = free_list_number(list, (struct block *)((uintptr_t)blocks[3] - sizeof(size_t)));
  void *got = textbook_free_list.allocate(list, 16, request);
  for (unsigned i = 0; i < 6; i++)
    if (blocks[i] == got)
      return (void *)(uintptr_t)(sizes[i] + 8);
  return NULL;
}

static void test_fits_on_three_holes(void **state) {
  (void)state;
  static struct free_list first = {.fit = FIT_FIRST};
  static struct free_list lifo = {.fit = FIT_FIRST, .lifo = true};
  static struct free_list next = {.fit = FIT_NEXT};
  static struct free_list best = {.fit = FIT_BEST};
  static struct free_list segregated = {.fit = FIT_SEGREGATED};
  assert_int_equal(pick(&first, 100), 400);
  assert_int_equal(pick(&lifo, 100), 112);
  assert_int_equal(pick(&next, 100), 208);
  assert_int_equal(pick(&best, 100), 112);
  assert_int_equal(pick(&segregated, 100), 112);
}

// ---- What is particular to each idea ----

static void test_linear_reuses_only_an_empty_heap(void **state) {
  (void)state;
  static struct linear heap;
  struct textbook book = TEXTBOOK_INIT(&textbook_linear, &heap);
  char *first = textbook_malloc(&book, 100);
  char *second = textbook_malloc(&book, 100);
  assert_ptr_equal(second, first + 112 + 16); // rounded up, and the next header
  textbook_free(&book, first);
  char *third = textbook_malloc(&book, 100);
  assert_true(third > second);
  assert_ptr_equal(textbook_realloc(&book, third, 5000), third); // the newest grows in place
  char *moved = textbook_realloc(&book, second, 5000);
  assert_ptr_not_equal(moved, second);
  textbook_free(&book, third);
  textbook_free(&book, moved);
  assert_ptr_equal(textbook_malloc(&book, 1), first);
}

static void test_free_list_joins_and_splits(void **state) {
  (void)state;
  static struct free_list heap = {.fit = FIT_FIRST};
  struct textbook book = TEXTBOOK_INIT(&textbook_free_list, &heap);
  char *a = textbook_malloc(&book, 100);
  char *b = textbook_malloc(&book, 100);
  char *c = textbook_malloc(&book, 100);
  void *guard = textbook_malloc(&book, 100);
  textbook_free(&book, a);
  textbook_free(&book, c);
  textbook_free(&book, b); // joins on both sides
  char *all = textbook_malloc(&book, 320);
  assert_ptr_equal(all, a);
  assert_ptr_equal(textbook_realloc(&book, all, 100), a); // the rest becomes a hole again
  assert_ptr_equal(textbook_malloc(&book, 100), b);
  assert_ptr_equal(textbook_realloc(&book, a, 90), a);
  assert_non_null(guard);
  assert_int_equal(textbook_check(&book), 0);
}

static void test_buddies_split_and_join(void **state) {
  (void)state;
  static struct buddy heap;
  struct textbook book = TEXTBOOK_INIT(&textbook_buddy, &heap);
  uintptr_t a = (uintptr_t)textbook_malloc(&book, 4096);
  uintptr_t b = (uintptr_t)textbook_malloc(&book, 4096);
  assert_int_equal(a ^ b, 4096); // buddies, and no header spoils the power of two
  assert_int_equal(textbook_usable_size(&book, (void *)a), 4096);
  assert_int_equal(textbook_usable_size(&book, textbook_malloc(&book, 4097)), 8192);
  textbook_free(&book, (void *)b);
  assert_ptr_equal(textbook_realloc(&book, (void *)a, 8000), a); // takes its buddy in
  assert_ptr_equal(textbook_realloc(&book, (void *)a, 100), a);  // and gives five halves back
  assert_int_equal(textbook_usable_size(&book, (void *)a), 128);
  void *aligned = textbook_aligned_alloc(&book, (size_t)1 << 22, 100);
  assert_int_equal((uintptr_t)aligned % ((size_t)1 << 22), 0);
  assert_int_equal(textbook_check(&book), 0);
}

// ---- Memory and the system ----

static size_t resident(uintptr_t start, size_t size) {
  static unsigned char pages[4096];
  size_t count = 0;
  assert_true(size / 4096 <= sizeof pages);
  assert_int_equal(mincore((void *)gm_align_up(start, 4096), size / 4096 * 4096, pages), 0);
  for (size_t i = 0; i < size / 4096; i++)
    count += pages[i] & 1;
  return count;
}

#define BIG ((size_t)8 << 20)

static void gives_back(struct textbook *book) {
  void *block = textbook_malloc(book, BIG);
  void *above = textbook_malloc(book, 64);
  fill(block, BIG, 1);
  assert_true(resident((uintptr_t)block, BIG - 8192) > BIG / 4096 - 8);
  textbook_free(book, block);
  size_t bytes = textbook_purge(book);
  assert_true(bytes >= BIG - 65536);
  assert_true(resident((uintptr_t)block, BIG - 8192) < 16);
  assert_int_equal(textbook_check(book), 0);
  unsigned char *again = textbook_malloc(book, BIG);
  fill(again, BIG, 2);
  textbook_free(book, above);
  assert_true(holds(again, BIG, 2));
}

static void test_purge_gives_memory_back(void **state) {
  (void)state;
  static struct free_list list = {.fit = FIT_BEST};
  static struct buddy buddy;
  struct textbook list_book = TEXTBOOK_INIT(&textbook_free_list, &list);
  struct textbook buddy_book = TEXTBOOK_INIT(&textbook_buddy, &buddy);
  gives_back(&list_book);
  gives_back(&buddy_book);
}

static void test_too_much_fails_and_changes_nothing(void **state) {
  (void)state;
  static struct linear linear;
  static struct free_list list = {.fit = FIT_NEXT};
  static struct buddy buddy;
  struct textbook books[] = {TEXTBOOK_INIT(&textbook_linear, &linear),
                             TEXTBOOK_INIT(&textbook_free_list, &list),
                             TEXTBOOK_INIT(&textbook_buddy, &buddy)};
  for (unsigned i = 0; i < 3; i++) {
    char *live = textbook_malloc(&books[i], 100);
    fill(live, 100, i);
    errno = 0;
    assert_null(textbook_malloc(&books[i], REGION_LIMIT)); // with its header it is over the limit
    assert_int_equal(errno, ENOMEM);
    assert_null(textbook_realloc(&books[i], live, REGION_LIMIT));
    assert_null(textbook_malloc(&books[i], SIZE_MAX));
    assert_null(textbook_calloc(&books[i], SIZE_MAX / 2, 3));
    assert_true(holds((unsigned char *)live, 100, i));
    assert_int_equal(textbook_check(&books[i]), 0);
  }
}

// ---- What check() and free() notice ----

static void test_check_finds_damage(void **state) {
  (void)state;
  static struct linear linear;
  static struct free_list list = {.fit = FIT_BEST};
  static struct free_list bins = {.fit = FIT_SEGREGATED};
  static struct buddy buddy;
  struct textbook books[] = {
      TEXTBOOK_INIT(&textbook_linear, &linear), TEXTBOOK_INIT(&textbook_free_list, &list),
      TEXTBOOK_INIT(&textbook_free_list, &bins), TEXTBOOK_INIT(&textbook_buddy, &buddy)};
  for (unsigned i = 0; i < 4; i++) {
    uint64_t *a = textbook_malloc(&books[i], 120);
    uint64_t *b = textbook_malloc(&books[i], 120);
    uint64_t *c = textbook_malloc(&books[i], 120);
    textbook_free(&books[i], b);
    assert_int_equal(textbook_check(&books[i]), 0);
    // A write past the end of `a`: over the next header, or, where there is none, over a free block's links.
    uint64_t *victim = i == 3 ? b : a + (i == 0 ? 16 : 15);
    uint64_t before = *victim;
    *victim ^= 0xff0;
    assert_true(textbook_check(&books[i]) > 0);
    *victim = before;
    assert_int_equal(textbook_check(&books[i]), 0);
    textbook_free(&books[i], c);
  }
}

static int status_after_two_frees(struct textbook *book) {
  void *block = textbook_malloc(book, 40);
  void *other = textbook_malloc(book, 40);
  pid_t child = fork();
  if (child == 0) {
    (void)signal(SIGABRT, SIG_DFL);
    textbook_free(book, block);
    textbook_free(book, block);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  textbook_free(book, other);
  return status;
}

static void test_double_free_ends_the_program(void **state) {
  (void)state;
  static struct linear linear;
  static struct free_list list = {.fit = FIT_FIRST};
  static struct buddy buddy;
  struct textbook books[] = {TEXTBOOK_INIT(&textbook_linear, &linear),
                             TEXTBOOK_INIT(&textbook_free_list, &list),
                             TEXTBOOK_INIT(&textbook_buddy, &buddy)};
  for (unsigned i = 0; i < 3; i++) {
    int status = status_after_two_frees(&books[i]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_linear_random_work),
      cmocka_unit_test(test_fits_random_work),
      cmocka_unit_test(test_buddy_random_work),
      cmocka_unit_test(test_fits_choose_as_defined),
      cmocka_unit_test(test_fits_on_three_holes),
      cmocka_unit_test(test_linear_reuses_only_an_empty_heap),
      cmocka_unit_test(test_free_list_joins_and_splits),
      cmocka_unit_test(test_buddies_split_and_join),
      cmocka_unit_test(test_purge_gives_memory_back),
      cmocka_unit_test(test_too_much_fails_and_changes_nothing),
      cmocka_unit_test(test_check_finds_damage),
      cmocka_unit_test(test_double_free_ends_the_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

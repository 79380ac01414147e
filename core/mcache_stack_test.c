// mcache_stack_test.c: when a thread keeps freed objects on its stacks, and when it does not (mcache_open_stack).
#include "core/gomalloc.h"
#include "core/mcache.h"
#include "core/scavenge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCKS 20000u
#define ROUNDS 40u

static struct {
  unsigned char *block;
  size_t size;
} blocks[BLOCKS];

static uint64_t next_random(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return *state >> 33;
}

static unsigned open_stacks(void) {
  unsigned count = 0;
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
    count += mcache_current->slots[class].limit != mcache_current->stacks[class].entries;
  return count;
}

// Fills all blocks with their number, and frees them in random order, looking at each.
static void one_batch(uint64_t *random) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i].size = 8 + next_random(random) % (8u << next_random(random) % 10);
    blocks[i].block = gm_malloc(blocks[i].size);
    assert_non_null(blocks[i].block);
    memset(blocks[i].block, (int)(i & 0xff), blocks[i].size);
  }
  for (unsigned left = BLOCKS; left > 0; left--) {
    unsigned at = (unsigned)(next_random(random) % left);
    const unsigned char *block = blocks[at].block;
    assert_int_equal(block[0], block[blocks[at].size - 1]);
    gm_free(blocks[at].block);
    blocks[at] = blocks[left - 1];
  }
}

// Batches close all stacks, and the heap is sound at every moment of it.
static void test_batches_close_stacks(void **state) {
  (void)state;
  uint64_t random = 1;
  bool closed = false;
  uint32_t longest = 0;
  for (unsigned round = 0; round < ROUNDS; round++) {
    one_batch(&random);
    atomic_fetch_add(&scavenge_shrinks,
                     1); // as if the heap had shrunk: whoever releases a span trims the mcache
    closed |= mcache_current->rests > 0;
    longest = mcache_current->rests > longest ? mcache_current->rests : longest;
    if (mcache_current->rests > 0)
      assert_int_equal(open_stacks(), 0);
    assert_int_equal(gm_check_heap(), 0);
  }
  assert_true(closed);
  assert_in_range(longest, 2049, 8192); // not only twice in a row
}

// What a program frees and takes again at once goes over the stack, also after batches.
static void test_pairs_open_them_again(void **state) {
  (void)state;
  for (unsigned i = 0; i < 1000000; i++) {
    void *block = gm_malloc(64);
    assert_non_null(block);
    gm_free(block);
  }
  assert_int_equal(mcache_current->rests, 0);
  assert_true(open_stacks() > 0);
  const struct mcache_slot *slot = mcache_fine_slot(mcache_current, 64);
  uint64_t popped = slot->popped;
  gm_free(gm_malloc(64));
  assert_int_equal(slot->popped, popped + 1);
  assert_int_equal(gm_check_heap(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_batches_close_stacks),
      cmocka_unit_test(test_pairs_open_them_again),
  };
  return cmocka_run_group_tests_name("mcache_stack", tests, NULL, NULL);
}

// shadow_test.c: the shadow's tables against a model that is too simple to be wrong: whatever blocks an allocator
// gives, those that share a byte with a live one are found, and no others.
#include "fuzz/mutate.h"
#include "fuzz/shadow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define AREA  ((size_t)16 << 10)
#define STEPS 40000u
#define HALF  ((uintptr_t)1 << 32) // addresses so far apart have the same lower half

static size_t usable; // what the subject says of the next block
static size_t say_usable(void *block) {
  (void)block;
  return usable;
}
static const fuzz_subject subject = {.alloc = {.usable_size = say_usable}};

static fuzz_shadow shadow;
static fuzz_verdict verdict;

static int empty(void **context) {
  (void)context;
  shadow.live = 1; // tables of a run that was broken off
  fuzz_shadow_reset(&shadow, FUZZ_ALL_ORACLES, &verdict);
  return 0;
}

static bool add(uint32_t slot, void *block, size_t size) {
  const fuzz_request request = {.slot = slot, .requested = size, .alignment = 1, .seed = slot % 128};
  usable = size;
  return fuzz_shadow_add(&shadow, &subject, block, &request);
}

// Blocks at any multiple of 16, of all lengths: what overlaps is refused by name and leaves nothing behind.
static void test_overlap_is_what_a_search_through_all_finds(void **context) {
  (void)context;
  static _Alignas(4096) uint8_t area[AREA];
  uint64_t chance = 1;
  unsigned hits = 0, most = 0;
  for (unsigned step = 0; step < STEPS; step++) {
    uint32_t slot = (uint32_t)fuzz_chance(&chance, FUZZ_SLOTS);
    if (shadow.blocks[slot].address != 0) {
      assert_true(fuzz_shadow_verify(&shadow, slot));
      (void)fuzz_shadow_remove(&shadow, slot);
      continue;
    }
    size_t size = fuzz_chance(&chance, 1u << fuzz_chance(&chance, 11)) + 1;
    uintptr_t start = (uintptr_t)area + fuzz_chance(&chance, (AREA - size) / 16) * 16, end = start + size;
    const fuzz_block *hit = NULL;
    for (uint32_t i = 0; i < FUZZ_SLOTS; i++) {
      const fuzz_block *other = &shadow.blocks[i];
      if (other->address != 0 && other->address < end && start < other->address + other->usable &&
          (hit == NULL || other->address < hit->address))
        hit = other;
    }
    assert_true(add(slot, (void *)start, size) == (hit == NULL));
    if (hit != NULL) {
      hits++;
      assert_int_equal(verdict.oracle, FUZZ_ORACLE_OVERLAP);
      assert_int_equal(verdict.block, slot);
      assert_int_equal(verdict.other, hit - shadow.blocks);
      verdict.failed = false;
    }
    assert_true(hit != NULL || (fuzz_shadow_holds(&shadow, start) && fuzz_shadow_holds(&shadow, end - 1)));
    most = shadow.live > most ? shadow.live : most;
  }
  assert_true(fuzz_shadow_verify_all(&shadow));
  assert_true(hits > 1000 && most > 30);
}

// The quick look compares halves of addresses.
static void test_blocks_four_gigabytes_apart_do_not_overlap(void **context) {
  (void)context;
  uint8_t *room = mmap(NULL, HALF + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(room, MAP_FAILED);
  assert_int_equal(mprotect(room, 8192, PROT_READ | PROT_WRITE), 0);
  assert_int_equal(mprotect(room + HALF, 8192, PROT_READ | PROT_WRITE), 0);
  assert_true(add(0, room, 4096));
  assert_true(add(1, room + HALF, 4096));
  assert_false(add(2, room + HALF + 4080, 16));
  assert_int_equal(verdict.other, 1);
  assert_int_equal(munmap(room, HALF + 8192), 0);
}

// An allocator that says a block is huge: what lies in it is found although halves of addresses say nothing of it.
static void test_a_huge_usable_size_reaches_over_what_lies_in_it(void **context) {
  (void)context;
  uint8_t *room = mmap(NULL, HALF + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(room, MAP_FAILED);
  // Only the probes of the large block are written.
  assert_int_equal(mprotect(room, HALF + 8192, PROT_READ | PROT_WRITE), 0);
  assert_true(add(0, room, HALF - 4096));
  assert_false(add(1, room + HALF / 2, 64));
  assert_int_equal(verdict.oracle, FUZZ_ORACLE_OVERLAP);
  verdict.failed = false;
  (void)fuzz_shadow_remove(&shadow, 0);
  assert_true(add(1, room + HALF / 2, 64));
  assert_false(add(0, room, HALF - 4096));
  assert_int_equal(verdict.other, 1);
  assert_int_equal(munmap(room, HALF + 8192), 0);
}

// Every place where a large block is probed: a changed byte there is seen, by verify, by what realloc must keep, and
// after a failed call.
static void test_a_changed_probe_is_seen(void **context) {
  (void)context;
  static uint8_t block[40000];
  assert_true(add(7, block, sizeof block));
  const fuzz_probes *probes = &shadow.probes[7];
  assert_in_range(probes->count, 5, FUZZ_PROBES_MOST);
  for (unsigned i = 0; i < probes->count; i++)
    for (size_t at = probes->at[i]; at < probes->at[i] + FUZZ_PROBE; at += 21) {
      block[at] ^= 4;
      assert_false(fuzz_shadow_verify(&shadow, 7));
      assert_int_equal(verdict.oracle, FUZZ_ORACLE_CONTENTS);
      verdict.failed = false;
      assert_false(fuzz_shadow_unchanged(&shadow, &subject, 7));
      assert_int_equal(verdict.oracle, FUZZ_ORACLE_FAILED);
      verdict.failed = false;
      assert_false(fuzz_shadow_kept(&shadow, &shadow.blocks[7], block, at + 1, 7));
      assert_int_equal(verdict.oracle, FUZZ_ORACLE_REALLOC);
      verdict.failed = false;
      block[at] ^= 4;
    }
  assert_true(fuzz_shadow_verify(&shadow, 7));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_overlap_is_what_a_search_through_all_finds, empty),
      cmocka_unit_test_setup(test_blocks_four_gigabytes_apart_do_not_overlap, empty),
      cmocka_unit_test_setup(test_a_huge_usable_size_reaches_over_what_lies_in_it, empty),
      cmocka_unit_test_setup(test_a_changed_probe_is_seen, empty),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// Huge pages: what the system's setting means, and that a grown heap asks for them in its newest range only, and
// in none after a dear one.
#include "core/huge_pages.h"

#include "core/gomalloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK = 1 << 20, BLOCKS = 48, MAPPINGS_MAX = 8 };

static void test_setting(void **state) {
  (void)state;
  assert_true(huge_pages_on_request("always [madvise] never\n"));
  assert_false(huge_pages_on_request("[always] madvise never\n"));
  assert_false(huge_pages_on_request("always madvise [never]\n"));
  assert_false(huge_pages_on_request(""));
}

// Whether the mapping that a line of smaps belongs to touches [start, end); `before` for lines of the same one.
static bool range_touches(const char *line, uintptr_t start, uintptr_t end, bool before) {
  char *dash = NULL;
  unsigned long long from = strtoull(line, &dash, 16);
  if (*dash != '-' || dash == line)
    return before;
  return from < end && strtoull(dash + 1, NULL, 16) > start;
}

// Number of kernel mappings in [start, end) whose flags hold `flag` ("hg", "nh"); -1 when they cannot be read.
static int mappings_with_flag(uintptr_t start, uintptr_t end, const char *flag) {
  FILE *file = fopen("/proc/self/smaps", "r");
  if (file == NULL)
    return -1;
  char line[512];
  int found = 0;
  bool inside = false;
  while (fgets(line, sizeof line, file) != NULL) {
    inside = range_touches(line, start, end, inside);
    if (inside && strncmp(line, "VmFlags:", 8) == 0 && strstr(line, flag) != NULL)
      found++;
  }
  (void)fclose(file);
  return found;
}

// Resident memory of the mappings that [start, end) touches, in KiB.
static unsigned long resident_kib(uintptr_t start, uintptr_t end) {
  FILE *file = fopen("/proc/self/smaps", "r");
  assert_non_null(file);
  char line[512];
  unsigned long sum = 0;
  bool inside = false;
  while (fgets(line, sizeof line, file) != NULL) {
    inside = range_touches(line, start, end, inside);
    if (inside && strncmp(line, "Rss:", 4) == 0)
      sum += strtoul(line + 4, NULL, 10);
  }
  (void)fclose(file);
  return sum;
}

static bool given_on_request(void) {
  char text[64] = "";
  FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  bool on_request = file != NULL && fgets(text, sizeof text, file) != NULL && huge_pages_on_request(text);
  if (file != NULL)
    (void)fclose(file);
  return on_request;
}

static void test_newest_range_asks(void **state) {
  (void)state;
  if (!given_on_request())
    skip();
  huge_pages_dear = UINT64_MAX; // whatever they cost here and now
  assert_int_equal(gm_set_option("huge_pages", "16MiB"), 0);
  static char *blocks[BLOCKS];
  uintptr_t low = UINTPTR_MAX;
  uintptr_t high = 0;
  for (int i = 0; i < BLOCKS; i++) {
    blocks[i] = gm_malloc(BLOCK);
    assert_non_null(blocks[i]);
    memset(blocks[i], i, BLOCK);
    low = (uintptr_t)blocks[i] < low ? (uintptr_t)blocks[i] : low;
    high = (uintptr_t)blocks[i] + BLOCK > high ? (uintptr_t)blocks[i] + BLOCK : high;
    if (i == 8) // 9 MiB in use: not yet
      assert_int_equal(mappings_with_flag(low, high, " hg"), 0);
  }
  assert_int_equal(mappings_with_flag(low, high, " hg"), 1);
  assert_int_equal(mappings_with_flag(low, high, " nh"), 1);
  for (int i = 0; i < BLOCKS; i++) {
    assert_int_equal(blocks[i][BLOCK - 1], (char)i);
    gm_free(blocks[i]);
  }
  gm_purge();
  assert_int_equal(mappings_with_flag(low, high, " hg"), 0);
  assert_true(resident_kib(low, high) < BLOCK / 1024);
  char *zero = gm_calloc(BLOCK, 16);
  assert_non_null(zero);
  for (size_t i = 0; i < (size_t)BLOCK * 16; i += 512)
    assert_int_equal(zero[i], 0);
  gm_free(zero);
}

// A range whose first huge page was dear asks for no more, and the next one only in a heap four times as large.
static void test_dear_pages_make_it_wait(void **state) {
  (void)state;
  if (!given_on_request())
    skip();
  enum { OLD = BLOCKS, ALL = 3 * BLOCKS }; // the heap has had room for the old ones
  static char *blocks[ALL];
  huge_pages_dear = 0;
  uintptr_t low = UINTPTR_MAX;
  uintptr_t high = 0;
  for (int i = 0; i < ALL; i++) {
    blocks[i] = gm_malloc(BLOCK);
    assert_non_null(blocks[i]);
    if (i < OLD)
      continue;
    low = (uintptr_t)blocks[i] < low ? (uintptr_t)blocks[i] : low;
    high = (uintptr_t)blocks[i] + BLOCK > high ? (uintptr_t)blocks[i] + BLOCK : high;
  }
  assert_int_equal(mappings_with_flag(low, high, " hg"), 0);
  // The chunk that asked, and what it may have joined; one huge page, and not one of each chunk.
  assert_in_range(mappings_with_flag(low, high, " nh"), 1, 2);
  assert_true(resident_kib(low, high) < 8192);
  for (int i = 0; i < ALL; i++) {
    assert_int_equal(blocks[i][0], 0); // touched or not, it reads zero
    gm_free(blocks[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_setting),
      cmocka_unit_test(test_newest_range_asks),
      cmocka_unit_test(test_dear_pages_make_it_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// pass_parts_test.c: parts of the passes that are best tested by themselves: how a timeline stays within its
// memory, how callgrind's output is read.
#include "workloads/instructions.h"
#include "workloads/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_a_long_timeline_gets_coarser(void **state) {
  (void)state;
  static ha_timeline t; // some MiB
  t.interval_ns = 1000;
  for (uint64_t i = 0; i < 10ull * HA_TIMELINE_POINTS; i++)
    ha_timeline_add(&t, &(ha_timeline_point){.ns = i * 1000, .rss = (int64_t)i});
  assert_true(t.point_count > HA_TIMELINE_POINTS / 4 && t.point_count <= HA_TIMELINE_POINTS);
  assert_true(t.interval_ns >= 8000);
  assert_int_equal(t.points[0].ns, 0);
  for (uint32_t i = 1; i < t.point_count; i++) {
    assert_true(t.points[i].ns > t.points[i - 1].ns);
    assert_int_equal(t.points[i].ns, (uint64_t)t.points[i].rss * 1000);
  }
  assert_int_equal(t.points[t.point_count - 1].ns, (10ull * HA_TIMELINE_POINTS - 1) * 1000);
}

// A program that calls malloc and memset of one library, and free of another name for it.
static const char dump[] = "# callgrind format\n"
                           "version: 1\n"
                           "events: Ir\n"
                           "summary: 0\n"
                           "\n"
                           "ob=(1) /bin/program\n"
                           "fl=(1) churn.c\n"
                           "fn=(1) churn_body\n"
                           "10 100\n"
                           "cob=(2) /lib/libc.so.6\n"
                           "cfi=(2) malloc.c\n"
                           "cfn=(2) malloc\n"
                           "calls=3 20\n"
                           "+1 600\n"
                           "cob=(2)\n"
                           "cfn=(3) memset\n"
                           "calls=5 90\n"
                           "* 50\n"
                           "+2 7\n"
                           "cfn=(4) program_helper\n" // of the program itself
                           "calls=1 3\n"
                           "+1 11\n"
                           "\n"
                           "ob=(2)\n"
                           "fl=(2)\n"
                           "fn=(2)\n"
                           "20 400\n"
                           "cfn=(5) _int_malloc\n" // the allocator within itself
                           "calls=3 44\n"
                           "+1 200\n"
                           "\n"
                           "ob=(3) ???\n"
                           "fn=(6) free\n"
                           "5 70\n"
                           "ob=(1)\n"
                           "fn=(1)\n"
                           "cob=(3)\n"
                           "cfn=(6)\n"
                           "calls=2 5\n"
                           "-3 70\n"
                           "\n"
                           "totals: 1238\n"
                           "part: 2\n"
                           "totals: 0\n";

static bool read_text(const char *text, const ha_alloc *alloc, ha_instructions *out) {
  FILE *in = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
  assert_non_null(in);
  bool good = ha_instructions_read(in, "/bin/program", alloc, out);
  fclose(in);
  return good;
}

static void test_callgrind_is_read(void **state) {
  (void)state;
  static const ha_alloc system = {.name = "system", .library = "/lib/libc.so.6"};
  ha_instructions read;
  assert_true(read_text(dump, &system, &read));
  assert_int_equal(read.total, 1238);
  assert_int_equal(read.allocator, 600 + 70); // with what they call, without memset
  assert_int_equal(read.calls, 5);
  // In the library of an allocator everything is the allocator's.
  static const ha_alloc library = {.name = "program", .library = "/lib/other.so"};
  assert_true(read_text(dump, &library, &read));
  assert_int_equal(read.allocator, 70);
  // An allocator that is linked in is known by its functions' names.
  static const ha_alloc linked = {.name = "program"};
  assert_true(read_text(dump, &linked, &read));
  assert_int_equal(read.allocator, 11);
  assert_int_equal(read.calls, 1);
}

static void test_what_is_no_dump_is_refused(void **state) {
  (void)state;
  static const ha_alloc linked = {.name = "bump"};
  ha_instructions read;
  assert_false(read_text("\n", &linked, &read));
  assert_false(read_text("events: Ir\ntotals: 4\n", &linked, &read));
  assert_false(read_text("# callgrind format\nob=(99999999999) x\nfn=(\ncfn=()\n+1\n*\n", &linked, &read));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_long_timeline_gets_coarser),
      cmocka_unit_test(test_callgrind_is_read),
      cmocka_unit_test(test_what_is_no_dump_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

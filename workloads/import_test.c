// import_test.c: the two forms that are imported, and lines that are not of them.
#include "workloads/import.h"
#include "workloads/trace_test_support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char why[1024];
static ha_trace_totals totals;

static bool import(ha_import_form form, const char *text, size_t size) {
  const char *in = test_path("log"), *out = test_path("imported.hat");
  test_write_file(in, text, size);
  unlink(out);
  why[0] = 0;
  bool good = ha_import(form, in, out, &totals, why, sizeof why);
  assert_int_equal(access(out, F_OK) == 0, good);
  if (good) {
    char ignored[1024];
    ha_trace_reader *reader = ha_trace_open(out, ignored, sizeof ignored);
    ha_op op;
    int got;
    assert_non_null(reader);
    while ((got = ha_trace_next(reader, &op)) > 0) {
    }
    assert_int_equal(got, 0);
    ha_trace_close(reader);
  } else if (why[0] == 0 || strchr(why, '\n') != NULL) {
    fail_msg("no reason in one line: \"%s\"", why);
  }
  return good;
}

static void accepts(ha_import_form form, const char *text) {
  if (!import(form, text, strlen(text)))
    fail_msg("%s", why);
}

static void refuses(ha_import_form form, const char *text, const char *because) {
  assert_false(import(form, text, strlen(text)));
  if (strstr(why, because) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", why, because);
}

static void text_has_every_operation(void **state) {
  (void)state;
  accepts(HA_IMPORT_TEXT, "# made by a script\n"
                          "meta command: ./server --port 8080\n"
                          "\n"
                          "malloc 0x5581 24   # an address\n"
                          "calloc 2 4096\n"
                          "aligned_alloc 3 64 640\r\n"
                          "posix_memalign 4 4096 5000\n"
                          "realloc 0x5581 48\n"
                          "realloc 2 9000 22\n"
                          "failed malloc 0xffffffffffffffff\n"
                          "failed realloc 3 0x7fffffffffffffff\n"
                          "spawn 7\n"
                          "time 1000\n"
                          "thread 7 helper\n"
                          "free 22\n"
                          "malloc 22 7\n"
                          "exit\n"
                          "thread 0\n"
                          "join 7\n"
                          "free_sized 0x5581 48\n"
                          "free_sized 3 640 64\n"
                          "purge");
  assert_int_equal(totals.operations, 16);
  assert_int_equal(totals.objects, 5);
  assert_int_equal(totals.threads, 2);
  assert_int_equal(totals.remote_frees, 1);
  assert_int_equal(totals.live_bytes_end, 5007);
  assert_int_equal(totals.duration_ns, 1000);
  for (unsigned kind = 0; kind < HA_OP_KINDS; kind++)
    assert_true(totals.by_kind[kind] > 0);
}

static void bad_text_is_named_by_line(void **state) {
  (void)state;
  static const struct {
    const char *text, *because;
  } cases[] = {
      {"", "no allocation"},
      {"mallok 1 2\n", "line 1: unknown operation \"mallok\""},
      {"malloc 1 2\nfree 2\n", "line 2: block 2 is not live"},
      {"malloc 1 2\nfree 1\nfree 1\n", "line 3: block 1 is not live"},
      {"malloc 1 2\nmalloc 1 2\n", "line 2: block 1 is live already"},
      {"malloc 1 2\nmalloc 2 2\nrealloc 1 3 2\n", "line 3: block 2 is live already"},
      {"malloc 1\n", "line 1: malloc takes 2 words, not 1"},
      {"malloc 1 2 3\n", "takes 2 words, not 3"},
      {"malloc 1 two\n", "the size \"two\" is not a number"},
      {"malloc 1 -2\n", "the size \"-2\" is not a number"},
      {"malloc 1 99999999999999999999\n", "is not a number"},
      {"malloc 1 0xffffffffffffffff\n", "line 1: operation refused: more live bytes"},
      {"aligned_alloc 1 24 100\n", "not a power of two"},
      {"time 5\ntime 4\n", "line 2: time goes backwards"},
      {"malloc 1 2\nthread 1\nmalloc 2 2\nthread 0\nspawn 1\n",
       "line 5: operation refused: a thread started"},
      {"join 4\n", "thread 4 was not seen"},
      {"exit\nmalloc 1 2\n", "line 2: operation refused: operation of a thread after its end"},
      {"failed free 1\n", "failed takes"},
      {"meta nonsense\n", "meta takes"},
      {"= Start\n", "unknown operation \"=\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    refuses(HA_IMPORT_TEXT, cases[i].text, cases[i].because);
  static char long_line[IMPORT_LINE_MAX + 10];
  memset(long_line, 'x', sizeof long_line - 1);
  refuses(HA_IMPORT_TEXT, long_line, "line 1: longer than");
  assert_false(import(HA_IMPORT_TEXT, "malloc 1 2\nmal\0loc 3 4\n", 23));
  assert_non_null(strstr(why, "line 2"));
  assert_false(ha_import(HA_IMPORT_TEXT, "no-such.log", "x.hat", &totals, why, sizeof why));
  assert_non_null(strstr(why, "no-such.log"));
  assert_false(ha_import(HA_IMPORT_TEXT, "/dev/urandom", "x.hat", &totals, why, sizeof why));
}

static void mtrace_is_understood(void **state) {
  (void)state;
  accepts(HA_IMPORT_MTRACE, "= Start\n"
                            "@ ./a.out:[0x401136] + 0x5581 0x18\n"
                            "@ /lib/libc.so.6:(fopen+0x12)[0x7f12] + 0x5600 0x1d8\n"
                            "@ ./a.out:[0x401140] < 0x5581\n"
                            "@ ./a.out:[0x401140] > 0x5700 0x30\n"
                            "+ 0x5581 0x10\n"
                            "@ ./a.out:[0x401150] ! 0x5581 0x7fffffffffff\n"
                            "@ ./a.out:[0x401150] + (nil) 0x7fffffffffff\n"
                            "@ ./a.out:[0x401160] - 0x9999\n"
                            "@ ./a.out:[0x401160] - 0x5700\n"
                            "@ ./a.out:[0x401160] + 0x5600 0x20\n"
                            "@ ./a.out:[0x401170] > 0x6000 0x9\n"
                            "= End\n");
  assert_int_equal(totals.by_kind[HA_OP_MALLOC], 6); // one of them failed
  assert_int_equal(totals.by_kind[HA_OP_REALLOC], 2);
  assert_int_equal(totals.by_kind[HA_OP_FREE], 2); // 0x5600 came again
  assert_int_equal(totals.live_bytes_end, 0x10 + 0x20 + 9);
  assert_int_equal(totals.flags, HA_TRACE_ADJUSTED);
  accepts(HA_IMPORT_MTRACE, "= Start\n@ a:[1] + 0x10 0x20\n@ a:[1] + 0x20 0x2");
  assert_int_equal(totals.objects, 1);
  assert_int_equal(totals.flags, HA_TRACE_INCOMPLETE);
}

static void bad_mtrace_is_named_by_line(void **state) {
  (void)state;
  refuses(HA_IMPORT_MTRACE, "", "no allocation");
  refuses(HA_IMPORT_MTRACE, "= Start\nmalloc 1 2\n", "line 2: not a line of mtrace");
  refuses(HA_IMPORT_MTRACE, "@ a + 0x10\n", "line 1: not a line");
  refuses(HA_IMPORT_MTRACE, "@ a - 0x10 0x20\n", "line 1: not a line");
  refuses(HA_IMPORT_MTRACE, "@ a + 0x10 0x20\n@ a + 0xzz 0x20\n", "line 2: the address \"0xzz\"");
  refuses(HA_IMPORT_MTRACE, "@\n@ a\n", "line 1: not a line");
}

// A log of twenty lines, damaged in many places: an import or one line of reason.
static void damage_does_no_harm(void **state) {
  (void)state;
  char text[8192];
  for (unsigned form = 0; form < 2; form++) {
    size_t length = 0;
    for (unsigned i = 0; i < 20; i++)
      length += (size_t)snprintf(text + length, sizeof text - length,
                                 form == 0 ? "malloc %u %u\nrealloc %u 9\n" : "@ a:[0x%x] + 0x%x 0x10\n", i,
                                 i + 9, i);
    for (size_t at = 0; at < length; at += 11) {
      static const char bytes[] = "\n\0 9x-#@\xff<";
      char before = text[at];
      for (size_t k = 0; k + 1 < sizeof bytes; k++) {
        text[at] = bytes[k];
        import(form == 0 ? HA_IMPORT_TEXT : HA_IMPORT_MTRACE, text, length);
      }
      text[at] = before;
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_has_every_operation), cmocka_unit_test(bad_text_is_named_by_line),
      cmocka_unit_test(mtrace_is_understood),     cmocka_unit_test(bad_mtrace_is_named_by_line),
      cmocka_unit_test(damage_does_no_harm),
  };
  int failed = cmocka_run_group_tests_name("import", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

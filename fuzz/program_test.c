// program_test.c: programs: any bytes are one, and they keep what they say through normalising, mutation, traces.
#include "fuzz/archive.h"
#include "fuzz/execute.h"
#include "fuzz/feedback.h"
#include "fuzz/gomalloc_test.h"
#include "fuzz/mutate.h"
#include "fuzz/os_hook.h"
#include "workloads/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static fuzz_state state_of_runs;

static const fuzz_options plain = {
    .oracles = FUZZ_ALL_ORACLES, .threads = true, .forks = true, .failures = true, .check_every = 1};

static bool run(const fuzz_op *ops, size_t count) {
  bool good = fuzz_execute((fuzz_program){ops, count}, gomalloc(), &plain, &state_of_runs);
  if (!good)
    print_message("%s: %s\n", fuzz_oracle_name(state_of_runs.verdict.oracle), state_of_runs.verdict.text);
  return good;
}

static void test_any_bytes_run(void **state) {
  (void)state;
  uint64_t chance = 7;
  uint8_t bytes[40 * FUZZ_RECORD_BYTES + 5];
  for (unsigned round = 0; round < 50; round++) {
    for (size_t i = 0; i < sizeof bytes; i++) {
      chance = chance * 6364136223846793005u + 1442695040888963407u;
      bytes[i] = (uint8_t)(chance >> 40);
    }
    fuzz_program program = fuzz_program_decode(bytes, sizeof bytes);
    assert_int_equal(program.count, 40);
    for (size_t i = 0; i < program.count; i++) {
      fuzz_op op = program.ops[i];
      fuzz_op normal = fuzz_op_normal(op);
      fuzz_op twice = fuzz_op_normal(normal);
      assert_memory_equal(&normal, &twice, sizeof normal);
      assert_int_equal(fuzz_op_get_kind(&op), fuzz_op_get_kind(&normal));
      if (fuzz_op_uses_size(fuzz_op_get_kind(&op)))
        assert_int_equal(fuzz_op_size(&op, 100), fuzz_op_size(&normal, 100));
    }
    assert_true(run(program.ops, program.count));
  }
}

static void test_sizes(void **state) {
  (void)state;
  fuzz_op op = {.kind = FUZZ_OP_MALLOC};
  for (size_t size = 0; size < (size_t)1 << 21; size = size * 9 / 8 + 1) {
    fuzz_op_set_size(&op, size);
    assert_int_equal(fuzz_op_size(&op, 0), size);
  }
  op = (fuzz_op){.law = FUZZ_LAW_HUGE, .low = 3};
  assert_true(fuzz_op_size(&op, 0) == SIZE_MAX - 3);
  op = (fuzz_op){.law = FUZZ_LAW_RELATIVE | 2 << 3, .low = 0xff, .high = 0xff}; // twice, and one less
  assert_int_equal(fuzz_op_size(&op, 50), 99);
  op = (fuzz_op){.law = FUZZ_LAW_EDGE | 12 << 3, .low = 0, .high = 0xff};
  assert_int_equal(fuzz_op_size(&op, 0), 4095);
}

static void test_mutations_are_records(void **state) {
  (void)state;
  uint8_t data[512], child[512];
  size_t size = fuzz_random_program(data, 16, 3);
  bool grew = false, shrank = false;
  unsigned children = 0;
  for (unsigned seed = 1; seed < 3000; seed++) {
    size_t now = fuzz_mutate(data, size, sizeof data, seed);
    assert_true(now >= FUZZ_RECORD_BYTES && now <= sizeof data && now % FUZZ_RECORD_BYTES == 0);
    grew |= now > size;
    shrank |= now < size;
    size = now;
    size_t crossed = fuzz_cross_over(data, size, data, size, child, sizeof child, seed);
    assert_true(crossed <= sizeof child && crossed % FUZZ_RECORD_BYTES == 0);
    children += crossed != 0;
  }
  assert_true(grew && shrank);
  assert_in_range(children, 500, 1000); // the others are mutated instead
  fuzz_mutate_kinds(1u << FUZZ_OP_MALLOC | 1u << FUZZ_OP_FREE, false);
  size = fuzz_random_program(data, 64, 9);
  for (size_t i = 0; i < size / FUZZ_RECORD_BYTES; i++) {
    fuzz_op_kind kind = fuzz_op_get_kind((const fuzz_op *)data + i);
    assert_true(kind == FUZZ_OP_MALLOC || kind == FUZZ_OP_FREE);
  }
  fuzz_mutate_kinds(~(1u << FUZZ_OP_RACE), true);
}

static size_t sized_frees[8];
static unsigned sized_free_count;

static void note_sized_free(void *block, size_t size) {
  sized_frees[sized_free_count++] = size;
  gomalloc()->alloc.free(block);
}

// C23's free_sized is told what was asked for, not what the allocator made of it.
static void test_sized_frees_are_of_the_request(void **state) {
  (void)state;
  fuzz_subject subject = *gomalloc();
  subject.alloc.free_sized = note_sized_free;
  fuzz_op ops[] = {
      {.kind = FUZZ_OP_MALLOC, .slot = 1},
      {.kind = FUZZ_OP_FREE_SIZED, .slot = 1},
      {.kind = FUZZ_OP_MALLOC, .slot = 2},
      {.kind = FUZZ_OP_REALLOC, .slot = 2},
      {.kind = FUZZ_OP_USABLE, .slot = 2},
      {.kind = FUZZ_OP_FREE_SIZED, .slot = 2},
      {.kind = FUZZ_OP_ALIGNED_ALLOC, .slot = 3, .alignment = 5},
      {.kind = FUZZ_OP_FREE_SIZED, .slot = 3},
  };
  fuzz_op_set_size(&ops[0], 1000); // of a class of 1,024
  fuzz_op_set_size(&ops[2], 140);
  fuzz_op_set_size(&ops[3], 130);
  fuzz_op_set_size(&ops[6], 64);
  sized_free_count = 0;
  assert_true(
      fuzz_execute((fuzz_program){ops, sizeof ops / sizeof ops[0]}, &subject, &plain, &state_of_runs));
  assert_int_equal(sized_free_count, 2); // an aligned block needs free_aligned_sized
  assert_int_equal(sized_frees[0], 1000);
  assert_int_equal(sized_frees[1], 130);
}

// As a trace and back, the exact bytes; the trace itself is one that every tool reads.
static void test_traces(void **state) {
  (void)state;
  char path[] = "/tmp/heaparena-program-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  char why[512] = "";
  static fuzz_op ops[300], back[300];
  (void)fuzz_random_program((uint8_t *)ops, 300, 11);
  assert_true(fuzz_program_to_trace((fuzz_program){ops, 300}, path, "a\ntest", why, sizeof why));
  assert_int_equal(fuzz_program_from_trace(path, 0, back, 300, why, sizeof why), 300);
  assert_memory_equal(ops, back, sizeof ops);
  ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
  assert_non_null(reader);
  ha_op op;
  int got;
  while ((got = ha_trace_next(reader, &op)) > 0)
    continue;
  assert_int_equal(got, 0);
  assert_int_equal(ha_trace_get_totals(reader)->live_bytes_end, 0);
  ha_trace_close(reader);
  unlink(path);
}

// The same program, threads and all, does the same calls each time.
static void test_threads_repeat(void **state) {
  (void)state;
  static fuzz_op ops[200];
  static fuzz_event events[2][4096];
  fuzz_mutate_kinds(~(1u << FUZZ_OP_FAIL_MAP | 1u << FUZZ_OP_FORK | 1u << FUZZ_OP_RACE), true);
  (void)fuzz_random_program((uint8_t *)ops, 200, 5);
  fuzz_mutate_kinds(~(1u << FUZZ_OP_RACE), true);
  fuzz_log logs[2] = {{events[0], 0, 4096}, {events[1], 0, 4096}};
  for (unsigned i = 0; i < 2; i++) {
    fuzz_options options = plain;
    options.log = &logs[i];
    assert_true(fuzz_execute((fuzz_program){ops, 200}, gomalloc(), &options, &state_of_runs));
  }
  assert_int_equal(logs[0].count, logs[1].count);
  bool other_thread = false;
  for (size_t i = 0; i < logs[0].count; i++) {
    assert_memory_equal(&events[0][i], &events[1][i], sizeof events[0][i]);
    other_thread |= events[0][i].thread != 0;
  }
  assert_true(other_thread);
}

// The k-th request for memory fails, the call says so, and everything goes on.
static void test_failing_system(void **state) {
  (void)state;
  fuzz_op ops[] = {
      {.kind = FUZZ_OP_PURGE},
      {.kind = FUZZ_OP_FAIL_MAP, .low = 0, .high = 255},
      {.kind = FUZZ_OP_MALLOC, .slot = 1, .fill = 128, .law = FUZZ_LAW_SCALED | 10 << 3, .high = 240},
      {.kind = FUZZ_OP_MALLOC, .slot = 2, .low = 64}};
  static fuzz_event events[64];
  fuzz_log log = {events, 0, 64};
  fuzz_options options = plain;
  options.log = &log;
  uint64_t before = fuzz_os.failures;
  assert_true(
      fuzz_execute((fuzz_program){ops, sizeof ops / sizeof ops[0]}, gomalloc(), &options, &state_of_runs));
  assert_true(fuzz_os.failures > before);
  assert_true(events[1].failed);
  assert_false(fuzz_os_stop_failing());
}

// The counters tell a program that does something new from one that repeats.
static void test_feedback(void **state) {
  (void)state;
  fuzz_options options = plain;
  options.feedback = true;
  fuzz_op one[] = {{.kind = FUZZ_OP_MALLOC, .low = 64}};
  fuzz_op more[] = {{.kind = FUZZ_OP_MALLOC, .low = 64},
                    {.kind = FUZZ_OP_CALLOC, .slot = 2, .low = 200, .high = 20},
                    {.kind = FUZZ_OP_REALLOC, .slot = 2, .low = 1, .high = 90}};
  assert_true(fuzz_execute((fuzz_program){one, 1}, gomalloc(), &options, &state_of_runs));
  size_t few = fuzz_feedback_lit();
  assert_true(few > 0);
  assert_true(fuzz_execute((fuzz_program){more, 3}, gomalloc(), &options, &state_of_runs));
  assert_true(fuzz_feedback_lit() > few);
}

// What is kept for a feature is the program up to the record that lit it.
static void test_archive_keeps_beginnings(void **state) {
  (void)state;
  const fuzz_op ops[] = {{.kind = FUZZ_OP_MALLOC, .slot = 1, .low = 100},
                         {.kind = FUZZ_OP_CALLOC, .slot = 2, .low = 100},
                         {.kind = FUZZ_OP_FREE, .slot = 1},
                         {.kind = FUZZ_OP_MALLOC, .slot = 3, .high = 8}};
  enum { COUNT = sizeof ops / sizeof ops[0] };
  fuzz_op picked[COUNT];
  fuzz_options options = plain;
  options.feedback = true;
  fuzz_feedback_load((const uint8_t[FUZZ_FEEDBACK_BYTES]){0}); // as libFuzzer does before each input
  assert_true(fuzz_execute((fuzz_program){ops, COUNT}, gomalloc(), &options, &state_of_runs));
  fuzz_archive_add((fuzz_program){ops, COUNT});
  uint64_t chance = 1;
  unsigned lengths[COUNT + 1] = {0};
  for (unsigned i = 0; i < 400; i++) {
    size_t count = fuzz_archive_pick(picked, COUNT, &chance);
    assert_true(count <= COUNT);
    assert_memory_equal(picked, ops, count * sizeof *ops);
    lengths[count]++;
  }
  for (unsigned count = 1; count <= COUNT; count++)
    assert_true(lengths[count] > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_failing_system), // first: later the heap needs the system no more
      cmocka_unit_test(test_any_bytes_run),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_mutations_are_records),
      cmocka_unit_test(test_sized_frees_are_of_the_request),
      cmocka_unit_test(test_traces),
      cmocka_unit_test(test_threads_repeat),

      cmocka_unit_test(test_feedback),
      cmocka_unit_test(test_archive_keeps_beginnings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

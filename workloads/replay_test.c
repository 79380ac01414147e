// replay_test.c: the workload `trace` over vtables that count, fail, or lack operations.
#include "adapters/adapters.h"
#include "workloads/races_seen.h"
#include "workloads/replay.h"
#include "workloads/trace_test_support.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern const ha_workload ha_workload_trace, ha_workload_model;
static const ha_workload *workload = &ha_workload_trace;

// ---- An allocator that counts ----

static _Atomic uint64_t calls[HA_OP_KINDS];
static _Atomic int64_t live_blocks, live_most;
static _Atomic int64_t fail_after = INT64_MAX;

static void *got(void *block) {
  int64_t live = atomic_fetch_add(&live_blocks, block != NULL) + (block != NULL);
  int64_t most = atomic_load(&live_most);
  while (live > most && !atomic_compare_exchange_weak(&live_most, &most, live)) {
  }
  return block;
}
static bool fails(void) {
  return atomic_fetch_sub(&fail_after, 1) <= 0;
}

static void *count_malloc(size_t size) {
  calls[HA_OP_MALLOC]++;
  return fails() ? NULL : got(malloc(size));
}
static void *count_calloc(size_t count, size_t size) {
  calls[HA_OP_CALLOC]++;
  return got(calloc(count, size));
}
static void *count_realloc(void *block, size_t size) {
  calls[HA_OP_REALLOC]++;
  return realloc(block, size);
}
static void *count_aligned(size_t alignment, size_t size) {
  calls[HA_OP_ALIGNED_ALLOC]++;
  return got(memalign(alignment, size)); // any size will do, as alloc.h says
}
static int count_posix(void **block, size_t alignment, size_t size) {
  calls[HA_OP_POSIX_MEMALIGN]++;
  int error = posix_memalign(block, alignment, size);
  live_blocks += error == 0;
  return error;
}
static void count_free(void *block) {
  calls[HA_OP_FREE]++;
  live_blocks -= block != NULL;
  free(block);
}
static bool count_purge(void) {
  calls[HA_OP_PURGE]++;
  return true;
}
// Hands out every 1000th block with a wrong content: the verification must see it.
static void *dirty_realloc(void *block, size_t size) {
  unsigned char *moved = realloc(block, size);
  if (++calls[HA_OP_REALLOC] % 100 == 0 && moved != NULL && size > 0)
    moved[0] ^= 0x55;
  return moved;
}

static const ha_alloc counting = {.name = "counting",
                                  .malloc = count_malloc,
                                  .calloc = count_calloc,
                                  .realloc = count_realloc,
                                  .aligned_alloc = count_aligned,
                                  .posix_memalign = count_posix,
                                  .free = count_free,
                                  .purge = count_purge};

// ---- Running ----

static const char *file, *touch, *order;
static const char *stream = "auto", *pace = "fast", *speed = "1";
static uint64_t segment = 4096, window = 8192;

// What catalog.c gives to a real worker.
const char *ha_param_text(const ha_run *run, const char *key) {
  (void)run;
  const struct {
    const char *key, *value;
  } all[] = {{"file", file},     {"touch", touch}, {"threads", order},
             {"stream", stream}, {"pace", pace},   {"speed", speed}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(key, all[i].key) == 0)
      return all[i].value;
  fail_msg("no parameter %s", key);
  return NULL;
}
unsigned ha_param_word(const ha_run *run, const char *key) {
  const ha_param *param = run->workload->params;
  while (strcmp(param->key, key) != 0)
    param++;
  for (unsigned i = 0; param->allowed->words[i]; i++)
    if (strcmp(param->allowed->words[i], ha_param_text(run, key)) == 0)
      return i;
  fail_msg("%s may not be %s", key, ha_param_text(run, key));
  return 0;
}
uint64_t ha_param_number(const ha_run *run, const char *key) {
  (void)run;
  assert_true(strcmp(key, "segment") == 0 || strcmp(key, "window") == 0);
  return strcmp(key, "segment") == 0 ? segment : window;
}

static ha_run run;
static ha_tally tallies[1024];

static void *lane_main(void *number) {
  run.workload->body(&run, (unsigned)(uintptr_t)number, &tallies[(uintptr_t)number]);
  return NULL;
}

// Prepares, runs all threads, finishes. True if all went well; `sum` gets the tallies' sum.
static bool replay(const ha_alloc *alloc, bool verify, double scale, ha_tally *sum) {
  run = (ha_run){.alloc = alloc, .workload = workload, .scale = scale, .verify = verify};
  memset(tallies, 0, sizeof tallies);
  for (unsigned i = 0; i < HA_OP_KINDS; i++)
    calls[i] = 0;
  live_blocks = live_most = 0;
  *sum = (ha_tally){0};
  if (!run.workload->prepare(&run))
    return false;
  assert_in_range(run.threads, 1, 1024);
  static pthread_t threads[1024];
  for (unsigned i = 0; i < run.threads; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, lane_main, (void *)(uintptr_t)i), 0);
  for (unsigned i = 0; i < run.threads; i++) {
    pthread_join(threads[i], NULL);
    sum->operations += tallies[i].operations;
    sum->checksum ^= tallies[i].checksum;
    if (tallies[i].failure != NULL)
      sum->failure = tallies[i].failure;
  }
  return run.workload->finish(&run) && sum->failure == NULL;
}

static ha_trace_totals totals;

static void make_trace(uint64_t seed, size_t count, uint32_t threads, uint32_t remote) {
  test_program program = test_random_program(seed, count, threads, remote);
  file = test_path("replay.hat");
  touch = "pages";
  order = "parallel";
  test_write_program(file, &program, "", &totals);
  test_program_free(&program);
}

static uint64_t allocator_operations(void) {
  uint64_t sum = 0;
  for (unsigned kind = 0; kind <= HA_OP_FREE_SIZED; kind++)
    sum += totals.by_kind[kind];
  return sum;
}

static void assert_counted(unsigned rounds) {
  for (unsigned kind = 0; kind < HA_OP_FREE; kind++)
    assert_int_equal(calls[kind], totals.by_kind[kind] * rounds);
  assert_int_equal(calls[HA_OP_PURGE], totals.by_kind[HA_OP_PURGE] * rounds);
  assert_int_equal(live_blocks, 0); // finish() freed what the program left
}

static void every_operation_is_issued(void **state) {
  (void)state;
  static const char *const touches[] = {"none", "ends", "pages", "whole"};
  for (unsigned i = 0; i < 8; i++) {
    make_trace(i, 30000, 1 + i % 4, i < 4 ? 0 : 2);
    touch = touches[i % 4];
    ha_tally first, second, serial;
    assert_true(replay(&counting, false, 1, &first));
    assert_counted(1);
    assert_int_equal(first.operations, allocator_operations());
    assert_int_equal(run.threads, 1 + i % 4);
    assert_int_equal(run.live_peak, totals.live_bytes_peak);
    assert_true(replay(&counting, false, 3, &second));
    assert_counted(3);
    order = "serial";
    assert_true(replay(&counting, false, 1, &serial));
    assert_counted(1);
    assert_int_equal(run.threads, 1);
    assert_int_equal(first.checksum, second.checksum);
    assert_int_equal(first.checksum, serial.checksum);
  }
}

static void verification_rebuilds_the_trace(void **state) {
  (void)state;
  make_trace(11, 30000, 4, 3);
  ha_tally timed, verified;
  assert_true(replay(&counting, false, 1, &timed));
  assert_true(replay(&counting, true, 1, &verified));
  assert_counted(1);
  assert_int_equal(timed.checksum, verified.checksum);
  assert_int_equal(timed.operations, verified.operations);
  char expected[64];
  snprintf(expected, sizeof expected, "ops_checksum=0x%016llx ", (unsigned long long)totals.checksum);
  assert_non_null(strstr(run.note, expected));
  assert_non_null(strstr(run.note, "curve=match"));
}

static void verification_sees_lost_contents(void **state) {
  (void)state;
  make_trace(12, 20000, 2, 3);
  ha_alloc dirty = counting;
  dirty.realloc = dirty_realloc;
  ha_tally sum;
  assert_false(replay(&dirty, true, 1, &sum));
  assert_non_null(strstr(run.why, "contents"));
}

static void missing_memory_is_a_failure(void **state) {
  (void)state;
  make_trace(13, 20000, 3, 2);
  ha_tally sum;
  fail_after = 1000;
  assert_false(replay(&counting, false, 1, &sum));
  assert_non_null(strstr(run.why, "counting returned NULL for"));
  fail_after = 1000;
  assert_false(replay(&counting, true, 1, &sum));
  ha_alloc bound = counting;
  bound.traits = HA_TRAIT_BOUND;
  fail_after = 1000;
  assert_true(replay(&bound, false, 1, &sum));
  fail_after = INT64_MAX;
}

static void missing_operations_are_replaced(void **state) {
  (void)state;
  make_trace(14, 20000, 2, 3);
  ha_alloc lacking = counting;
  ha_tally sum;
  lacking.aligned_alloc = NULL;
  lacking.purge = NULL;
  assert_true(replay(&lacking, false, 1, &sum));
  char expected[64];
  snprintf(expected, sizeof expected, "substituted=%llu ",
           (unsigned long long)totals.by_kind[HA_OP_ALIGNED_ALLOC] + totals.by_kind[HA_OP_PURGE]);
  assert_non_null(strstr(run.note, expected));
  assert_int_equal(calls[HA_OP_POSIX_MEMALIGN],
                   totals.by_kind[HA_OP_ALIGNED_ALLOC] + totals.by_kind[HA_OP_POSIX_MEMALIGN]);
  lacking.posix_memalign = NULL;
  assert_false(replay(&lacking, false, 1, &sum));
  assert_non_null(strstr(run.why, "neither aligned_alloc nor posix_memalign"));
}

// Many threads, each begun when the one before has ended: they share few real threads.
static void threads_in_turn_share_a_lane(void **state) {
  (void)state;
  enum { THREADS = 600 };
  file = test_path("lanes.hat");
  char why[512];
  ha_trace_writer *writer = ha_trace_create(file, 0, "", why, sizeof why);
  assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){0}));
  for (uint32_t i = 1; i < THREADS; i++) {
    assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){.thread = i}));
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_SPAWN, .size = i}));
    assert_true(
        ha_trace_write(writer, &(ha_op){.kind = HA_OP_MALLOC, .thread = i, .object = i - 1, .size = 9}));
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_THREAD_EXIT, .thread = i}));
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_JOIN, .size = i}));
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_FREE, .object = i - 1}));
  }
  assert_true(ha_trace_finish(writer, 0, &totals, why, sizeof why));
  ha_tally sum;
  assert_true(replay(&counting, false, 2, &sum));
  assert_int_equal(run.threads, 2);
  assert_int_equal(sum.operations, 2 * 2 * (THREADS - 1));
  assert_counted(2);
}

// The heap under test must be as it was when the timed pass begins: decoding a trace takes nothing from
// malloc.
static void preparing_leaves_the_heap_alone(void **state) {
  (void)state;
  make_trace(16, 100000, 3, 2);
  run = (ha_run){.alloc = &counting, .workload = &ha_workload_trace, .scale = 1};
  struct mallinfo2 before = mallinfo2();
  assert_true(run.workload->prepare(&run));
  struct mallinfo2 after = mallinfo2();
  assert_memory_equal(&before, &after, sizeof before);
}

// The traces that come with the source: each can be replayed, and comes out as it was recorded.
static void shipped_traces_replay(void **state) {
  (void)state;
  // Under ThreadSanitizer those of several threads: git's 139 MB of requests, filled and read back, would take it a minute.
  static const struct {
    const char *name;
    bool threads, verify;
  } traces[] = {{"clang", false, true},
                {"git", true, false},
                {"python-json", false, true},
                {"sqlite", false, true},
                {"threads", true, true}};
  ha_alloc plain = {.name = "plain",
                    .malloc = malloc,
                    .calloc = calloc,
                    .realloc = realloc,
                    .aligned_alloc = count_aligned,
                    .posix_memalign = posix_memalign,
                    .free = free};
  touch = "pages";
  order = "parallel";
  for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
    if (RACES_ARE_SEEN && !traces[i].threads)
      continue;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.hat", TRACES, traces[i].name);
    file = path;
    ha_tally timed, verified = {0};
    if (!replay(&plain, false, 1, &timed) || (traces[i].verify && !replay(&plain, true, 1, &verified)))
      fail_msg("%s: %s", path, run.why);
    if (!traces[i].verify)
      continue;
    assert_int_equal(timed.checksum, verified.checksum);
    assert_non_null(strstr(run.note, "curve=match"));
  }
}

// The oracle's blocks lie apart, hold what was written, and take little more than the recorded peak.
static void the_oracle_packs_tightly(void **state) {
  (void)state;
  static const char *const traces[] = {"threads", "clang", "sqlite"}; // the first has several threads
  ha_tally timed, verified;
  touch = "pages";
  order = "parallel";
  for (size_t i = 0; i < (RACES_ARE_SEEN ? 1 : sizeof traces / sizeof *traces); i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.hat", TRACES, traces[i]);
    file = path;
    // In parallel, blocks of different times may meet, which ThreadSanitizer would call a race.
    order = RACES_ARE_SEEN ? "serial" : "parallel";
    if (!replay(ha_adapter_oracle.linked, false, 2, &timed))
      fail_msg("%s: %s", path, run.why);
    const char *packed = strstr(run.note, "packed_bytes=");
    assert_non_null(packed);
    assert_true(strtod(packed + 13, NULL) < 1.3 * (double)atomic_load(&run.live_peak));
    if (!replay(ha_adapter_oracle.linked, true, 1, &verified))
      fail_msg("%s: %s", path, run.why);
    assert_int_equal(timed.checksum, verified.checksum);
  }
  for (uint64_t seed = 20; seed < 26; seed++) { // with failed calls and alignments
    make_trace(seed, 20000, 1 + (uint32_t)seed % 3, 3);
    if (!replay(ha_adapter_oracle.linked, true, 1, &verified))
      fail_msg("%s", run.why);
  }
  assert_null(ha_adapter_oracle.linked->malloc(8)); // it knows of nothing else
}

// A streamed replay does what one from memory does, wherever the segments' borders fall.
static void streaming_changes_nothing(void **state) {
  (void)state;
  static const uint64_t segments[] = {1, 7, 1000, 6000, 1 << 28};
  for (uint64_t seed = 40; seed < 43; seed++) {
    make_trace(seed, 6000, 1 + (uint32_t)seed % 5, 1 + (uint32_t)seed % 3);
    for (size_t i = 0; i < 2 * sizeof segments / sizeof *segments; i++) {
      ha_tally whole = {0}, streamed = {0}, verified = {0};
      order = i % 2 == 0 ? "parallel" : "serial";
      segment = segments[i / 2];
      stream = "no";
      assert_true(replay(&counting, false, 2, &whole));
      stream = "yes";
      if (!replay(&counting, false, 2, &streamed) || !replay(&counting, true, 1, &verified))
        fail_msg("seed %u, segments of %u: %s", (unsigned)seed, (unsigned)segment, run.why);
      assert_non_null(strstr(run.note, "curve=match"));
      assert_non_null(strstr(run.note, " segments="));
      assert_int_equal(whole.operations, streamed.operations);
      assert_int_equal(whole.checksum, streamed.checksum);
      assert_int_equal(whole.checksum, verified.checksum);
      assert_true(replay(&counting, false, 2, &streamed));
      assert_counted(2);
    }
  }
  stream = "auto";
  segment = 4096;
}

// However near threads have to keep to each other, all is done. With a window no thread runs far ahead: the
// live peak stays near the recorded one, which it need not without.
static void threads_keep_together(void **state) {
  (void)state;
  static const uint64_t windows[] = {0, 1, 3, 100, 1 << 20};
  for (uint64_t seed = 60; seed < 64; seed++) {
    make_trace(seed, 6000, 2 + (uint32_t)seed % 4, 1 + (uint32_t)seed % 3);
    ha_tally first = {0}, sum;
    for (size_t i = 0; i < 2 * sizeof windows / sizeof *windows; i++) {
      window = windows[i / 2];
      stream = i % 2 == 0 ? "no" : "yes";
      if (!replay(&counting, false, 2, &sum))
        fail_msg("seed %u, window %u: %s", (unsigned)seed, (unsigned)window, run.why);
      assert_counted(2);
      first = i == 0 ? sum : first;
      assert_int_equal(first.checksum, sum.checksum);
    }
  }
  window = 8192;
  stream = "auto";
}

// One thread allocates all, then another one frees all in turn: as recorded, a block each at a time.
static void a_window_bounds_what_is_live(void **state) {
  (void)state;
  enum { BLOCKS = 100000 };
  file = test_path("ahead.hat");
  char why[512];
  ha_trace_writer *writer = ha_trace_create(file, 0, "", why, sizeof why);
  assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){0}));
  assert_true(ha_trace_add_thread(writer, &(ha_trace_thread){.thread = 1}));
  assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_SPAWN, .size = 1}));
  for (uint64_t i = 0; i < BLOCKS; i++) {
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_MALLOC, .object = i, .size = 9}));
    assert_true(ha_trace_write(writer, &(ha_op){.kind = HA_OP_FREE, .thread = 1, .object = i}));
  }
  assert_true(ha_trace_finish(writer, 0, &totals, why, sizeof why));
  ha_tally sum;
  order = "parallel";
  window = 100;
  assert_true(replay(&counting, false, 1, &sum));
  assert_in_range(live_most, 1, 3 * 100 / 2 + 1);
  window = 8192;
}

// In recorded time no replay is over before its time, and all else is as ever.
static void recorded_time_is_kept(void **state) {
  (void)state;
  make_trace(50, 6000, 3, 2);
  for (unsigned i = 0; i < 2; i++) {
    struct timespec from, to;
    ha_tally fast, paced;
    stream = i == 0 ? "no" : "yes";
    pace = "fast";
    assert_true(replay(&counting, false, 1, &fast));
    pace = "recorded";
    speed = "0.02"; // the trace lasts about a millisecond
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_true(replay(&counting, false, 1, &paced));
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = 1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec);
    assert_true(ns >= (double)totals.duration_ns / 0.02 - 50000);
    assert_int_equal(fast.checksum, paced.checksum);
    assert_non_null(strstr(run.note, " late_us="));
    assert_counted(1);
  }
  pace = "fast";
  speed = "1";
  stream = "auto";
}

static void models_replay(void **state) {
  (void)state;
  char why[512];
  ha_model model;
  make_trace(30, 20000, 4, 3);
  const char *trace = file, *made = test_path("made.json");
  assert_true(ha_model_fit(trace, &model, why, sizeof why));
  assert_true(ha_model_save(&model, made, why, sizeof why));
  ha_model_clear(&model);
  file = made;
  workload = &ha_workload_model;
  ha_tally timed, verified;
  assert_true(replay(&counting, false, 2, &timed));
  assert_int_equal(live_blocks, 0);
  assert_true(replay(&counting, true, 1, &verified));
  assert_int_equal(timed.checksum, verified.checksum);
  assert_int_equal(timed.operations, verified.operations * 2);
  file = trace;
  assert_false(replay(&counting, false, 1, &timed));
  assert_non_null(strstr(run.why, "not a model"));
  workload = &ha_workload_trace;
}

static void old_sizes_are_packed(void **state) {
  (void)state;
  for (unsigned shift = 0; shift < 40; shift++) {
    uint64_t size = ((uint64_t)1 << shift) + (uint64_t)shift * 4096;
    replay_step step = {.meta = step_pack_pages(size) << STEP_EXTRA_SHIFT};
    assert_true(step_pages(&step) <= size / 4096);
    assert_true(step_pages(&step) >= size / 4096 - size / 4096 / 8192 - (shift > 13));
  }
}

static void bad_requests_are_said(void **state) {
  (void)state;
  make_trace(15, 100, 1, 0);
  ha_tally sum;
  order = "serial";
  stream = "yes";
  assert_false(replay(ha_adapter_oracle.linked, false, 1, &sum));
  assert_non_null(strstr(run.why, "packs the whole trace ahead"));
  stream = "auto";
  const char *good = file;
  file = "no-such.hat";
  assert_false(replay(&counting, false, 1, &sum));
  assert_non_null(strstr(run.why, "no-such.hat"));
  file = "";
  assert_false(replay(&counting, false, 1, &sum));
  assert_non_null(strstr(run.why, "give a file"));
  file = good;
  assert_int_equal(truncate(file, 200), 0);
  assert_false(replay(&counting, false, 1, &sum));
  assert_non_null(strstr(run.why, "cut off"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_operation_is_issued),
      cmocka_unit_test(verification_rebuilds_the_trace),
      cmocka_unit_test(verification_sees_lost_contents),
      cmocka_unit_test(missing_memory_is_a_failure),
      cmocka_unit_test(missing_operations_are_replaced),
      cmocka_unit_test(threads_in_turn_share_a_lane),
      cmocka_unit_test(shipped_traces_replay),
      cmocka_unit_test(preparing_leaves_the_heap_alone),
      cmocka_unit_test(the_oracle_packs_tightly),
      cmocka_unit_test(streaming_changes_nothing),
      cmocka_unit_test(threads_keep_together),
      cmocka_unit_test(a_window_bounds_what_is_live),
      cmocka_unit_test(recorded_time_is_kept),
      cmocka_unit_test(models_replay),
      cmocka_unit_test(old_sizes_are_packed),
      cmocka_unit_test(bad_requests_are_said),
  };
  int failed = cmocka_run_group_tests_name("replay", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

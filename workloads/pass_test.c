// pass_test.c: the passes, seen from outside: the worker is started, its two result files are read.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define MOST_ARGUMENTS 32

static char folder[] = P_tmpdir "/heaparena-pass-XXXXXX";
static char out_path[64], detail_path[64], words_path[64];

// What one worker left. Released by forget().
typedef struct result {
  int status;
  json_t *file;    // of --out; NULL if there is none
  json_t *entry;   // its benchmark
  json_t *detail;  // NULL if there is none
  char words[512]; // the beginning of stderr
} result;

static void run_worker(const char *const *arguments) {
  char *argv[MOST_ARGUMENTS] = {(char[]){"heaparena-worker"}};
  size_t count = 1;
  for (; *arguments; arguments++)
    argv[count++] = (char *)(uintptr_t)*arguments;
  const char *const files[] = {"--out", out_path, "--detail", detail_path};
  for (size_t i = 0; i < 4; i++)
    argv[count++] = (char *)(uintptr_t)files[i];
  int words = open(words_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  dup2(words, STDERR_FILENO);
  execv(WORKER, argv);
  _exit(127);
}

static void read_words(result *r) {
  FILE *in = fopen(words_path, "re");
  size_t n = in ? fread(r->words, 1, sizeof r->words - 1, in) : 0;
  r->words[n] = '\0';
  if (in)
    fclose(in);
}

// Starts a worker with these arguments, up to NULL.
static result worker(const char *first, ...) {
  const char *arguments[MOST_ARGUMENTS] = {first};
  va_list list;
  va_start(list, first);
  for (size_t i = 1; arguments[i - 1]; i++)
    arguments[i] = va_arg(list, const char *);
  va_end(list);
  unlink(out_path);
  unlink(detail_path);
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    run_worker(arguments);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  result r = {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
  r.file = json_load_file(out_path, 0, NULL);
  r.entry = json_array_get(json_object_get(r.file, "benchmarks"), 0);
  r.detail = json_load_file(detail_path, 0, NULL);
  read_words(&r);
  return r;
}

static void forget(result *r) {
  json_decref(r->file);
  json_decref(r->detail);
}

static void must_be_good(const result *r) {
  if (r->status != 0 || !r->entry || !r->detail || json_object_get(r->entry, "error_occurred"))
    fail_msg("status %d, %s", r->status, r->words);
}

static double counter(const result *r, const char *name) {
  json_t *value = json_object_get(r->entry, name);
  if (!json_is_number(value))
    fail_msg("no counter %s", name);
  return json_number_value(value);
}

static double member(json_t *object, const char *name) {
  return json_number_value(json_object_get(object, name));
}

// ---- Latency

// Each call of the body is in one of the histograms, and nothing else is.
static void calls_are_operations(const result *r, const char *const *names) {
  json_t *calls = json_object_get(json_object_get(r->detail, "latency"), "calls");
  double sum = 0;
  for (; *names; names++) {
    json_t *call = json_object_get(calls, *names);
    double count = member(call, "count"), listed = 0, before = 0;
    size_t i;
    json_t *bucket;
    json_array_foreach(json_object_get(call, "histogram"), i, bucket) {
      double upper = json_number_value(json_array_get(bucket, 0));
      assert_true(upper > before || i == 0);
      before = upper;
      listed += json_number_value(json_array_get(bucket, 1));
    }
    assert_true(count > 0 && listed == count);
    assert_true(member(call, "p50") <= member(call, "p99") && member(call, "p99") <= member(call, "max"));
    sum += count;
  }
  assert_true(sum == counter(r, "operations"));
}

static void test_latency_times_every_call(void **state) {
  (void)state;
  static const char *const allocators[] = {"template", "null", "bump"};
  static const char *const names[] = {"malloc", "free", NULL};
  for (size_t i = 0; i < sizeof allocators / sizeof allocators[0]; i++) {
    result r = worker("--allocator", allocators[i], "--workload", "churn:live=1000:ops=20000", "--pass",
                      "latency", "--threads", i == 0 ? "2" : "1", NULL);
    must_be_good(&r);
    calls_are_operations(&r, names);
    assert_true(counter(&r, "latency_malloc_p50_ns") > 0);
    assert_true(counter(&r, "latency_free_max_ns") >= counter(&r, "latency_free_p9999_ns"));
    assert_true(counter(&r, "latency_overhead_ns") < 1000);
    assert_true(counter(&r, "time_to_first_allocation_ns") > 1000);
    assert_null(json_object_get(r.entry, "latency_realloc_p50_ns"));
    forget(&r);
  }
}

static void test_latency_of_realloc_and_short_threads(void **state) {
  (void)state;
  static const char *const with_realloc[] = {"malloc", "free", "realloc", NULL};
  result r = worker("--allocator", "template", "--workload", "trace:" TRACE, "--pass", "latency", NULL);
  must_be_good(&r);
  json_t *calls = json_object_get(json_object_get(r.detail, "latency"), "calls");
  assert_true(member(json_object_get(calls, with_realloc[0]), "count") > 0);
  forget(&r);
  r = worker("--allocator", "template", "--workload", "larson:live=100:ops=100", "--threads", "2", "--pass",
             "latency", NULL);
  must_be_good(&r);
  static const char *const names[] = {"malloc", "free", NULL};
  calls_are_operations(&r, names);
  forget(&r);
  r = worker("--allocator", "template", "--workload", "realloc-grow", "--scale", "0.01", "--pass", "latency",
             NULL);
  must_be_good(&r);
  assert_true(counter(&r, "latency_realloc_p50_ns") > 0);
  forget(&r);
}

// ---- Timeline

static double highest(json_t *points, const char *name) {
  double most = 0;
  size_t i;
  json_t *point;
  json_array_foreach(points, i, point) {
    double value = member(point, name);
    most = value > most ? value : most;
  }
  return most;
}

static void goes_forward(json_t *points) {
  double before = -1;
  size_t i;
  json_t *point;
  json_array_foreach(points, i, point) {
    double ms = member(point, "ms");
    assert_true(ms >= before);
    assert_true(json_is_integer(json_object_get(point, "rss")));
    before = ms;
  }
}

// A heap that grows and is freed. On a machine with much else to do the process that watches may hardly have run: then once
// more.
static result watched_drain(void) {
  for (int again = 10;; again--) {
    result r = worker("--allocator", "template", "--workload", "drain:live=48:wait=0", "--pass", "timeline",
                      "--interval-ms", "1", "--after-ms", "150", NULL);
    must_be_good(&r);
    json_t *timeline = json_object_get(r.detail, "timeline"), *points = json_object_get(timeline, "points");
    if (again == 0 ||
        (json_array_size(points) >= 5 && highest(points, "live") > 0.7 * counter(&r, "peak_live_bytes") &&
         json_array_size(json_object_get(timeline, "after_free")) >= 5))
      return r;
    forget(&r);
  }
}

static void test_timeline_follows_a_heap_that_grows_and_is_freed(void **state) {
  (void)state;
  result r = watched_drain();
  json_t *timeline = json_object_get(r.detail, "timeline");
  json_t *points = json_object_get(timeline, "points"), *after = json_object_get(timeline, "after_free");
  size_t count = json_array_size(points);
  assert_true(count >= 5 && json_array_size(after) >= 5);
  goes_forward(points);
  goes_forward(after);
  double live = highest(points, "live"), peak = counter(&r, "peak_live_bytes");
  assert_true(live > 0.7 * peak && live <= peak);
  assert_true(highest(points, "usable") >= live);
  assert_true(highest(points, "rss") > live);
  json_t *last = json_array_get(points, count - 1); // all is freed then, to the byte
  assert_int_equal(json_integer_value(json_object_get(last, "live")), 0);
  assert_int_equal(json_integer_value(json_object_get(last, "usable")), 0);
  assert_true(member(timeline, "free_at_ms") >= member(last, "ms"));
  assert_true(counter(&r, "internal_fragmentation") >= 1);
  assert_true(counter(&r, "external_fragmentation") > 0);
  assert_true(counter(&r, "rss_mean_bytes") > counter(&r, "rss_start_bytes"));
  assert_true(counter(&r, "rss_after_free_100ms_bytes") > 0);
  assert_null(json_object_get(r.entry, "rss_after_free_1s_bytes")); // it was not watched for so long
  forget(&r);
}

static void test_timeline_of_other_runs(void **state) {
  (void)state;
  // What is live at the end is freed by finish().
  result r = worker("--allocator", "bump", "--workload", "churn:live=5000:ops=50000", "--threads", "2",
                    "--pass", "timeline", "--after-ms", "20", "--verify", NULL);
  must_be_good(&r);
  json_t *points = json_object_get(json_object_get(r.detail, "timeline"), "points");
  assert_true(highest(points, "live") > 0);
  forget(&r);
  r = worker("--allocator", "null", "--workload", "churn:live=5000:ops=50000", "--pass", "timeline",
             "--after-ms", "20", NULL);
  must_be_good(&r);
  points = json_object_get(json_object_get(r.detail, "timeline"), "points");
  assert_true(json_is_null(json_object_get(json_array_get(points, 0), "usable")));
  assert_null(json_object_get(r.entry, "internal_fragmentation"));
  forget(&r);
  r = worker("--allocator", "template", "--workload", "trace:" TRACE, "--pass", "timeline", "--after-ms",
             "20", NULL);
  must_be_good(&r);
  points = json_object_get(json_object_get(r.detail, "timeline"), "points");
  // The recorded peak is that of the recorded order; threads that replay side by side may top it a little.
  assert_true(highest(points, "live") > 0 &&
              highest(points, "live") <= 1.25 * counter(&r, "peak_live_bytes"));
  forget(&r);
}

// ---- Instructions

#if COUNT_INSTRUCTIONS
static void test_instructions_are_the_same_twice(void **state) {
  (void)state;
  static const char *const allocators[] = {"system", "bump"};
  for (size_t i = 0; i < sizeof allocators / sizeof allocators[0]; i++) {
    double total[2], share[2];
    for (unsigned k = 0; k < 2; k++) {
      setenv("HEAPARENA_PADDING", k ? "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" : "", 1);
      result r = worker("--allocator", allocators[i], "--workload", "churn:live=1000:ops=5000", "--pass",
                        "instructions", NULL);
      must_be_good(&r);
      total[k] = counter(&r, "instructions_total");
      share[k] = counter(&r, "instructions_allocator_per_operation");
      assert_true(share[k] > 2 && share[k] < counter(&r, "instructions_per_operation"));
      assert_true(member(json_object_get(r.detail, "instructions"), "calls") == counter(&r, "operations"));
      forget(&r);
    }
    assert_true(total[0] == total[1] && share[0] == share[1]);
  }
}

static void test_instructions_need_valgrind(void **state) {
  (void)state;
  char path[4096];
  snprintf(path, sizeof path, "%s", getenv("PATH"));
  setenv("PATH", "/nonexistent", 1);
  result r = worker("--allocator", "bump", "--workload", "churn", "--pass", "instructions", NULL);
  setenv("PATH", path, 1);
  assert_int_equal(r.status, 2);
  assert_non_null(strstr(r.words, "apt-get install valgrind"));
  forget(&r);
}
#endif

// ---- What goes wrong

static void test_a_failed_workload_fails_in_every_pass(void **state) {
  (void)state;
  static const char *const passes[] = {"time", "latency", "timeline"};
  for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
    result r =
        worker("--allocator", "bump", "--workload", "trace:/nonexistent.hat", "--pass", passes[i], NULL);
    assert_int_equal(r.status, 1);
    assert_true(json_is_true(json_object_get(r.entry, "error_occurred")));
    assert_non_null(strstr(r.words, "nonexistent.hat"));
    forget(&r);
  }
}

static void refuses(const char *option, const char *value, const char *part) {
  result r = worker("--allocator", "bump", "--workload", "churn", option, value, NULL);
  assert_int_equal(r.status, 2);
  if (!strstr(r.words, part))
    fail_msg("\"%s\" does not say \"%s\"", r.words, part);
  forget(&r);
}

static void test_bad_options(void **state) {
  (void)state;
  refuses("--pass", "memory", "choose one of time, latency, timeline, instructions");
  refuses("--interval-ms", "0", "--interval-ms");
  refuses("--after-ms", "never", "--after-ms");
  refuses("--explain", "chrn", "no workload is called \"chrn\"");
}

static int make_folder(void **state) {
  (void)state;
  if (!mkdtemp(folder))
    return -1;
  snprintf(out_path, sizeof out_path, "%s/out", folder);
  snprintf(detail_path, sizeof detail_path, "%s/detail", folder);
  snprintf(words_path, sizeof words_path, "%s/words", folder);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  unlink(out_path);
  unlink(detail_path);
  unlink(words_path);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_latency_times_every_call),
    cmocka_unit_test(test_latency_of_realloc_and_short_threads),
    cmocka_unit_test(test_timeline_follows_a_heap_that_grows_and_is_freed),
    cmocka_unit_test(test_timeline_of_other_runs),
#if COUNT_INSTRUCTIONS
    cmocka_unit_test(test_instructions_are_the_same_twice),
    cmocka_unit_test(test_instructions_need_valgrind),
#endif
    cmocka_unit_test(test_a_failed_workload_fails_in_every_pass),
    cmocka_unit_test(test_bad_options),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

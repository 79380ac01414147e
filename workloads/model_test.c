// model_test.c: models fitted to the shipped traces and to random ones, and model files that are not good.
#include "workloads/model.h"
#include "workloads/trace_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char why[1024];

static void shipped_traces_are_fitted(void **state) {
  (void)state;
  static const char *const traces[] = {"python-json", "clang", "threads", "sqlite", "git"};
  for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
    char path[4096];
    ha_model model;
    ha_model_fidelity fidelity;
    snprintf(path, sizeof path, "%s/%s.hat", TRACES, traces[i]);
    const char *file = test_path("model.json");
    if (!ha_model_fit(path, &model, why, sizeof why) || !ha_model_save(&model, file, why, sizeof why))
      fail_msg("%s", why);
    ha_model_clear(&model);
    if (!ha_model_load(file, &model, why, sizeof why))
      fail_msg("%s", why);
    for (uint64_t seed = 1; seed < 3; seed++) {
      if (!ha_model_check(&model, path, seed, &fidelity, why, sizeof why))
        fail_msg("%s", why);
      if (!ha_model_faithful(&fidelity))
        fail_msg("%s: the model of seed %u is not faithful", traces[i], (unsigned)seed);
    }
    ha_model_clear(&model);
  }
}

static uint64_t sum_of(const ha_model *model, uint64_t seed) {
  uint64_t sum = 0;
  ha_op op;
  int got;
  ha_model_maker *maker = ha_model_make(model, seed);
  assert_non_null(maker);
  while ((got = ha_model_next(maker, &op)) > 0)
    sum = ha_trace_checksum(sum, &op);
  assert_int_equal(got, 0);
  assert_int_equal(ha_model_next(maker, &op), 0);
  ha_model_unmake(maker);
  return sum;
}

// Whatever the trace, what its model makes keeps the rules: ha_model_check() holds it against them.
static void random_traces_are_fitted(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed < 30; seed++) {
    const char *path = test_path("random.hat"), *file = test_path("random.json");
    test_program program = test_random_program(seed, 20 + seed * seed * 20, 1 + (uint32_t)seed * 5 % 90, 3);
    ha_model model;
    ha_model_fidelity fidelity;
    test_write_program(path, &program, "", NULL);
    test_program_free(&program);
    if (!ha_model_fit(path, &model, why, sizeof why) || !ha_model_save(&model, file, why, sizeof why))
      fail_msg("seed %u: %s", (unsigned)seed, why);
    ha_model_clear(&model);
    if (!ha_model_load(file, &model, why, sizeof why) ||
        !ha_model_check(&model, path, seed, &fidelity, why, sizeof why))
      fail_msg("seed %u: %s", (unsigned)seed, why);
    assert_int_equal(sum_of(&model, 7), sum_of(&model, 7));
    assert_int_not_equal(sum_of(&model, 7), sum_of(&model, 8));
    ha_model_clear(&model);
  }
}

static void refuses(const char *text, const char *because) {
  ha_model model;
  const char *file = test_path("bad.json");
  test_write_file(file, text, strlen(text));
  assert_false(ha_model_load(file, &model, why, sizeof why));
  if (strstr(why, because) == NULL || strchr(why, '\n') != NULL)
    fail_msg("\"%s\" does not say \"%s\"", why, because);
}

// A model of one class, thread and phase, in which `what` stands for one part.
static const char *with(const char *part, const char *what) {
  static char text[4096];
  static const struct {
    const char *part, *good;
  } parts[] = {
      {"operations", "4"},
      {"size", "{\"from\":8,\"to\":16,\"mean\":12,\"kinds\":[2,0,0,0],\"alignment_log2\":0,\"lifetimes\":"
               "[0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,2,2,2,2,2,2,2,2,2,2,2]}"},
      {"thread", "{\"parent\":0,\"first\":0,\"last\":3,\"ends\":[2]}"},
      {"from", "0"},
      {"fresh", "[2]"},
      {"cell", "[0,2,0,0,1,0]"},
      {"large", "{\"thread\":0,\"kind\":\"malloc\",\"alignment_log2\":0,\"steps\":[[1,50],[2,90],[3]]}"},
  };
  const char *chosen[7];
  for (size_t i = 0; i < 7; i++)
    chosen[i] = strcmp(part, parts[i].part) == 0 ? what : parts[i].good;
  snprintf(text, sizeof text,
           "{\"format\":\"heaparena-model\",\"version\":1,\"operations\":%s,\"sized_frees\":0,\"sizes\":[%s],"
           "\"threads\":[%s],\"phases\":[{\"from\":%s,\"fresh\":%s,\"cells\":[%s]}],\"large\":[%s]}",
           chosen[0], chosen[1], chosen[2], chosen[3], chosen[4], chosen[5], chosen[6]);
  return text;
}

static void bad_models_are_refused(void **state) {
  (void)state;
  ha_model model;
  const char *file = test_path("good.json");
  test_write_file(file, with("", ""), strlen(with("", "")));
  if (!ha_model_load(file, &model, why, sizeof why))
    fail_msg("%s", why);
  sum_of(&model, 1);
  ha_model_clear(&model);
  refuses("", "line 1");
  refuses("{\"format\":\n \"heaparena-model\",\n]", "line 3");
  refuses("{}", "not a model");
  refuses("[1,2]", "not a model");
  refuses(with("operations", "0"), "operations is 0");
  refuses(with("operations", "-4"), "operations is not a whole number");
  refuses(with("operations", "99999999999999999"), "operations is not");
  refuses(with("size", ""), "\"sizes\" is not a list");
  refuses(with("size", "{\"from\":9,\"to\":8,\"mean\":8,\"kinds\":[0,0,0,0],\"alignment_log2\":0}"),
          "sizes[0]: sizes are not in order");
  refuses(with("size", "{\"from\":8,\"to\":16,\"mean\":99,\"kinds\":[0,0,0,0],\"alignment_log2\":0}"),
          "sizes[0]: the mean");
  refuses(with("thread", "{\"parent\":1,\"first\":0,\"last\":3,\"ends\":[2]}"), "threads[0]: parent");
  refuses(with("thread", "{\"parent\":0,\"first\":3,\"last\":1,\"ends\":[2]}"),
          "threads[0]: threads are not");
  refuses(with("thread", "{\"parent\":0,\"first\":0,\"last\":3,\"ends\":[2,1]}"), "ends is not a list of 1");
  refuses(with("from", "1"), "phases are not in order");
  refuses(with("from", "4"), "from is not a whole number up to 3");
  refuses(with("fresh", "[3]"), "blocks by thread and blocks by size differ");
  refuses(with("cell", "[0,2]"), "phases[0].cells[0]: not a list");
  refuses(with("cell", "[1,2,0]"), "class is not a whole number up to 0");
  refuses(with("cell", "[0,2,0],[0,1,0]"), "\"cells\" is not a list");
  refuses(with("cell", "[0,2,0,0,2,1]"), "more segments end than begin");
  refuses(with("cell", "[0,2,0,1,1,0]"), "phase is not a whole number");
  refuses(with("large", "{\"thread\":0,\"kind\":\"free\",\"alignment_log2\":0,\"steps\":[[1,5]]}"),
          "kind is none");
  refuses(with("large", "{\"thread\":2,\"kind\":\"malloc\",\"alignment_log2\":0,\"steps\":[[1,5]]}"),
          "large[0]: thread");
  refuses(with("large", "{\"thread\":0,\"kind\":\"malloc\",\"alignment_log2\":0,\"steps\":[[1]]}"),
          "a step is");
  refuses(with("large", "{\"thread\":0,\"kind\":\"malloc\",\"alignment_log2\":0,\"steps\":[[2,5],[1]]}"),
          "steps are not in order");
  assert_false(ha_model_load("no-such.json", &model, why, sizeof why));
  assert_non_null(strstr(why, "No such file"));
  assert_false(ha_model_load("/dev/urandom", &model, why, sizeof why));
  assert_non_null(strstr(why, "not a file"));
}

// Every cut and many changed bytes: an error or another model, never a crash.
static void damaged_models_do_no_harm(void **state) {
  (void)state;
  const char *good = with("", ""), *file = test_path("damaged.json");
  size_t length = strlen(good);
  char *text = strdup(good);
  ha_model model;
  for (size_t at = 0; at < length; at++) {
    test_write_file(file, text, at);
    assert_false(ha_model_load(file, &model, why, sizeof why));
    for (int byte = '0'; byte <= '9'; byte += 3) {
      char before = text[at];
      text[at] = (char)byte;
      test_write_file(file, text, length);
      if (ha_model_load(file, &model, why, sizeof why))
        sum_of(&model, 1);
      ha_model_clear(&model);
      text[at] = before;
    }
  }
  free(text);
}

static void a_trace_without_blocks_has_no_model(void **state) {
  (void)state;
  const char *path = test_path("empty.hat");
  ha_model model;
  test_program program = {.threads = 1};
  test_write_program(path, &program, "", NULL);
  assert_false(ha_model_fit(path, &model, why, sizeof why));
  assert_non_null(strstr(why, "no allocation"));
  assert_false(ha_model_fit("no-such.hat", &model, why, sizeof why));
  assert_non_null(strstr(why, "no-such.hat"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shipped_traces_are_fitted),
      cmocka_unit_test(random_traces_are_fitted),
      cmocka_unit_test(bad_models_are_refused),
      cmocka_unit_test(damaged_models_do_no_harm),
      cmocka_unit_test(a_trace_without_blocks_has_no_model),
  };
  int failed = cmocka_run_group_tests_name("model", tests, NULL, NULL);
  test_remove_folder();
  return failed;
}

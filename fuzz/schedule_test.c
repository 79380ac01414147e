// schedule_test.c: one program is one interleaving, whatever ran before it, and threads do meet inside calls. What the
// oracles find when they meet badly is in mutants/schedule.txt.
#include "fuzz/mutate.h"
#include "fuzz/schedule.h"
#include "fuzz/schedule_gate.h"
#include "fuzz/schedule_race.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS 48u
#define EVENTS  ((size_t)8192)

static const fuzz_subject *subject;
static fuzz_campaign campaign;
static fuzz_op ops[RECORDS];

static fuzz_program program_of(unsigned seed) {
  size_t size = fuzz_random_program((uint8_t *)ops, RECORDS, seed);
  return fuzz_program_decode((const uint8_t *)ops, size);
}

static fuzz_log *new_log(fuzz_log *log) {
  *log = (fuzz_log){.events = calloc(EVENTS, sizeof *log->events), .capacity = EVENTS};
  assert_non_null(log->events);
  return log;
}

static size_t races_in(fuzz_program program) {
  size_t races = 0;
  for (size_t i = 0; i < program.count; i++)
    races += fuzz_op_get_kind(&program.ops[i]) == FUZZ_OP_RACE;
  return races;
}

// What the target schedule is about is in its programs, and stays there when they are mutated and crossed; it is in no
// other target's.
static void test_programs_have_races(void **state) {
  (void)state;
  uint8_t data[RECORDS * FUZZ_RECORD_BYTES], child[sizeof data];
  unsigned with = 0, crossed = 0, changed = 0;
  enum { PROGRAMS = 400 };
  for (unsigned seed = 1; seed <= PROGRAMS; seed++) {
    assert_true(races_in(program_of(seed)) != 0);
    assert_int_equal(races_in((fuzz_program){ops, 3}), 0); // first there are blocks to meet at
    memcpy(data, ops, sizeof data);
    size_t size = fuzz_mutate(data, sizeof data, sizeof data, seed);
    fuzz_program mutated = fuzz_program_decode(data, size);
    with += races_in(mutated) != 0;
    // The same calls, other switches: only races differ.
    bool same = mutated.count == RECORDS, switches = false;
    for (size_t i = 0; same && i < RECORDS; i++) {
      bool equal = memcmp(&mutated.ops[i], &ops[i], sizeof ops[i]) == 0;
      switches |= !equal && fuzz_op_get_kind(&ops[i]) == FUZZ_OP_RACE;
      same = equal || fuzz_op_get_kind(&ops[i]) == FUZZ_OP_RACE;
    }
    changed += same && switches;
    size = fuzz_cross_over((const uint8_t *)ops, sizeof ops, data, size, child, sizeof child, seed);
    crossed += size != 0 && races_in(fuzz_program_decode(child, size)) != 0;
  }
  print_message("of %d mutated programs %u have races, %u differ in races alone; %u crossed have some\n",
                PROGRAMS, with, changed, crossed);
  assert_in_range(with, PROGRAMS * 9 / 10, PROGRAMS);
  assert_in_range(changed, PROGRAMS / 10, PROGRAMS);
  assert_in_range(crossed, PROGRAMS / 10, PROGRAMS);
  size_t count;
  const fuzz_target *targets = fuzz_targets(&count);
  for (size_t i = 0; i < count; i++) {
    fuzz_mutate_kinds(targets[i].kinds, targets[i].threads);
    assert_int_equal(races_in(program_of(7)) != 0, targets[i].schedule);
  }
  fuzz_mutate_kinds(campaign.target->kinds, campaign.target->threads);
}

// ---- Windows ----

static const fuzz_op race = {
    .kind = FUZZ_OP_RACE, .slot = 6, .low = 9, .law = 5}; // 8 records, changes at 9 and 5

static void test_window_ends_where_blocks_meet(void **state) {
  (void)state;
  const fuzz_op list[] = {race,
                          {.kind = FUZZ_OP_MALLOC, .slot = 1, .thread = 1},
                          {.kind = FUZZ_OP_FREE, .slot = 2, .thread = 2},
                          {.kind = FUZZ_OP_FREE, .slot = 1, .thread = 1}, // its own block: may follow
                          {.kind = FUZZ_OP_FREE_RUN, .slot = 0, .low = 1, .thread = 3}}; // slots 0 and 1
  fuzz_window window;
  assert_int_equal(fuzz_window_at((fuzz_program){list, 5}, 0, &window), 4);
  assert_true(window.races);
  assert_int_equal(window.first, 1);
  assert_int_equal(window.count, 3);
  assert_int_equal(window.changes, 2);
  assert_int_equal(window.change[0].at, 5);
  assert_int_equal(window.change[1].at, 9);
  assert_int_not_equal(window.change[0].priority, window.change[1].priority);
  assert_int_equal(fuzz_window_at((fuzz_program){list, 5}, 4, &window), 5);
  assert_false(window.races);
}

static void test_window_ends_with_its_threads(void **state) {
  (void)state;
  const fuzz_op list[] = {race,
                          race, // the same window, twice as many change points
                          {.kind = FUZZ_OP_THREAD_EXIT, .thread = 1},
                          {.kind = FUZZ_OP_MALLOC, .slot = 3, .thread = 2},
                          {.kind = FUZZ_OP_MALLOC, .slot = 4, .thread = 1},
                          {.kind = FUZZ_OP_MALLOC, .slot = 5, .thread = 1}};
  fuzz_window window;
  assert_int_equal(fuzz_window_at((fuzz_program){list, 6}, 0, &window), 4);
  assert_int_equal(window.changes, 4);
  // Behind it, records of one thread in a row.
  assert_int_equal(fuzz_window_at((fuzz_program){list, 6}, 4, &window), 6);
  assert_int_equal(window.count, 2);
}

static void test_races_fold(void **state) {
  (void)state;
  bool seen[24] = {false};
  for (unsigned fill = 0; fill < 256; fill++) {
    fuzz_op op = {.kind = FUZZ_OP_RACE, .slot = (uint8_t)(fill * 7), .thread = 3, .fill = (uint8_t)fill};
    fuzz_op normal = fuzz_op_normal(op);
    fuzz_race a = fuzz_race_of(&op), b = fuzz_race_of(&normal);
    assert_memory_equal(&a, &b, sizeof a);
    unsigned ranks = 0;
    for (unsigned thread = 0; thread < FUZZ_THREADS; thread++)
      ranks |= 1u << a.rank[thread];
    assert_int_equal(ranks, 0x1e); // 1, 2, 3 and 4
    seen[normal.fill & 127] = true;
  }
  for (unsigned i = 0; i < 24; i++)
    assert_true(seen[i]);
}

// ---- Runs ----

static bool equal(const fuzz_event *a, const fuzz_event *b) {
  return a->op == b->op && a->kind == b->kind && a->thread == b->thread && a->slot == b->slot &&
         a->fill == b->fill && a->failed == b->failed && a->size == b->size && a->count == b->count;
}

// In a process of its own, and in this one behind all the programs before: the same calls and the same switches.
static void test_program_is_one_interleaving(void **state) {
  (void)state;
  fuzz_log alone, here;
  fuzz_options options = campaign.options;
  static fuzz_state run;
  unsigned switches = 0, waits = 0, plain = 0;
  new_log(&alone);
  options.log = new_log(&here);
  for (unsigned seed = 1; seed <= 400; seed++) {
    fuzz_program program = program_of(seed);
    fuzz_verdict verdict;
    alone.count = 0;
    alone.capacity = EVENTS;
    assert_true(fuzz_trial(&campaign, program, &verdict, &alone));
    here.count = 0;
    assert_true(fuzz_execute(program, subject, &options, &run));
    assert_true(here.count <= EVENTS);
    assert_int_equal(alone.count, here.count);
    for (size_t i = 0; i < here.count; i++) {
      const fuzz_event *event = &here.events[i];
      if (!equal(&alone.events[i], event))
        fail_msg("program %u: event %zu differs", seed, i);
      if (event->kind != FUZZ_OP_RACE)
        continue;
      assert_int_not_equal(event->thread, event->slot);
      switches++;
      waits += event->fill == SCHEDULE_WAIT;
      plain += event->fill == SCHEDULE_READ || event->fill == SCHEDULE_WRITE;
    }
  }
  print_message("%u switches: %u for locks, %u at plain accesses\n", switches, waits, plain);
  assert_true(waits > 0 && plain > 0 && switches > waits + plain);
  free(alone.events);
  free(here.events);
}

// A thread that stops inside malloc has not made its block: others go on, and the order of the calls' ends is another
// than that of their beginnings.
static void test_stopped_inside_a_call(void **state) {
  (void)state;
  const fuzz_op list[] = {{.kind = FUZZ_OP_RACE, .slot = 0, .low = 1}, // first t0, stopped at its first point
                          {.kind = FUZZ_OP_MALLOC, .slot = 0, .law = FUZZ_LAW_SMALL, .low = 64, .thread = 0},
                          {.kind = FUZZ_OP_MALLOC, .slot = 1, .law = FUZZ_LAW_SMALL, .low = 64, .thread = 1}};
  fuzz_log log;
  fuzz_verdict verdict;
  new_log(&log);
  assert_true(fuzz_trial(&campaign, (fuzz_program){list, 3}, &verdict, &log));
  unsigned at = 0;
  while (at < log.count && log.events[at].kind != FUZZ_OP_RACE)
    at++;
  assert_true(at < log.count);
  assert_int_equal(log.events[at].op, 1);
  assert_int_equal(log.events[at].thread, 0);
  assert_int_equal(log.events[at].slot, 1);
  assert_int_equal(log.events[at].count, 1);
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  fuzz_schedule_explain(out, subject, log.events, log.count);
  fclose(out);
  assert_non_null(strstr(text, "t0 in record 1 stops at point 1,"));
  assert_non_null(strstr(text, "t1 runs"));
  free(text);
  free(log.events);
}

static void test_others_have_no_points(void **state) {
  (void)state;
  char why[512] = "";
  assert_null(fuzz_schedule_open("mimalloc", NULL, why, sizeof why));
  assert_non_null(strstr(why, "gomalloc alone"));
}

int main(int argc, char *argv[]) {
  (void)argc;
  char why[512] = "";
  subject = fuzz_schedule_open("gomalloc", argv, why, sizeof why);
  if (subject == NULL) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  const fuzz_target *target = fuzz_target_find("schedule");
  campaign = (fuzz_campaign){.target = target,
                             .subjects = {subject},
                             .subject_count = 1,
                             .options = fuzz_target_options(target, FUZZ_ALL_ORACLES)};
  campaign.options.feedback = false;
  fuzz_mutate_kinds(target->kinds, target->threads);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs_have_races),
                                     cmocka_unit_test(test_window_ends_where_blocks_meet),
                                     cmocka_unit_test(test_window_ends_with_its_threads),
                                     cmocka_unit_test(test_races_fold),
                                     cmocka_unit_test(test_program_is_one_interleaving),
                                     cmocka_unit_test(test_stopped_inside_a_call),
                                     cmocka_unit_test(test_others_have_no_points)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

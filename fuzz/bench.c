// bench.c: see bench.h.
#include "fuzz/bench.h"

#include "fuzz/feedback.h"

#include <stdlib.h>
#include <time.h>

#define MOST_ROUNDS 255u

static double now(clockid_t clock) {
  struct timespec moment;
  clock_gettime(clock, &moment);
  return (double)moment.tv_sec + (double)moment.tv_nsec / 1e9;
}

static unsigned calls_of(const fuzz_state *state) {
  uint64_t calls = 0;
  for (unsigned kind = FUZZ_OP_MALLOC; kind <= FUZZ_OP_USABLE; kind++)
    calls += state->histogram[kind];
  return (unsigned)calls;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// ---- Running ----

static bool run_one(const fuzz_campaign *campaign, fuzz_program program, fuzz_state *state,
                    fuzz_bench_program *seen, double *seconds) {
  static const uint8_t none[FUZZ_FEEDBACK_BYTES];
  unsigned before = calls_of(state);
  fuzz_feedback_load(none); // as libFuzzer does before each input
  double start = now(CLOCK_MONOTONIC);
  if (!fuzz_campaign_run(campaign, program, state))
    return false;
  *seconds = now(CLOCK_MONOTONIC) - start;
  seen->calls = calls_of(state) - before;
  return true;
}

bool fuzz_bench_run(const fuzz_campaign *campaign, const fuzz_program *programs, size_t count, double seconds,
                    fuzz_state *state, fuzz_bench_program *each, fuzz_bench *result) {
  double *times = fuzz_arena(count * MOST_ROUNDS * sizeof *times);
  double from = 0;
  *result = (fuzz_bench){0};
  for (unsigned round = 0; round < 2 || (result->seconds < seconds && round <= MOST_ROUNDS); round++) {
    unsigned column = round == 0 ? 0 : round - 1; // the second round writes over the first
    if (round == 1)
      from = now(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < count; i++)
      if (!run_one(campaign, programs[i], state, &each[i], &times[i * MOST_ROUNDS + column]))
        return false;
    result->rounds = round;
    result->seconds = now(CLOCK_PROCESS_CPUTIME_ID) - from;
  }
  for (size_t i = 0; i < count; i++) {
    double *own = &times[i * MOST_ROUNDS];
    qsort(own, result->rounds, sizeof *own, by_value);
    each[i].seconds = own[result->rounds / 2];
  }
  return true;
}

// ---- Words ----

static int by_seconds(const void *a, const void *b) {
  return by_value(&((const fuzz_bench_program *)a)->seconds, &((const fuzz_bench_program *)b)->seconds);
}

// The median program of those with from <= calls < to, of `each` sorted by seconds.
static void print_row(FILE *out, const fuzz_bench_program *each, size_t count, unsigned from, unsigned to,
                      const char *name) {
  size_t within = 0, passed = 0;
  for (size_t i = 0; i < count; i++)
    within += each[i].calls >= from && each[i].calls < to;
  for (size_t i = 0; i < count; i++)
    if (each[i].calls >= from && each[i].calls < to && passed++ == within / 2)
      fprintf(out, "%-14s %8zu %16.0f\n", name, within, 1 / each[i].seconds);
}

void fuzz_bench_print(FILE *out, fuzz_bench_program *each, size_t count, const fuzz_bench *result) {
  static const unsigned edges[] = {0, 16, 48, 80, 128, 256, UINT32_MAX};
  uint64_t calls = 0;
  qsort(each, count, sizeof *each, by_seconds);
  fprintf(out, "%-14s %8s %16s   (of the median program, by the clock)\n", "calls", "programs",
          "executions/s");
  for (unsigned i = 0; i + 1 < sizeof edges / sizeof edges[0]; i++) {
    char name[32];
    if (edges[i + 1] == UINT32_MAX)
      snprintf(name, sizeof name, "%u and more", edges[i]);
    else
      snprintf(name, sizeof name, "%u to %u", edges[i], edges[i + 1] - 1);
    print_row(out, each, count, edges[i], edges[i + 1], name);
  }
  print_row(out, each, count, 0, UINT32_MAX, "all");
  for (size_t i = 0; i < count; i++)
    calls += each[i].calls;
  double runs = (double)result->rounds;
  fprintf(out, "%.0f executions and %.2f million calls a second of processor time, %u rounds\n",
          runs * (double)count / result->seconds, runs * (double)calls / result->seconds / 1e6,
          result->rounds);
}

// memory_test.c: a campaign grows no memory: ten times as many executions leave the process, once purged, as large as it
// was. The programs do little but allocate.
#include "fuzz/gomalloc_test.h"
#include "fuzz/mutate.h"
#include "fuzz/target.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS ((size_t)64)
#define FEW     1000u
#define MANY    (10 * FEW)
#define ALLOWED ((size_t)512 << 10) // bytes: a page lost by every fiftieth program is more

#define BIT(op) (1u << FUZZ_OP_##op)
#define HEAVY                                                                                                \
  (BIT(MALLOC) | BIT(CALLOC) | BIT(REALLOC) | BIT(FREE) | BIT(ALIGNED_ALLOC) | BIT(FILL_RUN) |               \
   BIT(THREAD_START) | BIT(THREAD_EXIT) | BIT(PURGE) | BIT(CLOCK) | BIT(CHECK_HEAP))

static size_t resident_bytes(void) {
  char text[128] = "";
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  assert_true(file >= 0 && read(file, text, sizeof text - 1) > 0);
  close(file);
  const char *second = strchr(text, ' ');
  assert_non_null(second);
  return strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

// Programs first .. last - 1; returns how large the process is then.
static size_t size_after(const fuzz_campaign *campaign, fuzz_state *state, unsigned first, unsigned last) {
  uint8_t data[RECORDS * FUZZ_RECORD_BYTES];
  for (unsigned seed = first; seed < last; seed++) {
    size_t size = fuzz_random_program(data, RECORDS, seed);
    if (!fuzz_campaign_run(campaign, fuzz_program_decode(data, size), state))
      fail_msg("%s: %s", fuzz_oracle_name(state->verdict.oracle), state->verdict.text);
  }
  assert_true(campaign->subjects[0]->alloc.purge());
  return resident_bytes();
}

static void test_many_executions_take_no_more_than_few(void **context) {
  static fuzz_state state;
  const fuzz_target *target = fuzz_target_find(*context);
  fuzz_campaign campaign = {.target = target,
                            .subjects = {gomalloc()},
                            .subject_count = 1,
                            .options = fuzz_target_options(target, FUZZ_ALL_ORACLES)};
  fuzz_mutate_kinds(HEAVY & target->kinds, target->threads);
  size_t few = size_after(&campaign, &state, 0, FEW);
  size_t many = size_after(&campaign, &state, FEW, MANY);
  print_message("%s: %zu KiB after %u executions, %zu KiB after %u\n", target->name, few >> 10, FEW,
                many >> 10, MANY);
  assert_true(many < few + ALLOWED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      {"ops", test_many_executions_take_no_more_than_few, NULL, NULL, (void *)(uintptr_t) "ops"},
      {"threads", test_many_executions_take_no_more_than_few, NULL, NULL, (void *)(uintptr_t) "threads"},
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

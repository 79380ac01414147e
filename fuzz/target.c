// target.c: the targets, and libFuzzer's hooks. See target.h.
#include "fuzz/target.h"

#include "fuzz/archive.h"
#include "fuzz/feedback.h"
#include "fuzz/mutate.h"
#include "fuzz/patience.h"
#include "fuzz/permitted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_EVERY   1024u // programs between two walks of the allocator's own check
#define BLIND_RECORDS 64u
#define PATIENCE      12u // seconds of processor time until an input counts as hung
#define LOG_EVENTS    ((size_t)1 << 16)

#define BIT(op)  (1u << FUZZ_OP_##op)
#define ALL      (((1u << FUZZ_OP_KINDS) - 1) & ~(BIT(RACE) | BIT(MISUSE)))
#define THREADED (BIT(THREAD_START) | BIT(THREAD_EXIT) | BIT(FORK))

static const fuzz_target targets[] = {
    {"ops", "one thread, every call of the malloc family", (ALL | BIT(MISUSE)) & ~(THREADED | BIT(FAIL_MAP)),
     false, false, false, false, false},
    {"threads", "real threads that take turns as the program says: hand-over, thread ends, fork",
     (ALL | BIT(MISUSE)) & ~BIT(FAIL_MAP), true, true, false, false, false},
    {"oom", "the system refuses the k-th request for memory", ALL & ~THREADED, false, false, true, false,
     false},
    {"differential", "one program on several allocators: the same calls must succeed and fail",
     ALL & ~(THREADED | BIT(FAIL_MAP)), false, false, false, true, false},
    {"schedule", "gomalloc alone: threads that are interleaved inside its calls, as the program says",
     (ALL | BIT(RACE)) & ~(BIT(FAIL_MAP) | BIT(FORK)), true, false, false, false, true},
};

const fuzz_target *fuzz_targets(size_t *count) {
  *count = sizeof targets / sizeof targets[0];
  return targets;
}

const fuzz_target *fuzz_target_find(const char *name) {
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
    if (strcmp(targets[i].name, name) == 0)
      return &targets[i];
  return NULL;
}

fuzz_options fuzz_target_options(const fuzz_target *target, uint32_t oracles) {
  return (fuzz_options){.oracles = oracles,
                        .threads = target->threads,
                        .forks = target->forks,
                        .failures = target->failures,
                        .schedule = target->schedule,
                        .feedback = true,
                        .check_every = target->schedule ? 1 : CHECK_EVERY};
}

// ---- Differential ----

// Whether the two calls had to have the same outcome. Between a small request and an impossible one, and for
// requests of nothing, allocators may differ.
static bool comparable(const fuzz_event *event) {
  bool small = event->size != 0 && event->size <= (size_t)1 << 20 && event->alignment <= 4096;
  return (small || event->size > PTRDIFF_MAX) && event->kind != FUZZ_OP_CHECK_HEAP &&
         event->kind != FUZZ_OP_PURGE;
}

static bool compare(const fuzz_campaign *campaign, unsigned which, const fuzz_log *first,
                    const fuzz_log *other, fuzz_verdict *verdict) {
  for (size_t i = 0; i < first->count && i < other->count && i < first->capacity; i++) {
    const fuzz_event *a = &first->events[i], *b = &other->events[i];
    if (a->op != b->op || a->kind != b->kind) // one has a call that the other lacks: no more to be compared
      return true;
    if (a->failed == b->failed || !comparable(a))
      continue;
    const char *names[] = {campaign->subjects[0]->alloc.name, campaign->subjects[which]->alloc.name};
    *verdict = (fuzz_verdict){
        .failed = true, .oracle = FUZZ_ORACLE_DIFFERENTIAL, .op = a->op, .block = a->slot, .other = -1};
    snprintf(verdict->text, sizeof verdict->text, "%s of %zu bytes, alignment %zu: %s with %s, %s with %s",
             fuzz_op_name((fuzz_op_kind)a->kind), a->size, a->alignment, a->failed ? "fails" : "is met",
             names[0], b->failed ? "fails" : "is met", names[1]);
    return false;
  }
  return true;
}

// Runs the program on every subject of the campaign and compares outcomes. For `differential`.
static bool run_against(const fuzz_campaign *campaign, fuzz_program program, fuzz_state *state) {
  static fuzz_event *events[2];
  fuzz_log logs[2];
  for (unsigned i = 0; i < 2; i++) {
    if (events[i] == NULL)
      events[i] = fuzz_arena(LOG_EVENTS * sizeof *events[i]);
    logs[i] = (fuzz_log){.events = events[i], .capacity = LOG_EVENTS};
  }
  fuzz_options options = campaign->options;
  for (unsigned i = 0; i < campaign->subject_count; i++) {
    options.log = &logs[i != 0];
    options.log->count = 0;
    if (!fuzz_execute(program, campaign->subjects[i], &options, state))
      return false;
    bool enabled = options.oracles & 1u << FUZZ_ORACLE_DIFFERENTIAL;
    if (i != 0 && enabled && !compare(campaign, i, &logs[0], &logs[1], &state->verdict))
      return false;
  }
  return true;
}

// ---- libFuzzer's hooks ----

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2,
                                 uint8_t *out, size_t max_out_size, unsigned int seed);

static fuzz_campaign running;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  if (running.blind) {
    size_t most = max_size / FUZZ_RECORD_BYTES;
    return fuzz_random_program(data, most < BLIND_RECORDS ? most : BLIND_RECORDS, seed);
  }
  return fuzz_mutate(data, size, max_size, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2,
                                 uint8_t *out, size_t max_out_size, unsigned int seed) {
  return fuzz_cross_over(data1, size1, data2, size2, out, max_out_size, seed);
}

// Ends the process with what its state says; in a signal's handler too.
static void end_with_finding(const fuzz_state *state) {
  dprintf(STDERR_FILENO, "heaparena-fuzz: found: %s: record %u: %s\n",
          fuzz_oracle_name(state->verdict.oracle), state->verdict.op, state->verdict.text);
  if (running.aborts)
    abort();
  _exit(FUZZ_EXIT_FOUND);
}

static void end_with_hang(void) {
  fuzz_state *state = fuzz_journal_state(running.journal);
  fuzz_verdict_of_death(state, 0);
  end_with_finding(state);
}

void fuzz_campaign_begin(const fuzz_campaign *campaign) {
  running = *campaign;
  fuzz_feedback_enable(!campaign->blind);
  fuzz_mutate_kinds(campaign->target->kinds, campaign->target->threads);
  fuzz_watch(PATIENCE, end_with_hang);
  if (!campaign->target->schedule) // whose inputs find a heap that nobody has used
    fuzz_mutate_learn(campaign->subjects[0]);
}

bool fuzz_campaign_run(const fuzz_campaign *campaign, fuzz_program program, fuzz_state *state) {
  return campaign->target->against ? run_against(campaign, program, state)
                                   : fuzz_execute(program, campaign->subjects[0], &campaign->options, state);
}

// Heaps keep what they once had: after a few inputs nothing would ask the system any more. So each input that is
// about failing requests runs in a child, on a heap that is as it was when the campaign began.
static bool run_in_child(fuzz_program program, fuzz_state *state) {
  static uint8_t *counters; // of the child
  if (counters == NULL) {
    counters = mmap(NULL, FUZZ_FEEDBACK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counters == MAP_FAILED) {
      perror("heaparena-fuzz: no memory to share with a child");
      _exit(70);
    }
  }
  pid_t child = fuzz_fork();
  if (child == 0) {
    bool good = fuzz_campaign_run(&running, program, state);
    fuzz_feedback_save(counters);
    _exit(good ? 0 : FUZZ_EXIT_FOUND);
  }
  int status = 0;
  if (child > 0 && !fuzz_await(child, PATIENCE, &status))
    fuzz_verdict_of_death(state, 0);
  else if (WIFSIGNALED(status))
    fuzz_verdict_of_death(state, WTERMSIG(status));
  fuzz_feedback_load(counters);
  // Some end the program rather than return NULL: with that oracle off, or known of them, it is an answer.
  if (WIFSIGNALED(status)) {
    fuzz_deed deed = {.oracle = state->verdict.oracle, .error = WTERMSIG(status)};
    bool known = running.options.permits && fuzz_permitted(running.subjects[0], &deed);
    if (known || !(running.options.oracles & 1u << state->verdict.oracle))
      state->verdict.failed = false;
  }
  return status == 0 || !state->verdict.failed;
}

int fuzz_campaign_input(const uint8_t *data, size_t size) {
  fuzz_program program = fuzz_program_decode(data, size);
  if (program.count > FUZZ_MAX_RECORDS)
    program.count = FUZZ_MAX_RECORDS;
  fuzz_journal_add(running.journal, data, size);
  fuzz_state *state = fuzz_journal_state(running.journal);
  bool apart = running.target->failures;
  fuzz_watch_begin();
  bool good = apart ? run_in_child(program, state) : fuzz_campaign_run(&running, program, state);
  fuzz_watch_end();
  if (!good)
    end_with_finding(state);
  if (!apart && !running.blind)
    fuzz_archive_add(program);
  return 0;
}

// minimize.c: see minimize.h.
#include "fuzz/minimize.h"

#include "fuzz/patience.h"
#include "fuzz/schedule_race.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE   30u // seconds of processor time until a trial counts as hung
#define LOG_EVENTS ((size_t)1 << 20)

// What a trial's child leaves, whatever ends it.
static struct shared {
  fuzz_state state;
  fuzz_log log;
  fuzz_event events[LOG_EVENTS];
} * shared;

static void share(void) {
  if (shared == NULL)
    shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (shared == MAP_FAILED)
    fuzz_arena(SIZE_MAX / 2); // says so, and ends the program
}

__attribute__((noreturn)) static void run_child(const fuzz_campaign *campaign, fuzz_program program) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
    signal(signals[i], SIG_DFL);
  struct rlimit none = {0, 0};
  (void)setrlimit(RLIMIT_CORE, &none);
  fuzz_campaign quiet = *campaign;
  quiet.options.feedback = false;
  quiet.options.check_every = 1;
  quiet.options.log = &shared->log;
  bool good = fuzz_campaign_run(&quiet, program, &shared->state);
  _exit(good ? 0 : FUZZ_EXIT_FOUND);
}

bool fuzz_trial(const fuzz_campaign *campaign, fuzz_program program, fuzz_verdict *verdict, fuzz_log *log) {
  share();
  memset(&shared->state, 0, sizeof shared->state);
  shared->log = (fuzz_log){.events = shared->events, .capacity = LOG_EVENTS};
  pid_t child = fuzz_fork();
  if (child == 0)
    run_child(campaign, program);
  int status = 0;
  if (child > 0 && !fuzz_await(child, campaign->patience ? campaign->patience : PATIENCE, &status))
    fuzz_verdict_of_death(&shared->state, 0);
  else if (WIFSIGNALED(status))
    fuzz_verdict_of_death(&shared->state, WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0 && !shared->state.verdict.failed) // a sanitizer's own end
    fuzz_verdict_of_death(&shared->state, SIGABRT);
  *verdict = shared->state.verdict;
  if (verdict->failed && !(campaign->options.oracles & 1u << verdict->oracle))
    verdict->failed = false;
  if (log != NULL) {
    size_t kept = shared->log.count < LOG_EVENTS ? shared->log.count : LOG_EVENTS;
    log->count = kept < log->capacity ? kept : log->capacity;
    memcpy(log->events, shared->events, log->count * sizeof *log->events);
  }
  return !verdict->failed;
}

// ---- Reduction ----

typedef struct reduction {
  const fuzz_campaign *campaign;
  fuzz_op *ops, *scratch;
  size_t count;
  fuzz_verdict verdict;
  unsigned trials;
  time_t end;
} reduction;

static bool out_of_time(const reduction *r) {
  return time(NULL) >= r->end;
}

static bool same(const fuzz_verdict *a, const fuzz_verdict *b) {
  return b->failed && a->oracle == b->oracle;
}

// Keeps `count` records at r->scratch as the program if they fail as the program does.
static bool accept(reduction *r, size_t count) {
  fuzz_verdict verdict;
  r->trials++;
  (void)fuzz_trial(r->campaign, (fuzz_program){r->scratch, count}, &verdict, NULL);
  if (!same(&r->verdict, &verdict))
    return false;
  // Nothing behind the record that showed it can matter.
  if (verdict.op + 1u < count)
    count = verdict.op + 1u;
  memcpy(r->ops, r->scratch, count * sizeof *r->ops);
  r->count = count;
  r->verdict = verdict;
  return true;
}

static bool without(reduction *r, size_t from, size_t length) {
  memcpy(r->scratch, r->ops, from * sizeof *r->ops);
  memcpy(r->scratch + from, r->ops + from + length, (r->count - from - length) * sizeof *r->ops);
  return accept(r, r->count - length);
}

static void drop_records(reduction *r) {
  for (size_t chunk = (r->count + 1) / 2; chunk >= 1; chunk /= 2) {
    bool again = true;
    while (again && !out_of_time(r)) {
      again = false;
      // From the end: what is there depends on what was before, not the other way round.
      for (size_t end = r->count; end > 0 && r->count > 1 && !out_of_time(r);) {
        size_t from = end > chunk ? end - chunk : 0;
        if (end > r->count) {
          end = r->count;
          continue;
        }
        if (without(r, from, end - from))
          again = chunk == 1;
        end = from;
      }
    }
  }
}

// Without all records of a kind, of a thread, of a size law: what makes long histories short.
static void drop_groups(reduction *r) {
  enum { GROUPS = FUZZ_OP_KINDS + FUZZ_THREADS + FUZZ_LAWS };
  for (unsigned group = 0; group < GROUPS && !out_of_time(r); group++) {
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
      const fuzz_op *op = &r->ops[i];
      unsigned law = op->law % FUZZ_LAWS;
      bool in = group < FUZZ_OP_KINDS ? fuzz_op_get_kind(op) == (fuzz_op_kind)group
                : group < FUZZ_OP_KINDS + FUZZ_THREADS
                    ? fuzz_op_thread(op) == group - FUZZ_OP_KINDS
                    : fuzz_op_uses_size(fuzz_op_get_kind(op)) && law == group - FUZZ_OP_KINDS - FUZZ_THREADS;
      if (!in)
        r->scratch[kept++] = *op;
    }
    if (kept != 0 && kept != r->count)
      (void)accept(r, kept);
  }
}

// Tries one changed record; the program keeps it if it fails as before.
static bool try_op(reduction *r, size_t at, fuzz_op op) {
  op = fuzz_op_normal(op);
  if (at >= r->count || memcmp(&op, &r->ops[at], sizeof op) == 0 || out_of_time(r))
    return false;
  memcpy(r->scratch, r->ops, r->count * sizeof *r->ops);
  r->scratch[at] = op;
  return accept(r, r->count);
}

static void join_threads(reduction *r) {
  memcpy(r->scratch, r->ops, r->count * sizeof *r->ops);
  for (size_t i = 0; i < r->count; i++)
    r->scratch[i].thread = 0;
  if (accept(r, r->count))
    return;
  for (size_t i = 0; i < r->count; i++) {
    fuzz_op op = r->ops[i];
    op.thread = 0;
    (void)try_op(r, i, op);
  }
}

static void plainer_sizes(reduction *r, size_t at) {
  static const size_t plain[] = {16, 64, 1024, 4096, 40000};
  for (size_t s = 0; at < r->count && s < sizeof plain / sizeof plain[0]; s++) {
    fuzz_op op = r->ops[at];
    size_t now = fuzz_op_size(&op, 0);
    if (op.law % FUZZ_LAWS != FUZZ_LAW_RELATIVE && plain[s] >= now)
      return;
    fuzz_op_set_size(&op, plain[s]);
    if (try_op(r, at, op))
      return;
  }
}

// Fewer switches, fewer records at once.
static void plainer_race(reduction *r, size_t at) {
  fuzz_op op;
  for (unsigned n = 0; at < r->count && fuzz_race_simpler(&r->ops[at], n, &op); n++)
    (void)try_op(r, at, op);
}

static void plainer_record(reduction *r, size_t at) {
  fuzz_op op = r->ops[at];
  fuzz_op_kind kind = fuzz_op_get_kind(&op);
  if (kind == FUZZ_OP_RACE) {
    plainer_race(r, at);
    return;
  }
  op.fill = 0;
  if (try_op(r, at, op))
    op = r->ops[at];
  op = r->ops[at < r->count ? at : r->count - 1];
  if (kind == FUZZ_OP_FILL_RUN) {
    op.kind = FUZZ_OP_MALLOC;
    if (try_op(r, at, op))
      return;
  }
  // Repetitions and alignments: halved as long as that does.
  for (op = at < r->count ? r->ops[at] : op; op.alignment != 0 && at < r->count; op = r->ops[at]) {
    op.alignment /= 2;
    if (!try_op(r, at, op))
      break;
  }
  if (at < r->count && fuzz_op_uses_size(fuzz_op_get_kind(&r->ops[at])))
    plainer_sizes(r, at);
}

bool fuzz_minimize(const fuzz_campaign *campaign, fuzz_program program, unsigned seconds,
                   fuzz_reduced *reduced) {
  size_t room = program.count + 1;
  reduction r = {.campaign = campaign,
                 .ops = fuzz_arena(room * sizeof(fuzz_op)),
                 .scratch = fuzz_arena(room * sizeof(fuzz_op)),
                 .end = time(NULL) + (time_t)seconds};
  if (program.count == 0 || fuzz_trial(campaign, program, &r.verdict, NULL))
    return false;
  memcpy(r.scratch, program.ops, program.count * sizeof *r.ops);
  if (!accept(&r, program.count))
    return false; // it does not fail twice in the same way
  for (size_t before = r.count + 1; r.count < before && !out_of_time(&r);) {
    before = r.count;
    if (r.count > 16)
      drop_groups(&r);
    drop_records(&r);
    join_threads(&r);
    for (size_t i = 0; i < r.count && !out_of_time(&r); i++)
      plainer_record(&r, i);
  }
  *reduced = (fuzz_reduced){.ops = r.ops, .count = r.count, .verdict = r.verdict, .trials = r.trials};
  reduced->events = fuzz_arena(LOG_EVENTS * sizeof(fuzz_event));
  for (unsigned i = 0; i < 3; i++) {
    fuzz_log log = {.events = reduced->events, .capacity = LOG_EVENTS};
    fuzz_verdict verdict;
    (void)fuzz_trial(campaign, (fuzz_program){r.ops, r.count}, &verdict, &log);
    reduced->repeats += same(&r.verdict, &verdict);
    reduced->event_count = log.count;
  }
  return true;
}

#define PRIMING 160u // records of 32 pairs each
#define FEWEST  64u  // records of the history that are tried first, and four times the last input's

bool fuzz_minimize_history(const fuzz_campaign *campaign, fuzz_program last, fuzz_program history,
                           unsigned seconds, fuzz_reduced *reduced) {
  fuzz_op *ops = fuzz_arena((PRIMING + last.count) * sizeof *ops);
  memcpy(ops + PRIMING, last.ops, last.count * sizeof *ops);
  for (size_t i = 0; i < last.count; i++) {
    fuzz_op pairs = last.ops[i];
    bool seen = !fuzz_op_uses_size(fuzz_op_get_kind(&pairs));
    for (size_t before = 0; before < i && !seen; before++)
      seen = memcmp(&last.ops[before].law, &pairs.law, 3) == 0; // law, low and high
    if (seen)
      continue;
    pairs.kind = FUZZ_OP_PAIRS;
    pairs.alignment = UINT8_MAX;
    pairs.thread = pairs.fill = 0;
    for (unsigned k = 0; k < PRIMING; k++)
      ops[k] = fuzz_op_normal(pairs);
    if (fuzz_minimize(campaign, (fuzz_program){ops, PRIMING + last.count}, seconds, reduced))
      return true;
  }
  // Mostly the last few inputs are enough, and each trial of the whole history may take seconds.
  for (size_t count = 4 * last.count + FEWEST; count < history.count; count *= 4) {
    fuzz_program end = {history.ops + history.count - count, count};
    if (fuzz_minimize(campaign, end, seconds, reduced))
      return true;
  }
  return fuzz_minimize(campaign, history, seconds, reduced);
}

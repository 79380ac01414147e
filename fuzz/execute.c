// execute.c: see execute.h. One record is one step; calls and their checks are in execute_call.c.
#include "fuzz/execute_call.h"

#include "fuzz/feedback.h"
#include "fuzz/os_hook.h"
#include "fuzz/patience.h"
#include "fuzz/schedule.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_FORKS       2u   // of one program in a campaign: a fork costs as much as a thousand calls
#define FORK_PATIENCE    12u  // seconds of processor time until a child counts as hung
#define CHECK_PROGRAMS   32u  // one program in so many obeys its CHECK_HEAP records
#define COUNT_PROGRAMS   128u // ... is followed by a look at the counters
#define RELEASE_PROGRAMS 16u  // ... obeys its PURGE and CLOCK records
#define CHILD_BLOCKS     16u

static bool nothing_to_do(executor *x, fuzz_op_kind kind) {
  x->state->skipped[kind]++;
  return true;
}

static bool did(executor *x, fuzz_op_kind kind) {
  x->state->histogram[kind]++;
  return true;
}

static bool free_range(executor *x, const fuzz_op *op, uint32_t from, uint32_t to) {
  for (uint32_t slot = from; (slot = fuzz_shadow_next(&x->shadow, slot)) < to; slot++)
    if (!fuzz_call_free(x, FUZZ_OP_FREE, slot, op))
      return false;
  return true;
}

// The blocks of `count` slots, the first behind the last.
static bool free_slots(executor *x, const fuzz_op *op, uint32_t from, uint32_t count) {
  uint32_t end = from + count;
  return free_range(x, op, from, end < FUZZ_SLOTS ? end : FUZZ_SLOTS) &&
         (end <= FUZZ_SLOTS || free_range(x, op, 0, end - FUZZ_SLOTS));
}

// ---- Fork ----

// What the child does: its blocks are what they were, and the allocator serves it.
static bool use_heap_in_child(executor *x, const fuzz_op *op, fuzz_verdict *verdict) {
  static fuzz_options unlogged; // what the child calls is part of one record
  unlogged = *x->options;
  unlogged.log = NULL;
  x->options = &unlogged;
  x->child = true;
  x->shadow.verdict = verdict;
  fuzz_threads_forget();
  if (!fuzz_shadow_verify_all(&x->shadow))
    return false;
  for (uint32_t i = 0; i < CHILD_BLOCKS; i++) {
    fuzz_op one = {.fill = (uint8_t)i};
    if (!fuzz_call_allocate(x, FUZZ_OP_MALLOC, &one, FUZZ_PAIR_SLOT, (size_t)(op->low + 1u) * (i + 1)) ||
        (x->shadow.blocks[FUZZ_PAIR_SLOT].address && !fuzz_call_free(x, FUZZ_OP_FREE, FUZZ_PAIR_SLOT, &one)))
      return false;
  }
  if (!free_slots(x, op, 0, FUZZ_SLOTS))
    return false;
  return x->subject->alloc.check_heap == NULL || fuzz_call_check_heap(x);
}

static bool run_fork(executor *x, const fuzz_op *op) {
  static fuzz_verdict *shared; // what the child found
  if (shared == NULL) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
      shared = NULL;
      return nothing_to_do(x, FUZZ_OP_FORK);
    }
  }
  if (!x->options->forks || (x->options->check_every > 1 && x->forks++ >= MOST_FORKS))
    return nothing_to_do(x, FUZZ_OP_FORK);
  *shared = (fuzz_verdict){0};
  fuzz_call_note(x, FUZZ_OP_FORK, (size_t)op->low + 1);
  pid_t child = fuzz_fork();
  if (child < 0)
    return nothing_to_do(x, FUZZ_OP_FORK);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    _exit(use_heap_in_child(x, op, shared) ? 0 : 1);
  }
  int status = 0;
  if (!fuzz_await(child, FORK_PATIENCE, &status))
    return fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_FORK, -1, -1, "the child of a fork did not end");
  if (WIFSIGNALED(status))
    return fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_FORK, -1, -1, "the child of a fork died of signal %d",
                            WTERMSIG(status));
  if (WEXITSTATUS(status) != 0)
    return fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_FORK, shared->block, shared->other,
                            "in the child of a fork: %s: %.180s", fuzz_oracle_name(shared->oracle),
                            shared->text);
  return true;
}

// ---- Runs of calls ----

static bool run_fill(executor *x, const fuzz_op *op) {
  fuzz_op one = *op;
  for (uint32_t i = 0; i < fuzz_op_repeats(op); i++) {
    uint32_t slot = (op->slot + i) % FUZZ_SLOTS;
    if (x->shadow.blocks[slot].address != 0)
      continue;
    one.fill = (uint8_t)((op->fill & 128) | ((op->fill + i) & 127));
    if (!fuzz_call_allocate(x, FUZZ_OP_MALLOC, &one, slot, fuzz_call_size(x, FUZZ_OP_CALLOC, op, op->slot)))
      return false;
  }
  return did(x, FUZZ_OP_FILL_RUN);
}

static bool run_pairs(executor *x, const fuzz_op *op) {
  size_t size = fuzz_call_size(x, FUZZ_OP_CALLOC, op, FUZZ_PAIR_SLOT);
  unsigned times = size > 65536 ? 2 : fuzz_op_repeats(op);
  for (unsigned i = 0; i < times; i++) {
    if (!fuzz_call_allocate(x, FUZZ_OP_MALLOC, op, FUZZ_PAIR_SLOT, size))
      return false;
    if (x->shadow.blocks[FUZZ_PAIR_SLOT].address != 0 && !fuzz_call_free(x, FUZZ_OP_FREE, FUZZ_PAIR_SLOT, op))
      return false;
  }
  return did(x, FUZZ_OP_PAIRS);
}

// ---- Records ----

static bool run_allocation(executor *x, fuzz_op_kind kind, const fuzz_op *op) {
  const ha_alloc *alloc = &x->subject->alloc;
  uint32_t slot = op->slot;
  bool resizes = kind == FUZZ_OP_REALLOC || kind == FUZZ_OP_REALLOCARRAY;
  if ((kind == FUZZ_OP_ALIGNED_ALLOC && alloc->aligned_alloc == NULL) ||
      (kind == FUZZ_OP_POSIX_MEMALIGN && alloc->posix_memalign == NULL) ||
      (kind == FUZZ_OP_REALLOCARRAY && alloc->reallocarray == NULL))
    return nothing_to_do(x, kind);
  if (x->shadow.blocks[slot].address == 0)
    return fuzz_call_allocate(x, kind, op, slot, fuzz_call_size(x, kind, op, slot));
  if (resizes)
    return fuzz_call_reallocate(x, kind, op, slot);
  // The slot is taken: its block goes first.
  size_t size = fuzz_call_size(x, kind, op, slot);
  return fuzz_call_free(x, FUZZ_OP_FREE, slot, op) && fuzz_call_allocate(x, kind, op, slot, size);
}

static bool arm_failures(executor *x, const fuzz_op *op) {
  if (!x->options->failures)
    return nothing_to_do(x, FUZZ_OP_FAIL_MAP);
  if (x->subject->abilities & FUZZ_CAN_FAIL_MAPS)
    fuzz_os_fail(op->low, op->high + 1u);
  else if (x->subject->abilities & FUZZ_CAN_LIMIT)
    x->limited = (op->low & 1) == 0; // all during the calls that follow, until another record ends it
  else
    return nothing_to_do(x, FUZZ_OP_FAIL_MAP);
  return did(x, FUZZ_OP_FAIL_MAP);
}

// A walk of the heap costs as much as a hundred programs: campaigns obey it in some of them only, and trials,
// which check after each program, always.
static bool may_check(const executor *x) {
  return x->options->check_every <= 1 || x->state->programs % CHECK_PROGRAMS == 0;
}

// What makes the subject give memory back is followed by page faults.
static bool may_release(const executor *x) {
  return x->options->check_every <= 1 || x->state->programs % RELEASE_PROGRAMS == 0;
}

static bool run_record(executor *x, uint32_t index) {
  const fuzz_op *op = &x->program.ops[index];
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  uint32_t slot = op->slot;
  bool live = x->shadow.blocks[slot].address != 0;
  if (fuzz_op_allocates(kind))
    return run_allocation(x, kind, op);
  switch (kind) {
  case FUZZ_OP_FREE:
  case FUZZ_OP_FREE_SIZED:
  case FUZZ_OP_FREE_ALIGNED_SIZED:
    return live ? fuzz_call_free(x, kind, slot, op) : fuzz_call_free_null(x);
  case FUZZ_OP_USABLE:
    return live && x->subject->alloc.usable_size ? fuzz_call_usable(x, op, slot) : nothing_to_do(x, kind);
  case FUZZ_OP_VERIFY:
    return did(x, kind) && fuzz_shadow_verify_all(&x->shadow);
  case FUZZ_OP_PURGE:
    return x->subject->alloc.purge && may_release(x) && fuzz_call_may_purge(x) ? fuzz_call_purge(x)
                                                                               : nothing_to_do(x, kind);
  case FUZZ_OP_FREE_RUN:
    return did(x, kind) && free_slots(x, op, slot, fuzz_op_repeats(op));
  case FUZZ_OP_FILL_RUN:
    return run_fill(x, op);
  case FUZZ_OP_PAIRS:
    return run_pairs(x, op);
  case FUZZ_OP_FREE_ALL:
    return did(x, kind) && free_slots(x, op, 0, FUZZ_SLOTS);
  case FUZZ_OP_CHECK_HEAP:
    return may_check(x) ? fuzz_call_check_heap(x) : nothing_to_do(x, kind);
  case FUZZ_OP_FORK:
    return run_fork(x, op);
  case FUZZ_OP_CLOCK:
    if (!(x->subject->abilities & FUZZ_CAN_SHIFT_CLOCK) || !may_release(x))
      return nothing_to_do(x, kind);
    fuzz_os_advance_clock(fuzz_op_milliseconds(op));
    return did(x, kind);
  case FUZZ_OP_FAIL_MAP:
    return arm_failures(x, op);
  case FUZZ_OP_MISUSE:
    return x->subject->misuse.count ? fuzz_call_misuse(x, op, slot) : nothing_to_do(x, kind);
  default:
    return true; // threads: see run_on_thread
  }
}

static bool run_on_thread(executor *x, uint32_t index) {
  const fuzz_op *op = &x->program.ops[index];
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  unsigned thread = x->options->threads ? fuzz_op_thread(op) : 0;
  x->thread = thread;
  if (thread == 0 && kind != FUZZ_OP_THREAD_EXIT && kind != FUZZ_OP_THREAD_START)
    return run_record(x, index);
  if (kind == FUZZ_OP_THREAD_EXIT) {
    if (thread == 0 || !fuzz_threads_running(thread) || x->subject->abilities & FUZZ_FORGETS_THREADS)
      return nothing_to_do(x, kind);
    fuzz_call_note(x, kind, 0);
    fuzz_threads_end(thread);
    return true;
  }
  if (kind == FUZZ_OP_THREAD_START && (thread == 0 || fuzz_threads_running(thread)))
    return nothing_to_do(x, kind);
  if (kind == FUZZ_OP_THREAD_START)
    did(x, kind);
  return fuzz_threads_run(x, thread, index, run_record);
}

static bool run_in_order(executor *x) {
  bool good = true;
  for (uint32_t i = 0; good && i < x->program.count; i++) {
    x->op = x->shadow.op = x->state->op = i;
    good = run_on_thread(x, i);
  }
  return good;
}

static void begin(executor *x) {
  static const fuzz_subject *counted; // whose counts before the program are known: those after the one before
  ha_alloc_stats now;
  x->forks = 0;
  x->freed = 0;
  x->limited = false;
  x->quiet -= x->quiet > 0;
  x->state->phase = FUZZ_PHASE_IDLE;
  x->state->block = -1;
  fuzz_shadow_reset(&x->shadow, x->options->oracles, &x->state->verdict);
  if (x->options->feedback)
    fuzz_feedback_begin(&x->state->op);
  if (counted != x->subject && x->subject->abilities & FUZZ_COUNTS_EXACTLY && x->subject->alloc.purge() &&
      x->subject->alloc.stats(&now)) {
    counted = x->subject;
    x->base_inuse = now.inuse_bytes;
    x->base_objects = now.mallocs - now.frees;
    x->base_bytes = now.live_bytes;
  }
}

// All blocks are checked and freed, other threads end, the heap must be empty.
static bool finish(executor *x, bool check) {
  fuzz_os_stop_failing();
  x->limited = false;
  x->thread = 0;
  x->op = (uint32_t)x->program.count;
  x->shadow.op = x->state->op = x->op;
  const fuzz_op none = {0};
  // In the order of the slots, not of the addresses: the same program frees in the same order each time.
  bool good = free_range(x, &none, 0, FUZZ_SLOTS + 1);
  // Threads of a subject that does not see their ends go on in the next program: else it would grow with each.
  if (!(x->subject->abilities & FUZZ_FORGETS_THREADS))
    fuzz_threads_end_all();
  if (good && check)
    good = fuzz_call_check_heap(x);
  else if (good && x->state->programs % COUNT_PROGRAMS == 0)
    good = fuzz_call_check_counters(x);
  return good;
}

bool fuzz_execute(fuzz_program program, const fuzz_subject *subject, const fuzz_options *options,
                  fuzz_state *state) {
  static executor x; // large, and one at a time
  x.subject = subject;
  x.options = options;
  x.state = state;
  x.program = program;
  begin(&x);
  bool good = options->schedule ? fuzz_schedule_run(&x, run_record) : run_in_order(&x);
  state->programs++;
  if (!good) {
    fuzz_os_stop_failing();
    x.shadow.live = 1;             // the tables are not empty: the next reset clears them
    return !state->verdict.failed; // threads may be stuck and the oracle for it off
  }
  good = finish(&x, options->check_every != 0 && state->programs % options->check_every == 0);
  state->phase = FUZZ_PHASE_IDLE;
  return good;
}

void fuzz_verdict_of_death(fuzz_state *state, int signal) {
  bool touching = state->phase == FUZZ_PHASE_TOUCH;
  fuzz_oracle oracle = signal == 0                                           ? FUZZ_ORACLE_HANG
                       : touching && (signal == SIGSEGV || signal == SIGBUS) ? FUZZ_ORACLE_WRITABLE
                                                                             : FUZZ_ORACLE_CRASH;
  state->verdict = (fuzz_verdict){.failed = true,
                                  .oracle = oracle,
                                  .op = state->op,
                                  .block = state->block,
                                  .other = -1,
                                  .signal = signal};
  if (signal == 0)
    snprintf(state->verdict.text, sizeof state->verdict.text, "record %u did not end", state->op);
  else
    snprintf(state->verdict.text, sizeof state->verdict.text, "signal %d (%s) %s", signal, strsignal(signal),
             touching ? "while the block's bytes were written or read" : "inside the allocator");
}

// replay.c: the workloads `trace` and `model`: execute a recorded program's operations, or those that a model
// of one makes, through the allocator's vtable. What it stresses is what the recorded program does; replay.h
// says how the order between threads is kept.
//
// What replaces an operation that the allocator lacks: aligned_alloc and posix_memalign each other (neither:
// the cell fails and says so), free_sized by free, free_aligned_sized by free, a purge by nothing. The number
// of such operations is the note `substituted`. What failed when recorded is tried again, and freed at once
// if it succeeds. A repetition (scale > 1) begins with an empty heap: objects that the program never freed
// are freed between rounds, which is neither counted nor avoidable in the time (note `survivors`).
#include "workloads/replay.h"

#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// ---- Waiting ----

// Starts and ends of threads may be far off: sleep until told.
static bool wait_flag(const replay_program *program, _Atomic uint32_t *flag) {
  while (atomic_load_explicit(flag, memory_order_acquire) == 0) {
    if (atomic_load_explicit(&program->stop, memory_order_relaxed))
      return false;
    // The timeout covers a stop that comes between the check and the call.
    const struct timespec most = {.tv_nsec = 50000000};
    syscall(SYS_futex, flag, FUTEX_WAIT_PRIVATE, 0, &most, NULL, 0);
  }
  return true;
}

static void raise_flag(_Atomic uint32_t *flag) {
  atomic_store_explicit(flag, 1, memory_order_release);
  syscall(SYS_futex, flag, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

// ---- Operations ----

void *replay_aligned(const ha_alloc *alloc, unsigned kind, size_t alignment, size_t size) {
  bool posix =
      alloc->aligned_alloc == NULL || (kind == HA_OP_POSIX_MEMALIGN && alloc->posix_memalign != NULL);
  if (!posix)
    return alloc->aligned_alloc(alignment, size);
  void *block = NULL;
  int error = alloc->posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment, size);
  return error == 0 ? block : NULL;
}

void replay_free_sized(const ha_alloc *alloc, void *block, size_t alignment, size_t size) {
  if (alignment > 1 && alloc->free_aligned_sized != NULL)
    alloc->free_aligned_sized(block, alignment, size);
  else if (alignment <= 1 && alloc->free_sized != NULL)
    alloc->free_sized(block, size);
  else
    alloc->free(block);
}

// Writes to a fresh block from `page` on as the program would have: the caller knows that size > 0.
static inline __attribute__((always_inline)) void touch_block(void *block, uint64_t page, uint64_t size,
                                                              replay_touch touch) {
  volatile unsigned char *bytes = block;
  if (touch == TOUCH_WHOLE) {
    memset(block, 0xa5, size);
  } else if (touch == TOUCH_PAGES) {
    for (uint64_t at = page * 4096; at < size; at += 4096)
      bytes[at] = 1;
    bytes[size - 1] = 1;
  } else if (touch == TOUCH_ENDS) {
    bytes[0] = 1;
    bytes[size - 1] = 1;
  }
}

static bool failed(replay_program *program, const replay_thread *thread, const replay_step *step) {
  uint32_t running = 0;
  if (atomic_compare_exchange_strong(&program->stop, &running, 1))
    ha_fail(
        program->run,
        "%s returned NULL for %llu bytes where the recorded program got them (thread %u, its operation %llu)",
        program->run->alloc->name, (unsigned long long)step->size, (unsigned)(thread - program->threads),
        (unsigned long long)(step - thread->steps));
  return false;
}

// An allocation that came back empty: fine for no bytes, and for an allocator that is only a bound.
static bool may_be_null(const replay_program *program, const replay_step *step) {
  return step->size == 0 || (program->run->alloc->traits & HA_TRAIT_BOUND) != 0;
}

static void attempt_failed(const replay_program *program, const replay_step *step, void **slot) {
  const ha_alloc *alloc = program->run->alloc;
  void *block = NULL;
  switch (step_kind(step)) {
  case HA_OP_MALLOC:
    block = alloc->malloc(step->size);
    break;
  case HA_OP_CALLOC:
    block = alloc->calloc(1, step->size);
    break;
  case HA_OP_REALLOC: {
    void *moved = alloc->realloc(*slot, step->size);
    if (moved != NULL)
      *slot = moved;
    return;
  }
  default:
    block = replay_aligned(alloc, step_kind(step), step_alignment(step), step->size);
    break;
  }
  if (block != NULL)
    alloc->free(block);
}

// One operation on a shared slot, a failed one, or one of a rare kind. False: stop.
static bool rare_step(replay_program *program, replay_thread *thread, const replay_step *step,
                      replay_touch touch) {
  const ha_alloc *alloc = program->run->alloc;
  replay_shared *shared = step->meta & STEP_SHARED ? &program->shared[step->slot] : NULL;
  if (step->meta & STEP_WAIT && !replay_wait_turn(program, &shared->turn, step_turn(step)))
    return false;
  void **slot = shared != NULL ? &shared->block : &thread->slots[step->slot];
  if (step->meta & STEP_FAILED) {
    attempt_failed(program, step, slot);
  } else {
    bool allocates = true;
    switch (step_kind(step)) {
    case HA_OP_MALLOC:
      *slot = alloc->malloc(step->size);
      break;
    case HA_OP_CALLOC:
      *slot = alloc->calloc(1, step->size);
      break;
    case HA_OP_REALLOC:
      *slot = alloc->realloc(*slot, step->size);
      break;
    case HA_OP_ALIGNED_ALLOC:
    case HA_OP_POSIX_MEMALIGN:
      *slot = replay_aligned(alloc, step_kind(step), step_alignment(step), step->size);
      break;
    case HA_OP_FREE:
      alloc->free(*slot);
      allocates = false;
      break;
    default: // HA_OP_FREE_SIZED
      replay_free_sized(alloc, *slot, step_alignment(step), step->size);
      allocates = false;
      break;
    }
    if (allocates && *slot == NULL && !may_be_null(program, step))
      return failed(program, thread, step);
    if (allocates && *slot != NULL && step->size != 0)
      touch_block(*slot, 0, step->size, touch);
  }
  if (step->meta & STEP_PUBLISH)
    atomic_store_explicit(&shared->turn, step_turn(step) + 1, memory_order_release);
  return true;
}

static bool thread_step(replay_program *program, const replay_step *step) {
  switch (step_kind(step)) {
  case HA_OP_PURGE:
    if (program->run->alloc->purge != NULL)
      program->run->alloc->purge();
    return true;
  case HA_OP_SPAWN:
    raise_flag(&program->threads[step->slot].begun);
    return true;
  case HA_OP_JOIN:
    return wait_flag(program, &program->threads[step->slot].ended);
  default: // HA_OP_THREAD_EXIT: the thread's end is told when its last step is done
    return true;
  }
}

// The hot loop. Inlined once per way of touching, so that each is free of that choice. False: stop.
static inline __attribute__((always_inline)) bool execute(replay_program *program, replay_thread *thread,
                                                          const replay_step *step, const replay_step *end,
                                                          replay_touch touch) {
  const ha_alloc *alloc = program->run->alloc;
  void *(*const allocate)(size_t) = alloc->malloc;
  void (*const release)(void *) = alloc->free;
  void **const slots = thread->slots;
  for (; step != end; step++) {
    void *block;
    uint64_t page = 0;
    switch (step->meta & STEP_PLAIN) {
    case HA_OP_FREE:
      release(slots[step->slot]);
      continue;
    case HA_OP_MALLOC:
      block = allocate(step->size);
      break;
    case HA_OP_CALLOC:
      block = alloc->calloc(1, step->size);
      break;
    case HA_OP_REALLOC:
      block = alloc->realloc(slots[step->slot], step->size);
      page = step_pages(step);
      break;
    case HA_OP_PURGE:
    case HA_OP_SPAWN:
    case HA_OP_JOIN:
    case HA_OP_THREAD_EXIT:
      if (!thread_step(program, step))
        return false;
      continue;
    default:
      if (!rare_step(program, thread, step, touch))
        return false;
      continue;
    }
    slots[step->slot] = block;
    if (__builtin_expect(block == NULL, 0)) {
      if (!may_be_null(program, step))
        return failed(program, thread, step);
    } else if (touch != TOUCH_NONE && step->size != 0) {
      touch_block(block, page, step->size, touch);
    }
  }
  return true;
}

static bool execute_run(replay_program *program, replay_thread *thread, const replay_step *step,
                        const replay_step *end) {
  switch (program->touch) {
  case TOUCH_NONE:
    return execute(program, thread, step, end, TOUCH_NONE);
  case TOUCH_ENDS:
    return execute(program, thread, step, end, TOUCH_ENDS);
  case TOUCH_PAGES:
    return execute(program, thread, step, end, TOUCH_PAGES);
  default:
    return execute(program, thread, step, end, TOUCH_WHOLE);
  }
}

static bool execute_steps(replay_program *program, replay_thread *thread, uint64_t from, uint64_t count) {
  if (thread->times == NULL)
    return execute_run(program, thread, thread->steps + from, thread->steps + from + count);
  for (uint64_t i = from; i < from + count; i++)
    if (!replay_wait_for(program, thread->times[i]) ||
        !execute_run(program, thread, thread->steps + i, thread->steps + i + 1))
      return false;
  return true;
}

// All that the thread has in the segment at hand, at most two epochs ahead of the last.
static bool execute_pieces(replay_program *program, replay_thread *thread) {
  if (thread->pieces == NULL)
    return execute_steps(program, thread, 0, thread->step_count);
  uint64_t at = 0;
  for (uint32_t i = 0; i < thread->piece_count; i++) {
    const replay_piece *piece = &thread->pieces[i];
    if (!replay_wait_for_others(program, piece->epoch) || !execute_steps(program, thread, at, piece->steps))
      return false;
    replay_piece_done(program, piece);
    at += piece->steps;
  }
  return true;
}

// ---- Threads and rounds ----

static bool run_lane(replay_program *program, uint32_t lane) {
  for (uint32_t i = program->lane_starts[lane]; i < program->lane_starts[lane + 1]; i++) {
    replay_thread *thread = &program->threads[program->lane_threads[i]];
    if (program->streamed && thread->step_count == 0)
      continue; // not in this segment: perhaps begun in a later one
    if (thread->spawned && !wait_flag(program, &thread->begun))
      return false;
    replay_follow(program, program->lane_threads[i], true);
    bool done = execute_pieces(program, thread);
    replay_leave(program, program->lane_threads[i]);
    if (!done)
      return false;
    if (thread->steps_left == 0)
      raise_flag(&thread->ended);
  }
  return true;
}

static bool run_serial(replay_program *program) {
  // Nobody waits for a JOIN here: as turns are in the trace's order, it cannot come too early.
  uint64_t *positions = program->positions;
  memset(positions, 0, program->thread_count * sizeof *positions);
  for (uint32_t i = 0; i < program->thread_count; i++)
    atomic_store_explicit(&program->threads[i].ended, 1, memory_order_relaxed);
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->threads[i].reached = NULL;
  for (uint64_t i = 0; i < program->turn_count; i++) {
    uint32_t thread = program->turns[i].thread;
    replay_follow(program, thread, false);
    bool done = execute_steps(program, &program->threads[thread], positions[thread], program->turns[i].steps);
    replay_leave(program, thread);
    if (!done)
      return false;
    positions[thread] += program->turns[i].steps;
  }
  return true;
}

static void free_survivors(replay_program *program) {
  for (uint64_t i = 0; i < program->survivor_count; i++) {
    program->run->alloc->free(*program->survivors[i]);
    *program->survivors[i] = NULL;
  }
}

static bool reset(replay_program *program) {
  atomic_store(&program->began_ns, 0);
  if (program->streamed)
    return replay_rewind(program);
  for (uint32_t i = 0; i < program->shared_count; i++)
    atomic_store_explicit(&program->shared[i].turn, 0, memory_order_relaxed);
  for (uint32_t i = 0; i < program->epoch_count; i++)
    atomic_store_explicit(&program->epochs[i].done, 0, memory_order_relaxed);
  atomic_store_explicit(&program->epochs_done, 0, memory_order_relaxed);
  for (uint32_t i = 0; i < program->thread_count; i++) {
    atomic_store_explicit(&program->threads[i].begun, 0, memory_order_relaxed);
    atomic_store_explicit(&program->threads[i].ended, 0, memory_order_relaxed);
  }
  return true;
}

// What is next when all has been executed: the rest of the program, or its next round, with an empty heap.
static enum replay_more prepare_next(replay_program *program) {
  int segment = program->streamed ? replay_next_segment(program) : 0;
  if (segment > 0)
    return MORE_GO_ON;
  if (segment == 0 && ++program->rounds_done == program->rounds)
    return MORE_NOTHING;
  if (segment == 0) {
    free_survivors(program);
    if (reset(program))
      return MORE_GO_ON;
  }
  atomic_store(&program->stop, 1);
  return MORE_NOTHING;
}

// All lanes meet; the last to come prepares what is next. False: nothing is.
static bool next_part(replay_program *program, uint32_t part) {
  if (!program->streamed && program->rounds == 1)
    return false;
  if (program->serial || atomic_fetch_add(&program->waiting, 1) + 1 == program->run->threads) {
    program->more = prepare_next(program);
    atomic_store_explicit(&program->waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&program->part, part + 1, memory_order_release);
  } else if (!replay_wait_turn(program, &program->part, part + 1)) {
    return false;
  }
  return program->more == MORE_GO_ON;
}

static void body(ha_run *run, unsigned lane, ha_tally *tally) {
  replay_program *program = run->state;
  if (run->verify) {
    tally->failure = replay_verify(program, tally);
    return;
  }
  uint32_t part = 0;
  do {
    if (!(program->serial ? run_serial(program) : run_lane(program, lane)))
      break;
  } while (next_part(program, part++));
  if (atomic_load_explicit(&program->stop, memory_order_relaxed)) {
    tally->failure = "the replay stopped before its end";
    return;
  }
  // What was done is fixed by the program that prepare() compiled: its sums hold once the last step is done.
  uint32_t from = program->serial ? 0 : program->lane_starts[lane];
  uint32_t to = program->serial ? program->thread_count : program->lane_starts[lane + 1];
  for (uint32_t i = from; i < to; i++) {
    const replay_thread *thread = &program->threads[program->lane_threads[i]];
    tally->operations += thread->operations * program->rounds;
    tally->checksum ^= thread->checksum;
  }
}

extern const ha_workload ha_workload_trace, ha_workload_model;

// ---- Before and after ----

static void choose_touch(const ha_run *run, replay_program *program) {
  // Where all blocks are one, writing to them would only measure threads fighting for a cache line.
  bool shared = (run->alloc->traits & HA_TRAIT_SHARED_BLOCKS) != 0;
  program->touch = shared ? TOUCH_NONE : (replay_touch)ha_param_word(run, "touch");
}

enum { PARALLEL, SERIAL }; // "threads"
enum { FAST, RECORDED };   // "pace"
enum { AUTO, YES, NO };    // "stream"

static bool check_operations(ha_run *run, replay_program *program) {
  const ha_alloc *alloc = run->alloc;
  const uint64_t *kinds = program->totals.by_kind;
  uint64_t aligned = kinds[HA_OP_ALIGNED_ALLOC] + kinds[HA_OP_POSIX_MEMALIGN];
  if (aligned != 0 && alloc->aligned_alloc == NULL && alloc->posix_memalign == NULL)
    return ha_fail(
        run, "%s has neither aligned_alloc nor posix_memalign, and the trace has %llu aligned allocations",
        alloc->name, (unsigned long long)aligned);
  if (alloc->aligned_alloc == NULL)
    program->substituted += kinds[HA_OP_ALIGNED_ALLOC];
  if (alloc->posix_memalign == NULL)
    program->substituted += kinds[HA_OP_POSIX_MEMALIGN];
  if (alloc->free_sized == NULL || alloc->free_aligned_sized == NULL)
    program->substituted += kinds[HA_OP_FREE_SIZED];
  if (alloc->purge == NULL)
    program->substituted += kinds[HA_OP_PURGE];
  return true;
}

// Of the workload trace only: a model has no times, and nothing that could be streamed.
static void choose_pace(const ha_run *run, replay_program *program) {
  bool recorded = ha_param_word(run, "pace") == RECORDED;
  program->pace = recorded && !run->verify ? strtod(ha_param_text(run, "speed"), NULL) : 0;
}

static void choose_stream(const ha_run *run, replay_program *program) {
  unsigned stream = ha_param_word(run, "stream");
  program->segment_steps = ha_param_number(run, "segment");
  program->may_stream = stream == AUTO;
  program->streamed = stream == YES;
}

// Compiles the program; the model, if there is one, is needed no longer then.
static bool compile(ha_run *run, replay_program *program) {
  ha_model model = {0};
  char why[512];
  if (run->workload == &ha_workload_model) {
    if (!ha_model_load(program->file, &model, why, sizeof why))
      return ha_fail(run, "%s", why);
    program->model = &model;
  }
  bool done =
      replay_compile(program) && ((run->alloc->traits & HA_TRAIT_TRACE_ONLY) == 0 || replay_plan(program));
  program->model = NULL;
  ha_model_clear(&model);
  return done;
}

static bool prepare(ha_run *run) {
  replay_program *program = ha_map(run, sizeof *program);
  if (program == NULL)
    return false;
  program->run = run;
  program->file = ha_param_text(run, "file");
  if (program->file == NULL || program->file[0] == 0)
    return ha_fail(run, "%s: give a file: %s:FILE", run->workload->name, run->workload->name);
  choose_touch(run, program);
  program->serial = run->verify || ha_param_word(run, "threads") == SERIAL;
  program->window = program->serial ? 0 : ha_param_number(run, "window");
  if (run->workload == &ha_workload_trace) {
    choose_pace(run, program);
    choose_stream(run, program);
  }
  if (!compile(run, program) || !check_operations(run, program))
    return false;
  double rounds = round(run->scale);
  program->rounds = run->verify || rounds < 1 ? 1 : rounds > 1e6 ? 1000000 : (unsigned)rounds;
  if (program->serial)
    program->positions = ha_map(run, program->thread_count * sizeof *program->positions);
  if (program->serial && program->positions == NULL)
    return false;
  run->state = program;
  run->threads = program->serial ? 1 : program->lane_count;
  atomic_store(&run->live_peak, (int64_t)program->totals.live_bytes_peak);
  return true;
}

static void note_verified(ha_run *run, const replay_program *program) {
  const ha_trace_totals *issued = &program->verified;
  uint64_t calls = 0;
  for (unsigned kind = 0; kind <= HA_OP_FREE_SIZED; kind++)
    calls += issued->by_kind[kind];
  snprintf(run->note, sizeof run->note,
           "ops_checksum=0x%016llx curve=%s issued_operations=%llu issued_peak=%llu issued_remote_frees=%llu",
           (unsigned long long)issued->checksum, program->curve, (unsigned long long)calls,
           (unsigned long long)issued->live_bytes_peak, (unsigned long long)issued->remote_frees);
}

static void append_note(ha_run *run, bool wanted, const char *format, unsigned long long figure) {
  size_t used = strlen(run->note);
  if (wanted)
    snprintf(run->note + used, sizeof run->note - used, format, figure);
}

static bool finish(ha_run *run) {
  replay_program *program = run->state;
  if (atomic_load(&program->stop))
    return false; // said already; what is live stays, as in a program that gives up
  free_survivors(program);
  atomic_store(&run->live_bytes, 0);
  atomic_store(&run->live_peak, (int64_t)program->totals.live_bytes_peak);
  if (run->verify) // what was issued, counted anew
    note_verified(run, program);
  else
    snprintf(run->note, sizeof run->note, "recorded_threads=%u rounds=%u substituted=%llu survivors=%llu",
             program->thread_count, program->rounds, (unsigned long long)program->substituted,
             (unsigned long long)program->survivor_count);
  append_note(run, program->packed_bytes != 0, " packed_bytes=%llu", program->packed_bytes);
  append_note(run, program->streamed, " segments=%llu", program->segments);
  append_note(run, program->pace > 0, " late_us=%llu", atomic_load(&program->late_ns) / 1000);
  return true;
}

#define COMMON_PARAMS                                                                                        \
  {.key = "touch",                                                                                           \
   .fallback = "pages",                                                                                      \
   .help = "what is written to fresh blocks; pages: each 4 KiB",                                             \
   .allowed = HA_WORDS("none", "ends", "pages", "whole")},                                                   \
      {.key = "threads",                                                                                     \
       .fallback = "parallel",                                                                               \
       .help = "parallel: the recorded threads; serial: one, in recorded order",                             \
       .allowed = HA_WORDS("parallel", "serial")},                                                           \
  {                                                                                                          \
    .key = "window", .fallback = "2048", .most = 1 << 28,                                                    \
    .help = "operations of the trace, two of which no thread gets ahead of the last one; 0: it may"          \
  }

static const ha_param trace_params[] = {
    {.key = "file", .fallback = "", .help = "the trace (.hat)"},
    COMMON_PARAMS,
    {.key = "pace",
     .fallback = "fast",
     .help = "fast: as fast as can be; recorded: each operation at its time",
     .allowed = HA_WORDS("fast", "recorded")},
    {.key = "speed",
     .fallback = "1",
     .help = "with pace=recorded: how many times as fast as recorded",
     .allowed = HA_FRACTION(0.01, 1000)},
    {.key = "stream",
     .fallback = "auto",
     .help = "yes: prepare a segment at a time, not timed; no: all before; auto: yes if all takes over a "
             "quarter of memory",
     .allowed = HA_WORDS("auto", "yes", "no")},
    {.key = "segment",
     .fallback = "4194304",
     .least = 1,
     .most = 1 << 28,
     .help = "operations of a segment, where streamed"},
    {.key = NULL},
};

// Without what only times and a long file need.
static const ha_param model_params[] = {
    {.key = "file", .fallback = "", .help = "the model (.json)"},
    COMMON_PARAMS,
    {.key = NULL},
};

const ha_workload ha_workload_trace = {
    .name = "trace",
    .summary = "replays a recorded program",
    .explain = "Issues every allocation, reallocation and free that a real program made, with its sizes, "
               "alignments and "
               "threads, as fast as the allocator lets it; a thread waits for another only where an object "
               "really passed "
               "between them. It stands for that program without its own computing, so differences between "
               "allocators show "
               "larger than in the program. Look at operations per second, and at peak RSS over the recorded "
               "live peak.",
    .params = trace_params,
    .scales = false,
    .prepare = prepare,
    .body = body,
    .finish = finish,
};

const ha_workload ha_workload_model = {
    .name = "model",
    .summary = "a program made from a small model of a trace",
    .explain =
        "Makes operations that are like a recorded program's in sizes, lifetimes, live bytes over time, "
        "reallocs, threads and who frees whose blocks, and replays them as `trace` does. The model is a "
        "small file that `heaparena trace fit` makes of a trace: a company can publish it where the trace "
        "would tell too much. Look at the same figures as for a trace; `heaparena trace fit --check` says "
        "how like the two are. Another seed gives another run of the same kind.",
    .params = model_params,
    .scales = false,
    .prepare = prepare,
    .body = body,
    .finish = finish,
};

// replay_survey.c: see replay_survey() in replay_compiler.h.
#include "workloads/replay_compiler.h"

#include <string.h>
#include <unistd.h>

#define READER_BYTES ((uint64_t)8 << 20) // about; a trace's reader with its buffers

bool replay_short_of_memory(compiler *c) {
  return ha_fail(c->program->run, "%s: not enough memory to prepare the replay", c->program->file);
}

// ---- The pass ----

static bool mark_crossing(compiler *c, uint64_t object) {
  if (is_crossing(c, object))
    return true;
  if (object / 8 >= c->crossing_bytes) {
    size_t bytes = c->crossing_bytes == 0 ? (size_t)1 << 16 : c->crossing_bytes;
    while (object / 8 >= bytes)
      bytes *= 2;
    uint8_t *grown = ha_trace_pages_grow(c->crossing, c->crossing_bytes, bytes);
    if (grown == NULL)
      return replay_short_of_memory(c);
    c->crossing = grown;
    c->crossing_bytes = bytes;
  }
  c->crossing[object / 8] |= (uint8_t)(1u << (object % 8));
  c->crossing_count++;
  return true;
}

// Per-thread sums while the number of threads is still unknown.
typedef struct survey {
  replay_thread *threads;
  size_t capacity;
} survey;

// Counts live objects, of the thread that allocated them (`steps_left` serves for that here) and in all.
static void survey_live(compiler *c, replay_thread *owner, bool born) {
  if (!born) {
    owner->steps_left--;
    c->live_now--;
    return;
  }
  if (++owner->steps_left > owner->slot_count)
    owner->slot_count = owner->steps_left < UINT32_MAX ? (uint32_t)owner->steps_left : UINT32_MAX;
  if (++c->live_now > c->live_most)
    c->live_most = c->live_now;
}

static bool survey_object(compiler *c, survey *s, const ha_op *op) {
  switch (op->kind) {
  case HA_OP_MALLOC:
  case HA_OP_CALLOC:
  case HA_OP_ALIGNED_ALLOC:
  case HA_OP_POSIX_MEMALIGN: {
    if (op->flags & HA_OP_FAILED)
      return true;
    ha_trace_entry *entry = ha_trace_map_add(&c->live, op->object);
    if (entry == NULL)
      return replay_short_of_memory(c);
    entry->thread = op->thread;
    survey_live(c, &s->threads[op->thread], true);
    return true;
  }
  case HA_OP_REALLOC:
  case HA_OP_FREE:
  case HA_OP_FREE_SIZED: {
    ha_trace_entry *entry = ha_trace_map_find(&c->live, op->object);
    if (entry->thread != op->thread && !mark_crossing(c, op->object))
      return false;
    if (op->kind != HA_OP_REALLOC) {
      survey_live(c, &s->threads[entry->thread], false);
      ha_trace_map_remove(&c->live, entry);
    }
    return true;
  }
  default:
    return true;
  }
}

static bool goes_to_allocator(unsigned kind) {
  return kind <= HA_OP_FREE_SIZED;
}

static bool survey_thread(compiler *c, survey *s, const ha_op *op) {
  size_t count = replay_source_threads(&c->source);
  if (count > s->capacity || s->threads == NULL) {
    size_t capacity = count * 2;
    replay_thread *grown =
        ha_trace_pages_grow(s->threads, s->capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL)
      return replay_short_of_memory(c);
    s->threads = grown;
    s->capacity = capacity;
  }
  replay_thread *thread = &s->threads[op->thread];
  if (thread->step_count++ == 0)
    thread->first = c->operation;
  thread->last = c->operation;
  thread->operations += goes_to_allocator(op->kind);
  thread->checksum = ha_trace_checksum(thread->checksum, op);
  if (op->kind == HA_OP_SPAWN)
    s->threads[op->size].spawned = true;
  if (c->operation == 0 || op->thread != c->last_thread)
    c->program->turn_count++;
  c->last_thread = op->thread;
  // As many pieces as there are epochs in which the thread has steps.
  uint64_t window = c->program->window;
  if (window != 0 && (thread->step_count == 1 || c->operation / window != thread->last_epoch))
    thread->piece_count++;
  thread->last_epoch = window == 0 ? 0 : c->operation / window;
  return true;
}

static bool survey_operations(compiler *c, survey *s) {
  ha_op op;
  int got = 0;
  bool going = replay_source_open(&c->source, c->program);
  for (c->operation = 0; going && (got = replay_source_next(&c->source, &op)) > 0; c->operation++)
    going = survey_thread(c, s, &op) && s->threads != NULL && survey_object(c, s, &op);
  if (going && got < 0)
    going = replay_source_fail(&c->source);
  if (going)
    c->program->totals = *replay_source_totals(&c->source);
  // Of both tables of live objects, the reader's and ours, and of the reader.
  c->table_bytes = 2 * (sizeof(ha_trace_entry) << c->live.bits) + READER_BYTES;
  replay_source_close(&c->source);
  ha_trace_map_clear(&c->live);
  return going;
}

// ---- Tables ----

static bool map_shared(compiler *c) {
  replay_program *program = c->program;
  // Slots that are freed wait for the segment's end.
  uint64_t most = c->live_most + program->segment_steps;
  program->shared_count =
      (uint32_t)(program->streamed && most < c->crossing_count ? most : c->crossing_count);
  if (program->shared_count != 0)
    program->shared = ha_map(program->run, program->shared_count * sizeof *program->shared);
  return program->shared_count == 0 || program->shared != NULL;
}

static bool map_turns(replay_program *program) {
  uint64_t most = program->streamed && program->segment_steps < program->turn_count ? program->segment_steps
                                                                                    : program->turn_count;
  program->turn_count = 0;
  if (program->serial)
    program->turns = ha_map(program->run, most * sizeof *program->turns);
  return !program->serial || program->turns != NULL;
}

// Pieces and epochs, where threads could run ahead of each other.
static bool map_pieces(compiler *c) {
  replay_program *program = c->program;
  if (program->serial || program->thread_count < 2)
    program->window = 0;
  if (program->window == 0)
    return true;
  uint64_t steps = program->streamed ? program->segment_steps : program->totals.operations;
  uint64_t epochs = steps / program->window + 1, pieces = 0;
  if (epochs >= UINT32_MAX)
    return ha_fail(program->run, "%s: too many operations for window=%llu; choose a larger one",
                   program->file, (unsigned long long)program->window);
  program->epoch_count = (uint32_t)epochs;
  for (uint32_t i = 0; i < program->thread_count; i++) {
    replay_thread *thread = &program->threads[i];
    if (program->streamed)
      thread->piece_count = program->epoch_count;
    pieces += thread->piece_count;
  }
  replay_piece *all = ha_map(program->run, (pieces + 1) * sizeof *all);
  program->epochs = ha_map(program->run, epochs * sizeof *program->epochs);
  for (uint32_t i = 0; all != NULL && i < program->thread_count; i++) {
    program->threads[i].pieces = all;
    all += program->threads[i].piece_count;
  }
  return all != NULL && program->epochs != NULL;
}

static bool map_tables(compiler *c, const survey *s) {
  replay_program *program = c->program;
  ha_run *run = program->run;
  if (program->totals.operations == 0)
    return ha_fail(run, "%s: it holds no operation", program->file);
  if (c->crossing_count >= UINT32_MAX)
    return ha_fail(run, "%s: more than 4294967294 objects cross threads; cut the trace", program->file);
  program->thread_count = (uint32_t)program->totals.threads;
  uint64_t steps = program->streamed ? program->segment_steps : program->totals.operations;
  program->threads = ha_map(run, program->thread_count * sizeof *program->threads);
  c->steps = ha_map(run, steps * sizeof *c->steps);
  if (program->pace > 0)
    c->times = ha_map(run, steps * sizeof *c->times);
  if (program->streamed)
    c->segment = ha_map(run, steps * sizeof *c->segment);
  if (program->threads == NULL || c->steps == NULL || (program->pace > 0 && c->times == NULL) ||
      (program->streamed && c->segment == NULL) || !map_shared(c) || !map_turns(program))
    return false;
  size_t known = program->thread_count < s->capacity ? program->thread_count : s->capacity;
  if (known != 0)
    memcpy(program->threads, s->threads, known * sizeof *s->threads);
  c->written = ha_trace_pages(program->thread_count * sizeof *c->written);
  c->totals = ha_trace_pages(program->thread_count * sizeof *c->totals);
  c->next_slot = ha_trace_pages(program->thread_count * sizeof *c->next_slot);
  c->free_slots = ha_trace_pages(((size_t)program->thread_count + 2) * sizeof *c->free_slots);
  if (c->written == NULL || c->totals == NULL || c->next_slot == NULL || c->free_slots == NULL)
    return replay_short_of_memory(c);
  for (uint32_t i = 0; i < program->thread_count; i++)
    c->totals[i] = program->threads[i].step_count;
  return map_pieces(c);
}

// Whether the program is to be streamed, now that its length is known: if asked for, or if all of it would take
// more than a quarter of the memory that is free.
static bool choose_stream(compiler *c) {
  replay_program *program = c->program;
  uint64_t each = sizeof(replay_step) + (program->pace > 0 ? sizeof(uint64_t) : 0);
  uint64_t here = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  if (program->may_stream && program->totals.operations > here / 4 / each)
    program->streamed = true;
  if (program->segment_steps > program->totals.operations)
    program->segment_steps = program->totals.operations;
  return !program->streamed || (program->run->alloc->traits & HA_TRAIT_TRACE_ONLY) == 0 ||
         ha_fail(program->run,
                 "%s: too large for %s, which packs the whole trace ahead; cut it, or leave %s out",
                 program->file, program->run->alloc->name, program->run->alloc->name);
}

bool replay_survey(compiler *c) {
  survey s = {0};
  bool done = survey_operations(c, &s) && choose_stream(c) && map_tables(c, &s);
  ha_trace_pages_free(s.threads, s.capacity * sizeof *s.threads);
  return done;
}

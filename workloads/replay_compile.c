// replay_compile.c: turns a trace, or what a model makes, into the replayer's program, in two passes over the
// file: the first finds which objects cross threads and how long each thread's part is, the second gives
// slots and writes the steps. What stays is mapped with ha_map() and counted; tables that are needed only
// here are given back.
//
// Streamed, the second pass stops after each segment of so many operations, until that has been executed and
// all threads are still; the tables stay. Turns of a shared slot begin anew in each segment, and its slot is
// used again in the next one.
#include "workloads/replay.h"
#include "workloads/trace_map.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NO_NODE       UINT32_MAX
#define READER_BYTES  ((uint64_t)8 << 20) // about; a trace's reader with its buffers
#define SEGMENT_SHIFT 40 // of an entry's value: its last step's segment, and below it the step

// A free slot of a thread, in a list.
typedef struct slot_node {
  uint32_t slot, next;
} slot_node;

struct replay_compiler {
  replay_program *program;
  replay_source source;
  uint64_t operation; // number of the one at hand
  ha_trace_map live;  // object -> thread; in the second pass size, value = last step, extra = slot
  uint8_t *crossing;  // one bit per object: touched by more than one thread
  size_t crossing_bytes;
  uint64_t crossing_count;
  uint32_t last_thread; // of the operation before
  slot_node *nodes;     // free lists of all threads, and of nodes
  uint32_t *free_slots; // per thread: first node; then of shared slots, and of those freed in this segment
  uint32_t node_count, node_capacity, free_node;
  replay_step *steps;           // of all threads
  uint64_t *times;              // parallel to them, NULL unless in recorded time
  uint64_t *written;            // per thread, in this segment
  uint64_t *totals;             // per thread: all its steps
  uint32_t *next_slot;          // per thread: slots given so far
  uint64_t segment_start;       // its first operation's number
  ha_op *segment;               // streamed: the operations of the segment
  uint64_t live_most, live_now; // objects
  uint32_t next_shared;         // shared slots given so far
  uint64_t table_bytes;         // of what the second pass needs besides
};
typedef struct replay_compiler compiler;

static bool short_of_memory(compiler *c) {
  return ha_fail(c->program->run, "%s: not enough memory to prepare the replay", c->program->file);
}

// ---- First pass ----

static bool is_crossing(const compiler *c, uint64_t object) {
  return object / 8 < c->crossing_bytes && (c->crossing[object / 8] >> (object % 8) & 1) != 0;
}

static bool mark_crossing(compiler *c, uint64_t object) {
  if (is_crossing(c, object))
    return true;
  if (object / 8 >= c->crossing_bytes) {
    size_t bytes = c->crossing_bytes == 0 ? (size_t)1 << 16 : c->crossing_bytes;
    while (object / 8 >= bytes)
      bytes *= 2;
    uint8_t *grown = ha_trace_pages_grow(c->crossing, c->crossing_bytes, bytes);
    if (grown == NULL)
      return short_of_memory(c);
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
      return short_of_memory(c);
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
      return short_of_memory(c);
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

// Goes through all operations, handing each to `visit`. False after ha_fail().
static bool each_operation(compiler *c, survey *s, bool (*visit)(compiler *, survey *, const ha_op *)) {
  ha_op op;
  int got = 0;
  bool going = replay_source_open(&c->source, c->program);
  for (c->operation = 0; going && (got = replay_source_next(&c->source, &op)) > 0; c->operation++)
    going = visit(c, s, &op);
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

static bool survey_operation(compiler *c, survey *s, const ha_op *op) {
  return survey_thread(c, s, op) && s->threads != NULL && survey_object(c, s, op);
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

// Where each thread's steps begin: one after another. `counts`: per thread.
static void place_steps(compiler *c) {
  uint64_t at = 0;
  for (uint32_t i = 0; i < c->program->thread_count; i++) {
    replay_thread *thread = &c->program->threads[i];
    thread->steps = c->steps + at;
    thread->times = c->times == NULL ? NULL : c->times + at;
    at += thread->step_count;
    thread->piece_count = 0;
    c->written[i] = 0;
  }
  c->segment_start = c->operation;
  for (uint32_t i = 0; i < c->program->epoch_count; i++) {
    c->program->epochs[i].steps = 0;
    atomic_store_explicit(&c->program->epochs[i].done, 0, memory_order_relaxed);
  }
  atomic_store_explicit(&c->program->epochs_done, 0, memory_order_relaxed);
}

// Counts a step into its thread's piece.
static void add_to_piece(compiler *c, replay_thread *thread) {
  uint32_t epoch = (uint32_t)((c->operation - c->segment_start) / c->program->window);
  if (thread->piece_count == 0 || thread->pieces[thread->piece_count - 1].epoch != epoch)
    thread->pieces[thread->piece_count++] = (replay_piece){.epoch = epoch};
  thread->pieces[thread->piece_count - 1].steps++;
  c->program->epochs[epoch].steps++;
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
    return short_of_memory(c);
  for (uint32_t i = 0; i < program->thread_count; i++)
    c->totals[i] = program->threads[i].step_count;
  return map_pieces(c);
}

// Before the second pass, or the next one of a streamed program.
static bool start_second_pass(compiler *c) {
  replay_program *program = c->program;
  memset(c->free_slots, 0xff, ((size_t)program->thread_count + 2) * sizeof *c->free_slots); // NO_NODE
  c->free_node = NO_NODE;
  c->node_count = 0;
  c->next_shared = 0;
  c->operation = 0;
  program->segments = 0;
  ha_trace_map_clear(&c->live);
  for (uint32_t i = 0; i < program->thread_count; i++) {
    replay_thread *thread = &program->threads[i];
    thread->step_count = thread->steps_left = c->totals[i];
    if (!program->streamed)
      thread->steps_left = 0;
    atomic_store_explicit(&thread->ended, thread->spawned && c->totals[i] == 0, memory_order_relaxed);
    atomic_store_explicit(&thread->begun, 0, memory_order_relaxed);
    c->next_slot[i] = 0;
  }
  return replay_source_open(&c->source, program);
}

// ---- Second pass ----

// Of a list of free slots; else a fresh one, counted by *fresh.
static bool take_slot(compiler *c, uint32_t list, uint32_t *fresh, uint32_t *slot) {
  uint32_t node = c->free_slots[list];
  if (node == NO_NODE) {
    *slot = (*fresh)++;
    return *slot != UINT32_MAX ||
           ha_fail(c->program->run, "%s: more than 4294967294 objects live at once; cut the trace",
                   c->program->file);
  }
  *slot = c->nodes[node].slot;
  c->free_slots[list] = c->nodes[node].next;
  c->nodes[node].next = c->free_node;
  c->free_node = node;
  return true;
}

static bool give_slot(compiler *c, uint32_t list, uint32_t slot) {
  uint32_t node = c->free_node;
  if (node != NO_NODE) {
    c->free_node = c->nodes[node].next;
  } else {
    if (c->node_count == c->node_capacity) {
      size_t capacity = c->node_capacity == 0 ? 4096 : (size_t)c->node_capacity * 2;
      slot_node *grown =
          ha_trace_pages_grow(c->nodes, c->node_capacity * sizeof *grown, capacity * sizeof *grown);
      if (grown == NULL || capacity >= NO_NODE)
        return short_of_memory(c);
      c->nodes = grown;
      c->node_capacity = (uint32_t)capacity;
    }
    node = c->node_count++;
  }
  c->nodes[node] = (slot_node){.slot = slot, .next = c->free_slots[list]};
  c->free_slots[list] = node;
  return true;
}

// The lists behind those of the threads: shared slots, and those that were freed in this segment, whose turns
// other threads may still wait for.
static uint32_t shared_list(const compiler *c) {
  return c->program->thread_count;
}
static uint32_t held_list(const compiler *c) {
  return c->program->thread_count + 1;
}

static void release_held(compiler *c) {
  uint32_t first = c->free_slots[held_list(c)], last = first;
  if (first == NO_NODE)
    return;
  while (c->nodes[last].next != NO_NODE)
    last = c->nodes[last].next;
  c->nodes[last].next = c->free_slots[shared_list(c)];
  c->free_slots[shared_list(c)] = first;
  c->free_slots[held_list(c)] = NO_NODE;
}

static uint64_t place_of(const compiler *c, uint64_t at) {
  return c->program->segments << SEGMENT_SHIFT | at;
}

static bool compile_allocation(compiler *c, const ha_op *op, uint64_t at) {
  replay_step *step = &c->steps[at];
  if (op->flags & HA_OP_FAILED)
    return true;
  ha_trace_entry *entry = ha_trace_map_add(&c->live, op->object);
  if (entry == NULL)
    return short_of_memory(c);
  bool shared = is_crossing(c, op->object);
  if (!(shared ? take_slot(c, shared_list(c), &c->next_shared, &step->slot)
               : take_slot(c, op->thread, &c->next_slot[op->thread], &step->slot)))
    return false;
  if (shared) {
    step->meta |= STEP_SHARED;
    atomic_store_explicit(&c->program->shared[step->slot].turn, 0, memory_order_relaxed);
  }
  entry->size = op->size;
  entry->value = place_of(c, at);
  entry->thread = op->thread;
  entry->extra = step->slot;
  return true;
}

// An operation on a shared slot: the same turn as the last one if the thread is the same, else the next.
static bool compile_turn(compiler *c, const ha_op *op, ha_trace_entry *entry, replay_step *step) {
  if (entry->value >> SEGMENT_SHIFT != c->program->segments) { // all that was before is done
    atomic_store_explicit(&c->program->shared[step->slot].turn, 0, memory_order_relaxed);
    step->meta |= STEP_SHARED;
    return true;
  }
  replay_step *last = &c->steps[entry->value & (((uint64_t)1 << SEGMENT_SHIFT) - 1)];
  uint32_t turn = step_turn(last);
  if (entry->thread != op->thread) {
    if (turn == STEP_EXTRA_MAX)
      return ha_fail(c->program->run,
                     "%s: operation %llu: an object passes between threads more than %u times; "
                     "replay with threads=serial",
                     c->program->file, (unsigned long long)c->operation, STEP_EXTRA_MAX);
    last->meta |= STEP_PUBLISH;
    step->meta |= STEP_WAIT;
    turn++;
  }
  step->meta |= STEP_SHARED | turn << STEP_EXTRA_SHIFT;
  return true;
}

static bool compile_reference(compiler *c, const ha_op *op, uint64_t at) {
  replay_step *step = &c->steps[at];
  ha_trace_entry *entry = ha_trace_map_find(&c->live, op->object);
  step->slot = entry->extra;
  bool shared = is_crossing(c, op->object);
  if (shared && !compile_turn(c, op, entry, step))
    return false;
  if (op->kind != HA_OP_REALLOC) {
    ha_trace_map_remove(&c->live, entry);
    if (shared && !c->program->streamed)
      return true; // nobody is ever still
    return give_slot(c, shared ? held_list(c) : op->thread, step->slot);
  }
  if (!shared)
    step->meta |= step_pack_pages(entry->size) << STEP_EXTRA_SHIFT;
  if (!(op->flags & HA_OP_FAILED))
    entry->size = op->size;
  entry->value = place_of(c, at);
  entry->thread = op->thread;
  return true;
}

static bool compile_operation(compiler *c, const ha_op *op) {
  replay_program *program = c->program;
  if (program->serial) {
    if (program->turn_count == 0 || op->thread != c->last_thread)
      program->turns[program->turn_count++] = (replay_turn){.thread = op->thread};
    program->turns[program->turn_count - 1].steps++;
    c->last_thread = op->thread;
  }
  uint64_t at = (uint64_t)(program->threads[op->thread].steps - c->steps) + c->written[op->thread]++;
  if (program->window != 0)
    add_to_piece(c, &program->threads[op->thread]);
  if (c->times != NULL)
    c->times[at] = op->time_ns;
  c->steps[at] = (replay_step){.size = op->size,
                               .meta = op->kind | (op->flags & HA_OP_FAILED ? STEP_FAILED : 0u) |
                                       (uint32_t)op->alignment_log2 << STEP_ALIGN_SHIFT};
  switch (op->kind) {
  case HA_OP_MALLOC:
  case HA_OP_CALLOC:
  case HA_OP_ALIGNED_ALLOC:
  case HA_OP_POSIX_MEMALIGN:
    return compile_allocation(c, op, at);
  case HA_OP_REALLOC:
  case HA_OP_FREE:
  case HA_OP_FREE_SIZED:
    return compile_reference(c, op, at);
  case HA_OP_SPAWN:
  case HA_OP_JOIN:
    c->steps[at].slot = (uint32_t)op->size;
    return true;
  default:
    return true;
  }
}

// ---- Slots, survivors ----

static bool map_slots(compiler *c) {
  replay_program *program = c->program;
  // Each thread's slots begin on a cache line of their own.
  size_t total = 0;
  for (uint32_t i = 0; i < program->thread_count; i++)
    total += ((size_t)program->threads[i].slot_count + 7) & ~(size_t)7;
  void **slots = ha_map(program->run, (total + 1) * sizeof *slots);
  if (slots == NULL)
    return false;
  for (uint32_t i = 0; i < program->thread_count; i++) {
    program->threads[i].slots = slots;
    slots += ((size_t)program->threads[i].slot_count + 7) & ~(size_t)7;
  }
  return true;
}

static bool map_survivors(compiler *c, const ha_trace_map *live) {
  replay_program *program = c->program;
  if (live->count == 0)
    return true;
  program->survivors = ha_map(program->run, live->count * sizeof *program->survivors);
  if (program->survivors == NULL)
    return false;
  uint64_t at = 0;
  for (ha_trace_entry *entry; (entry = ha_trace_map_walk(live, &at)) != NULL;) {
    bool shared = is_crossing(c, entry->tagged_key - 1);
    program->survivors[program->survivor_count++] =
        shared ? &program->shared[entry->extra].block : &program->threads[entry->thread].slots[entry->extra];
  }
  return true;
}

static bool next_operation(compiler *c, ha_op *op) {
  return replay_source_next(&c->source, op) > 0 ||
         ha_fail(c->program->run, "%s: the file changed while it was read", c->program->file);
}

// Compiles everything at once, each operation as it is read.
static bool compile_whole(compiler *c) {
  ha_op op;
  place_steps(c);
  c->program->turn_count = 0;
  for (; c->operation < c->program->totals.operations; c->operation++)
    if (!next_operation(c, &op) || !compile_operation(c, &op))
      return false;
  for (uint32_t i = 0; i < c->program->thread_count; i++)
    c->program->threads[i].slot_count = c->next_slot[i];
  return map_slots(c) && map_survivors(c, &c->live);
}

// Reads the next segment's operations, to know how many each thread has, and compiles them.
static bool compile_segment(compiler *c) {
  replay_program *program = c->program;
  uint64_t left = program->totals.operations - c->operation;
  uint64_t count = left < program->segment_steps ? left : program->segment_steps;
  program->segments++;
  program->turn_count = 0;
  release_held(c);
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->threads[i].step_count = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (!next_operation(c, &c->segment[i]))
      return false;
    program->threads[c->segment[i].thread].step_count++;
    program->threads[c->segment[i].thread].steps_left--;
  }
  place_steps(c);
  for (uint64_t i = 0; i < count; i++, c->operation++)
    if (!compile_operation(c, &c->segment[i]))
      return false;
  return c->operation < program->totals.operations || program->survivors != NULL ||
         map_survivors(c, &c->live);
}

static uint64_t clock_now(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int replay_next_segment(replay_program *program) {
  compiler *c = program->compiler;
  if (c->operation == program->totals.operations)
    return 0;
  uint64_t wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_THREAD_CPUTIME_ID);
  bool done = compile_segment(c);
  wall = clock_now(CLOCK_MONOTONIC) - wall;
  atomic_fetch_add(&program->run->paused_ns, wall);
  atomic_fetch_add(&program->run->paused_cpu_ns, clock_now(CLOCK_THREAD_CPUTIME_ID) - cpu);
  atomic_fetch_add(&program->began_ns, wall); // recorded time stands still
  return done ? 1 : -1;
}

bool replay_rewind(replay_program *program) {
  replay_source_close(&program->compiler->source);
  return start_second_pass(program->compiler) && replay_next_segment(program) > 0;
}

static void drop(compiler *c) {
  const size_t threads = c->program->thread_count;
  replay_source_close(&c->source);
  ha_trace_map_clear(&c->live);
  ha_trace_pages_free(c->crossing, c->crossing_bytes);
  ha_trace_pages_free(c->nodes, c->node_capacity * sizeof *c->nodes);
  ha_trace_pages_free(c->free_slots, (threads + 2) * sizeof *c->free_slots);
  ha_trace_pages_free(c->written, threads * sizeof *c->written);
  ha_trace_pages_free(c->totals, threads * sizeof *c->totals);
  ha_trace_pages_free(c->next_slot, threads * sizeof *c->next_slot);
  ha_trace_pages_free(c, sizeof *c);
}

// What stays for the segments to come is the harness's: the tables as large as the first pass had them.
static bool begin_stream(compiler *c) {
  replay_program *program = c->program;
  program->compiler = c;
  program->run->harness_bytes += c->table_bytes + c->crossing_bytes;
  return map_slots(c) && compile_segment(c);
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

bool replay_compile(replay_program *program) {
  compiler *c = ha_trace_pages(sizeof *c);
  survey s = {0};
  if (c == NULL)
    return ha_fail(program->run, "%s: not enough memory to prepare the replay", program->file);
  c->program = program;
  bool done = each_operation(c, &s, survey_operation) && choose_stream(c) && map_tables(c, &s) &&
              replay_make_lanes(program) && start_second_pass(c) &&
              (program->streamed ? begin_stream(c) : compile_whole(c));
  ha_trace_pages_free(s.threads, s.capacity * sizeof *s.threads);
  if (!done || !program->streamed)
    drop(c);
  return done;
}

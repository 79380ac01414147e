// replay_compile.c: turns a trace, or what a model makes, into the replayer's program, in two passes over the
// file: the first (replay_survey.c) finds which objects cross threads and how long each thread's part is, the
// second gives slots and writes the steps. What stays is mapped with ha_map() and counted; tables that are
// needed only here are given back.
//
// Streamed, the second pass stops after each segment of so many operations, until that has been executed and
// all threads are still; the tables stay. Turns of a shared slot begin anew in each segment, and its slot is
// used again in the next one.
#include "workloads/replay_compiler.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NO_NODE       UINT32_MAX
#define SEGMENT_SHIFT 40 // of an entry's value: its last step's segment, and below it the step

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
        return replay_short_of_memory(c);
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
    return replay_short_of_memory(c);
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

bool replay_compile(replay_program *program) {
  compiler *c = ha_trace_pages(sizeof *c);
  if (c == NULL)
    return ha_fail(program->run, "%s: not enough memory to prepare the replay", program->file);
  c->program = program;
  bool done = replay_survey(c) && replay_make_lanes(program) && start_second_pass(c) &&
              (program->streamed ? begin_stream(c) : compile_whole(c));
  if (!done || !program->streamed)
    drop(c);
  return done;
}

// replay_compile.c: turns a trace, or what a model makes, into the replayer's program, in two passes over the
// file: the first finds which objects cross threads and how long each thread's part is, the second gives
// slots and writes the steps. What stays is mapped with ha_map() and counted; tables that are needed only
// here are given back.
#include "workloads/replay.h"
#include "workloads/trace_map.h"

#include <stdio.h>
#include <string.h>

#define NO_NODE             UINT32_MAX
#define ONE_LANE_EACH_UP_TO 256 // recorded threads; beyond, those that never overlapped in time share a lane

// A free slot of a thread, in a list.
typedef struct slot_node {
  uint32_t slot, next;
} slot_node;

typedef struct compiler {
  replay_program *program;
  replay_source source;
  uint64_t operation; // number of the one at hand
  ha_trace_map live;  // object -> thread; in the second pass size, value = last step, extra = slot
  uint8_t *crossing;  // one bit per object: touched by more than one thread
  size_t crossing_bytes;
  uint64_t crossing_count;
  uint32_t last_thread; // of the operation before
  slot_node *nodes;     // free lists of all threads, and of nodes
  uint32_t *free_slots; // per thread: first node
  uint32_t node_count, node_capacity, free_node;
  replay_step *steps; // of all threads
  uint64_t *written;  // per thread
} compiler;

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

static bool survey_object(compiler *c, const ha_op *op) {
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
    return true;
  }
  case HA_OP_REALLOC:
  case HA_OP_FREE:
  case HA_OP_FREE_SIZED: {
    ha_trace_entry *entry = ha_trace_map_find(&c->live, op->object);
    if (entry->thread != op->thread && !mark_crossing(c, op->object))
      return false;
    if (op->kind != HA_OP_REALLOC)
      ha_trace_map_remove(&c->live, entry);
    return true;
  }
  default:
    return true;
  }
}

static bool goes_to_allocator(unsigned kind) {
  return kind <= HA_OP_FREE_SIZED;
}

// Per-thread sums while the number of threads is still unknown.
typedef struct survey {
  replay_thread *threads;
  size_t capacity;
} survey;

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
  replay_source_close(&c->source);
  ha_trace_map_clear(&c->live);
  return going;
}

static bool survey_operation(compiler *c, survey *s, const ha_op *op) {
  return survey_thread(c, s, op) && survey_object(c, op);
}

// ---- Tables ----

static bool map_tables(compiler *c, const survey *s) {
  replay_program *program = c->program;
  if (program->totals.operations == 0)
    return ha_fail(program->run, "%s: it holds no operation", program->file);
  if (c->crossing_count >= UINT32_MAX)
    return ha_fail(program->run, "%s: more than 4294967294 objects cross threads; cut the trace",
                   program->file);
  program->thread_count = (uint32_t)program->totals.threads;
  program->shared_count = (uint32_t)c->crossing_count;
  program->threads = ha_map(program->run, program->thread_count * sizeof *program->threads);
  c->steps = ha_map(program->run, program->totals.operations * sizeof *c->steps);
  if (program->threads == NULL || c->steps == NULL)
    return false;
  size_t known = program->thread_count < s->capacity ? program->thread_count : s->capacity;
  if (known != 0)
    memcpy(program->threads, s->threads, known * sizeof *s->threads);
  if (program->shared_count != 0 &&
      (program->shared = ha_map(program->run, program->shared_count * sizeof *program->shared)) == NULL)
    return false;
  if (program->serial &&
      (program->turns = ha_map(program->run, program->turn_count * sizeof *program->turns)) == NULL)
    return false;
  program->turn_count = 0;
  replay_step *steps = c->steps;
  for (uint32_t i = 0; i < program->thread_count; i++) {
    program->threads[i].steps = steps;
    steps += program->threads[i].step_count;
  }
  c->written = ha_trace_pages(program->thread_count * sizeof *c->written);
  c->free_slots = ha_trace_pages(program->thread_count * sizeof *c->free_slots);
  if (c->written == NULL || c->free_slots == NULL)
    return short_of_memory(c);
  memset(c->free_slots, 0xff, program->thread_count * sizeof *c->free_slots); // NO_NODE everywhere
  c->free_node = NO_NODE;
  c->crossing_count = 0; // counts the shared slots given from here on
  return true;
}

// ---- Second pass ----

static bool take_slot(compiler *c, uint32_t thread, uint32_t *slot) {
  uint32_t node = c->free_slots[thread];
  if (node == NO_NODE) {
    *slot = c->program->threads[thread].slot_count++;
    return *slot != UINT32_MAX ||
           ha_fail(c->program->run, "%s: more than 4294967294 objects live at once; cut the trace",
                   c->program->file);
  }
  *slot = c->nodes[node].slot;
  c->free_slots[thread] = c->nodes[node].next;
  c->nodes[node].next = c->free_node;
  c->free_node = node;
  return true;
}

static bool give_slot(compiler *c, uint32_t thread, uint32_t slot) {
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
  c->nodes[node] = (slot_node){.slot = slot, .next = c->free_slots[thread]};
  c->free_slots[thread] = node;
  return true;
}

static bool compile_allocation(compiler *c, const ha_op *op, uint64_t at) {
  replay_step *step = &c->steps[at];
  if (op->flags & HA_OP_FAILED)
    return true;
  ha_trace_entry *entry = ha_trace_map_add(&c->live, op->object);
  if (entry == NULL)
    return short_of_memory(c);
  if (is_crossing(c, op->object)) {
    step->meta |= STEP_SHARED;
    step->slot = (uint32_t)c->crossing_count++;
  } else if (!take_slot(c, op->thread, &step->slot)) {
    return false;
  }
  entry->size = op->size;
  entry->value = at;
  entry->thread = op->thread;
  entry->extra = step->slot;
  return true;
}

// An operation on a shared slot: the same turn as the last one if the thread is the same, else the next.
static bool compile_turn(compiler *c, const ha_op *op, ha_trace_entry *entry, replay_step *step) {
  replay_step *last = &c->steps[entry->value];
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
    return shared || give_slot(c, op->thread, step->slot);
  }
  if (!shared)
    step->meta |= step_pack_pages(entry->size) << STEP_EXTRA_SHIFT;
  if (!(op->flags & HA_OP_FAILED))
    entry->size = op->size;
  entry->value = at;
  entry->thread = op->thread;
  return true;
}

static bool compile_operation(compiler *c, survey *s, const ha_op *op) {
  (void)s;
  replay_program *program = c->program;
  if (program->serial) {
    if (c->operation == 0 || op->thread != c->last_thread)
      program->turns[program->turn_count++] = (replay_turn){.thread = op->thread};
    program->turns[program->turn_count - 1].steps++;
    c->last_thread = op->thread;
  }
  uint64_t at = (uint64_t)(program->threads[op->thread].steps - c->steps) + c->written[op->thread]++;
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

// ---- Slots, survivors, lanes ----

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

// Gives each recorded thread a lane (a real thread). `last_of` holds, per lane, the last operation's number
// so far.
static void choose_lanes(replay_program *program, const uint32_t *by_start, uint64_t *last_of) {
  for (uint32_t i = 0; i < program->thread_count; i++) {
    replay_thread *thread = &program->threads[by_start[i]];
    uint32_t lane = program->lane_count;
    if (program->thread_count > ONE_LANE_EACH_UP_TO)
      for (lane = 0; lane < program->lane_count && last_of[lane] >= thread->first; lane++) {
      }
    if (lane == program->lane_count)
      program->lane_count++;
    last_of[lane] = thread->last;
    thread->lane = lane;
  }
}

static void list_lanes(replay_program *program, const uint32_t *by_start) {
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->lane_starts[program->threads[i].lane + 1]++;
  for (uint32_t lane = 0; lane < program->lane_count; lane++)
    program->lane_starts[lane + 1] += program->lane_starts[lane];
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->lane_threads[program->lane_starts[program->threads[by_start[i]].lane]++] = by_start[i];
  // Each start has moved to the next lane's: back by one.
  memmove(program->lane_starts + 1, program->lane_starts, program->lane_count * sizeof *program->lane_starts);
  program->lane_starts[0] = 0;
}

// Recorded threads are numbered by appearance, but a SPAWN names one before it runs: sort by first operation.
static void sort_by_start(const replay_program *program, uint32_t *by_start) {
  for (uint32_t i = 0; i < program->thread_count; i++) {
    uint32_t at = i;
    for (; at > 0 && program->threads[by_start[at - 1]].first > program->threads[i].first; at--)
      by_start[at] = by_start[at - 1];
    by_start[at] = i;
  }
}

static bool make_lanes(compiler *c) {
  replay_program *program = c->program;
  size_t count = program->thread_count;
  program->lane_threads = ha_map(program->run, count * sizeof *program->lane_threads);
  program->lane_starts = ha_map(program->run, (count + 2) * sizeof *program->lane_starts);
  if (program->lane_threads == NULL || program->lane_starts == NULL)
    return false;
  uint32_t *by_start = ha_trace_pages(count * sizeof *by_start);
  uint64_t *last_of = ha_trace_pages(count * sizeof *last_of);
  bool whole = by_start != NULL && last_of != NULL;
  if (whole) {
    sort_by_start(program, by_start);
    choose_lanes(program, by_start, last_of);
    list_lanes(program, by_start);
  }
  ha_trace_pages_free(by_start, count * sizeof *by_start);
  ha_trace_pages_free(last_of, count * sizeof *last_of);
  return whole || short_of_memory(c);
}

// The second pass needs its table of live objects after the last operation, for the survivors.
static bool second_pass(compiler *c) {
  ha_op op;
  bool going = replay_source_open(&c->source, c->program);
  uint64_t operations = c->program->totals.operations;
  for (c->operation = 0; going && c->operation < operations; c->operation++) {
    going = replay_source_next(&c->source, &op) > 0 ||
            ha_fail(c->program->run, "%s: the file changed while it was read", c->program->file);
    going = going && compile_operation(c, NULL, &op);
  }
  replay_source_close(&c->source);
  return going && map_slots(c) && map_survivors(c, &c->live);
}

bool replay_compile(replay_program *program) {
  compiler c = {.program = program};
  survey s = {0};
  bool done =
      each_operation(&c, &s, survey_operation) && map_tables(&c, &s) && second_pass(&c) && make_lanes(&c);
  ha_trace_map_clear(&c.live);
  ha_trace_pages_free(s.threads, s.capacity * sizeof *s.threads);
  ha_trace_pages_free(c.crossing, c.crossing_bytes);
  ha_trace_pages_free(c.nodes, c.node_capacity * sizeof *c.nodes);
  ha_trace_pages_free(c.free_slots, program->thread_count * sizeof *c.free_slots);
  ha_trace_pages_free(c.written, program->thread_count * sizeof *c.written);
  return done;
}

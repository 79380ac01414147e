// replay_oracle.c: packs a trace's blocks ahead of time, for the allocator `oracle`: goes through the
// operations in their order, gives each block room for the largest size it will have, in the smallest hole
// that is near at hand or behind all others, and joins holes when blocks end. What each thread will be given
// is written in a table of its own. Where threads replay in parallel, blocks that did not live at one time
// when recorded may share bytes for a moment: their contents mean nothing there, and verification is serial.
#include "adapters/oracle.h"
#include "workloads/replay.h"
#include "workloads/trace_bucket.h"

#include <string.h>
#include <sys/mman.h>

#define NONE     UINT32_MAX
#define GRANULE  UINT64_C(16)
#define TRIES    64 // holes of a bucket that are looked at
#define HEAP_MAX (UINT64_C(1) << 46)

typedef struct hole {
  uint64_t start, bytes;
  uint32_t before, after; // in its bucket's list
} hole;

typedef struct packer {
  replay_program *program;
  uint64_t *most; // per object
  size_t most_capacity;
  hole *holes;
  uint32_t hole_count, hole_capacity, free_hole;
  uint32_t buckets[HA_BUCKETS]; // lists by size
  ha_trace_map starts, ends;    // where holes begin and end -> value: hole
  ha_trace_map live;            // object -> value: start, size: bytes
  uint64_t top;                 // nothing lies behind
  uint64_t *written;            // per thread
} packer;

static bool short_of_memory(packer *p) {
  return ha_fail(p->program->run, "%s: not enough memory to pack the trace's blocks", p->program->file);
}

// ---- Holes ----

static bool add_hole(packer *p, uint64_t start, uint64_t bytes) {
  uint32_t index = p->free_hole;
  if (bytes == 0)
    return true;
  if (index != NONE) {
    p->free_hole = p->holes[index].after;
  } else {
    if (p->hole_count == p->hole_capacity) {
      size_t capacity = p->hole_capacity == 0 ? 4096 : (size_t)p->hole_capacity * 2;
      hole *grown = ha_trace_pages_grow(p->holes, p->hole_capacity * sizeof *grown, capacity * sizeof *grown);
      if (grown == NULL || capacity >= NONE)
        return short_of_memory(p);
      p->holes = grown;
      p->hole_capacity = (uint32_t)capacity;
    }
    index = p->hole_count++;
  }
  uint32_t *list = &p->buckets[ha_bucket(bytes)];
  ha_trace_entry *first = ha_trace_map_add(&p->starts, start);
  ha_trace_entry *last = ha_trace_map_add(&p->ends, start + bytes);
  if (first == NULL || last == NULL)
    return short_of_memory(p);
  first->value = last->value = index;
  p->holes[index] = (hole){.start = start, .bytes = bytes, .before = NONE, .after = *list};
  if (*list != NONE)
    p->holes[*list].before = index;
  *list = index;
  return true;
}

static hole take_hole(packer *p, uint32_t index) {
  hole taken = p->holes[index];
  if (taken.before != NONE)
    p->holes[taken.before].after = taken.after;
  else
    p->buckets[ha_bucket(taken.bytes)] = taken.after;
  if (taken.after != NONE)
    p->holes[taken.after].before = taken.before;
  ha_trace_map_remove(&p->starts, ha_trace_map_find(&p->starts, taken.start));
  ha_trace_map_remove(&p->ends, ha_trace_map_find(&p->ends, taken.start + taken.bytes));
  p->holes[index].after = p->free_hole;
  p->free_hole = index;
  return taken;
}

// The smallest hole among the first of the list that holds so many bytes, NONE if none does.
static uint32_t best_of(const packer *p, uint32_t list, uint64_t bytes) {
  uint32_t best = NONE;
  for (unsigned tries = 0; list != NONE && tries < TRIES; tries++, list = p->holes[list].after)
    if (p->holes[list].bytes >= bytes && (best == NONE || p->holes[list].bytes < p->holes[best].bytes))
      best = list;
  return best;
}

static bool place(packer *p, uint64_t bytes, uint64_t alignment, uint64_t *out) {
  uint64_t need = alignment > GRANULE ? bytes + alignment - GRANULE : bytes;
  uint32_t found = NONE;
  for (unsigned bucket = ha_bucket(need); found == NONE && bucket < HA_BUCKETS; bucket++)
    found = best_of(p, p->buckets[bucket], need);
  hole room = {.start = p->top, .bytes = need};
  if (found != NONE)
    room = take_hole(p, found);
  else
    p->top += need;
  *out = (room.start + alignment - 1) & ~(alignment - 1);
  if (p->top > HEAP_MAX)
    return ha_fail(p->program->run, "%s: its blocks together need more than an address space",
                   p->program->file);
  return add_hole(p, room.start, *out - room.start) &&
         add_hole(p, *out + bytes, room.start + room.bytes - *out - bytes);
}

static bool release(packer *p, uint64_t start, uint64_t bytes) {
  const ha_trace_entry *below = ha_trace_map_find(&p->ends, start);
  if (below != NULL) {
    hole joined = take_hole(p, (uint32_t)below->value);
    start = joined.start;
    bytes += joined.bytes;
  }
  const ha_trace_entry *above = ha_trace_map_find(&p->starts, start + bytes);
  if (above != NULL)
    bytes += take_hole(p, (uint32_t)above->value).bytes;
  return add_hole(p, start, bytes);
}

// ---- Operations ----

// First time: how large each block gets, how many each thread allocates.
static bool learn(packer *p, const ha_op *op) {
  if (ha_kind_allocates(op->kind))
    p->program->threads[op->thread].allocations++;
  if ((op->flags & HA_OP_FAILED) != 0 || (!ha_kind_allocates(op->kind) && op->kind != HA_OP_REALLOC))
    return true;
  if (op->object >= p->most_capacity) {
    size_t capacity = p->most_capacity == 0 ? 65536 : p->most_capacity;
    while (op->object >= capacity)
      capacity *= 2;
    uint64_t *grown =
        ha_trace_pages_grow(p->most, p->most_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL)
      return short_of_memory(p);
    p->most = grown;
    p->most_capacity = capacity;
  }
  if (op->size > p->most[op->object])
    p->most[op->object] = op->size;
  return true;
}

// Second time: places. Addresses are offsets until the heap is there; a failed call is given NULL.
static bool pack(packer *p, const ha_op *op) {
  if (ha_kind_allocates(op->kind)) {
    uintptr_t *cell = &p->program->threads[op->thread].addresses[p->written[op->thread]++];
    if (op->flags & HA_OP_FAILED)
      return true;
    uint64_t start, size = p->most[op->object];
    if (size > HEAP_MAX || op->alignment_log2 > 40)
      return ha_fail(p->program->run, "%s: a block of %llu bytes", p->program->file,
                     (unsigned long long)size);
    uint64_t bytes = size == 0 ? GRANULE : (size + GRANULE - 1) & ~(GRANULE - 1);
    uint64_t alignment = UINT64_C(1) << op->alignment_log2;
    ha_trace_entry *entry = ha_trace_map_add(&p->live, op->object);
    if (entry == NULL)
      return short_of_memory(p);
    if (!place(p, bytes, alignment < GRANULE ? GRANULE : alignment, &start))
      return false;
    entry->value = start;
    entry->size = bytes;
    *cell = (uintptr_t)start + 1; // told from NULL
    return true;
  }
  if (op->kind != HA_OP_FREE && op->kind != HA_OP_FREE_SIZED)
    return true;
  ha_trace_entry *entry = ha_trace_map_find(&p->live, op->object);
  uint64_t start = entry->value, bytes = entry->size;
  ha_trace_map_remove(&p->live, entry);
  return release(p, start, bytes);
}

static bool each_operation(packer *p, bool (*visit)(packer *, const ha_op *)) {
  replay_source source;
  ha_op op;
  int got = 0;
  bool going = replay_source_open(&source, p->program);
  while (going && (got = replay_source_next(&source, &op)) > 0)
    going = visit(p, &op);
  if (going && got < 0)
    going = replay_source_fail(&source);
  replay_source_close(&source);
  return going;
}

static bool map_tables(packer *p) {
  replay_program *program = p->program;
  for (uint32_t i = 0; i < program->thread_count; i++) {
    replay_thread *thread = &program->threads[i];
    thread->addresses = ha_map(program->run, (thread->allocations + 1) * sizeof *thread->addresses);
    if (thread->addresses == NULL)
      return false;
  }
  p->written = ha_trace_pages(program->thread_count * sizeof *p->written);
  return p->written != NULL || short_of_memory(p);
}

// The heap is the allocator's memory, not the harness's: only what the replay touches becomes resident.
static bool raise_heap(packer *p) {
  const size_t alignment = (size_t)2 << 20;
  size_t bytes = (size_t)p->top + alignment;
  char *heap = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (heap == MAP_FAILED)
    return short_of_memory(p);
  uintptr_t base = ((uintptr_t)heap + alignment - 1) & ~(uintptr_t)(alignment - 1);
  for (uint32_t i = 0; i < p->program->thread_count; i++) {
    replay_thread *thread = &p->program->threads[i];
    for (uint64_t k = 0; k < thread->allocations; k++)
      if (thread->addresses[k] != 0)
        thread->addresses[k] += base - 1;
  }
  p->program->packed_bytes = p->top;
  return true;
}

bool replay_plan(replay_program *program) {
  packer *p = ha_trace_pages(sizeof *p);
  if (p == NULL)
    return ha_fail(program->run, "%s: not enough memory to pack the trace's blocks", program->file);
  p->program = program;
  p->free_hole = NONE;
  memset(p->buckets, 0xff, sizeof p->buckets); // NONE everywhere
  bool done = each_operation(p, learn) && map_tables(p) && each_operation(p, pack) && raise_heap(p);
  ha_trace_pages_free(p->most, p->most_capacity * sizeof *p->most);
  ha_trace_pages_free(p->holes, p->hole_capacity * sizeof *p->holes);
  ha_trace_pages_free(p->written, program->thread_count * sizeof *p->written);
  ha_trace_map_clear(&p->starts);
  ha_trace_map_clear(&p->ends);
  ha_trace_map_clear(&p->live);
  ha_trace_pages_free(p, sizeof *p);
  return done;
}

void replay_follow(replay_program *program, uint32_t thread, bool from_start) {
  replay_thread *own = &program->threads[thread];
  if (own->addresses == NULL)
    return;
  if (from_start || own->reached == NULL)
    own->reached = (void *const *)own->addresses;
  ha_oracle_follow(own->reached);
}

void replay_leave(replay_program *program, uint32_t thread) {
  if (program->threads[thread].addresses != NULL)
    program->threads[thread].reached = ha_oracle_follow(NULL);
}

// replay_compiler.h: what the two passes that make a replay program share (replay_survey.c, replay_compile.c).
#ifndef HEAPARENA_WORKLOADS_REPLAY_COMPILER_H
#define HEAPARENA_WORKLOADS_REPLAY_COMPILER_H

#include "workloads/replay.h"
#include "workloads/trace_map.h"

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

// Whether several threads touch the object; known after the first pass.
static inline bool is_crossing(const compiler *c, uint64_t object) {
  return object / 8 < c->crossing_bytes && (c->crossing[object / 8] >> (object % 8) & 1) != 0;
}

// Says by ha_fail() that memory is short; returns false.
bool replay_short_of_memory(compiler *c);

// The first pass: finds which objects cross threads and how long each thread's part is, decides whether the program is
// streamed, and maps the tables of the second pass. `c` has its program and is zero otherwise. False after ha_fail().
bool replay_survey(compiler *c);

#endif

// replay.h: what the replayer's files share: the program that a trace is compiled into (replay_compile.c),
// which replay.c executes at full speed on the recorded threads, and replay_verify.c step by step with every
// check.
//
// Objects become slots. An object that only one recorded thread ever touches gets a slot of that thread, used
// again as soon as the object is freed. An object that crosses threads gets a slot of its own with a turn
// counter: the operations on it are split into turns, one per thread that has it; a thread waits only at the
// first operation of a turn, and lets the next one go on after its last. Everything else runs unordered, as
// it did when recorded.
#ifndef HEAPARENA_WORKLOADS_REPLAY_H
#define HEAPARENA_WORKLOADS_REPLAY_H

#include "workloads/model.h"
#include "workloads/trace.h"
#include "workloads/trace_codec.h"
#include "workloads/workload.h"

// One operation in memory, 16 bytes. `meta`, from the low bits: kind (4), STEP_* flags (4), alignment log2
// (6), and 18 bits that are the turn of a shared slot, or for a REALLOC of a thread's own slot the old size
// (step_pages).
typedef struct replay_step {
  uint64_t size;
  uint32_t slot; // or the other thread of SPAWN and JOIN
  uint32_t meta;
} replay_step;

enum {
  STEP_KIND = 0x0f,
  STEP_FAILED = 0x10,
  STEP_SHARED = 0x20,
  STEP_PLAIN =
      STEP_KIND | STEP_FAILED | STEP_SHARED, // what the fast loop switches on: the rest 0 for most steps
  STEP_WAIT = 0x40,                          // wait until the slot's turn has come
  STEP_PUBLISH = 0x80,                       // the turn ends after this step
  STEP_ALIGN_SHIFT = 8,
  STEP_EXTRA_SHIFT = 14,
  STEP_EXTRA_MAX = (1 << 18) - 1,
};

// What `meta` packs: the kind, the alignment, the turn.
static inline unsigned step_kind(const replay_step *step) {
  return step->meta & STEP_KIND;
}
static inline size_t step_alignment(const replay_step *step) {
  return (size_t)1 << (step->meta >> STEP_ALIGN_SHIFT & 63);
}
static inline uint32_t step_turn(const replay_step *step) {
  return step->meta >> STEP_EXTRA_SHIFT;
}

// Pages that a block of `size` bytes fills, rounded down to 14 significant bits, as 18 bits; and back.
static inline uint32_t step_pack_pages(uint64_t size) {
  uint64_t pages = size / 4096;
  unsigned shift = 0;
  for (; pages >> shift >= 1u << 14 && shift < 15; shift++) {
  }
  pages >>= shift;
  return (uint32_t)(pages >= 1u << 14 ? 0 : pages) | shift << 14;
}
static inline uint64_t step_pages(const replay_step *step) {
  uint32_t packed = step->meta >> STEP_EXTRA_SHIFT;
  return (uint64_t)(packed & ((1u << 14) - 1)) << (packed >> 14);
}

typedef struct replay_shared {
  void *block;
  _Atomic uint32_t turn;
} replay_shared;

// Consecutive steps of one thread that are of one epoch: a stretch of the trace.
typedef struct replay_piece {
  uint32_t epoch, steps;
} replay_piece;

typedef struct replay_epoch {
  _Atomic uint32_t done;
  uint32_t steps; // of all threads
} replay_epoch;

typedef struct replay_thread {
  replay_piece *pieces; // of the segment at hand; NULL: the thread may run ahead as it likes
  uint32_t piece_count;
  replay_step *steps;
  uint64_t *times;      // in recorded time: when each step happened, in ns; else NULL
  uint64_t step_count;  // of the segment at hand
  uint64_t steps_left;  // of those after it
  uint64_t operations;  // steps that go to the allocator
  uint64_t first, last; // numbers of its first and last operation in the trace
  uint64_t last_epoch;  // while they are counted
  uint64_t checksum;    // ha_trace_checksum over its operations
  void **slots;
  uint32_t slot_count;
  uintptr_t *addresses; // for `oracle`: what its allocations will be given; NULL for other allocators
  uint64_t allocations; // how many
  void *const *reached; // place in them, while another thread's steps are executed
  uint32_t lane;
  bool spawned; // waits for a SPAWN before it begins
  _Atomic uint32_t begun, ended;
} replay_thread;

struct replay_compiler;

// Consecutive operations of one thread in the trace's order.
typedef struct replay_turn {
  uint32_t thread, steps;
} replay_turn;

typedef enum replay_touch { TOUCH_NONE, TOUCH_ENDS, TOUCH_PAGES, TOUCH_WHOLE } replay_touch;

enum replay_more { MORE_NOTHING, MORE_GO_ON };

typedef struct replay_program {
  ha_run *run;
  const char *file;
  const ha_model *model; // NULL: the file is a trace
  ha_trace_totals totals;
  replay_thread *threads;
  uint32_t thread_count;
  replay_shared *shared;
  uint32_t shared_count;
  replay_turn *turns; // the trace's order: for serial execution only
  uint64_t turn_count;
  uint64_t *positions; // per thread, for serial execution: its next step
  void ***survivors;   // addresses of the slots of objects that were never freed
  uint64_t survivor_count;
  uint32_t *lane_threads; // recorded threads sorted by lane, then by first operation
  uint32_t *lane_starts;  // lane_count + 1 positions in lane_threads
  uint32_t lane_count;
  replay_touch touch;
  bool serial;
  bool may_stream;                  // if it is too large for memory
  bool streamed;                    // compiled a segment at a time, all threads waiting for the next one
  uint64_t segment_steps;           // at most in a segment
  uint64_t segments;                // compiled so far
  struct replay_compiler *compiler; // while there are segments to come
  uint64_t window;      // operations of an epoch, 0: none; no thread is further ahead than two of them
  replay_epoch *epochs; // of the segment at hand
  uint32_t epoch_count;
  _Atomic uint32_t epochs_done;
  double pace;               // 0: as fast as can be; else how many times as fast as recorded
  _Atomic uint64_t began_ns; // CLOCK_MONOTONIC at the trace's start, in recorded time
  _Atomic uint64_t late_ns;  // most that an operation came after its time
  uint64_t packed_bytes;     // for `oracle`: of its heap
  uint64_t substituted;      // operations that another one stands in for, because the allocator lacks them
  unsigned rounds;
  _Atomic uint32_t stop;          // an operation failed: everybody leaves
  _Atomic uint32_t waiting, part; // barrier between parts: rounds and segments
  uint32_t rounds_done;
  enum replay_more more;    // what comes after the part at hand
  const char *curve;        // verification's verdict, NULL without one
  ha_trace_totals verified; // counted anew
} replay_program;

// The operations to be compiled, one after another: of the program's file, or made from its model.
typedef struct replay_source {
  const replay_program *program;
  ha_trace_reader *reader; // or
  ha_model_maker *maker;
  ha_trace_state state; // checks and counts what is made
  const char *wrong;
} replay_source;

bool replay_source_open(replay_source *source, const replay_program *program); // false after ha_fail()
int replay_source_next(replay_source *source, ha_op *op);                      // as ha_trace_next
bool replay_source_fail(const replay_source *source);      // after -1: says why by ha_fail(), returns false
size_t replay_source_threads(const replay_source *source); // known so far
const ha_trace_totals *replay_source_totals(const replay_source *source); // at the end
// Closes the trace or ends the model; the source is empty then.
void replay_source_close(replay_source *source);

// Goes through the operations twice (what crosses threads must be known before slots are given) and fills
// *program, whose file, run, model, serial, pace, may_stream, streamed and segment_steps are set. False after
// ha_fail(). Streamed, the second time is in pieces: this compiles the first segment.
bool replay_compile(replay_program *program);
// Gives each recorded thread a lane, by its first and last operation. False after ha_fail().
bool replay_make_lanes(replay_program *program);

// Streamed only, all threads being still: compiles the next segment, or the first one again. 1; 0: there was
// none left; -1 after ha_fail().
int replay_next_segment(replay_program *program);
bool replay_rewind(replay_program *program);

// Around a piece: waits until nobody is too far behind, and counts what was done (replay_pace.c). False: stop.
bool replay_wait_for_others(replay_program *program, uint32_t epoch);
static inline void replay_piece_done(replay_program *program, const replay_piece *piece) {
  atomic_fetch_add_explicit(&program->epochs[piece->epoch].done, piece->steps, memory_order_release);
}
// Waits while *word is not `turn`, at first without sleep. False: stop.
bool replay_wait_turn(const replay_program *program, const _Atomic uint32_t *word, uint32_t turn);

// Waits until the recorded time of a step has come (replay_pace.c). False: stop.
bool replay_wait_for(replay_program *program, uint64_t time_ns);

// For the allocator `oracle`: packs all blocks ahead (replay_oracle.c). False after ha_fail().
bool replay_plan(replay_program *program);
// Around the steps of a recorded thread: the calling thread goes on in its table. Nothing for other
// allocators.
void replay_follow(replay_program *program, uint32_t thread, bool from_start);
void replay_leave(replay_program *program, uint32_t thread);

// Operations that the allocator has, or the documented substitute: aligned_alloc <-> posix_memalign,
// free_sized -> free, free_aligned_sized -> free. `alignment` is a power of two.
void *replay_aligned(const ha_alloc *alloc, unsigned kind, size_t alignment, size_t size);
void replay_free_sized(const ha_alloc *alloc, void *block, size_t alignment, size_t size);

// Executes the whole program on the calling thread in the trace's order, with every block filled and checked,
// and the totals counted anew. Returns NULL or what failed.
const char *replay_verify(replay_program *program, ha_tally *tally);

#endif

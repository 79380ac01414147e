// model.h: a small statistical model of a trace, which can be published where the trace cannot: how many
// blocks of which sizes are born in each phase of the run, and in which phase they end and how. It is fitted
// to a trace (model_fit.c), kept as JSON (model_file.c), and made into operations again (model_make.c), which
// the workload `model` (replay.c) executes as it does a trace's.
//
// A block is a chain of segments, one per size that realloc gave it. Sizes are put into classes: one for each
// frequent size, one for each range of rare ones. For every phase and class the model has how many segments
// begin (fresh or by realloc) and how many of these end in each later phase (by free or by realloc); how long
// those live that end in the same phase, in operations, is a law of their class. A phase begins at the
// operation at which live bytes peak, so that the peak is a sum over whole phases, and others where live
// bytes turn. The largest blocks, whose places decide the peak, are listed one by one. Which thread frees
// whose blocks is a table of counts.
//
// Not modelled: contents of META, names, times, failed calls, purges, which size follows which, and threads
// beyond 64 (threads that never ran together are one).
#ifndef HEAPARENA_WORKLOADS_MODEL_H
#define HEAPARENA_WORKLOADS_MODEL_H

#include "workloads/trace.h"

#define HA_MODEL_VERSION   1
#define HA_MODEL_QUANTILES 33   // lifetimes at 0, 1/32 .. 1 of a class's segments
#define HA_MODEL_PHASES    64   // at most
#define HA_MODEL_SIZES     400  // at most
#define HA_MODEL_THREADS   64   // at most
#define HA_MODEL_STEPS     2048 // of large blocks, at most
#define HA_MODEL_COUNT_MAX (UINT64_C(1) << 40)

// What allocates: indices of ha_model_size.kinds.
enum { HA_MODEL_MALLOC, HA_MODEL_CALLOC, HA_MODEL_ALIGNED, HA_MODEL_POSIX, HA_MODEL_KINDS };

typedef struct ha_model_size {
  uint64_t from, to; // bytes, both included
  double mean;
  uint64_t kinds[HA_MODEL_KINDS]; // fresh blocks
  uint32_t alignment_log2;        // the usual one of aligned blocks
  double lifetimes[HA_MODEL_QUANTILES];
} ha_model_size;

typedef struct ha_model_end { // of segments
  uint32_t phase;
  uint64_t freed, grown; // by free; by realloc
} ha_model_end;

// Segments that begin in one phase in one size class. What `ends` does not account for is never freed.
typedef struct ha_model_cell {
  uint32_t size; // class
  uint64_t fresh, grown;
  ha_model_end *ends;
  uint32_t end_count;
} ha_model_cell;

typedef struct ha_model_phase {
  uint64_t from;   // number of its first operation
  uint64_t most;   // live bytes at most in it; UINT64_MAX: not known
  uint64_t *fresh; // by thread: blocks it allocates
  ha_model_cell *cells;
  uint32_t cell_count;
} ha_model_phase;

typedef struct ha_model_thread {
  uint32_t parent;
  uint64_t first, last; // operations
  uint64_t *ends;       // by thread: frees and reallocs of this thread's blocks by that one
} ha_model_thread;

typedef struct ha_model_step {
  uint64_t at, size; // operation; the size from then on, 0 with `end`: freed
  bool end;
} ha_model_step;

typedef struct ha_model_large {
  uint32_t thread, kind, alignment_log2;
  ha_model_step *steps;
  uint32_t step_count;
} ha_model_large;

typedef struct ha_model {
  uint64_t operations, sized_frees;
  ha_model_size *sizes; // in order of size
  ha_model_phase *phases;
  ha_model_thread *threads;
  ha_model_large *large; // in order of their first step
  uint32_t size_count, phase_count, thread_count, large_count;
  void *memory; // what all of it lies in
} ha_model;

// Zeroed memory that lives as long as the model; NULL when short. From mmap: the worker reads models too.
void *ha_model_memory(ha_model *model, uint64_t count, size_t bytes);
void ha_model_clear(ha_model *model);

// Each returns false with one line in `why`. What was loaded keeps every rule that making operations needs.
bool ha_model_fit(const char *trace, ha_model *model, char *why, size_t why_size);
bool ha_model_save(const ha_model *model, const char *path, char *why, size_t why_size);
bool ha_model_load(const char *path, ha_model *model, char *why, size_t why_size);

// ---- Operations from a model

typedef struct ha_model_maker ha_model_maker;

// The model must outlive it. Equal seeds give equal operations. NULL: not enough memory.
ha_model_maker *ha_model_make(const ha_model *model, uint64_t seed);
// As ha_trace_next: 1, 0 at the end, -1 when memory is short.
int ha_model_next(ha_model_maker *maker, ha_op *op);
void ha_model_unmake(ha_model_maker *maker);

// ---- How well it fits

typedef struct ha_model_fidelity {
  uint64_t operations[2], objects[2], live_peak[2], reallocs[2], remote[2], threads[2]; // trace's, model's
  uint64_t refers[2];            // frees and reallocs, of which `remote` are by another thread
  double ks_sizes, ks_lifetimes; // largest distance of the two distribution functions
} ha_model_fidelity;

// Makes the model's operations and holds them against the trace's.
bool ha_model_check(const ha_model *model, const char *trace, uint64_t seed, ha_model_fidelity *fidelity,
                    char *why, size_t why_size);
// Whether the figures that a model promises hold: sizes within 0.02, peak within 5 %, remote within 2 points.
bool ha_model_faithful(const ha_model_fidelity *fidelity);
// Prints the table to stdout; returns whether the model is faithful.
bool ha_model_fidelity_print(const ha_model_fidelity *fidelity, bool json);

#endif

// op_program.h: programs of allocator calls, as fuzzers mutate and reproducers keep them.
//
// A program is an array of records of FUZZ_RECORD_BYTES bytes each; a shorter tail is ignored. Decoding is
// total: every byte string is a valid program, whatever the bytes (values are folded into range), so that no
// mutation is wasted, and a mutation of one record leaves the others what they were. A record says what to do
// (kind), with which of the FUZZ_SLOTS blocks (slot), on which thread, and how large (a size law and its
// operands). Nothing in it is an address: the same program runs on every allocator.
//
// Ideas: fixed-width records keep mutations local (Google tcmalloc's component fuzzers); sizes around the
// edges of classes and of live blocks (ArcHeap).
//
// Threads: plain data, no function keeps state. Units: bytes.
#ifndef HEAPARENA_FUZZ_OP_PROGRAM_H
#define HEAPARENA_FUZZ_OP_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FUZZ_RECORD_BYTES ((size_t)8)
#define FUZZ_SLOTS        256u  // blocks that a program can name
#define FUZZ_THREADS      4u    // threads that a program can name; 0 is the one that starts it
#define FUZZ_MAX_RECORDS  4096u // most records of one input; a longer one is cut (histories may be longer)

// What a record does. The numbers are the encoding: add at the end, before FUZZ_OP_KINDS, and know that an
// added kind changes what old bytes above it mean (corpora are normalised, so that they hold none).
typedef enum fuzz_op_kind {
  FUZZ_OP_MALLOC,
  FUZZ_OP_CALLOC,             // fuzz_op_count() elements
  FUZZ_OP_REALLOC,            // of the slot's block; of NULL when the slot is empty
  FUZZ_OP_REALLOCARRAY,       // fuzz_op_count() elements
  FUZZ_OP_FREE,               // free(NULL) when the slot is empty
  FUZZ_OP_ALIGNED_ALLOC,      // fuzz_op_alignment(), always a power of two
  FUZZ_OP_POSIX_MEMALIGN,     // fuzz_op_alignment(), which may be one that must be refused
  FUZZ_OP_FREE_SIZED,         // as the C23 function wants it: with the size of the request
  FUZZ_OP_FREE_ALIGNED_SIZED, // the same, for blocks of aligned_alloc
  FUZZ_OP_USABLE,             // asks for the usable size again and writes all of it
  FUZZ_OP_VERIFY,             // checks the contents of all live blocks
  FUZZ_OP_PURGE,
  FUZZ_OP_FREE_RUN,     // frees up to fuzz_op_repeats() slots from this one on
  FUZZ_OP_FILL_RUN,     // mallocs one size into up to fuzz_op_repeats() slots from this one on
  FUZZ_OP_PAIRS,        // malloc and free of one size, fuzz_op_repeats() times, each block checked
  FUZZ_OP_FREE_ALL,     // frees every live block, in the order of the slots
  FUZZ_OP_CHECK_HEAP,   // the allocator's own heap check and counters, where it has them
  FUZZ_OP_THREAD_START, // thread of the record begins (threads begin by themselves at their first record too)
  FUZZ_OP_THREAD_EXIT,  // thread of the record ends; its blocks stay live. Thread 0 never ends
  FUZZ_OP_FORK,         // a child checks, allocates and frees; the parent goes on when it has ended well
  FUZZ_OP_CLOCK,        // the allocator's clock jumps ahead by fuzz_op_milliseconds()
  FUZZ_OP_FAIL_MAP,     // of the next calls to the system for memory, number low + 1 and high more fail
  FUZZ_OP_RACE,   // the next records run at once (schedule_race.h); nothing but for the target `schedule`
  FUZZ_OP_MISUSE, // a wrong call (fuzz_op_misuse), where the allocator promises to find every one
  FUZZ_OP_KINDS
} fuzz_op_kind;

// How a record's size is made of its bytes law, low and high; extra is the law byte's upper five bits.
typedef enum fuzz_size_law {
  FUZZ_LAW_EXACT,    // low + 256 * high + 65536 * extra: up to 2 MiB, any size
  FUZZ_LAW_SMALL,    // low: what most programs ask for
  FUZZ_LAW_EDGE,     // 2^extra * (8 + low % 8) / 8 plus high as a signed byte: edges of classes and pages
  FUZZ_LAW_SCALED,   // (low + 256 * high) << extra: up to 2^47
  FUZZ_LAW_RELATIVE, // the size of the slot's block times 1/4 .. 4 (extra % 5), plus low + 256 * high, signed
  FUZZ_LAW_HUGE,     // around SIZE_MAX, PTRDIFF_MAX and multiples of 2^50 (extra % 3): what must fail
  FUZZ_LAW_PAGES,    // (low + 1) pages of 4 KiB plus high as a signed byte
  FUZZ_LAW_CHOICE,   // low % 8 of eight sizes: a few sizes again and again
  FUZZ_LAWS
} fuzz_size_law;

// One record, as its bytes are. Fields may hold any value: read them through the functions below.
typedef struct fuzz_op {
  uint8_t kind;
  uint8_t slot;
  uint8_t law;       // lower three bits: fuzz_size_law; upper five: extra
  uint8_t low, high; // operands of the law
  uint8_t alignment; // of aligned calls, count of arrays, repetitions
  uint8_t thread;
  uint8_t fill; // seed of the pattern in the block; bit 7: every byte is written and checked, else samples of
                // blocks above FUZZ_SPARSE (shadow.h)
} fuzz_op;
_Static_assert(sizeof(fuzz_op) == FUZZ_RECORD_BYTES, "a record is its bytes");

typedef struct fuzz_program {
  const fuzz_op *ops;
  size_t count;
} fuzz_program;

// The records in `size` bytes at `data`: no copy, the program lives as long as the bytes.
fuzz_program fuzz_program_decode(const uint8_t *data, size_t size);

// Every byte is a kind and every byte a thread: no program is invalid.
static inline fuzz_op_kind fuzz_op_get_kind(const fuzz_op *op) {
  return (fuzz_op_kind)(op->kind < FUZZ_OP_KINDS ? op->kind : op->kind % FUZZ_OP_KINDS);
}
static inline unsigned fuzz_op_thread(const fuzz_op *op) {
  return op->thread % FUZZ_THREADS;
}
// The size that the record asks for, given the requested size of the block in its slot (0: empty).
size_t fuzz_op_size(const fuzz_op *op, size_t slot_size);
// A power of two from 1 to 2^23, or, for posix_memalign only, one time in eight what is none or too small.
size_t fuzz_op_alignment(const fuzz_op *op);
// Elements of calloc and reallocarray: mostly few; with the HUGE law, counts whose product overflows.
size_t fuzz_op_count(const fuzz_op *op);
// Blocks of a FREE_RUN or FILL_RUN, times of PAIRS.
unsigned fuzz_op_repeats(const fuzz_op *op);
uint64_t fuzz_op_milliseconds(const fuzz_op *op);

// What a MISUSE record does with the slot's block. Those of a freed block free it first.
typedef enum fuzz_misuse {
  FUZZ_MISUSE_FREE_TWICE,    // free, and free again
  FUZZ_MISUSE_FREE_LATER,    // free of a block that was freed some calls ago and is nobody's now
  FUZZ_MISUSE_FREE_INTERIOR, // free of an address inside it: it stays live
  FUZZ_MISUSE_FREE_FOREIGN,  // free of what no allocator gave
  FUZZ_MISUSE_REALLOC_FREED,
  FUZZ_MISUSE_USABLE_FREED,
  FUZZ_MISUSES
} fuzz_misuse;
static inline fuzz_misuse fuzz_op_misuse(const fuzz_op *op) {
  return (fuzz_misuse)(op->low % FUZZ_MISUSES);
}

// Name of a kind as printed and parsed: "posix_memalign".
const char *fuzz_op_name(fuzz_op_kind kind);
static inline bool fuzz_op_allocates(fuzz_op_kind kind) {
  const unsigned allocating = 1u << FUZZ_OP_MALLOC | 1u << FUZZ_OP_CALLOC | 1u << FUZZ_OP_REALLOC |
                              1u << FUZZ_OP_REALLOCARRAY | 1u << FUZZ_OP_ALIGNED_ALLOC |
                              1u << FUZZ_OP_POSIX_MEMALIGN;
  return allocating >> kind & 1;
}
static inline bool fuzz_op_uses_size(fuzz_op_kind kind) {
  return fuzz_op_allocates(kind) || kind == FUZZ_OP_FILL_RUN || kind == FUZZ_OP_PAIRS;
}

// Folds kind and thread into their ranges and clears the bytes that the kind does not use: two programs that
// do the same get the same bytes. Returns the record.
fuzz_op fuzz_op_normal(fuzz_op op);
// A record that allocates exactly `size` bytes (the nearest that a record can say above 2 MiB).
void fuzz_op_set_size(fuzz_op *op, size_t size);
void fuzz_program_print(FILE *out, fuzz_program program);

// ---- Traces (workloads/trace.h) ----

// Writes the program as the trace of a run of it: each record as the operation it stands for when every
// request that can be met is met. Runs (fill, pairs) become their single operations; what a trace cannot say
// (clock, failing system calls, fork, checks) is kept as META lines "fuzz: ..." and by value in "fuzz-program:"
// lines, from which fuzz_program_from_trace takes the exact program again. False and a line in `why` when it
// cannot be written.
bool fuzz_program_to_trace(fuzz_program program, const char *path, const char *remark, char *why,
                           size_t why_size);
// A program of a trace: the exact one that fuzz_program_to_trace kept, or, of recorded traces, the operations
// from number `first` on, at most `capacity`, their objects laid into slots; an object that finds no free slot
// is left out with all its operations. Returns the number of records, 0 and a line in `why` on failure.
size_t fuzz_program_from_trace(const char *path, uint64_t first, fuzz_op *ops, size_t capacity, char *why,
                               size_t why_size);

#endif

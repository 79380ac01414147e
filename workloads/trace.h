// trace.h: the one definition of heaparena's trace format, and its reader and writer.
//
// A trace is the heap's view of one run of a program: who allocated, resized and freed what, in which order,
// on which thread, when. It holds no addresses and no contents: objects are numbered. Traces are recorded
// (recorder.c + collect.c), imported, generated, cut out of others, replayed (replay.c), and written by
// fuzzers as reproducers, so that one encoding serves them all.
//
// File layout, all integers little-endian:
//
//   header   64 bytes  magic "HEAPTRC\n", u16 version, u16 header bytes, u32 flags, u64 clock start (ns since
//                      the epoch), zero padding, u32 CRC-32C of the preceding 60 bytes
//   block*             u32 type (four characters), u32 packed bytes, u32 plain bytes, u32 operations,
//                      u32 CRC-32C of the packed payload, u32 CRC-32C of these 20 bytes; then the payload, a
//                      zstd frame
//     "META"           UTF-8 text, one "key: value" line each: command, program, recorder's remarks; any
//                      number of them
//     "THRD"           thread table: for each thread its number, process, parent, and name; may stand before
//                      any block whose operations mention the thread
//     "OPER"           up to HA_TRACE_BLOCK_OPS operations, stored by columns (see trace_codec.c)
//     "DONE"           the totals (ha_trace_totals), exactly once, last. A file without it was cut off.
//
// A reader needs no seek: each block can be checked and decoded by itself, given the blocks before it. A
// version above HA_TRACE_VERSION is refused. A recording that ended badly (program killed, disk full) still
// gets its DONE block, with HA_TRACE_INCOMPLETE set: a valid, marked prefix.
#ifndef HEAPARENA_WORKLOADS_TRACE_H
#define HEAPARENA_WORKLOADS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HA_TRACE_MAGIC        "HEAPTRC\n"
#define HA_TRACE_VERSION      1
#define HA_TRACE_BLOCK_OPS    65536 // most operations in one block
#define HA_TRACE_CURVE_POINTS 256   // most points of the live-bytes curve in the totals

// What an operation does. Recorders write realloc(NULL, n) as MALLOC, a realloc(p, 0) that frees as FREE, and
// leave out what has no effect: free(NULL), and a malloc(0) that returns NULL. The heaps of all recorded
// processes are one heap here: what a process leaves when it ends before the others is freed at its end. The
// numbers are part of the format: add at the end, never renumber.
typedef enum ha_op_kind {
  HA_OP_MALLOC = 0,
  HA_OP_CALLOC = 1,  // size is the product
  HA_OP_REALLOC = 2, // object keeps its number, size is the new one; also reallocarray (size the product)
  HA_OP_FREE = 3,
  HA_OP_ALIGNED_ALLOC = 4, // also memalign, valloc and pvalloc
  HA_OP_POSIX_MEMALIGN = 5,
  HA_OP_FREE_SIZED = 6, // size and, if not 1, alignment as the program gave them
  HA_OP_PURGE = 7,      // malloc_trim and its like; no object
  HA_OP_SPAWN = 8,      // this thread starts thread `size`, whose operations all come later; no object
  HA_OP_JOIN = 9,       // thread `size` ended before this point, whose operations all come earlier; no object
  HA_OP_THREAD_EXIT = 10, // last operation of its thread; no object
  HA_OP_KINDS
} ha_op_kind;

enum {
  // The call failed when recorded (returned NULL for size > 0): `object` is a number of its own that is never
  // freed. For realloc: object is the one that stayed as it was.
  HA_OP_FAILED = 1u << 0,
};

// One operation, decoded. Objects are numbered from 0 in the order of their allocation within the trace and
// never reused; threads from 0 in the order of their first appearance.
typedef struct ha_op {
  uint64_t time_ns; // since the trace's start; never decreases
  uint64_t object;
  uint64_t size; // bytes requested, or a thread (SPAWN, JOIN); 0 where it has no meaning
  uint32_t thread;
  uint8_t kind;           // ha_op_kind
  uint8_t flags;          // HA_OP_FAILED
  uint8_t alignment_log2; // 0 unless the operation carries an alignment
  uint8_t reserved;       // 0
} ha_op;

enum {
  HA_TRACE_INCOMPLETE = 1u << 0, // the recording ended badly: what is here is a true prefix
  HA_TRACE_ADJUSTED = 1u << 1,   // the recorder had to bend events to fit (see the META remarks)
};

// What the whole trace amounts to; stored in the DONE block and checked against what was read.
typedef struct ha_trace_totals {
  uint64_t operations;
  uint64_t objects; // allocations that succeeded
  uint64_t threads;
  uint64_t processes;
  uint64_t by_kind[HA_OP_KINDS];
  uint64_t live_bytes_peak; // requested bytes, after the operation at which they peak, in the trace's order
  uint64_t live_objects_peak;
  uint64_t live_bytes_end;  // never freed
  uint64_t requested_bytes; // sum over all allocations and reallocs
  uint64_t remote_frees;    // frees and reallocs by another thread than the one that allocated
  uint64_t duration_ns;
  uint64_t checksum;     // ha_trace_checksum over all operations in order
  uint32_t flags;        // HA_TRACE_*
  uint32_t curve_points; // live bytes after each `curve_step` operations
  uint64_t curve_step;
  uint64_t curve[HA_TRACE_CURVE_POINTS];
} ha_trace_totals;

// Folds one operation (all fields but time_ns) into a running checksum that starts at 0. The same function
// serves writer, reader and replayer: equal sums mean the same operations in the same order.
uint64_t ha_trace_checksum(uint64_t sum, const ha_op *op);

typedef struct ha_trace_thread {
  uint32_t thread;
  uint32_t parent;    // thread that started it; itself for the first
  uint32_t process;   // numbered from 0 in order of appearance
  uint32_t system_id; // the kernel's thread id when recorded
  char name[32];      // program or thread name, NUL-terminated
} ha_trace_thread;

// ---- Reading ----

typedef struct ha_trace_reader ha_trace_reader;

// Opens `path` ("-": standard input) and checks the header. NULL and one line in `why` (what, where, what to
// do) on failure. The reader is used by one thread at a time and closed with ha_trace_close.
ha_trace_reader *ha_trace_open(const char *path, char *why, size_t why_size);

// The next operation: 1 and *op filled; 0 at the end, once the DONE block was read and its totals agree with
// the operations; -1 on a damaged or cut-off file, with the reason (offset named) from ha_trace_error. Every
// operation returned is checked: thread and kind known, freed objects live, sizes in range, no operation of a
// thread before its SPAWN or after its end. All memory comes from mmap: a reader may run in a process whose
// malloc is under test.
int ha_trace_next(ha_trace_reader *reader, ha_op *op);

// Why ha_trace_next() returned -1: one line, owned by the reader.
const char *ha_trace_error(const ha_trace_reader *reader);
// Totals: valid after ha_trace_next returned 0.
const ha_trace_totals *ha_trace_get_totals(const ha_trace_reader *reader);
// META text read so far, NUL-terminated; owned by the reader.
const char *ha_trace_meta(const ha_trace_reader *reader);
// When the trace began, ns since the epoch.
uint64_t ha_trace_clock_start(const ha_trace_reader *reader);
// Threads known so far; owned by the reader, moves when more are read.
const ha_trace_thread *ha_trace_threads(const ha_trace_reader *reader, size_t *count);
void ha_trace_close(ha_trace_reader *reader);

// ---- Writing ----

typedef struct ha_trace_writer ha_trace_writer;

// Creates `path` (replacing it only when finished: writes beside it and renames). `clock_start_ns`: since the
// epoch. NULL and one line in `why` on failure.
ha_trace_writer *ha_trace_create(const char *path, uint64_t clock_start_ns, const char *meta, char *why,
                                 size_t why_size);
// Threads must be announced before operations mention them. Returns false after a write error.
bool ha_trace_add_thread(ha_trace_writer *writer, const ha_trace_thread *thread);
// Adds META text (whole "key: value\n" lines) behind what was given before: remarks that are known only at
// the end.
bool ha_trace_add_meta(ha_trace_writer *writer, const char *text);
// Appends an operation; the rules of ha_trace_next hold and are checked. Returns false on a violation or
// write error.
bool ha_trace_write(ha_trace_writer *writer, const ha_op *op);
// Writes the DONE block, renames the file into place and frees the writer. `flags`: HA_TRACE_*. Returns
// false, with one line in `why`, if anything was lost.
bool ha_trace_finish(ha_trace_writer *writer, uint32_t flags, ha_trace_totals *totals, char *why,
                     size_t why_size);
// Removes the unfinished file and frees the writer.
void ha_trace_abandon(ha_trace_writer *writer);

#endif

// trace_spool.h: the files that the recorder (recorder.c, inside the recorded programs) leaves in the spool
// folder and that the collector (collect.c) makes a trace of. Private to these two; both are of one build and
// one machine.
//
//   PID-START.process        one per process image: an ha_spool_process, kept up to date while the process runs
//   PID-START-TOKEN-N.chunk  N-th chunk of one thread: an ha_spool_chunk, then raw records; the first record
//                            whose first word is 0 ends it
//
// START is the process image's start in ns of CLOCK_MONOTONIC: it tells the images of one pid apart (exec).
// TOKEN numbers the threads of a process, 0 being the one that began it. Files are mapped shared and written
// in place, so that whatever a program did is there even after kill -9.
//
// Order across threads is that of the time stamps. They agree with happens-before: a free is stamped before
// the block goes back, an allocation after it was got, and on a machine whose time-stamp counter is invariant
// and in step between processors all threads read one clock.
#ifndef HEAPARENA_WORKLOADS_TRACE_SPOOL_H
#define HEAPARENA_WORKLOADS_TRACE_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#define HA_SPOOL_VARIABLE      "HEAPARENA_SPOOL"   // environment: the spool folder, absolute
#define HA_SPOOL_PROCESS_MAGIC 0x3143525050414548u // "HEAPPRC1"
#define HA_SPOOL_CHUNK_MAGIC   0x314b4e4850414548u // "HEAPHNK1"
#define HA_SPOOL_PROCESS_FILE  "%u-%llu.process"
#define HA_SPOOL_CHUNK_FILE    "%u-%llu-%u-%u.chunk"

enum { HA_CLOCK_MONOTONIC = 0, HA_CLOCK_TSC = 1 }; // unit of stamps: ns, or ticks
enum { HA_ENDED_NOT = 0, HA_ENDED_EXIT = 1, HA_ENDED_EXEC = 2 };

typedef struct ha_spool_process {
  uint64_t magic;
  uint32_t pid, parent_pid;
  uint64_t start_ns;       // CLOCK_MONOTONIC
  uint64_t start_epoch_ns; // CLOCK_REALTIME
  uint64_t start_stamp;    // taken with start_ns
  uint64_t last_ns;        // a later pair, for calibration; 0 if there was none
  uint64_t last_stamp;
  uint64_t parent_start_ns; // of the process image that forked this one, 0 if not known
  uint32_t parent_token;    // its thread that forked, 0 if not known
  uint32_t clock;           // HA_CLOCK_*
  uint32_t ended;           // HA_ENDED_*
  uint32_t stopped;         // recording gave up: disk full, no descriptor
  uint64_t lost;            // events that were not written
  char program[64];
} ha_spool_process;

typedef struct ha_spool_chunk {
  uint64_t magic;
  uint64_t start_ns; // the process image's
  uint32_t pid, token, number;
  uint32_t system_id; // kernel's thread id
  uint32_t bytes;     // of the file, as mapped
  uint32_t reserved[3];
  char name[16]; // of the thread
} ha_spool_chunk;

// A raw record: 24 bytes.
typedef struct ha_raw {
  uint64_t stamp_kind; // stamp << HA_RAW_KIND_BITS | kind; written last; 0: none yet
  uint64_t address;    // of the block (0: failed) or token (SPAWN, JOIN); alignment log2 in the top bits
  uint64_t size;
} ha_raw;

#define HA_SPOOL_STAMP_EVERY 8 // events per reading of the clock, in a program with one thread

#define HA_RAW_KIND_BITS       5
#define HA_RAW_ALIGNMENT_SHIFT 58

enum {
  HA_RAW_MALLOC = 1,
  HA_RAW_CALLOC,
  HA_RAW_REALLOC_BEGIN, // address: the old block
  HA_RAW_REALLOC_END,   // address: the new block; 0 with size 0: freed
  HA_RAW_FREE,
  HA_RAW_ALIGNED_ALLOC,
  HA_RAW_POSIX_MEMALIGN,
  HA_RAW_FREE_SIZED,
  HA_RAW_PURGE,
  HA_RAW_SPAWN, // before the thread is created
  HA_RAW_JOIN,  // after it was joined
  HA_RAW_KINDS
};

// The time-stamp counter, the unit of HA_CLOCK_TSC; 0 where there is none. `ordered`: not read before what
// comes earlier in the program is done, so that an order seen between threads is an order stamped (it costs 6
// ns more).
static inline uint64_t ha_spool_ticks(bool ordered) {
#if defined(__x86_64__)
  unsigned processor;
  return ordered ? __builtin_ia32_rdtscp(&processor) : __builtin_ia32_rdtsc();
#else
  (void)ordered;
  return 0;
#endif
}

#endif

// trace_spool.h: the files that the recorder (recorder.c, inside the recorded programs) leaves in the spool
// folder and that the collector (collect.c) makes a trace of. Private to these two; both are of one build and
// one machine.
//
//   PID-START.process     one per process image: an ha_spool_process, kept up to date while the process runs
//   PID-START-TOKEN.tail  one per thread: an ha_spool_tail, then the thread's latest words, mapped shared
//   PID-START-TOKEN.log   its earlier words: the tail is appended here whenever it is full
//   PID-START-N.unseen    one line: a program that was started and cannot be recorded, and why
//
// START is the process image's start in ns of CLOCK_MONOTONIC: it tells the images of one pid apart (exec).
// TOKEN numbers the threads of a process, 0 being the one that began it. The tail is written in place and used
// again and again: whatever a program did is there even after kill -9, and no page is faulted in twice.
//
// Words: a record is one to three words of 64 bits; 0 is no record. From the low bits: kind (5), address (47),
// and 12 bits `small`: the size if it is below HA_SMALL_SIZE, else the size follows in a word of its own; after
// HA_SMALL_BOTH the alignment's log2 follows that. A HA_RAW_TIME word holds a stamp instead of all this: what
// follows it happened not before.
//
// Order across threads is that of the stamps. Reading the counter holds up the processor, so that only these
// events have a stamp of their own: the first in every 128 bytes, all about threads, and all on an address
// that another thread had last (trace_record.h). The rest keep their thread's order and count as having
// happened at the stamp before them: earlier than in truth, and never on the other side of an event that they
// must follow or precede, since one of any two threads' consecutive events on an address has its own stamp.
// Stamps agree with happens-before: a free is stamped before the block goes back, an allocation after it was
// got, and on a machine whose time-stamp counter is invariant and in step between processors all threads read
// one clock.
#ifndef HEAPARENA_WORKLOADS_TRACE_SPOOL_H
#define HEAPARENA_WORKLOADS_TRACE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HA_SPOOL_VARIABLE      "HEAPARENA_SPOOL"   // environment: the spool folder, absolute
#define HA_SPOOL_PROCESS_MAGIC 0x3243525050414548u // "HEAPPRC2"
#define HA_SPOOL_TAIL_MAGIC    0x324c494154414548u // "HEATAIL2"
#define HA_SPOOL_PROCESS_FILE  "%u-%llu.process"
#define HA_SPOOL_TAIL_FILE     "%u-%llu-%u.tail"
#define HA_SPOOL_LOG_FILE      "%u-%llu-%u.log"
#define HA_SPOOL_UNSEEN_FILE   "%u-%llu-%u.unseen"

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
  uint32_t own_malloc;      // the program brings a malloc of its own, which hides the recorder's
  uint32_t reserved;
  char program[64];
} ha_spool_process;

typedef struct ha_spool_tail {
  uint64_t magic;
  uint64_t start_ns; // the process image's
  uint32_t pid, token;
  uint32_t system_id; // kernel's thread id
  uint32_t reserved;
  uint64_t logged; // bytes of the log before this; HA_SPOOL_CLEARING: the words here are in the log already
  char name[16];   // of the thread
} ha_spool_tail;

#define HA_SPOOL_CLEARING ((uint64_t)1 << 63)

#define HA_WORD_KIND_BITS    5
#define HA_WORD_ADDRESS_BITS 47
#define HA_WORD_SMALL_SHIFT  (HA_WORD_KIND_BITS + HA_WORD_ADDRESS_BITS)
#define HA_SMALL_SIZE        4094u
#define HA_SMALL_BOTH        4095u
#define HA_RECORD_WORDS      ((size_t)3) // of the longest record

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
  HA_RAW_SPAWN, // before the thread is created; address: token
  HA_RAW_JOIN,  // after it was joined; address: token
  HA_RAW_TIME,
  HA_RAW_KINDS
};

// A record unpacked.
typedef struct ha_raw {
  uint64_t address; // of the block (0: failed) or token
  uint64_t size;
  uint32_t kind, alignment_log2;
} ha_raw;

// Words that the record takes.
static inline size_t ha_raw_words(uint64_t size, unsigned alignment_log2) {
  return alignment_log2 != 0 ? 3 : size < HA_SMALL_SIZE ? 1 : 2;
}

// Its first word; the next ones are size and alignment. `address` has to fit.
static inline uint64_t ha_raw_word(unsigned kind, uint64_t address, uint64_t size, unsigned alignment_log2) {
  uint64_t small = alignment_log2 != 0 ? HA_SMALL_BOTH : size < HA_SMALL_SIZE ? size : HA_SMALL_SIZE;
  return small << HA_WORD_SMALL_SHIFT | address << HA_WORD_KIND_BITS | kind;
}

// A word that says the time of the records after it.
static inline uint64_t ha_raw_time(uint64_t stamp) {
  return stamp << HA_WORD_KIND_BITS | HA_RAW_TIME;
}

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

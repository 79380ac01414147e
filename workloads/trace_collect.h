// trace_collect.h: makes one trace of what the recorder left in a spool folder. The public part is
// ha_collect(); the rest is shared by collect.c (events become operations) and collect_spool.c (files, clock,
// merging by time).
#ifndef HEAPARENA_WORKLOADS_TRACE_COLLECT_H
#define HEAPARENA_WORKLOADS_TRACE_COLLECT_H

#include "workloads/trace.h"
#include "workloads/trace_map.h"
#include "workloads/trace_spool.h"

// What the collector had to do beyond copying; all counts.
typedef struct ha_collect_remarks {
  uint64_t unknown_frees; // of blocks that were there before the recording (inherited over fork): dropped
  uint64_t late_frees;    // an address came back before its free was seen: a free was put before it
  uint64_t exit_frees;    // live when their process ended, while others went on: freed there
  uint64_t lost;          // events that the recorder could not write
  uint64_t killed;        // processes without a regular end
  uint64_t stopped;       // processes whose recording stopped (disk full)
  uint64_t damaged;       // files of the spool that are missing, foreign or torn
  uint64_t unseen;        // programs that were started and could not be recorded
  uint64_t own_malloc;    // programs that brought a malloc of their own: not recorded either
  char text[8192];        // the same for META: a line "remark: ..." for each that is not 0
} ha_collect_remarks;

// Merges all processes and threads in `spool` into the trace `output`. `meta`: "key: value\n" lines to store,
// may be
// "". Returns false with one line in `why`. Uses the process's malloc.
bool ha_collect(const char *spool, const char *output, const char *meta, ha_trace_totals *totals,
                ha_collect_remarks *remarks, char *why, size_t why_size);

// ---- Inside ----

#define COLLECT_NONE UINT32_MAX

typedef struct collect_thread {
  uint32_t process; // index into collect_spool.processes
  uint32_t token, system_id;
  char name[16];
  uint64_t
      logged;   // bytes of its log that come before the tail; HA_SPOOL_CLEARING: there is no more in the tail
  bool in_tail; // reading has come to the tail
  // Reading: the file that is mapped, and what is left of its words.
  void *mapped;
  size_t mapped_bytes;
  const uint64_t *next, *end;
  ha_raw raw;     // the next record while not exhausted
  uint64_t stamp; // its time: that of the latest HA_RAW_TIME
  bool exhausted;
  // Writing.
  uint32_t number; // in the trace, COLLECT_NONE before it appears
  bool exited, joined;
  bool must_join; // processes that it started have ended (collect_process.waits_for)
  bool resizing;  // between the two records of a realloc
  bool resized_known;
  uint64_t resized_address, resized_object, resized_size;
} collect_thread;

typedef struct collect_process {
  ha_spool_process info;
  ha_trace_map live; // address -> size, value = object, thread = index of the allocating thread
  uint32_t first_thread, thread_count; // in collect_spool.threads, sorted by token
  uint32_t running;                    // threads not exhausted
  uint32_t number;                     // in the trace
  uint32_t successor;                  // the image that this one executed, COLLECT_NONE
  uint32_t predecessor;
  uint32_t spawner;   // thread (index) that started it in the trace, COLLECT_NONE
  uint32_t waits_for; // it ended, and this thread is to join it; COLLECT_NONE
} collect_process;

typedef struct collect_spool {
  char folder[4096];
  collect_process *processes; // sorted by start
  uint32_t process_count;
  collect_thread *threads; // sorted by process, token
  uint32_t thread_count;
  uint32_t *heap; // threads that are not exhausted, the one with the earliest stamp first
  uint32_t heap_count;
  uint32_t clock;
  uint64_t first_stamp; // of the earliest record
  double ns_per_stamp;
  uint64_t clock_start_ns; // epoch, at first_stamp
  uint64_t damaged;
  uint64_t unseen;
  char unseen_text[4096]; // a "remark: ..." line for each, as far as there is room
} collect_spool;

// Finds all files and reads the first record of each thread. False with one line in `why`; close it in any
// case.
bool collect_open(collect_spool *spool, const char *folder, char *why, size_t why_size);
void collect_close(collect_spool *spool);
// The thread (index) with the earliest record, COLLECT_NONE at the end.
uint32_t collect_earliest(const collect_spool *spool);
// Steps that thread, the earliest, to its next record (perhaps to its end: exhausted).
void collect_advance(collect_spool *spool);
// Thread of that process with that token, COLLECT_NONE if it left no records.
uint32_t collect_find_thread(const collect_spool *spool, uint32_t process, uint32_t token);

#endif

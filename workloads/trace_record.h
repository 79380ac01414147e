// trace_record.h: the recorder's inside: recorder.c (the interposed functions) calls record_spool.c (chunks,
// processes). The recorder lives in foreign programs: it never allocates from their heap, never recurses, and
// keeps errno.
#ifndef HEAPARENA_WORKLOADS_TRACE_RECORD_H
#define HEAPARENA_WORKLOADS_TRACE_RECORD_H

#include "workloads/trace_spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

// A thread's place in the spool. Zero at first: the first record finds no room and takes the slow path.
typedef struct record_thread {
  uintptr_t cursor, limit; // where the next record goes; end of the chunk
  ha_spool_chunk *chunk;
  uint64_t process;       // start_ns of the process image it belongs to
  uint64_t stamp;         // last reading of the clock, while the program has one thread
  uint32_t events;        // in all, while the program has one thread
  uint32_t token, chunks; // its number in that process; chunks taken so far
  bool busy;  // inside the slow path: a signal handler that allocates then loses its event, counted
  bool named; // token is set
} record_thread;

extern __thread record_thread record_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

// 1 once this process image has its file in the spool. On a page of its own that fork() wipes in the child,
// so that a child, however made, sees 0 and begins a record of its own before it writes into its parent's
// chunks.
extern uint32_t record_alive[1024] __attribute__((visibility("hidden")));
extern uint32_t record_clock __attribute__((visibility("hidden"))); // HA_CLOCK_*
extern bool record_threaded __attribute__((visibility("hidden")));  // a second thread was started

// Begins a record for this process image if it is a forked child that has none yet.
void record_begin(void) __attribute__((visibility("hidden")));
// Gives the calling thread room for a record and returns its address, 0 if the event is lost (and counted).
uintptr_t record_slow(void) __attribute__((visibility("hidden")));
// The number of the next thread of this process.
uint32_t record_next_token(void) __attribute__((visibility("hidden")));
// The start_ns that tells this process image.
uint64_t record_process(void) __attribute__((visibility("hidden")));
// The thread ends: trims its chunk to what was used. A later event opens a new one.
void record_close_thread(void) __attribute__((visibility("hidden")));
// Notes how the process image ends (HA_ENDED_*). Does nothing in a vfork child, which shares its parent's
// memory.
void record_ended(uint32_t how) __attribute__((visibility("hidden")));
// Reads the environment and the clock; begins this process image's record. Before any other call.
void record_start(void) __attribute__((visibility("hidden")));

// The clock read now, whatever it costs.
static inline uint64_t record_stamp_now(void) {
  if (__builtin_expect(record_clock == HA_CLOCK_TSC, 1))
    return ha_spool_ticks(record_threaded);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// The stamp of an event. A thread's own records are in order whatever their stamps say, so a program with one
// thread is spared most readings: the counter holds up the processor (reading it each time doubled the
// overhead).
static inline uint64_t record_stamp(void) {
  if (__builtin_expect(record_threaded, 0))
    return record_stamp_now();
  if (record_tls.events++ % HA_SPOOL_STAMP_EVERY == 0)
    record_tls.stamp = record_stamp_now();
  return record_tls.stamp;
}

// Takes a record's bytes off the chunk in one instruction, so that a signal handler that allocates in between
// gets bytes of its own.
static inline uintptr_t record_take(void) {
  uintptr_t at = sizeof(ha_raw);
#if defined(__x86_64__)
  __asm__ volatile("xaddq %0, %1" : "+r"(at), "+m"(record_tls.cursor));
#else
  at = record_tls.cursor;
  record_tls.cursor = at + sizeof(ha_raw);
#endif
  return at;
}

static inline void record_event_at(uint64_t stamp, unsigned kind, uint64_t address, uint64_t size) {
  uintptr_t at = record_take();
  if (__builtin_expect(at + sizeof(ha_raw) > record_tls.limit || record_alive[0] == 0, 0)) {
    at = record_slow();
    if (at == 0)
      return;
    if (!record_threaded) // perhaps the first event of a forked child: not with its parent's stamp
      record_tls.stamp = stamp = record_stamp_now();
  }
  volatile ha_raw *raw = (volatile ha_raw *)at;
  raw->address = address;
  raw->size = size;
  // Last: a program killed in between leaves no half record.
  raw->stamp_kind = stamp << HA_RAW_KIND_BITS | kind;
}

static inline void record_event(unsigned kind, const void *block, unsigned alignment_log2, uint64_t size) {
  record_event_at(record_stamp(), kind, (uintptr_t)block | (uint64_t)alignment_log2 << HA_RAW_ALIGNMENT_SHIFT,
                  size);
}

#endif

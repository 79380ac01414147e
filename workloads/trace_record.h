// trace_record.h: the recorder's inside: recorder.c and record_exec.c (the interposed functions) call
// record_spool.c (files, processes). The recorder lives in foreign programs: it never allocates from their heap, never recurses, and
// keeps errno.
#ifndef HEAPARENA_WORKLOADS_TRACE_RECORD_H
#define HEAPARENA_WORKLOADS_TRACE_RECORD_H

#include "workloads/trace_spool.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

// ISO C has no conversion between object and function pointers; POSIX has, for dlsym.
#define RECORD_FIND(pointer, name)                                                                           \
  do {                                                                                                       \
    void *found_ = dlsym(RTLD_NEXT, name);                                                                   \
    memcpy(&(pointer), &found_, sizeof found_);                                                              \
  } while (0)

// A thread's place in the spool. Zero at first: the first record finds no room and takes the slow path.
typedef struct record_thread {
  // Where the next record goes, and the tail's end. While a record is written the cursor is RECORD_BUSY, for
  // which there is no room either: a signal handler that allocates just then loses its event, counted.
  uintptr_t cursor, limit;
  ha_spool_tail *tail;
  uint64_t process; // start_ns of the process image it belongs to
  uint64_t owner;   // what marks an address as this thread's in record_owners; 0: too many threads
  uint32_t token;   // its number in that process
  uint32_t used;    // bytes of the tail when it was closed; 0: never opened
  bool named;       // token is set
} record_thread;

#define RECORD_BUSY (UINTPTR_MAX - 4096)

extern __thread record_thread record_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

// What this process image is: RECORD_NONE until it has its file in the spool. On a page of its own that fork()
// wipes in the child, so that a child, however made, sees RECORD_NONE and begins a record of its own before it
// writes where its parent's tails were.
enum { RECORD_NONE = 0, RECORD_SINGLE = 1, RECORD_THREADED = 2 };
extern uint32_t record_alive[1024] __attribute__((visibility("hidden")));
extern uint32_t record_clock __attribute__((visibility("hidden")));  // HA_CLOCK_*
extern bool record_own_malloc __attribute__((visibility("hidden"))); // the program defines malloc itself

// Begins a record for this process image if it is a forked child that has none yet.
void record_begin(void) __attribute__((visibility("hidden")));
// Notes that this process image starts a program that cannot be recorded, if that is so: it is linked
// statically or has rights of its own. `path`: its file, or with `search` a name that PATH leads to.
void record_unseen(const char *path, bool search) __attribute__((visibility("hidden")));
// Finds the functions that record_exec.c stands before.
void record_find_ends(void) __attribute__((visibility("hidden")));
// True once the functions that the recorder stands before are known.
bool record_ready(void) __attribute__((visibility("hidden")));
// Makes the calling thread the one with that number.
void record_name_thread(uint32_t token) __attribute__((visibility("hidden")));
// The number of the next thread of this process.
uint32_t record_next_token(void) __attribute__((visibility("hidden")));
// The start_ns that tells this process image.
uint64_t record_process(void) __attribute__((visibility("hidden")));
// The thread ends: trims its tail to what was used. A later event opens it again.
void record_close_thread(void) __attribute__((visibility("hidden")));
// Notes how the process image ends (HA_ENDED_*). Does nothing in a vfork child, which shares its parent's
// memory.
void record_ended(uint32_t how) __attribute__((visibility("hidden")));
// Reads the environment and the clock; begins this process image's record. Before any other call.
void record_start(void) __attribute__((visibility("hidden")));

// The clock read now, whatever it costs.
static inline uint64_t record_stamp_now(void) {
  if (__builtin_expect(record_clock == HA_CLOCK_TSC, 1))
    return ha_spool_ticks(record_alive[0] == RECORD_THREADED);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// ---- Who had an address last ----
//
// While the program has several threads: a table of (address, thread) by a hash of the address, written by
// whoever allocates. If it says that the calling thread got this address last, and nobody else has freed it
// since, then everything that happened to the address since then happened in this thread, and its order is
// known without a stamp. Any other entry, also one overwritten by an address with the same hash, only costs a
// stamp. Addresses near to each other share cache lines of the table, so threads with heaps of their own have
// lines of their own.

#define RECORD_OWNERS      ((size_t)1 << 16)
#define RECORD_OWNER_SHIFT (64 - 13) // lines of eight entries

extern uint64_t record_owners[RECORD_OWNERS] __attribute__((visibility("hidden")));

// True if the event has to be stamped.
static inline bool record_crosses(unsigned kind, uint64_t address) {
  uint64_t line = ((address >> 7) * 0x9e3779b97f4a7c15u) >> RECORD_OWNER_SHIFT;
  uint64_t *entry = &record_owners[line << 3 | (address >> 4 & 7)];
  uint64_t own = address << 17 | record_tls.owner;
  bool same = __atomic_load_n(entry, __ATOMIC_RELAXED) == own && record_tls.owner != 0;
  if (kind != HA_RAW_FREE && kind != HA_RAW_FREE_SIZED && kind != HA_RAW_REALLOC_BEGIN) {
    if (!same)
      __atomic_store_n(entry, own, __ATOMIC_RELAXED);
  } else if (!same) {
    __atomic_store_n(entry, 0, __ATOMIC_RELAXED); // whoever gets it next stamps that
  }
  return !same;
}

// ---- Records ----

// Every record that begins in the first words of a line of memory is stamped, so that time goes on.
static inline bool record_due(uintptr_t at) {
  return (at & 127) < 2 * sizeof(uint64_t);
}

// Writes any record, in its due time and place (record_spool.c).
void record_write(unsigned kind, uint64_t address, uint64_t size, unsigned alignment_log2, bool stamped)
    __attribute__((visibility("hidden")));

// The way of nearly all events: one word, no stamp. Inlined so that `kind` and `alignment_log2` are constants.
static inline __attribute__((always_inline)) void record_event(unsigned kind, const void *block,
                                                               unsigned alignment_log2, uint64_t size) {
  uint64_t address = (uintptr_t)block;
  uintptr_t at = record_tls.cursor;
  uint32_t alive = record_alive[0];
  bool stamped = record_due(at);
  if (alive == RECORD_THREADED)
    stamped |= record_crosses(kind, address);
  if (__builtin_expect(stamped || alive == RECORD_NONE || at + sizeof(uint64_t) > record_tls.limit ||
                           size >= HA_SMALL_SIZE || alignment_log2 != 0 ||
                           address >> HA_WORD_ADDRESS_BITS != 0,
                       0)) {
    record_write(kind, address, size, alignment_log2, stamped);
    return;
  }
  *(volatile uintptr_t *)&record_tls.cursor = RECORD_BUSY;
  *(volatile uint64_t *)at = ha_raw_word(kind, address, size, 0);
  *(volatile uintptr_t *)&record_tls.cursor = at + sizeof(uint64_t);
}

// About a thread: always stamped.
static inline void record_thread_event(unsigned kind, uint32_t token) {
  record_write(kind, token, 0, 0, true);
}

#endif

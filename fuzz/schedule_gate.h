// schedule_gate.h: what lies between gomalloc with yield points and the scheduler that explores it (schedule.h).
//
// The library gomalloc-schedule is core/'s sources, unchanged, compiled as for ThreadSanitizer and linked with a
// runtime of ours (schedule_points.c). The compiler calls the runtime at every access of memory: atomic operations and
// words that threads share on purpose (GM_SHARED_LOAD and its like) always, plain reads and writes as well. Each call
// is a point at which another thread may be let in: so nothing in core/ has to name them, and none can be forgotten.
//
// Locks: what sleeps in the kernel (futex) is led to the gate too. So a thread that waits for a lock is one that the
// scheduler knows to be blocked, and a wake-up that is lost shows as a deadlock.
//
// Threads: one runs at a time, and only it touches the gate. What the model leaves out: accesses happen in the
// order of the program text as compiled (sequential consistency), so a missing barrier is not found here.
//
// Ideas: PCT's points (Burckhardt et al., ASPLOS 2010); a runtime of one's own under the compiler's instrumentation.
#ifndef HEAPARENA_FUZZ_SCHEDULE_GATE_H
#define HEAPARENA_FUZZ_SCHEDULE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the thread is about to do at a point.
typedef enum schedule_access {
  SCHEDULE_READ, // plain
  SCHEDULE_WRITE,
  SCHEDULE_LOAD, // atomic
  SCHEDULE_STORE,
  SCHEDULE_UPDATE, // exchange, fetch-and-..., compare-and-exchange
  SCHEDULE_WAIT,   // sleep until the word is woken
  SCHEDULE_WAKE,   // wake who sleeps on the word
  SCHEDULE_SLEEP,  // sleep for a time: until the program's clock moves
  SCHEDULE_ACCESSES
} schedule_access;

struct schedule_gate {
  uint64_t left;   // points until `stop` is called; counts down
  bool plain;      // plain reads and writes are points as well
  uintptr_t own;   // memory of the running thread alone (stack and thread-locals): no points there
  size_t own_size; // 0: none
  void *library;   // an address in the library, for telling where it lies
  uint64_t now_ns; // what the library's clock says

  // Set by the scheduler; not called while `left` stays above 0 and nobody waits. `site`: the return address of the
  // access, in the library.
  void (*stop)(schedule_access access, const void *address, const void *site);
  // Futex calls. False: the scheduler knows nothing of the caller, which then calls the kernel.
  bool (*wait)(const uint32_t *word, uint32_t value, const void *site);
  bool (*wake)(const uint32_t *word, unsigned count, const void *site);
  // The library begins a thread of its own, or sleeps. False: no thread can be had; the kernel is called.
  bool (*create)(void *(*start)(void *), void *argument);
  bool (*sleep)(const void *site);
};

// Exported by the library under this name; found by dlsym.
extern struct schedule_gate gomalloc_schedule_gate;
#define SCHEDULE_GATE_SYMBOL "gomalloc_schedule_gate"

#endif

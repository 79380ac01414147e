// core_fuzz_world.h: what lies around gomalloc's core in the target `core`: the state of its own variables, the
// system below it, the clock, and the thread of its scavenger. All four are the harness's, so an input does
// the same each time, at the same addresses.
//
//   state      each input begins with variables as they were before main (core_fuzz_section.h puts them together)
//   system     mmap and its like come here by the linker's --wrap. Memory is handed out from one range of
//              addresses, which is unmapped as a whole at the end of the input. Requests fail when told.
//   clock      stands still but for core_world_advance
//   scavenger  a real thread that only runs inside core_world_tick, and stops where it would sleep or where it gives
//              pages back, so that the input can do what it wants in between
//
// Idea: tcmalloc's component fuzzers (huge_page_filler_fuzz.cc: fake clock, failing system calls).
// Threads: one, and the scavenger's, which waits whenever that one runs.
#ifndef HEAPARENA_FUZZ_CORE_FUZZ_WORLD_H
#define HEAPARENA_FUZZ_CORE_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Addresses for the core lie in [CORE_WORLD_LOW, CORE_WORLD_HIGH), beyond AddressSanitizer's shadow.
#define CORE_WORLD_LOW  ((uintptr_t)0x200000000000)
#define CORE_WORLD_HIGH ((uintptr_t)0x400000000000)

// A core that never ran, no mapping, time 0 + one second, nothing fails, no limit on address space.
void core_world_begin(void);

// Ends the scavenger's thread and unmaps everything.
void core_world_end(void);

// Of the requests for memory (mmap, mprotect to accessible) from now on, number `skip` (from 0) and `more` after
// it fail with ENOMEM.
void core_world_fail(unsigned skip, unsigned more);

// No request fails any more. Returns how many did since core_world_fail.
unsigned core_world_stop_failing(void);

// While true, madvise(MADV_DONTNEED) is refused, as it is for locked pages.
void core_world_lock_pages(bool locked);

// While true, mmap does not heed hints, and places lie one kernel page further than good alignment.
void core_world_scatter(bool scatter);

// Which layout the core's first arena gives the heap, whatever the environment says: to be called before it.
void core_world_layout(bool linear);

// RLIMIT_AS as the core sees it.
void core_world_limit(size_t bytes);

// Moves the clock that the core sees.
void core_world_advance(uint64_t milliseconds);

// Called for each range that goes back to the system by madvise(MADV_DONTNEED). NULL: nobody.
extern void (*core_world_on_discard)(uintptr_t start, size_t size);

// Where the scavenger's thread stands.
enum core_scavenger {
  SCAVENGER_NONE,      // was not started
  SCAVENGER_NAPPING,   // sleeps for a part of the decay time
  SCAVENGER_ASLEEP,    // until a free wakes it
  SCAVENGER_RELEASING, // about to give pages back; holds no lock
};
enum core_scavenger core_world_scavenger(void);

// Lets the thread run to its next stop. False when it cannot: it is SCAVENGER_NONE, or SCAVENGER_ASLEEP and nobody woke
// it.
bool core_world_tick(void);

// Whether a free woke the thread since it fell SCAVENGER_ASLEEP.
bool core_world_is_woken(void);

// The thread is gone, as in a child of fork.
void core_world_lose_scavenger(void);

// How long the thread's last nap was to be, in milliseconds.
uint64_t core_world_nap(void);

// Whether the action ends in gm_fatal. If so, the core is in no state to go on with: the input ends.
bool core_world_is_fatal(void (*action)(void *context), void *context);

#endif

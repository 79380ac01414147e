// os_hook.h: the system below the subject, in the harness's hands.
//
// A library's calls of mmap and its like are led here by writing these functions' addresses into its import
// table (its relocations name what it calls); linked gomalloc's by the linker's --wrap. So one mechanism fails
// the k-th request for memory of any allocator that asks its C library, and moves its clock, without preloading
// anything and without a line of the allocator changed. Calls from outside a subject's call pass through.
//
// Idea: tcmalloc's fuzzers, whose page source fails when told; here for allocators that know nothing of it.
#ifndef HEAPARENA_FUZZ_OS_HOOK_H
#define HEAPARENA_FUZZ_OS_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the subject asked of the system since the process began. One writer at a time (the token's holder).
typedef struct fuzz_os_counts {
  uint64_t maps;     // mmap, mprotect to accessible, mremap, sbrk: requests for memory
  uint64_t unmaps;   // munmap, madvise
  uint64_t failures; // of maps: those that were made to fail
} fuzz_os_counts;
extern fuzz_os_counts fuzz_os;

// Set while a thread is inside the subject: only then requests fail or are counted. Thread-local.
extern __thread bool fuzz_os_inside;

// While it is set, what this thread writes to stderr is dropped: reports of misuse that was made on purpose.
extern __thread bool fuzz_os_mute;

// Leads the calls of the library (a handle of dlopen) here. Returns whether any call for memory was found;
// *clock tells whether one of clock_gettime was.
bool fuzz_os_hook_library(void *handle, bool *clock);

// Of the requests for memory from now on, number `skip` (from 0) and `more` after it fail with ENOMEM.
void fuzz_os_fail(unsigned skip, unsigned more);
// No request fails any more. Returns whether some are still to come.
bool fuzz_os_stop_failing(void);
// The subject's clock is ahead of the system's by so much, from now on in addition to what it was.
void fuzz_os_advance_clock(uint64_t milliseconds);

#endif

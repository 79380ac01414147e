// feedback.h: coverage for libraries that are not instrumented.
//
// libFuzzer keeps an input when one of its counters takes a value (by powers of two) not seen before. Besides
// those that the compiler plants it reads the section __libfuzzer_extra_counters: 8-bit counters that are reset
// for every input. Here they count what the allocator shows to the outside: for each call a hash of (operation,
// size class of the usable size, distance to the block returned before, reuse distance, whether the block
// crosses a page, whether the call mapped or unmapped memory). So an input that makes mimalloc.so, as shipped,
// take another path (a fresh page, a reused block, a purge) is kept and mutated further.
//
// Threads: only the holder of the token calls these.
#ifndef HEAPARENA_FUZZ_FEEDBACK_H
#define HEAPARENA_FUZZ_FEEDBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Forgets what came before: call at the start of each program. Counters of libFuzzer are reset by itself.
void fuzz_feedback_begin(void);
// An allocation (or realloc) of this kind returned `address` (0: failed) with so many usable bytes.
void fuzz_feedback_allocated(unsigned kind, uintptr_t address, size_t usable);
// A block is about to be freed.
void fuzz_feedback_freed(unsigned kind, uintptr_t address, size_t usable);
// Switches the counters off (the blind control of the experiment in README.md).
void fuzz_feedback_enable(bool on);

// Takes the counters over from a process that ran the input: one saves them into shared memory, the other loads
// them.
#define FUZZ_FEEDBACK_BYTES 4096u
void fuzz_feedback_save(uint8_t to[FUZZ_FEEDBACK_BYTES]);
void fuzz_feedback_load(const uint8_t from[FUZZ_FEEDBACK_BYTES]);

// The counters, for tests: how many are not 0 now.
size_t fuzz_feedback_lit(void);

#endif

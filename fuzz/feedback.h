// feedback.h: coverage for libraries that are not instrumented.
//
// libFuzzer keeps an input when one of its counters takes a value (by powers of two) not seen before. Besides
// those that the compiler plants it reads the section __libfuzzer_extra_counters: 8-bit counters that are reset
// for every input. Here they say what the allocator shows to the outside, by classes of usable sizes: whether a call
// mapped or unmapped memory, failed, crossed a page; how many calls there were, how many blocks were live at once; the
// order of the last two and three calls of a class; after how many calls a block came back, and where it lies. So an
// input that makes mimalloc.so, as shipped, take another path (a fresh page, a reused block, a purge), or that gets
// further on the way to one, is kept and mutated further.
//
// Threads: only the holder of the token calls these.
#ifndef HEAPARENA_FUZZ_FEEDBACK_H
#define HEAPARENA_FUZZ_FEEDBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Forgets what came before: call at the start of each program. Counters of libFuzzer are reset by itself. *record is
// the number of the record that runs, and must stay readable until the next program.
void fuzz_feedback_begin(const volatile uint32_t *record);
// An allocation (or realloc) of this kind returned `address` (0: failed) with so many usable bytes.
void fuzz_feedback_allocated(unsigned kind, uintptr_t address, size_t requested, size_t usable);
// A block was freed, or (kind: realloc) is about to be given to realloc.
void fuzz_feedback_freed(unsigned kind, uintptr_t address, size_t usable);
// A call of another kind was made: what it asked of the system is not the next call's.
void fuzz_feedback_other(void);
// Switches the counters off (the blind control of the experiment in README.md).
void fuzz_feedback_enable(bool on);

// Kinds of features, which share the energy of archive.h.
typedef enum fuzz_family {
  FUZZ_FAMILY_CALLS, // what calls did: failed, crossed a page, lie beside the block before
  FUZZ_FAMILY_MAPPED,
  FUZZ_FAMILY_COUNT,
  FUZZ_FAMILY_REUSE,
  FUZZ_FAMILY_PAIR,
  FUZZ_FAMILY_TRIPLE,
  FUZZ_FAMILIES
} fuzz_family;

typedef struct fuzz_feature {
  uint16_t counter, record; // record that lit it, or that raised it last
  uint8_t family, value;
} fuzz_feature;

// The number-th feature that the last program lit in this process; false when there are no more.
bool fuzz_feedback_feature(unsigned number, fuzz_feature *feature);

// The counters that answer the same question as this one, of which a call lights one: *first, and how many.
unsigned fuzz_feedback_peers(unsigned counter, unsigned *first);

// Takes the counters over from a process that ran the input: one saves them into shared memory, the other loads
// them.
#define FUZZ_FEEDBACK_BYTES 5248u
void fuzz_feedback_save(uint8_t to[FUZZ_FEEDBACK_BYTES]);
void fuzz_feedback_load(const uint8_t from[FUZZ_FEEDBACK_BYTES]);

// The counters, for tests: how many are not 0 now.
size_t fuzz_feedback_lit(void);

#endif

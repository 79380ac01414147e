// mutate.h: mutations that know what a record is. libFuzzer calls them through LLVMFuzzerCustomMutator and
// LLVMFuzzerCustomCrossOver (target.c).
//
// Insert, delete, duplicate and swap records; splice a stretch from elsewhere in the program; retarget a slot to
// one that is in use; nudge a size to the edge of a size class (learnt from the subject) or of a page; change the
// law; give a stretch to another thread; and, now and then, libFuzzer's own byte mutations, so that nothing is
// out of reach. Programs stay whole records, normalised, so that equal programs are equal inputs.
#ifndef HEAPARENA_FUZZ_MUTATE_H
#define HEAPARENA_FUZZ_MUTATE_H

#include "fuzz/op_program.h"
#include "fuzz/subject.h"

// Learns the subject's size classes from its usable sizes: the largest request of each class up to 64 KiB. Call
// once; without it (or usable_size) the edges are those of eighths of powers of two.
void fuzz_mutate_learn(const fuzz_subject *subject);

// Which kinds mutations make: bits 1 << kind. All by default.
void fuzz_mutate_kinds(uint32_t kinds, bool threads);

// Mutates the program of `size` bytes in `data` in place; at most `capacity` bytes. Returns its new size. All
// chance comes from `seed`.
size_t fuzz_mutate(uint8_t *data, size_t size, size_t capacity, unsigned seed);

// A child of two programs: alternating stretches, or one laid into the other. Returns the bytes written to
// `out`, at most `capacity`.
size_t fuzz_cross_over(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                       size_t capacity, unsigned seed);

// A random program of `count` records: for controls and seeds.
size_t fuzz_random_program(uint8_t *out, size_t count, unsigned seed);

#endif

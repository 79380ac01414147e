// mutate.h: mutations that know what a record is. libFuzzer calls them through LLVMFuzzerCustomMutator and
// LLVMFuzzerCustomCrossOver (target.c).
//
// What is mutated is a program of the archive (archive.h), to which new records are added or which is changed; or
// libFuzzer's choice; or, one time in eight, nothing at all is kept and the program is new.
//
// Insert, delete and swap records; a stretch once more, on other slots too; retarget a slot to one that is in use;
// another call of the same size; one size for many records; a size at the edge of a size class (learnt from the
// subject) or of a page, or anywhere inside a class; another law; calls of every kind, as likely as one another, of one
// size on a few slots; a stretch for another thread; and single bytes, so that nothing is out of reach.
// Programs stay whole records, normalised, so that equal programs are equal inputs.
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

// A child of two programs: alternating stretches of both. Returns the bytes written to `out`, at most `capacity`; three
// times in four 0: libFuzzer, which would cross every second input, then mutates it instead.
size_t fuzz_cross_over(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                       size_t capacity, unsigned seed);

// A random program of `count` records: for controls and seeds.
size_t fuzz_random_program(uint8_t *out, size_t count, unsigned seed);

// A number below `limit` (0 where that is 0), of the chain of chances in *state.
size_t fuzz_chance(uint64_t *state, size_t limit);

#endif

// archive.h: for each feature that an input ever lit (feedback.h), the shortest program known to light it: what
// mutations start from besides libFuzzer's corpus.
//
// libFuzzer spreads its energy over thousands of inputs. Here every family of features has its share, and in a family
// what is rare comes first: a state that has just been reached is explored at once. A program is cut after the record
// that lit the feature, so that what follows may be anything: return to the state, then explore. Of features that
// count, the program that counted most is kept.
//
// Ideas: Go-Explore (Ecoffet and others, 2021) returns to a state before it explores; PerfFuzz (Lemieux and others,
// 2018) keeps the input that raises a counter most.
//
// Threads: one.
#ifndef HEAPARENA_FUZZ_ARCHIVE_H
#define HEAPARENA_FUZZ_ARCHIVE_H

#include "fuzz/op_program.h"

// The program was run and lit what feedback.h says now.
void fuzz_archive_add(fuzz_program program);

// Copies a program of the archive to `ops`, at most `capacity` records; chance comes from *chance. Returns the number
// of records, 0 while nothing is known of the family that chance chose.
size_t fuzz_archive_pick(fuzz_op *ops, size_t capacity, uint64_t *chance);

#endif

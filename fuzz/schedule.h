// schedule.h: the target `schedule`: threads that are interleaved inside gomalloc's calls, as the program says.
//
// The subject is gomalloc with yield points (schedule_gate.h). The program's threads are real, for the allocator's state
// is thread-local, but exactly one runs at any moment: it hands a token on at those yield points where the program's
// RACE records say so (schedule_race.h), where it must wait for a lock, and at its end. So one program is one
// interleaving, each time; faults that need a switch between two certain instructions are found, made small and kept
// like any others. The harness's own steps (the shadow) have no yield points: they happen at once.
//
// Two oracles are its own: "deadlock" (every thread waits) and "livelock" (no call ends although each thread is let run
// in turn).
//
// One program at a time, from one thread (the driver), which runs nothing of the subject while the actors do.
#ifndef HEAPARENA_FUZZ_SCHEDULE_H
#define HEAPARENA_FUZZ_SCHEDULE_H

#include "fuzz/execute_call.h"
#include "fuzz/minimize.h"

// Opens gomalloc with yield points: spec "gomalloc", or NAME=/path/lib.so of another build of that library. As
// fuzz_subject_open. Other allocators have no yield points: NULL, and `why` says so.
const fuzz_subject *fuzz_schedule_open(const char *spec, char *const argv[], char *why, size_t why_size);

// Runs the whole program; `step` runs one record on the calling thread. Threads are gone when it returns true. False: a
// fault was found (x->state's verdict), or, with the oracle for it off, threads are stuck: the process can run no
// other program then.
bool fuzz_schedule_run(executor *x, bool (*step)(executor *x, uint32_t record));

// Whether threads of a program exist now, beside the caller.
bool fuzz_schedule_others(void);

// Switches are events of kind FUZZ_OP_RACE in the log: op: the record that was stopped, thread: whose it is, slot: the
// thread that runs next (FUZZ_THREADS: the allocator's own), fill: schedule_access, size: offset of the access in the library, count: yield points since the
// window began. Prints them for people, with source lines where addr2line is installed.
void fuzz_schedule_explain(FILE *out, const fuzz_subject *subject, const fuzz_event *events, size_t count);

#endif

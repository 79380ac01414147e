// schedule_race.h: RACE records, by which a program of the target `schedule` says where threads meet inside the
// allocator, and how.
//
// A program runs as it does under `threads`, record by record, except behind a RACE record: the next records, up to
// so many, begin at the same time, each on its thread. Exactly one thread runs; which one is PCT's rule (Burckhardt et
// al., ASPLOS 2010): always the highest priority that is not blocked. The RACE record gives the priorities to begin
// with, and up to two change points: at the n-th yield point since the window began the thread that runs falls
// below all others. RACE records in a row make one window with all their change points; d change points find every
// fault that needs d + 1 steps in a certain order. Whatever a program does outside its windows is in order.
//
// A window ends before a record that names a block that another thread of it names, that looks at all blocks, or whose
// thread has ended in it: what the threads do at once is always something that a program may do at once.
//
// Plain data and pure functions.
#ifndef HEAPARENA_FUZZ_SCHEDULE_RACE_H
#define HEAPARENA_FUZZ_SCHEDULE_RACE_H

#include "fuzz/op_program.h"

#define FUZZ_RACE_CHANGES 2u  // of one record
#define FUZZ_RACE_RECORDS 17u // widest window

// What a RACE record says. Its bytes: slot: records, low/high and law/alignment: change points, thread: which of the
// two leaves the lower priority (bit 0) and background (bit 1), fill: bit 7 plain, the rest the order.
typedef struct fuzz_race {
  unsigned records;                    // of the window, 2 .. FUZZ_RACE_RECORDS
  bool plain;                          // plain reads and writes are yield points too
  uint8_t rank[FUZZ_THREADS];          // of each thread at first; the highest runs
  uint32_t change[FUZZ_RACE_CHANGES];  // yield points since the window began; 0: none
  uint8_t falls_to[FUZZ_RACE_CHANGES]; // 0 or 1: below the other change's
  bool background; // the allocator's own thread, where it has work, begins above all others; else below
} fuzz_race;

// The race that the bytes of an op say.
fuzz_race fuzz_race_of(const fuzz_op *op);
// Puts change point `which` at another place (0: none), up to 65535.
void fuzz_race_move(fuzz_op *op, unsigned which, unsigned point);
// Folds the bytes that say the same into one form.
fuzz_op fuzz_race_normal(fuzz_op op);
// "race of 4 records order t2 t0 t1 t3 changes 17 40 plain"
void fuzz_race_print(FILE *out, const fuzz_op *op);
// The n-th simpler record that says less (no change points, fewer records); false when there is no n-th.
bool fuzz_race_simpler(const fuzz_op *op, unsigned n, fuzz_op *simpler);

// The records that run at once, or, without RACE before them, the next ones of one thread in their order.
#define FUZZ_WINDOW_CHANGES 8u
typedef struct fuzz_window {
  uint32_t first, count; // records of the program
  bool races;            // there was a RACE
  bool plain;
  int priority[FUZZ_THREADS];
  int background; // priority of the allocator's own thread
  unsigned changes;
  struct fuzz_change {
    uint32_t at;
    int priority;
  } change[FUZZ_WINDOW_CHANGES]; // by `at`
} fuzz_window;

// The window that begins at record `at`. Returns the record behind it.
uint32_t fuzz_window_at(fuzz_program program, uint32_t at, fuzz_window *window);

// ---- Chance (for mutate.c) ----

// A RACE record, with change points where windows usually have their yield points.
fuzz_op fuzz_race_random(uint64_t *chance);
// A program of `count` records in which threads meet: few sizes, mostly such that spans are soon full or empty, blocks
// that others free, threads that end, and RACE records before them.
void fuzz_race_program(fuzz_op *ops, size_t count, uint64_t *chance);
// Another program in place of this one, `most` records at most: made anew, or the same calls with other meetings.
// Returns its records.
size_t fuzz_race_mutate(fuzz_op *ops, size_t count, size_t most, uint64_t *chance);

#endif

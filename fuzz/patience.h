// patience.h: when something counts as hung: by the processor time that it has used, never by the clock on the wall.
// On a loaded machine a process may get no processor for minutes, and that is nothing an allocator did.
#ifndef HEAPARENA_FUZZ_PATIENCE_H
#define HEAPARENA_FUZZ_PATIENCE_H

#include <stdbool.h>
#include <sys/types.h>

// fork() whose child ends with the thread that forked, so that a child that hangs is not left behind.
pid_t fuzz_fork(void);

// Waits for a child to end; its status as waitpid has it. False if it hangs, and is killed then: it has used `seconds` of
// processor time, in all its threads together, or each time one looked, for two seconds, all of its threads slept (and
// none had a child of its own, which it may be waiting for).
bool fuzz_await(pid_t child, unsigned seconds, int *status);

// The same for work in this process, which SIGPROF interrupts from now on: `hung` is called, in the signal's handler on
// whichever thread that came to, once a piece of work has used more than `seconds` of this process's processor time; twice
// as many at most. Threads that only sleep use none: that takes somebody outside who looks. Not for children.
void fuzz_watch(unsigned seconds, void (*hung)(void));
// The watched work begins, and ends. One piece at a time.
void fuzz_watch_begin(void);
void fuzz_watch_end(void);

#endif

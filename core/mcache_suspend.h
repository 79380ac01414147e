// Putting a thread's mcache aside while a signal handler runs (signal_guard.h). The handler may have
// interrupted the thread in the middle of malloc or free. Until the mcache is back the thread has none: it
// allocates from the locked fallback and frees as a stranger would, which touches nothing that an owner may
// have left half done. All state that the hot paths use without a lock must hang on mcache_current for this
// to hold.
//
// Handlers nest, and programs leave them by siglongjmp. So each running handler has a record of where its
// stack begins; a thread whose stack pointer lies in none of them has left, and gets its mcache back on its
// next slow path.
//
// Threads: for the calling thread's own mcache. Signals: suspend and resume are called with all signals
// blocked. Errors: none.
#ifndef GOMALLOC_MCACHE_SUSPEND_H
#define GOMALLOC_MCACHE_SUSPEND_H

#include "core/mcache.h"

// A handler begins. `frame`: an address in its first stack frame; `stack_low`: the lowest address of its
// stack, 0 when unknown; `interrupted`: the stack pointer of the code that it interrupted.
void mcache_suspend(uintptr_t frame, uintptr_t stack_low, uintptr_t interrupted);

// The handler of the last suspend that has not been left ends.
void mcache_resume(void);

// For a thread that seems to have ended: true when it had only left its handlers, and is whole again.
bool mcache_left_handler(void);

// The thread ends and gives its mcache up: there is nothing to go back to.
void mcache_forget_handlers(void);

// The calling thread's mcache, suspended or not; &mcache_none when it has none.
struct mcache *mcache_own(void);

#endif

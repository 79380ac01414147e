// Signal handlers that allocate. malloc is not among POSIX's async-signal-safe functions, but programs call
// it from handlers, and with libgomalloc.so they may. The guarantee:
//
//   A handler that was installed with the dynamic sigaction, signal, bsd_signal, ssignal or sysv_signal while
//   libgomalloc.so was preloaded (or linked ahead of libc) may call every function of the malloc family,
//   whatever the thread was doing, also inside malloc or free, and may be interrupted by other handlers that
//   do.
//
// GOMALLOC_SIGNALS=0 leaves the handlers as the program installs them, and takes the guarantee away.
//
// How: the library installs its own function instead and calls the program's from there.
//   Its function starts with all signals blocked, and gives the handler the mask that it would have without
//   gomalloc.
//   1. While the handler runs, the thread's mcache is put aside (mcache_suspend), so that nothing half done
//      is touched: the handler's allocations use the locked fallback mcache, its frees are remote ones.
//      malloc's and free's hot paths pay nothing.
//   2. When the thread holds one of gomalloc's locks, the handler waits: the signal is queued again with its
//      siginfo, all signals are blocked, and the release of the last lock unblocks them (lock.h). Locks are
//      held for microseconds.
//
// Not covered: handlers installed by other ways (raw system calls, sigset, libc's own), and programs that
// link libgomalloc.a; SIGABRT and synchronous faults inside gomalloc under a lock, which run at once and must
// then not allocate; a handler left by siglongjmp out of the middle of a malloc or free, after which that
// thread's mcache may have lost objects (POSIX: undefined). sigaction answers with the program's own
// handlers, never with the library's.
//
// Threads: any. Origin: none in Go, whose runtime handles signals on stacks and processors of their own.
#ifndef GOMALLOC_SIGNAL_GUARD_H
#define GOMALLOC_SIGNAL_GUARD_H
#endif

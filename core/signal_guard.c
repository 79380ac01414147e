// sigaction and its relatives, wrapped. See signal_guard.h. For the shared library only.
#include "core/signal_guard.h"

#include "core/base.h"
#include "core/lock.h"
#include "core/mcache_suspend.h"
#include "core/options.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

// libc's own, also under a name that this library does not replace.
extern int __sigaction(int signal, const struct sigaction *action, struct sigaction *old);

// libc's headers name the parameters __sig and __handler.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

// The headers declare this one in old modes only.
GM_EXPORT sighandler_t bsd_signal(int signal, sighandler_t handler);

typedef void (*full_handler)(int, siginfo_t *, void *);

enum { SIGNALS = 65 }; // 1 to 64

// The program's handlers for signals whose handler in the kernel is run_handler. Masks are the kernel's 64
// bits.
static struct {
  _Atomic(full_handler) handler;
  _Atomic int flags; // as the program set them
  _Atomic uint64_t mask;
} handlers[SIGNALS];

struct entry {
  full_handler handler;
  int flags;
  uint64_t mask;
};

static struct entry entry_of(int signal) {
  return (struct entry){
      atomic_load_explicit(&handlers[signal].handler, memory_order_acquire),
      atomic_load_explicit(&handlers[signal].flags, memory_order_relaxed),
      atomic_load_explicit(&handlers[signal].mask, memory_order_relaxed),
  };
}

static void set_entry(int signal, struct entry entry) {
  atomic_store_explicit(&handlers[signal].flags, entry.flags, memory_order_relaxed);
  atomic_store_explicit(&handlers[signal].mask, entry.mask, memory_order_relaxed);
  atomic_store_explicit(&handlers[signal].handler, entry.handler, memory_order_release);
}

static uint64_t mask_of(const sigset_t *set) {
  uint64_t mask = 0;
  memcpy(&mask, set, sizeof mask);
  return mask;
}

static const int synchronous[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};

// All but those that cannot wait: blocked, they would end the process.
static sigset_t all_but_synchronous(void) {
  sigset_t set;
  (void)sigfillset(&set);
  for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
    (void)sigdelset(&set, synchronous[i]);
  return set;
}

// Waiting would run the faulting instruction again, or let abort() go on.
static bool must_run_now(int signal, const siginfo_t *info) {
  for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
    if (signal == synchronous[i])
      return signal == SIGABRT || info->si_code > 0;
  return false;
}

static void set_thread_mask(uint64_t mask) {
  (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

// Queues the signal again for this thread; all signals stay blocked after the return to the interrupted code.
static void wait_for_unlock(int signal, siginfo_t *info, ucontext_t *context) {
  lock_signals.mask = mask_of(&context->uc_sigmask);
  // The kernel's mask is shorter than libc's; the siginfo follows it.
  sigset_t everything = all_but_synchronous();
  memcpy(&context->uc_sigmask, &everything, sizeof lock_signals.mask);
  lock_signals.waiting = true;
  if (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), signal, info) != 0)
    (void)syscall(SYS_tgkill, getpid(), gettid(), signal); // the queue is full: without its siginfo
}

static uintptr_t stack_pointer_of(const ucontext_t *context) {
#if defined(__x86_64__)
  return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
  return (uintptr_t)context->uc_mcontext.sp;
#else
  return (uintptr_t)context; // on the handler's stack: right unless the stacks differ
#endif
}

// Runs with all signals blocked but the synchronous ones.
static void run_handler(int signal, siginfo_t *info, void *context_pointer) {
  ucontext_t *context = context_pointer;
  int saved_errno = errno; // the program's, for its handler and for the interrupted code
  if (lock_signals.depth > 0 && !must_run_now(signal, info)) {
    wait_for_unlock(signal, info, context);
    errno = saved_errno;
    return;
  }
  struct entry entry = entry_of(signal);
  sigset_t everything = all_but_synchronous();
  uint64_t all = mask_of(&everything);
  uint64_t own = (entry.flags & SA_NODEFER) != 0 ? 0 : (uint64_t)1 << (signal - 1);
  uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  uintptr_t low = (uintptr_t)context->uc_stack.ss_sp;
  bool on_alternate_stack = frame - low < context->uc_stack.ss_size;
  mcache_suspend(frame, on_alternate_stack ? low : 0, stack_pointer_of(context));
  if ((entry.flags & (int)SA_RESETHAND) != 0)
    (void)__sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
  set_thread_mask(mask_of(&context->uc_sigmask) | entry.mask | own);
  errno = saved_errno;
  entry.handler(signal, info, context); // a handler of one argument ignores the others
  saved_errno = errno;
  set_thread_mask(mask_of(&context->uc_sigmask) |
                  all); // until the return, which restores the interrupted code's mask
  mcache_resume();
  errno = saved_errno;
}

static bool is_function(const struct sigaction *action) {
  return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN && action->sa_handler != SIG_ERR &&
         action->sa_sigaction != run_handler;
}

GM_EXPORT int sigaction(int signal, const struct sigaction *action, struct sigaction *old) {
  if (signal <= 0 || signal >= SIGNALS)
    return __sigaction(signal, action, old);
  options_load();
  struct entry before = entry_of(signal);
  struct sigaction wrapped;
  bool wrap = action != NULL && is_function(action) && gm_option_get(&gm_options.signals) != 0;
  if (wrap) {
    // Known before the kernel can call it.
    set_entry(signal, (struct entry){action->sa_sigaction, action->sa_flags, mask_of(&action->sa_mask)});
    wrapped = *action;
    // Once only: run_handler sees to it, or a signal that had to wait would find the default action.
    wrapped.sa_flags = (action->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
    wrapped.sa_sigaction = run_handler;
    wrapped.sa_mask = all_but_synchronous();
  }
  int result = __sigaction(signal, wrap ? &wrapped : action, old);
  if (result != 0) {
    if (wrap)
      set_entry(signal, before);
    return result;
  }
  if (old != NULL && old->sa_sigaction == run_handler) {
    old->sa_sigaction = before.handler;
    memcpy(&old->sa_mask, &before.mask, sizeof before.mask);
    int changed = SA_SIGINFO | (int)SA_RESETHAND;
    old->sa_flags = (old->sa_flags & ~changed) | (before.flags & changed);
  }
  return 0;
}

static sighandler_t install(int signal, sighandler_t handler, int flags) {
  struct sigaction action;
  struct sigaction old;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (handler == SIG_ERR || signal <= 0 || signal >= SIGNALS) {
    errno = EINVAL;
    return SIG_ERR;
  }
  if ((flags & SA_NODEFER) == 0)
    (void)sigaddset(&action.sa_mask, signal);
  return sigaction(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

GM_EXPORT sighandler_t signal(int signal, sighandler_t handler) {
  return install(signal, handler, SA_RESTART);
}

sighandler_t bsd_signal(int signal, sighandler_t handler) {
  return install(signal, handler, SA_RESTART);
}

GM_EXPORT sighandler_t ssignal(int signal, sighandler_t handler) {
  return install(signal, handler, SA_RESTART);
}

// System V's: once, and not blocked meanwhile.
GM_EXPORT sighandler_t sysv_signal(int signal, sighandler_t handler) {
  return install(signal, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

GM_EXPORT sighandler_t __sysv_signal(int signal, sighandler_t handler) {
  return install(signal, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

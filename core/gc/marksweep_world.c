// The mutator threads and how they are stopped (Go: stopTheWorld in proc.go, preempt.go). See marksweep.h.
//
// A thread is stopped when its state is GC_SAFE: its registers are on its stack, stack_pointer says from
// where to search, and it will not touch an object before it has seen gc_stop_wanted cleared. It gets there
// by itself (safepoints, waiting, gm_gc_blocking_enter), on its way out of an allocation's slow path, or in
// the handler of the stop signal.
//
// The handler does nothing while the thread is in a slow path or holds one of gomalloc's locks: the collector
// needs them. Such a thread is signalled again, and mostly stops before that.
#include "core/gc/marksweep.h"

#include "core/mheap.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__thread struct gc_mutator *gc_self __attribute__((tls_model("initial-exec")));

_Atomic uint32_t gc_stop_wanted;
uint64_t gc_gone_bytes;
uint64_t gc_gone_objects;

static struct gm_gc_slot no_slots[GC_KINDS_MAX];
__thread struct gm_gc_slot *gm_gc_slots __attribute__((tls_model("initial-exec"))) = no_slots;

static struct gm_lock world_lock;

// Under the world lock.
static struct gc_mutator *mutators;
static struct gc_mutator *idle_mutators; // structs of threads that are gone

static _Atomic uint32_t arrivals; // counts threads that became safe while a stop was wanted
static pthread_key_t exit_key;
static bool key_made;
static struct sigaction old_action;

// How long the collector waits before it signals again.
enum { RESEND_NS = 200 * 1000 };

void gc_futex_wait(_Atomic uint32_t *word, uint32_t seen, long timeout_ns) {
  int saved_errno = errno;
  struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, timeout_ns > 0 ? &timeout : NULL, NULL, 0);
  errno = saved_errno;
}

void gc_futex_wake_all(_Atomic uint32_t *word) {
  int saved_errno = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
  errno = saved_errno;
}

void gc_world_lock(void) {
  lock_acquire(&world_lock, LOCK_RANK_WORLD);
}

void gc_world_unlock(void) {
  lock_release(&world_lock, LOCK_RANK_WORLD);
}

struct gc_mutator *gc_mutators(void) {
  return mutators;
}

// ---- Safe and running

static void become_safe(struct gc_mutator *self) {
  atomic_store_explicit(&self->state, GC_SAFE, memory_order_seq_cst);
  if (atomic_load_explicit(&gc_stop_wanted, memory_order_seq_cst) != 0) {
    atomic_fetch_add_explicit(&arrivals, 1, memory_order_release);
    gc_futex_wake_all(&arrivals);
  }
}

// The collector that wants a stop sees GC_SAFE, or this thread sees that a stop is wanted.
static void become_running(struct gc_mutator *self) {
  for (;;) {
    while (atomic_load_explicit(&gc_stop_wanted, memory_order_acquire) != 0)
      gc_futex_wait(&gc_stop_wanted, 1, 0);
    atomic_store_explicit(&self->state, GC_RUNNING, memory_order_seq_cst);
    if (atomic_load_explicit(&gc_stop_wanted, memory_order_seq_cst) == 0)
      return;
    become_safe(self);
  }
}

struct call {
  void (*work)(void *argument);
  void *argument;
};

// A frame below the one that holds the registers.
static GM_NOINLINE void call_below(const struct call *call) {
  gc_self->stack_pointer = (uintptr_t)__builtin_frame_address(0);
  call->work(call->argument);
  __asm__ volatile("" ::: "memory"); // no tail call: the frame stays
}

GM_NOINLINE void gc_with_registers(void (*work)(void *argument), void *argument) {
  struct call call = {work, argument};
  __builtin_unwind_init(); // saves every register that a callee would have to keep in this frame
  call_below(&call);
  __asm__ volatile("" ::: "memory");
}

static void work_safely(void *argument) {
  const struct call *call = argument;
  become_safe(gc_self);
  call->work(call->argument);
  become_running(gc_self);
}

void gc_while_safe(void (*work)(void *argument), void *argument) {
  struct call call = {work, argument};
  gc_with_registers(work_safely, &call);
}

static void do_nothing(void *argument) {
  (void)argument;
}

// Waits out a stop that is wanted.
static GM_NOINLINE void stop_here(void) {
  gc_while_safe(do_nothing, NULL);
}

void gm_gc_safepoint(void) {
  if (GM_UNLIKELY(atomic_load_explicit(&gc_stop_wanted, memory_order_relaxed) != 0) && gc_self != NULL &&
      atomic_load_explicit(&gc_self->state, memory_order_relaxed) == GC_RUNNING)
    stop_here();
}

// The registers that a callee keeps: after the return below they are the caller's again, and its next calls
// may save them where nobody looks.
GM_INLINE void save_registers(uintptr_t *registers) {
  __asm__ volatile("movq %%rbx, 0(%0)\n\t"
                   "movq %%rbp, 8(%0)\n\t"
                   "movq %%r12, 16(%0)\n\t"
                   "movq %%r13, 24(%0)\n\t"
                   "movq %%r14, 32(%0)\n\t"
                   "movq %%r15, 40(%0)"
                   :
                   : "r"(registers)
                   : "memory");
}

void gm_gc_blocking_enter(void) {
  struct gc_mutator *self = gc_self;
  if (self == NULL)
    return;
  self->busy = true;
  save_registers(self->registers);
  self->stack_pointer = (uintptr_t)__builtin_frame_address(0);
  become_safe(self);
}

void gm_gc_blocking_leave(void) {
  if (gc_self == NULL)
    return;
  become_running(gc_self);
  memset(gc_self->registers, 0, sizeof gc_self->registers);
  gc_self->busy = false;
  gm_gc_safepoint();
}

// ---- The signal

static void on_stop_signal(int signal_number, siginfo_t *info, void *context) {
  (void)signal_number;
  (void)info;
  (void)context; // the interrupted registers: on this stack, above this frame
  struct gc_mutator *self = gc_self;
  if (self == NULL || self->busy || lock_signals.depth != 0 ||
      atomic_load_explicit(&gc_stop_wanted, memory_order_relaxed) == 0 ||
      atomic_load_explicit(&self->state, memory_order_relaxed) != GC_RUNNING)
    return;
  int saved_errno = errno;
  stop_here();
  errno = saved_errno;
}

static int stop_signal(void) {
  return gc.options.stop_signal != 0 ? gc.options.stop_signal : SIGURG;
}

static void thread_ends(void *mutator) {
  (void)mutator;
  gm_gc_thread_unregister();
}

bool gc_world_init(void) {
  if (!key_made && pthread_key_create(&exit_key, thread_ends) != 0)
    return false;
  key_made = true;
  if (gc.options.stop != GM_GC_STOP_SIGNAL)
    return true;
  struct sigaction action = {.sa_sigaction = on_stop_signal, .sa_flags = SA_RESTART | SA_SIGINFO};
  (void)sigemptyset(&action.sa_mask);
  return sigaction(stop_signal(), &action, &old_action) == 0;
}

void gc_world_shutdown(void) {
  if (gc.options.stop == GM_GC_STOP_SIGNAL)
    (void)sigaction(stop_signal(), &old_action, NULL);
  while (mutators != NULL) {
    struct gc_mutator *mutator = mutators;
    mutators = mutator->next;
    mutator->next = idle_mutators;
    idle_mutators = mutator;
  }
  gc_self = NULL;
  gm_gc_slots = no_slots;
  gc_gone_bytes = 0;
  gc_gone_objects = 0;
}

void gc_world_stop(void) {
  atomic_store_explicit(&gc_stop_wanted, 1, memory_order_seq_cst);
  uint64_t sent_ns = 0;
  for (struct gc_mutator *mutator = mutators; mutator != NULL;) {
    uint32_t seen = atomic_load_explicit(&arrivals, memory_order_acquire);
    if (mutator == gc_self || atomic_load_explicit(&mutator->state, memory_order_seq_cst) == GC_SAFE) {
      mutator = mutator->next;
      continue;
    }
    uint64_t now = gc_clock_ns();
    if (gc.options.stop == GM_GC_STOP_SIGNAL && now - sent_ns >= RESEND_NS) {
      sent_ns = now;
      for (struct gc_mutator *running = mutator; running != NULL; running = running->next)
        if (running != gc_self && atomic_load_explicit(&running->state, memory_order_relaxed) != GC_SAFE)
          (void)pthread_kill(running->thread, stop_signal());
    }
    gc_futex_wait(&arrivals, seen, RESEND_NS);
  }
}

void gc_world_start(void) {
  atomic_store_explicit(&gc_stop_wanted, 0, memory_order_seq_cst);
  gc_futex_wake_all(&gc_stop_wanted);
}

// ---- Registration

static bool find_stack(struct gc_mutator *self) {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0)
    return false;
  void *start = NULL;
  size_t size = 0;
  bool found = pthread_attr_getstack(&attributes, &start, &size) == 0;
  (void)pthread_attr_destroy(&attributes);
  self->stack_start = (uintptr_t)start;
  self->stack_end = (uintptr_t)start + size;
  return found;
}

static struct gc_mutator *take_idle(void) {
  gc_world_lock();
  struct gc_mutator *mutator = idle_mutators;
  if (mutator != NULL)
    idle_mutators = mutator->next;
  gc_world_unlock();
  if (mutator == NULL)
    return sys_alloc(gm_align_up(sizeof *mutator, GM_PAGE_SIZE));
  memset(mutator, 0, sizeof *mutator);
  return mutator;
}

static void put_idle(struct gc_mutator *mutator) {
  mutator->next = idle_mutators;
  idle_mutators = mutator;
}

int gm_gc_thread_register(void) {
  if (!gc.started) {
    errno = EPERM;
    return -1;
  }
  if (gc_self != NULL)
    return 0;
  struct gc_mutator *self = take_idle();
  if (self != NULL && (!find_stack(self) || pthread_setspecific(exit_key, self) != 0)) {
    gc_world_lock();
    put_idle(self);
    gc_world_unlock();
    self = NULL;
  }
  if (self == NULL) {
    errno = ENOMEM;
    return -1;
  }
  self->thread = pthread_self();
  // The lock waits for a cycle to end, so the new thread starts in a running world.
  gc_world_lock();
  self->next = mutators;
  mutators = self;
  gc_self = self;
  gm_gc_slots = self->slots;
  gc_world_unlock();
  return 0;
}

// The slots' open runs go back, and their spans to where others find them.
static void give_up_slots(struct gc_mutator *self) {
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  for (unsigned kind = 0; kind < count; kind++) {
    struct gc_span *span = self->active[kind];
    if (span == NULL)
      continue;
    struct gm_gc_slot *slot = &self->slots[kind];
    uint32_t from = (uint32_t)gc_span_index(span, (uintptr_t)slot->cursor);
    uint32_t to = (uint32_t)gc_span_index(span, (uintptr_t)slot->limit);
    uint64_t left = slot->cursor == slot->limit ? 0 : to - from;
    if (left > 0)
      gc_span_untake(span, from, to);
    span->next_index = 0;
    gc_gone_bytes -= left * span->bytes;
    gc_gone_objects -= left;
    self->active[kind] = NULL;
    *slot = (struct gm_gc_slot){NULL, NULL};
    gc_sweep_give(span, false);
  }
}

static void unregister(void *argument) {
  struct gc_mutator *self = argument;
  gc_world_lock();
  gc_gone_bytes += atomic_load_explicit(&self->allocated_bytes, memory_order_relaxed);
  gc_gone_objects += atomic_load_explicit(&self->allocated_objects, memory_order_relaxed);
  give_up_slots(self);
  struct gc_mutator **link = &mutators;
  while (*link != self)
    link = &(*link)->next;
  *link = self->next;
  put_idle(self);
  gc_world_unlock();
}

static void unregister_safely(void *argument) {
  become_safe(argument);
  unregister(argument);
}

void gm_gc_thread_unregister(void) {
  struct gc_mutator *self = gc_self;
  if (self == NULL)
    return;
  self->busy = true;
  gm_gc_slots = no_slots;
  gc_with_registers(unregister_safely, self);
  gc_self = NULL;
  (void)pthread_setspecific(exit_key, NULL);
}

// ---- Fork

void gc_world_forget_others(void) {
  struct gc_mutator *mutator = mutators;
  mutators = NULL;
  while (mutator != NULL) {
    struct gc_mutator *next = mutator->next;
    if (mutator == gc_self) {
      mutator->next = NULL;
      mutators = mutator;
    } else {
      // It may have been inside a slow path: its spans' bitmaps are whole words, and the next marking
      // decides.
      give_up_slots(mutator);
      put_idle(mutator);
    }
    mutator = next;
  }
}

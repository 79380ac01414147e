// Threads inside signal handlers. See mcache_suspend.h.
#include "core/mcache_suspend.h"

#include "core/mcache_thread.h"

// Handlers inside handlers that are told apart; deeper ones count as part of the deepest.
enum { DEPTH_MAX = 8 };

static __thread struct {
  struct mcache *cache; // the thread's own, while depth > 0
  int state;            // and its mcache_thread_state
  unsigned depth;       // handlers that run, as far as is known
  unsigned unrecorded;  // of those, how many are beyond DEPTH_MAX
  struct {
    uintptr_t frame; // the handler's stack is [low, frame)
    uintptr_t low;
  } handlers[DEPTH_MAX];
} suspended __attribute__((tls_model("initial-exec")));

static void restore(void) {
  suspended.depth = 0;
  suspended.unrecorded = 0;
  mcache_thread_state = suspended.state;
  mcache_current = suspended.cache;
}

// Forgets the handlers that were left: those above the one whose stack holds `here`. False when all were.
static bool settle(uintptr_t here) {
  for (unsigned i = suspended.depth; i-- > 0;)
    if (here >= suspended.handlers[i].low && here < suspended.handlers[i].frame) {
      if (i + 1 < suspended.depth)
        suspended.unrecorded = 0;
      suspended.depth = i + 1;
      return true;
    }
  return false;
}

void mcache_suspend(uintptr_t frame, uintptr_t stack_low, uintptr_t interrupted) {
  if (suspended.depth > 0 && !settle(interrupted))
    restore();
  if (suspended.depth == 0) {
    suspended.cache = mcache_current;
    suspended.state = mcache_thread_state;
    mcache_current = &mcache_none;
    mcache_thread_state = THREAD_ENDED;
  }
  if (suspended.depth == DEPTH_MAX) {
    suspended.unrecorded++;
    return;
  }
  suspended.handlers[suspended.depth].frame = frame;
  suspended.handlers[suspended.depth].low = stack_low;
  suspended.depth++;
}

void mcache_resume(void) {
  if (suspended.unrecorded > 0)
    suspended.unrecorded--;
  else if (--suspended.depth == 0)
    restore();
}

bool mcache_left_handler(void) {
  if (suspended.depth == 0 || settle((uintptr_t)__builtin_frame_address(0)))
    return false;
  restore();
  return true;
}

void mcache_forget_handlers(void) {
  suspended.depth = 0;
  suspended.unrecorded = 0;
}

struct mcache *mcache_own(void) {
  return suspended.depth > 0 ? suspended.cache : mcache_current;
}

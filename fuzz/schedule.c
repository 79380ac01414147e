// schedule.c: see schedule.h. The threads of a program, the token, and PCT's priorities.
#include "fuzz/schedule.h"

#include "fuzz/os_hook.h"
#include "fuzz/schedule_gate.h"
#include "fuzz/schedule_race.h"
#include "fuzz/token.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)512 << 10)
// A thread that made so many points without a change lets the others run: what spins waits for somebody.
#define PATIENCE   50000u
#define MOST_TIRED 64u // ... and so many times in a window, it is a livelock
#define MOST_TICKS 8u  // until the allocator's own thread has nothing to do

// The program's threads, and the one that the allocator begins itself (the scavenger's).
#define BACKGROUND FUZZ_THREADS
#define ACTORS     (FUZZ_THREADS + 1)
#define FIRST_WORK ((size_t)9 << 20) // an allocation that makes the allocator begin it
#define LEFT_LYING ((size_t)512 << 10)
#define PASSING    ((size_t)1 << 20)

enum actor_state { IDLE, READY, WAITING, SLEEPING };

// What of the executor belongs to the call that a thread is in.
typedef struct context {
  uint32_t op;
  unsigned thread;
  uint64_t failures;
  uint32_t phase;
  int32_t block;
} context;

typedef struct actor {
  pthread_t thread;
  bool exists, ends; // ends: is to end behind its records, or is ending
  unsigned index, rounds;
  enum actor_state state;
  int priority;
  const uint32_t *word; // that it waits for
  bool for_work;        // ... which is no lock: it may wait for ever
  _Atomic uint32_t turn;
  context saved;
  char *stack;
  void *(*routine)(void *); // of BACKGROUND
  void *argument;
} actor;

static struct {
  struct schedule_gate *gate;
  executor *x;
  bool (*step)(executor *x, uint32_t record);
  actor actors[ACTORS];
  uint32_t at; // record behind the window
  fuzz_window window;
  unsigned next_change;
  uint64_t steps, stop_at; // points of this window: made at the last stop, and when the gate stops next
  int lowest;              // priority given away for being tired
  unsigned tired;
  bool stuck;
  _Atomic uint32_t over; // 1: the driver goes on
  pthread_key_t end_key;
} s;

static __thread actor *self; // NULL: the driver

// libFuzzer's, as in feedback.c: which pairs of places were on either side of a switch.
#define PAIRS 2048u
__attribute__((section("__libfuzzer_extra_counters"), used)) static alignas(64) uint8_t pairs[PAIRS];

// ---- The token ----

static void wait_turn(void) {
  fuzz_token_wait_while(&self->turn, 0);
  atomic_store_explicit(&self->turn, 0, memory_order_relaxed);
  s.gate->own = (uintptr_t)self->stack;
  s.gate->own_size = STACK_BYTES;
}

static void switch_to(actor *next) {
  executor *x = s.x;
  int saved_errno = errno; // the call's, which the token's must not touch
  self->saved = (context){x->op, x->thread, x->failures, x->state->phase, x->state->block};
  fuzz_token_set(&next->turn, 1);
  wait_turn();
  errno = saved_errno;
  if (self->index == BACKGROUND) {
    x->state->phase = FUZZ_PHASE_CALL; // of no record
    return;
  }
  x->op = x->shadow.op = x->state->op = self->saved.op;
  x->thread = self->saved.thread;
  x->failures = self->saved.failures;
  x->state->phase = self->saved.phase;
  x->state->block = self->saved.block;
}

// The run is over for good: this thread does not come back.
__attribute__((noreturn)) static void give_up(void) {
  s.stuck = true;
  fuzz_token_set(&s.over, 1);
  for (;;)
    pause();
}

// ---- Who runs ----

static actor *best(void) {
  actor *found = NULL;
  for (unsigned i = 0; i < ACTORS; i++)
    if (s.actors[i].state == READY && (found == NULL || s.actors[i].priority > found->priority))
      found = &s.actors[i];
  return found;
}

static void count_steps(void) {
  s.steps = s.stop_at - s.gate->left;
}

static void arm(void) {
  s.stop_at = s.steps + PATIENCE;
  if (s.next_change < s.window.changes && s.window.change[s.next_change].at < s.stop_at)
    s.stop_at = s.window.change[s.next_change].at;
  s.gate->left = s.stop_at - s.steps;
}

static void note(const actor *to, schedule_access access, const void *site) {
  executor *x = s.x;
  size_t offset = site == NULL ? 0 : (size_t)((const char *)site - (const char *)s.gate->library);
  if (x->options->feedback) {
    static size_t before;
    pairs[((before * 31 + offset) * 0xd1b54a32d192ed03u) >> 53] = 1;
    before = offset;
  }
  fuzz_log *log = x->options->log;
  if (log == NULL)
    return;
  if (log->count < log->capacity)
    log->events[log->count] = (fuzz_event){.op = x->op,
                                           .kind = FUZZ_OP_RACE,
                                           .thread = (uint8_t)self->index,
                                           .slot = (uint16_t)to->index,
                                           .fill = (uint8_t)access,
                                           .size = offset,
                                           .count = s.steps};
  log->count++;
}

static const char *waiting_list(void) {
  static char text[160];
  size_t used = 0;
  text[0] = '\0';
  for (unsigned i = 0; i < ACTORS; i++)
    if (s.actors[i].state == WAITING && !s.actors[i].for_work)
      used += (size_t)snprintf(text + used, sizeof text - used, "%st%u in record %u", used ? ", " : "", i,
                               s.actors[i].saved.op);
  return text;
}

// Lets the best thread run; the caller goes on when it is its turn again.
static void let_best_run(schedule_access access, const void *site) {
  actor *next = best();
  if (next == NULL) {
    self->saved.op = s.x->op;
    (void)fuzz_shadow_fail(&s.x->shadow, FUZZ_ORACLE_DEADLOCK, -1, -1, "every thread waits: %s",
                           waiting_list());
    give_up();
  }
  arm();
  if (next == self)
    return;
  note(next, access, site);
  switch_to(next);
}

// The gate's countdown is over: a change point, or a thread that is tired.
static void on_stop(schedule_access access, const void *address, const void *site) {
  (void)address;
  s.steps = s.stop_at;
  if (self == NULL)
    return; // the driver: between programs all is still
  if (!fuzz_os_inside) {
    // The harness looks at a block: as soon as a call goes on.
    s.gate->left = 1;
    s.stop_at++;
    return;
  }
  bool change = false;
  for (; s.next_change < s.window.changes && s.window.change[s.next_change].at <= s.steps; change = true)
    self->priority = s.window.change[s.next_change++].priority;
  if (!change) {
    self->priority = --s.lowest;
    if (++s.tired > MOST_TIRED) {
      (void)fuzz_shadow_fail(&s.x->shadow, FUZZ_ORACLE_LIVELOCK, -1, -1,
                             "record %u on t%u does not end in %llu yield points", s.x->op, self->index,
                             (unsigned long long)s.steps);
      give_up();
    }
  }
  let_best_run(access, site);
}

// ---- Locks ----

static void step_aside(schedule_access access, const void *site);

static bool on_wait(const uint32_t *word, uint32_t value, const void *site) {
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value)
    return true;
  if (self == NULL) {
    if (!fuzz_os_inside)
      return false;
    // All threads are gone, and one took a lock with it.
    (void)fuzz_shadow_fail(&s.x->shadow, FUZZ_ORACLE_DEADLOCK, -1, -1,
                           "no thread is inside a call, and a lock is held");
    fprintf(stderr, "heaparena-fuzz: found: deadlock: %s\n", s.x->state->verdict.text);
    _exit(FUZZ_EXIT_FOUND);
  }
  count_steps();
  self->state = WAITING;
  self->word = word;
  self->for_work = self->index == BACKGROUND && value == 1; // a lock with a sleeper says 2
  if (self->for_work)
    step_aside(SCHEDULE_WAIT, site);
  else
    let_best_run(SCHEDULE_WAIT, site);
  return true;
}

static bool on_sleep(const void *site) {
  if (self == NULL || self->index != BACKGROUND)
    return false;
  count_steps();
  self->state = SLEEPING;
  step_aside(SCHEDULE_SLEEP, site);
  return true;
}

static bool on_wake(const uint32_t *word, unsigned count, const void *site) {
  for (unsigned i = 0; i < ACTORS && count > 0; i++)
    if (s.actors[i].state == WAITING && s.actors[i].word == word) {
      s.actors[i].state = READY;
      count--;
    }
  if (self == NULL)
    return true; // the driver: before the next program
  count_steps();
  let_best_run(SCHEDULE_WAKE, site);
  return true;
}

static bool nothing_to_do(const fuzz_op *op) {
  unsigned thread = fuzz_op_thread(op);
  return fuzz_op_get_kind(op) == FUZZ_OP_THREAD_EXIT && (thread == 0 || !s.actors[thread].exists);
}

// ---- Windows ----

static void begin_window(void) {
  s.next_change = 0;
  s.steps = 0;
  s.tired = 0;
  s.lowest = -1;
  s.gate->plain = s.window.plain;
  arm();
}

// Makes the threads of the program's next window ready. Returns their number.
static unsigned form_window(void) {
  executor *x = s.x;
  uint32_t from = s.at;
  s.at = fuzz_window_at(x->program, from, &s.window);
  s.actors[BACKGROUND].priority = s.window.background;
  unsigned threads = 0;
  for (uint32_t i = s.window.first; i < s.at; i++) {
    const fuzz_op *op = &x->program.ops[i];
    actor *one = &s.actors[fuzz_op_thread(op)];
    if (one->state == READY)
      continue;
    if (nothing_to_do(op) && !s.window.races) {
      x->state->skipped[FUZZ_OP_THREAD_EXIT]++;
      continue;
    }
    one->state = READY;
    one->priority = s.window.priority[one->index];
    threads++;
  }
  uint64_t *counts = threads > 1 ? x->state->histogram : x->state->skipped;
  counts[FUZZ_OP_RACE] += s.window.first - from;
  return threads;
}

// Goes on to the next window without the driver, which only begins and ends threads. False: it is needed, or there is
// no other window; what was made ready stays so.
static bool chain_window(void) {
  unsigned threads = 0;
  for (unsigned i = 0; i < FUZZ_THREADS; i++)
    if (s.actors[i].exists && s.actors[i].ends)
      return false;
  while (threads == 0 && s.at < s.x->program.count)
    threads = form_window();
  for (unsigned i = 0; i < FUZZ_THREADS; i++)
    if (s.actors[i].state == READY && !s.actors[i].exists)
      return false;
  if (threads != 0)
    begin_window();
  return threads != 0;
}

// ---- Threads ----

// Nobody is ready: the window is over, or nothing will ever go on.
static void end_window(void) {
  bool waits = false;
  for (unsigned i = 0; i < ACTORS; i++)
    waits |= s.actors[i].state == WAITING && !s.actors[i].for_work;
  if (waits) {
    (void)fuzz_shadow_fail(&s.x->shadow, FUZZ_ORACLE_DEADLOCK, -1, -1, "nobody is left to wake who waits: %s",
                           waiting_list());
    give_up();
  }
  if (chain_window())
    fuzz_token_set(&best()->turn, 1);
  else
    fuzz_token_set(&s.over, 1);
}

// BACKGROUND has nothing to do until it is woken.
static void step_aside(schedule_access access, const void *site) {
  if (best() != NULL) {
    let_best_run(access, site);
    return;
  }
  end_window();
  wait_turn();
  s.x->state->phase = FUZZ_PHASE_CALL;
}

// The thread has nothing more to do in this window.
static void leave_window(void) {
  count_steps();
  self->state = IDLE;
  actor *next = best();
  if (next == NULL) {
    end_window();
    return;
  }
  arm();
  fuzz_token_set(&next->turn, 1);
}

// The thread's last destructor: gomalloc's ran in the rounds before, interleaved like any call.
static void on_end(void *value) {
  actor *ended = value;
  if (++ended->rounds < PTHREAD_DESTRUCTOR_ITERATIONS && pthread_setspecific(s.end_key, ended) == 0)
    return;
  fuzz_os_inside = false;
  leave_window();
}

// Between calls. A thread that sleeps until it is woken must have nothing to do, for nobody will wake it.
static bool check_background(executor *x) {
  ha_alloc_stats now;
  const actor *one = &s.actors[BACKGROUND];
  if (one->state != WAITING || !one->for_work || !x->subject->alloc.stats(&now))
    return true;
  uint64_t lies = now.mapped_bytes - now.inuse_bytes - now.released_bytes;
  return lies < LEFT_LYING ||
         fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_DEADLOCK, -1, -1,
                          "the scavenger sleeps, and nobody will wake it, while %llu bytes lie free",
                          (unsigned long long)lies);
}

static bool run_one(uint32_t record) {
  executor *x = s.x;
  const fuzz_op *op = &x->program.ops[record];
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  x->op = x->shadow.op = x->state->op = record;
  x->thread = self->index;
  if (kind == FUZZ_OP_THREAD_EXIT && self->index != 0) {
    fuzz_call_note(x, kind, 0);
    self->ends = true;
    return true;
  }
  if ((kind == FUZZ_OP_CHECK_HEAP || kind == FUZZ_OP_VERIFY) && !s.window.races)
    return s.step(x, record) && check_background(x);
  if (kind != FUZZ_OP_CLOCK)
    return s.step(x, record);
  s.gate->now_ns += fuzz_op_milliseconds(op) * 1000000;
  x->state->histogram[kind]++;
  if (s.actors[BACKGROUND].state == SLEEPING) {
    s.actors[BACKGROUND].state = READY;
    let_best_run(SCHEDULE_WAKE, NULL);
  }
  return true;
}

static void run_records(void) {
  for (uint32_t i = 0; i < s.window.count && !self->ends; i++) {
    uint32_t record = s.window.first + i;
    if (fuzz_op_thread(&s.x->program.ops[record]) == self->index && !run_one(record))
      give_up();
  }
}

static void *work(void *argument) {
  self = argument;
  (void)pthread_setspecific(s.end_key, self);
  for (;;) {
    wait_turn();
    run_records();
    if (self->ends)
      break;
    leave_window();
  }
  fuzz_os_inside = true; // the allocator's destructor follows
  s.x->state->phase = FUZZ_PHASE_CALL;
  return NULL;
}

__attribute__((noreturn)) static void no_thread(int error) {
  fprintf(stderr, "heaparena-fuzz: no thread for the program (error %d)\n", error);
  exit(70);
}

static void *work_behind(void *argument) {
  self = argument;
  wait_turn();
  fuzz_os_inside = true;
  return self->routine(self->argument);
}

static void start(actor *one) {
  if (one->stack == NULL)
    one->stack = fuzz_arena(STACK_BYTES);
  one->rounds = 0;
  one->ends = false;
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error == 0)
    error = pthread_attr_setstack(&attributes, one->stack, STACK_BYTES);
  if (error == 0)
    error = pthread_create(&one->thread, &attributes, one->index == BACKGROUND ? work_behind : work, one);
  if (error != 0)
    no_thread(error);
  (void)pthread_attr_destroy(&attributes);
  one->exists = true;
}

static bool on_create(void *(*routine)(void *), void *argument) {
  actor *one = &s.actors[BACKGROUND];
  if (self == NULL || one->exists)
    return false;
  one->routine = routine;
  one->argument = argument;
  one->state = READY;
  start(one);
  return true;
}

bool fuzz_schedule_others(void) {
  for (unsigned i = 0; i < FUZZ_THREADS; i++)
    if (s.actors[i].exists && &s.actors[i] != self)
      return true;
  return false;
}

// ---- The driver ----

// Lets the threads that are ready run, and those of the windows behind theirs, until the driver has something to do.
// False: the run is over.
static bool run_ready(void) {
  for (unsigned i = 0; i < FUZZ_THREADS; i++)
    if (s.actors[i].state == READY && !s.actors[i].exists)
      start(&s.actors[i]);
  atomic_store_explicit(&s.over, 0, memory_order_relaxed);
  begin_window();
  fuzz_token_set(&best()->turn, 1);
  fuzz_token_wait_while(&s.over, 0);
  s.gate->left = UINT64_MAX;
  s.gate->own_size = 0;
  for (unsigned i = 0; i < FUZZ_THREADS && !s.stuck; i++)
    if (s.actors[i].exists && s.actors[i].ends) {
      pthread_join(s.actors[i].thread, NULL);
      s.actors[i].exists = false;
    }
  return !s.stuck;
}

// Every thread ends, one after the other; what they allocated stays.
static bool end_all(void) {
  s.window = (fuzz_window){.first = s.at};
  for (unsigned i = 0; i < FUZZ_THREADS; i++)
    if (s.actors[i].exists) {
      s.actors[i].ends = true;
      s.actors[i].state = READY;
      if (!run_ready())
        return false;
    }
  return true;
}

// True when the subject is another than the one before, or this process the child of the one that knew it.
static bool attach(const fuzz_subject *subject) {
  static const fuzz_subject *attached;
  static pid_t process;
  if (attached != NULL && attached == subject && process == getpid())
    return false;
  process = getpid();
  for (unsigned i = 0; i < ACTORS; i++)
    s.actors[i] = (actor){.index = i, .stack = s.actors[i].stack};
  if (attached == NULL && pthread_key_create(&s.end_key, on_end) != 0)
    no_thread(errno);
  attached = subject;
  s.gate = dlsym(subject->handle, SCHEDULE_GATE_SYMBOL);
  s.gate->stop = on_stop;
  s.gate->wait = on_wait;
  s.gate->wake = on_wake;
  s.gate->create = on_create;
  s.gate->sleep = on_sleep;
  return true;
}

// Whatever the program before left to do there is done: until the thread waits for work.
static bool settle_background(executor *x) {
  actor *one = &s.actors[BACKGROUND];
  s.window = (fuzz_window){.background = -1};
  s.at = (uint32_t)x->program.count;
  for (unsigned i = 0; i < MOST_TICKS && (one->state == SLEEPING || one->state == READY); i++) {
    one->state = READY;
    if (!run_ready())
      return false;
  }
  return true;
}

static bool run_program(executor *x) {
  s.x = x;
  // The heap and the clock of every program are those of the first: it must do the same alone. A large block that comes
  // and goes leaves what the heap remembers of its sizes alike.
  x->subject->alloc.free(x->subject->alloc.malloc(PASSING));
  (void)x->subject->alloc.purge();
  s.gate->now_ns += UINT64_C(3600) * 1000000000;
  if (!settle_background(x))
    return false;
  s.at = 0;
  bool good = true;
  while (good && (best() != NULL || s.at < x->program.count))
    good = (best() == NULL && form_window() == 0) || run_ready();
  return good && end_all() && check_background(x);
}

// As many threads as there can be have been and are gone, and the allocator's own has begun: what it keeps of them is
// there from the first program on.
static bool warm_up(executor *x) {
  static fuzz_op ops[2 * FUZZ_THREADS + 2];
  for (uint8_t i = 0; i < FUZZ_THREADS; i++) {
    ops[i] = (fuzz_op){.kind = FUZZ_OP_MALLOC, .slot = i, .thread = i};
    ops[FUZZ_THREADS + i] = (fuzz_op){.kind = FUZZ_OP_FREE, .slot = i, .thread = i};
  }
  fuzz_op *large = ops + 2 * (size_t)FUZZ_THREADS;
  large[0] = (fuzz_op){.kind = FUZZ_OP_MALLOC, .slot = FUZZ_THREADS, .fill = 128};
  fuzz_op_set_size(&large[0], FIRST_WORK);
  large[1] = (fuzz_op){.kind = FUZZ_OP_FREE, .slot = FUZZ_THREADS};
  const fuzz_options *options = x->options;
  fuzz_options quiet = *options;
  fuzz_program program = x->program;
  quiet.log = NULL;
  x->options = &quiet;
  x->program = (fuzz_program){ops, sizeof ops / sizeof ops[0]};
  bool good = run_program(x);
  x->options = options;
  x->program = program;
  return good;
}

bool fuzz_schedule_run(executor *x, bool (*step)(executor *x, uint32_t record)) {
  if (s.stuck) {
    fprintf(stderr, "heaparena-fuzz: threads of the program before are stuck; no other can run here\n");
    _exit(70);
  }
  bool cold = attach(x->subject);
  fuzz_token_stay_on_processor();
  s.step = step;
  return (!cold || warm_up(x)) && run_program(x);
}

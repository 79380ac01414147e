// interpreter.c: a stack machine whose values are boxed: very many tiny blocks with very short lives.
//
// Most instructions pop two boxed numbers and push a new one; calls allocate a frame and returns free it with
// all that was pushed since; now and then a value is stored into a global table and lives on. Stresses: the
// fast path for 16 to 48 bytes with almost no live data, the situation in which garbage-collected languages
// do well. A good allocator serves it from a few cache lines that stay hot. Survivors among short lives
// decide whether those lines stay dense.
// Idea: CPython's and Lua's boxed numbers and frames; the mix of instructions is ours.
#include "workloads/kit.h"

#define STACK_SLOTS 1024u
#define FRAMES      64u

typedef struct interpreter {
  uint64_t instructions, globals;
  ha_slot *slots; // (globals + STACK_SLOTS + FRAMES) * threads
} interpreter;

// One thread's machine.
typedef struct machine {
  ha_slot *stack, *frames, *globals;
  uint32_t height, depth;
  uint32_t base[FRAMES]; // height of the stack when the frame was entered
} machine;

static const ha_param params[] = {
    {"ops", "8000000", "instructions per thread", 1, 100000000000, NULL},
    {"globals", "5000", "values that live on until they are overwritten, per thread", 1, 100000000, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static uint64_t slots_a_thread(const interpreter *p) {
  return p->globals + STACK_SLOTS + FRAMES;
}

static bool interpreter_prepare(ha_run *run) {
  interpreter *p = ha_map(run, sizeof *p);
  if (!p)
    return false;
  run->state = p;
  p->instructions = ha_scaled(run, "ops");
  p->globals = ha_param_number(run, "globals");
  double slots = (double)slots_a_thread(p) * run->threads;
  if (!ha_fits(run, slots * (64 + sizeof(ha_slot)), (double)p->instructions * run->threads * 48))
    return false;
  p->slots = ha_map(run, slots_a_thread(p) * run->threads * sizeof(ha_slot));
  return p->slots != NULL;
}

static bool push(ha_thread *self, machine *m, uint64_t number) {
  static const unsigned char box[8] = {16, 16, 16, 24, 24, 32, 32, 48}; // bytes
  if (m->height == STACK_SLOTS)
    return true;
  return ha_slot_take(self, &m->stack[m->height++], box[number & 7], number >> 8);
}

static bool pop_to(ha_thread *self, machine *m, uint32_t height) {
  while (m->height > height)
    if (!ha_slot_drop(self, &m->stack[--m->height]))
      return false;
  return true;
}

static bool binary_operation(ha_thread *self, machine *m, uint64_t number) {
  return (m->height < 2 || pop_to(self, m, m->height - 2)) && push(self, m, number);
}

static bool call(ha_thread *self, machine *m, uint64_t number) {
  if (m->depth == FRAMES)
    return true;
  m->base[m->depth] = m->height;
  return ha_slot_take(self, &m->frames[m->depth++], 64 + 16 * (uint32_t)(number % 28), number >> 8);
}

static bool give_back(ha_thread *self, machine *m) {
  if (m->depth == 0)
    return true;
  m->depth--;
  uint32_t base = m->base[m->depth] < m->height ? m->base[m->depth] : m->height;
  return ha_slot_drop(self, &m->frames[m->depth]) && pop_to(self, m, base);
}

// The newest value moves into the table, whatever lived there goes.
static bool store(ha_thread *self, machine *m, ha_slot *global) {
  if (m->height == 0)
    return true;
  if (global->block && !ha_slot_drop(self, global))
    return false;
  *global = m->stack[--m->height];
  m->stack[m->height].block = NULL;
  return true;
}

static bool execute(ha_thread *self, machine *m, const interpreter *p) {
  uint64_t number = ha_random(&self->random);
  unsigned kind = (unsigned)(number >> 58); // 0 to 63
  if (kind < 32)
    return binary_operation(self, m, number);
  if (kind < 56)
    return push(self, m, number);
  if (kind < 59)
    return call(self, m, number);
  if (kind < 62)
    return give_back(self, m);
  return store(self, m, &m->globals[(number >> 16) % p->globals]);
}

static void interpreter_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const interpreter *p = run->state;
  ha_slot *slots = p->slots + slots_a_thread(p) * thread;
  ha_thread self = ha_thread_begin(run, thread);
  machine m = {.globals = slots, .stack = slots + p->globals, .frames = slots + p->globals + STACK_SLOTS};
  bool good = true;
  for (uint64_t i = 0; good && i < p->instructions; i++)
    good = execute(&self, &m, p);
  ha_thread_end(&self, tally);
}

static bool interpreter_finish(ha_run *run) {
  interpreter *p = run->state;
  return ha_slots_clear(run, p->slots, slots_a_thread(p) * run->threads);
}

const ha_workload ha_workload_interpreter = {
    .name = "interpreter",
    .summary = "many tiny blocks with very short lives, as boxed values of an interpreter",
    .explain =
        "Runs instructions of a stack machine whose numbers are blocks of 16 to 48 bytes: most die within a "
        "few "
        "instructions, some are stored and live on, and calls allocate frames. Hardly anything is live, so "
        "time is the "
        "allocator's fast path in a realistic mix with mispredicted branches, which fastpath does not have. "
        "Memory says nothing here.",
    .params = params,
    .scales = true,
    .prepare = interpreter_prepare,
    .body = interpreter_body,
    .finish = interpreter_finish,
};

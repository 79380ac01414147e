// stack.c: phases of a program whose blocks live as on a stack: what was allocated last is freed first.
//
// The depth wanders: each phase picks a new depth and pushes or pops blocks until it is there, as a recursive
// parser or compiler pass does. Stresses: caches that fill in one long run and empty in the next. A good
// allocator keeps enough to absorb a phase, and gives back what a deep phase needed once the stack stays low.
// Idea: obstack-like phases of compilers, as in Wilson, Johnstone, Neely and Boles, "Dynamic storage
// allocation: a survey and critical review", IWMM 1995 (ramps, peaks and plateaus).
#include "workloads/kit.h"
#include "workloads/sizes.h"

typedef struct stack {
  const uint32_t *sizes;
  uint64_t depth, pushes;
  ha_slot *slots; // depth * threads
} stack;

static const ha_param params[] = {
    {"depth", "50000", "most blocks on the stack, per thread", 1, 100000000, NULL},
    {"ops", "6000000", "blocks pushed per thread", 1, 10000000000, NULL},
    HA_SIZE_PARAMS("lognormal", "8", "4096"),
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool stack_prepare(ha_run *run) {
  stack *s = ha_map(run, sizeof *s);
  if (!s)
    return false;
  run->state = s;
  uint64_t random = run->seed;
  s->depth = ha_param_number(run, "depth");
  s->pushes = ha_scaled(run, "ops");
  s->sizes = ha_sizes_draw(run, &random);
  if (!s->sizes)
    return false;
  double mean = ha_sizes_mean(s->sizes);
  double live = (double)s->depth * run->threads * (mean + sizeof(ha_slot));
  if (!ha_fits(run, live, (double)s->pushes * run->threads * mean))
    return false;
  s->slots = ha_map(run, s->depth * run->threads * sizeof(ha_slot));
  return s->slots != NULL;
}

static void stack_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const stack *s = run->state;
  ha_slot *slots = s->slots + s->depth * thread;
  ha_thread self = ha_thread_begin(run, thread);
  uint64_t height = 0, pushed = 0;
  bool good = true;
  while (good && pushed < s->pushes) {
    uint64_t target = 1 + ha_random_below(&self.random, s->depth);
    for (; good && height > target; height--)
      good = ha_slot_drop(&self, &slots[height - 1]);
    for (; good && height < target; height++, pushed++)
      good = ha_slot_take(&self, &slots[height], s->sizes[(pushed + (uint64_t)thread * 7919) % HA_SIZES],
                          pushed);
    if (good && height == s->depth) // only here can a target repeat for ever, with depth=1
      good = ha_slot_drop(&self, &slots[--height]);
  }
  for (; good && height > 0; height--)
    good = ha_slot_drop(&self, &slots[height - 1]);
  ha_thread_end(&self, tally);
}

static bool stack_finish(ha_run *run) {
  stack *s = run->state;
  return ha_slots_clear(run, s->slots, s->depth * run->threads);
}

const ha_workload ha_workload_stack = {
    .name = "stack",
    .summary = "stack-like phases: last allocated, first freed, depth wanders",
    .explain = "Blocks are freed in the reverse order of allocation while the depth wanders up and down by "
               "thousands of "
               "blocks, as in a parser or a compiler pass. It is an easy order for every allocator, so time "
               "shows the cost of "
               "moving blocks in bulk between a thread's cache and the shared heap. Fragmentation does not "
               "show here.",
    .params = params,
    .scales = true,
    .prepare = stack_prepare,
    .body = stack_body,
    .finish = stack_finish,
};

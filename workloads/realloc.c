// realloc.c: buffers that grow by realloc, geometrically or byte by byte.
//
// Some buffers grow in turn, chosen at random, so that none can simply grow into the free space behind it;
// one that reached its full size is freed and starts anew. Contents must survive every move. Stresses:
// realloc in place (within a block's slack, for large ones with the kernel's mremap) against copying. A good
// allocator hardly notices growth by one byte, and moves large buffers without copying them.
// Idea: the geometric realloc of mimalloc-pprof's suite; growth by one is what naive string code does.
#include "workloads/kit.h"

typedef struct growth {
  uint64_t steps; // reallocations a thread
  uint64_t live;  // buffers a thread
  uint64_t percent, by;
  uint32_t from, to;
  ha_slot *slots; // live * threads
} growth;

#define GROWTH_PARAMS(ops, from, to, percent, by)                                                            \
  {                                                                                                          \
    {"ops", ops, "growth steps per thread", 1, 10000000000, NULL},                                           \
        {"live", "64", "buffers that grow in turn, per thread", 1, 1000000, NULL},                           \
        {"from", from, "size at which a buffer starts, bytes", 1, 1 << 30, NULL},                            \
        {"to", to, "size at which it is freed and starts anew, bytes", 1, 1 << 30, NULL},                    \
        {"percent", percent, "a step's growth in percent of the size", 0, 1000, NULL},                       \
        {"by", by, "a step's growth in bytes, beside percent", 1, 1 << 30, NULL},                            \
        {NULL, NULL, NULL, 0, 0, NULL},                                                                      \
  }

static const ha_param grow_params[] = GROWTH_PARAMS("100000", "16", "262144", "100", "1");
static const ha_param one_params[] = GROWTH_PARAMS("5000000", "1", "512", "0", "1");

static uint64_t grown(const growth *g, uint64_t size) {
  return size + size * g->percent / 100 + g->by;
}

static bool growth_prepare(ha_run *run) {
  growth *g = ha_map(run, sizeof *g);
  if (!g)
    return false;
  run->state = g;
  g->steps = ha_scaled(run, "ops");
  g->live = ha_param_number(run, "live");
  g->from = (uint32_t)ha_param_number(run, "from");
  g->to = (uint32_t)ha_param_number(run, "to");
  g->percent = ha_param_number(run, "percent");
  g->by = ha_param_number(run, "by");
  if (g->from > g->to)
    return ha_fail(run, "%s: from=%u is above to=%u", run->workload->name, g->from, g->to);
  double cycle_bytes = 0, cycle_steps = 0;
  for (uint64_t size = g->from; size <= g->to; size = grown(g, size)) {
    cycle_bytes += (double)size;
    cycle_steps++;
  }
  double live = (double)g->live * run->threads * (g->to + sizeof(ha_slot));
  if (!ha_fits(run, live, cycle_bytes / cycle_steps * (double)g->steps * run->threads))
    return false;
  g->slots = ha_map(run, g->live * run->threads * sizeof(ha_slot));
  return g->slots != NULL;
}

// Grows a buffer, checks that it kept its contents, and writes what was added.
static bool grow(ha_thread *self, ha_slot *s, uint32_t size) {
  if (!ha_slot_intact(self, s))
    return false;
  void *block = self->alloc->realloc(s->block, size);
  if (!block)
    return ha_give_up(self, "realloc returned NULL");
  s->block = block;
  if (!ha_slot_intact(self, s)) // old size still: the part that realloc must keep
    return false;
  ha_touch_pages(block, s->size, size, s->tag);
  ha_live_add(&self->live, (int64_t)size - s->size);
  s->size = size;
  ha_block_mark(block, size, s->tag, self->run->verify);
  self->tally.operations++;
  self->tally.checksum = self->tally.checksum * 31 + size;
  return true;
}

static bool step(ha_thread *self, const growth *g, ha_slot *s, uint64_t number) {
  if (!s->block)
    return ha_slot_take(self, s, g->from, number);
  uint64_t size = grown(g, s->size);
  return size <= g->to ? grow(self, s, (uint32_t)size) : ha_slot_drop(self, s);
}

static void growth_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const growth *g = run->state;
  ha_slot *slots = g->slots + g->live * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t i = 0; good && i < g->steps; i++) {
    uint64_t number = ha_random(&self.random);
    good = step(&self, g, &slots[(uint64_t)(((unsigned __int128)number * g->live) >> 64)], number);
  }
  ha_thread_end(&self, tally);
}

static bool growth_finish(ha_run *run) {
  growth *g = run->state;
  return ha_slots_clear(run, g->slots, g->live * run->threads);
}

const ha_workload ha_workload_realloc_grow = {
    .name = "realloc-grow",
    .summary = "buffers double by realloc up to 256 KiB",
    .explain = "Buffers start small and double until they are large, as growing arrays do. Time is mostly "
               "copying, unless "
               "the allocator grows a buffer where it is or has the kernel move its pages; peak RSS shows "
               "whether the "
               "old half of each doubling is used again soon. It says little about small blocks.",
    .params = grow_params,
    .scales = true,
    .prepare = growth_prepare,
    .body = growth_body,
    .finish = growth_finish,
};

const ha_workload ha_workload_realloc_one = {
    .name = "realloc-one",
    .summary = "strings grow byte by byte by realloc",
    .explain = "Strings grow to 512 bytes by one byte at a time, as naive string code does. An allocator "
               "that notices that "
               "the block already has room returns at once; one that copies every time, or looks up the size "
               "slowly, stands out in time. Memory says nothing here: the strings are few.",
    .params = one_params,
    .scales = true,
    .prepare = growth_prepare,
    .body = growth_body,
    .finish = growth_finish,
};

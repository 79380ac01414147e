// sh.c: groups of blocks freed now in order, now in reverse, while some outlive several groups: sh6 and sh8.
//
// Each thread keeps a table of groups. In turn a group is emptied, in the order of allocation or in its
// reverse, except for a few blocks that stay until the group's next turn; then it is filled again
// with sizes that are mostly small. sh8 hands a share of each group to the next thread, which frees it.
// Stresses: both orders of free in one heap, blocks of several ages among each other; sh8 adds remote frees
// in all directions. A good allocator is as fast in both orders, and its memory does not depend on who frees.
// Idea: MicroQuill's sh6bench and sh8bench (SmartHeap); written anew, the figures differ.
#include "workloads/ring.h"
#include "workloads/sizes.h"

#define GROUPS 8u

typedef struct sh {
  const uint32_t *sizes;
  uint64_t group, rounds; // blocks in a group, turns a thread takes
  uint64_t shared;        // blocks of each turn that another thread frees; 0: no rings
  ha_slot *slots;         // group * GROUPS * threads
  ha_rings rings;         // rings.ring[t]: from thread t to the next
} sh;

#define SH_PARAMS(ops, remote)                                                                               \
  {                                                                                                          \
    {"ops", ops, "blocks allocated per thread", 1, 10000000000, NULL},                                       \
        {"group", "2000", "blocks in a group, 8 groups per thread", 16, 10000000, NULL},                     \
        {"remote", remote, "blocks of a group that the next thread frees, percent", 0, 90, NULL},            \
        HA_SIZE_PARAMS("pareto", "8", "1000"), {NULL, NULL, NULL, 0, 0, NULL},                               \
  }

static const ha_param sh6_params[] = SH_PARAMS("9000000", "0");
static const ha_param sh8_params[] = SH_PARAMS("9000000", "25");

static bool sh_prepare(ha_run *run) {
  sh *s = ha_map(run, sizeof *s);
  if (!s)
    return false;
  run->state = s;
  uint64_t random = run->seed;
  s->group = ha_param_number(run, "group");
  s->rounds = ha_scaled(run, "ops") / s->group + 1;
  s->shared = s->group * ha_param_number(run, "remote") / 100;
  s->sizes = ha_sizes_draw(run, &random);
  if (!s->sizes)
    return false;
  double mean = ha_sizes_mean(s->sizes), group = (double)s->group * run->threads;
  if (!ha_fits(run, group * GROUPS * (mean + sizeof(ha_slot)), group * (double)s->rounds * mean))
    return false;
  s->slots = ha_map(run, s->group * GROUPS * run->threads * sizeof(ha_slot));
  return s->slots && (!s->shared || ha_rings_make(run, &s->rings, run->threads, s->shared, 2));
}

// Empties a group, forwards or backwards. Every 16th block stays, another one each time.
static bool empty_group(ha_thread *self, const sh *s, ha_slot *group, uint64_t round) {
  bool backwards = round / GROUPS % 2;
  for (uint64_t n = 0; n < s->group; n++) {
    uint64_t i = backwards ? s->group - 1 - n : n;
    bool stays = (i + round / GROUPS) % 16 == 0;
    if (group[i].block && !stays && !ha_slot_drop(self, &group[i]))
      return false;
  }
  return true;
}

static bool fill_group(ha_thread *self, const sh *s, ha_slot *group) {
  uint64_t first = ha_random(&self->random);
  for (uint64_t i = 0; i < s->group; i++)
    if (!group[i].block && !ha_slot_take(self, &group[i], s->sizes[(first + i) % HA_SIZES], first + i))
      return false;
  return true;
}

// Gives the first blocks of the group to the next thread and frees what the one before gave. All threads are
// at most two rounds apart; the one that is furthest behind can always go on, so none waits for ever.
static bool exchange(ha_thread *self, sh *s, unsigned thread, ha_slot *group, uint64_t round) {
  unsigned threads = self->run->threads;
  ha_ring *out = &s->rings.ring[thread];
  ha_ring *in = &s->rings.ring[(thread + threads - 1) % threads];
  ha_slot *gift = ha_ring_room(&s->rings, out);
  if (!gift)
    return true; // another thread says why
  for (uint64_t i = 0; i < s->shared; i++) {
    gift[i] = group[i];
    group[i].block = NULL;
  }
  ha_ring_send(out);
  gift = ha_ring_next(&s->rings, in);
  if (!gift)
    return true;
  for (uint64_t n = 0; n < s->shared; n++)
    if (!ha_slot_drop(self, &gift[round % 2 ? s->shared - 1 - n : n]))
      return false;
  ha_ring_done(in);
  return true;
}

static void sh_body(ha_run *run, unsigned thread, ha_tally *tally) {
  sh *s = run->state;
  ha_slot *slots = s->slots + s->group * GROUPS * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t round = 0; good && round < s->rounds; round++) {
    ha_slot *group = slots + round % GROUPS * s->group;
    good = empty_group(&self, s, group, round) && fill_group(&self, s, group) &&
           (!s->shared || exchange(&self, s, thread, group, round));
  }
  if (!good && s->shared)
    ha_rings_stop(&s->rings);
  ha_thread_end(&self, tally);
}

static bool sh_finish(ha_run *run) {
  sh *s = run->state;
  bool good = ha_slots_clear(run, s->slots, s->group * GROUPS * run->threads);
  return (!s->shared || ha_rings_clear(run, &s->rings)) && good;
}

const ha_workload ha_workload_sh6 = {
    .name = "sh6",
    .summary = "groups of small blocks freed in order and in reverse, some stay longer",
    .explain = "Fills and empties groups of mostly small blocks, forwards and backwards in turn, while a "
               "sixteenth of them "
               "stays for another turn. Time is the everyday cost with both orders of free in one heap. All "
               "frees are "
               "local: compare sh8, where a quarter is not.",
    .params = sh6_params,
    .scales = true,
    .prepare = sh_prepare,
    .body = sh_body,
    .finish = sh_finish,
};

const ha_workload ha_workload_sh8 = {
    .name = "sh8",
    .summary = "as sh6, and a quarter of the blocks is freed by the next thread",
    .explain = "As sh6, but each thread hands a quarter of its blocks to its neighbour, which frees them. "
               "The time above that "
               "of sh6 is the price of remote frees and of waiting for the neighbour. With one thread it "
               "gives the blocks to "
               "itself and nothing is remote: take two threads and more.",
    .params = sh8_params,
    .scales = true,
    .prepare = sh_prepare,
    .body = sh_body,
    .finish = sh_finish,
};

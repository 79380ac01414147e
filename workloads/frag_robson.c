// frag_robson.c: doubling sizes with alternate frees, the classic bad case of fragmentation.
//
// The live bytes reach a limit with the smallest blocks; then every other block is freed and the room is
// filled with blocks of twice the size, which do not fit into any single hole; and so on up to the largest
// size. Stresses: holes between live blocks. A first-fit heap needs more memory with every doubling: about
// half of log2(largest / smallest) times the limit more. Allocators with size classes lose
// once, to pages that keep a few blocks each: a good one stays below twice the limit.
// Idea: Robson, "An estimate of the store size necessary for dynamic storage allocation", JACM 1971, and
// "Worst case fragmentation of first fit and best fit storage allocation strategies", 1977. Neighbours here
// are blocks allocated one after the other; the adversary of the proofs also looks at addresses and does
// worse.
#include "workloads/kit.h"

typedef struct robson {
  uint64_t limit, rounds;
  uint32_t least, most;
  uint64_t capacity; // slots a thread
  ha_slot *slots;
} robson;

static const ha_param params[] = {
    {"live", "32", "limit of the live bytes per thread, MiB", 1, 1 << 20, NULL},
    {"rounds", "3", "times from the smallest to the largest size", 1, 1000000, NULL},
    {"min", "32", "smallest blocks, bytes", 1, 1 << 20, NULL},
    {"max", "65536", "largest blocks, bytes; doubled from min as long as they stay within it", 1, 1 << 26,
     NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool robson_prepare(ha_run *run) {
  robson *r = ha_map(run, sizeof *r);
  if (!r)
    return false;
  run->state = r;
  r->limit = ha_param_number(run, "live") * HA_MIB;
  r->rounds = ha_scaled(run, "rounds");
  r->least = (uint32_t)ha_param_number(run, "min");
  r->most = (uint32_t)ha_param_number(run, "max");
  if (r->least > r->most || r->most > r->limit)
    return ha_fail(run, "%s: min must not be above max, nor max above live", run->workload->name);
  r->capacity = r->limit / r->least + 1;
  double doublings = 1;
  uint64_t largest = r->least;
  for (uint64_t size = r->least; size <= r->most; size *= 2) {
    doublings += 0.5;
    largest = size;
  }
  ha_note_requests(run, r->least, largest);
  double live = (double)run->threads * (double)(r->limit + r->capacity * sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)r->limit * doublings * (double)r->rounds * run->threads))
    return false;
  r->slots = ha_map(run, r->capacity * run->threads * sizeof(ha_slot));
  return r->slots != NULL;
}

// Frees every other of `count` blocks and closes up the table; *live is the bytes that remain. Returns how
// many do.
static uint64_t free_alternate(ha_thread *self, ha_slot *slots, uint64_t count, uint64_t *live) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (i % 2) {
      *live -= slots[i].size;
      ha_slot_drop(self, &slots[i]);
      continue;
    }
    ha_slot moved = slots[i];
    slots[i].block = NULL;
    slots[kept++] = moved;
  }
  return kept;
}

static void one_round(ha_thread *self, const robson *r, ha_slot *slots) {
  uint64_t count = 0, live = 0;
  for (uint64_t size = r->least; size <= r->most && !self->tally.failure; size *= 2) {
    count = free_alternate(self, slots, count, &live);
    for (; live + size <= r->limit && !self->tally.failure; live += size, count++)
      ha_slot_take(self, &slots[count], (uint32_t)size, count);
  }
  for (uint64_t i = 0; i < count && !self->tally.failure; i++)
    ha_slot_drop(self, &slots[i]);
}

static void robson_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const robson *r = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  for (uint64_t round = 0; round < r->rounds && !self.tally.failure; round++)
    one_round(&self, r, r->slots + r->capacity * thread);
  ha_thread_end(&self, tally);
}

static bool robson_finish(ha_run *run) {
  robson *r = run->state;
  return ha_slots_clear(run, r->slots, r->capacity * run->threads);
}

const ha_workload ha_workload_frag_robson = {
    .name = "frag-robson",
    .summary = "fragmentation: sizes double, every other block is freed",
    .explain =
        "Fills a fixed number of live bytes with small blocks, frees every other one, fills up with blocks "
        "of twice the "
        "size, and so on: the new blocks never fit into a single hole. Look at RSS over live, which is what "
        "fragmentation costs; time is secondary. It is a worst case by design: real programs are far kinder.",
    .params = params,
    .scales = true,
    .prepare = robson_prepare,
    .body = robson_body,
    .finish = robson_finish,
};

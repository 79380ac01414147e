// frag_waves.c: a heap that fills and empties in waves, with survivors of every wave: frag-sawtooth,
// frag-phases.
//
// Each wave fills the live bytes up to a limit, then frees all but a few per cent, chosen at random. In the
// sawtooth all waves have the same mix of sizes. In the phases each wave asks for sizes four times those of
// the wave before, and after the largest it starts again with the smallest. Stresses: survivors scattered
// over pages that would otherwise be empty. In the sawtooth a good allocator fills the holes of the last wave
// and RSS stays at the limit; in the phases holes are of the wrong size, and only empty pages that move from
// class to class keep RSS there. Idea: the sawtooth of mimalloc-pprof's suite; phase changes as in Johnstone
// and Wilson, "The memory fragmentation problem: solved?", ISMM 1998.
#include "workloads/kit.h"
#include "workloads/sizes.h"

typedef struct waves {
  const uint32_t *sizes;
  uint64_t limit, count, keep, phases; // bytes, waves, percent, sizes are shifted by 2 * (wave mod phases)
  uint64_t capacity;                   // slots a thread
  ha_slot *slots;
} waves;

#define WAVES_PARAMS(count, keep, phases, law, least, most)                                                  \
  {                                                                                                          \
    {"live", "32", "live bytes at the crest of a wave, per thread, MiB", 1, 1 << 20, NULL},                  \
        {"waves", count, "waves, a count", 1, 1000000, NULL},                                                \
        {"keep", keep, "blocks that survive a wave, percent", 0, 90, NULL},                                  \
        {"phases", phases, "waves until the sizes, times 4 with each wave, start again", 1, 8, NULL},        \
        HA_SIZE_PARAMS(law, least, most), {NULL, NULL, NULL, 0, 0, NULL},                                    \
  }

static const ha_param sawtooth_params[] = WAVES_PARAMS("16", "3", "1", "lognormal", "16", "8192");
static const ha_param phases_params[] = WAVES_PARAMS("20", "8", "5", "even", "16", "64");

static bool waves_prepare(ha_run *run) {
  waves *w = ha_map(run, sizeof *w);
  if (!w)
    return false;
  run->state = w;
  uint64_t random = run->seed;
  w->limit = ha_param_number(run, "live") * HA_MIB;
  w->count = ha_scaled(run, "waves");
  w->keep = ha_param_number(run, "keep");
  w->phases = ha_param_number(run, "phases");
  if (ha_param_number(run, "max") << 2 * (w->phases - 1) > w->limit)
    return ha_fail(run, "%s: the largest request, max times 4 for each phase, must fit into live",
                   run->workload->name);
  ha_note_requests(run, ha_param_number(run, "min"), ha_param_number(run, "max") << 2 * (w->phases - 1));
  w->sizes = ha_sizes_draw(run, &random);
  if (!w->sizes)
    return false;
  w->capacity = (uint64_t)(1.1 * (double)w->limit / ha_sizes_mean(w->sizes)) + 1024;
  double live = (double)run->threads * ((double)w->limit + (double)w->capacity * sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)run->threads * (double)w->count * (double)w->limit))
    return false;
  w->slots = ha_map(run, w->capacity * run->threads * sizeof(ha_slot));
  return w->slots != NULL;
}

static bool fill(ha_thread *self, const waves *w, ha_slot *slots, uint64_t wave, uint64_t *live) {
  uint64_t first = ha_random(&self->random);
  unsigned shift = 2 * (unsigned)(wave % w->phases);
  for (uint64_t i = 0; i < w->capacity && *live < w->limit; i++) {
    if (slots[i].block)
      continue;
    uint32_t size = w->sizes[(first + i) % HA_SIZES] << shift;
    if (!ha_slot_take(self, &slots[i], size, first + i))
      return false;
    *live += size;
  }
  return true;
}

static bool ebb(ha_thread *self, const waves *w, ha_slot *slots, uint64_t *live) {
  for (uint64_t i = 0; i < w->capacity; i++) {
    if (!slots[i].block || ha_random_below(&self->random, 100) < w->keep)
      continue;
    *live -= slots[i].size;
    if (!ha_slot_drop(self, &slots[i]))
      return false;
  }
  return true;
}

static void waves_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const waves *w = run->state;
  ha_slot *slots = w->slots + w->capacity * thread;
  ha_thread self = ha_thread_begin(run, thread);
  uint64_t live = 0;
  bool good = true;
  for (uint64_t wave = 0; good && wave < w->count; wave++)
    good = fill(&self, w, slots, wave, &live) && ebb(&self, w, slots, &live);
  ha_thread_end(&self, tally);
}

static bool waves_finish(ha_run *run) {
  waves *w = run->state;
  return ha_slots_clear(run, w->slots, w->capacity * run->threads);
}

const ha_workload ha_workload_frag_sawtooth = {
    .name = "frag-sawtooth",
    .summary = "fragmentation: the heap fills and empties in waves, a few blocks survive each",
    .explain =
        "Fills 32 MiB with mixed sizes, frees all but 3 % of the blocks, and repeats. Survivors lie "
        "scattered, so that few "
        "pages are ever empty, but their holes suit the next wave. RSS over live near 1 means that holes are "
        "filled; growth with the number of waves is a leak of a kind. Time shows filling holes in bulk.",
    .params = sawtooth_params,
    .scales = true,
    .prepare = waves_prepare,
    .body = waves_body,
    .finish = waves_finish,
};

const ha_workload ha_workload_frag_phases = {
    .name = "frag-phases",
    .summary = "fragmentation: each phase asks for sizes four times those of the last",
    .explain =
        "As frag-sawtooth, but each wave asks for sizes four times as large as the wave before, from 16 "
        "bytes to 16 KiB, then "
        "starts again. Holes of one phase are of the wrong size for the next. Look at RSS over live: it "
        "shows whether "
        "pages of one size class become pages of another while some of their neighbours are still in use.",
    .params = phases_params,
    .scales = true,
    .prepare = waves_prepare,
    .body = waves_body,
    .finish = waves_finish,
};

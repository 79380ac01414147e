// churn.c: random replacement in a live set. The plainest picture of a long-running program's heap: a set of
// live blocks of mixed sizes, each operation frees a random one and allocates another in its place.
//
// Stresses: finding room for a size among blocks of all ages, locality of metadata on free, fragmentation
// that creeps in over time. A good allocator serves both calls from a thread's own cache and keeps RSS near
// the live bytes. Idea: ITHare's alloc-test (2018) and glibc's benchtests; sizes by default as in server
// fleets (see sizes.h).
#include "workloads/replacement.h"

#define CHURN_PARAMS(law, least, most)                                                                       \
  {                                                                                                          \
    {"live", "100000", "live blocks per thread", 1, 100000000, NULL},                                        \
        {"ops", "3000000", "replacements per thread, a free and an allocation each", 1, 10000000000, NULL},  \
        HA_SIZE_PARAMS(law, least, most),                                                                    \
        {"fill", "timed", "when the live set is made: timed, or before the clock starts",                    \
         0,      0,       HA_WORDS("timed", "before")},                                                      \
        {NULL, NULL, NULL, 0, 0, NULL},                                                                      \
  }

static const ha_param churn_params[] = CHURN_PARAMS("lognormal", "8", "16384");
static const ha_param even_params[] = CHURN_PARAMS("even", "8", "512");
static const ha_param pareto_params[] = CHURN_PARAMS("pareto", "16", "32768");
static const ha_param measured_params[] = CHURN_PARAMS("measured", "1", "65536");

static bool churn_prepare(ha_run *run) {
  ha_replacement *r = ha_map(run, sizeof *r);
  run->state = r;
  if (!r)
    return false;
  r->filled = ha_param_word(run, "fill") == 1;
  return ha_replacement_prepare(run, r);
}

static void churn_fill(ha_run *run, unsigned thread, ha_tally *tally) {
  const ha_replacement *r = run->state;
  if (!r->filled)
    return;
  ha_thread self = ha_thread_begin(run, thread);
  ha_fill_slots(r, &self, thread, ha_slot_take);
  ha_live_flush(&self.live);
  tally->failure = self.tally.failure;
}

static void churn_body(ha_run *run, unsigned thread, ha_tally *tally) {
  if (!tally->failure)
    ha_replace_at_random(run->state, run, thread, tally, ha_slot_take, ha_slot_drop);
}

static bool churn_finish(ha_run *run) {
  return ha_replacement_clear(run, run->state);
}

#define EXPLAIN                                                                                              \
  "Keeps a set of live blocks and, over and over, frees a random one and allocates another in its place, "   \
  "as a long-running program does. Time shows the everyday cost of malloc and free when "                    \
  "the freed block is not the newest; RSS over live shows how much room the mix of sizes and ages wastes. "

#define CHURN(workload_name, what, why, its_params)                                                          \
  {                                                                                                          \
    .name = (workload_name), .summary = (what), .explain = (why), .params = (its_params), .scales = true,    \
    .prepare = churn_prepare, .fill = churn_fill, .body = churn_body, .finish = churn_finish,                \
  }

const ha_workload ha_workload_churn =
    CHURN("churn", "random replacement in a live set of mixed sizes",
          EXPLAIN "Sizes are log-normal: most are near 64 bytes, a few a hundred times that.", churn_params);
const ha_workload ha_workload_churn_even =
    CHURN("churn-even", "random replacement, every size up to 512 bytes alike",
          EXPLAIN "Every size is as likely as any other: hard on size classes, and unlike most programs.",
          even_params);
const ha_workload ha_workload_churn_pareto = CHURN(
    "churn-pareto", "random replacement, inverse-square sizes up to 32 KiB",
    EXPLAIN "Twice the size is a quarter as likely, so that half of the bytes are in few, large blocks.",
    pareto_params);
const ha_workload ha_workload_churn_measured =
    CHURN("churn-measured", "random replacement, sizes as ten servers request them",
          EXPLAIN "Sizes follow ten server programs in equal parts; lifetimes do not: for those see fleet.",
          measured_params);

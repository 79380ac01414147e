// fastpath.c: malloc and free in pairs, nothing else: what the shortest way through an allocator costs.
//
// `depth` blocks are allocated, then freed newest first; depth 1 is the pair that benchmarks love. Requests
// are independent of one another, so that the processor overlaps them, or (link=yes) each size waits for the
// address before it, as when a program builds one object from another. fastpath-classes walks over the size
// classes in turn. Stresses: instruction count and latency of the thread's own cache. A good allocator needs
// about 5 ns a pair; the whole heap is a few blocks, so the figures say nothing about programs with many live
// blocks. Idea: gperftools' malloc_bench.
#include "workloads/kit.h"
#include "workloads/sizes.h"

#define MOST_DEPTH 256

typedef struct fastpath {
  uint64_t pairs, depth; // pairs for each size
  uint32_t least, most;
  bool linked;
} fastpath;

#define FASTPATH_PARAMS(ops, depth, least, most)                                                             \
  {                                                                                                          \
    {"ops", ops, "pairs per thread", 1, 100000000000, NULL},                                                 \
        {"depth", depth, "blocks held at once, a count", 1, MOST_DEPTH, NULL},                               \
        {"min", least, "smallest request, bytes", 1, 1 << 20, NULL},                                         \
        {"max", most,    "largest request, bytes; every size class from min to it takes its turn",           \
         1,     1 << 20, NULL},                                                                              \
        {"link", "no", "yes: each request waits for the address before it; no: they are independent",        \
         0,      0,    HA_WORDS("no", "yes")},                                                               \
        {NULL, NULL, NULL, 0, 0, NULL},                                                                      \
  }

static const ha_param fastpath_params[] = FASTPATH_PARAMS("12000000", "1", "64", "64");
static const ha_param deep_params[] = FASTPATH_PARAMS("16000000", "64", "64", "64");
static const ha_param classes_params[] = FASTPATH_PARAMS("9000000", "16", "16", "512");

static bool fastpath_prepare(ha_run *run) {
  fastpath *f = ha_map(run, sizeof *f);
  if (!f)
    return false;
  run->state = f;
  f->linked = ha_param_word(run, "link") == 1;
  f->depth = ha_param_number(run, "depth");
  f->least = (uint32_t)ha_param_number(run, "min");
  f->most = (uint32_t)ha_param_number(run, "max");
  if (f->least > f->most)
    return ha_fail(run, "%s: min=%u is above max=%u", run->workload->name, f->least, f->most);
  uint64_t classes = 0, bytes = 0;
  for (uint32_t size = f->least; size <= f->most; size = ha_sizes_next_class(size)) {
    classes++;
    bytes += size;
  }
  f->pairs = ha_scaled(run, "ops") / classes + 1;
  double live = (double)f->depth * f->most * run->threads;
  return ha_fits(run, live, live + (double)bytes * (double)f->pairs * run->threads);
}

// One round: `depth` allocations, then as many frees. Returns NULL or what went wrong; `extra` is 0, which
// the compiler cannot know: adding what is left of an address shifted away makes the next size wait for that
// address.
static const char *round_of_pairs(const ha_run *run, uint32_t size, uint64_t tag, uintptr_t *extra) {
  const fastpath *f = run->state;
  const char *failure = NULL;
  void *blocks[MOST_DEPTH];
  uint64_t held = 0;
  for (; held < f->depth; held++) {
    void *block = run->alloc->malloc(size + *extra);
    if (!block) {
      failure = "malloc returned NULL";
      break;
    }
    if (f->linked)
      *extra = (uintptr_t)block >> 63;
    ha_block_mark(block, size, tag + held, run->verify);
    blocks[held] = block;
  }
  while (held-- > 0) {
    if (!ha_block_check(blocks[held], size, tag + held, run->verify) && ha_keeps_contents(run))
      failure = "a live block lost its contents";
    run->alloc->free(blocks[held]);
  }
  return failure;
}

static void fastpath_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const fastpath *f = run->state;
  ha_thread self = ha_thread_begin(run, thread);
  ha_live_add(&self.live,
              (int64_t)(f->depth * f->most)); // the peak; kept up pair by pair it would be measured too
  uintptr_t extra = 0;
  for (uint32_t size = f->least; size <= f->most; size = ha_sizes_next_class(size))
    for (uint64_t done = 0; done < f->pairs && !self.tally.failure; done += f->depth) {
      const char *failure = round_of_pairs(run, size, done, &extra);
      if (failure)
        ha_give_up(&self, failure);
      self.tally.operations += 2 * f->depth;
      self.tally.checksum = self.tally.checksum * 31 + size;
    }
  ha_live_add(&self.live, -(int64_t)(f->depth * f->most));
  ha_thread_end(&self, tally);
}

static bool fastpath_finish(ha_run *run) {
  (void)run;
  return true; // every round freed what it allocated
}

#define FASTPATH(workload_name, what, why, its_params)                                                       \
  {                                                                                                          \
    .name = (workload_name), .summary = (what), .explain = (why), .params = (its_params), .scales = true,    \
    .prepare = fastpath_prepare, .body = fastpath_body, .finish = fastpath_finish,                           \
  }

const ha_workload ha_workload_fastpath =
    FASTPATH("fastpath", "malloc and free of one 64-byte block, over and over",
             "The shortest way through the allocator: a block is allocated, written, and freed at once. Time "
             "is what the call, "
             "the thread's cache and the free list cost at their best. It is the easiest figure to be good "
             "at, and says little "
             "about a program that keeps blocks: read it as a lower bound, and churn as the everyday.",
             fastpath_params);
const ha_workload ha_workload_fastpath_deep = FASTPATH(
    "fastpath-deep", "64 blocks allocated, then freed newest first",
    "As fastpath, with 64 blocks held before they are freed, newest first: allocations do not wait for the "
    "free before "
    "them, so time shows throughput where fastpath shows latency. Compare the two: a large gap means that "
    "malloc must wait for what free wrote.",
    deep_params);
const ha_workload ha_workload_fastpath_classes = FASTPATH(
    "fastpath-classes", "16 blocks at a time of every size class from 16 to 512 bytes",
    "As fastpath, one size class after the other. An allocator that is fast for one size and slow for the "
    "next "
    "shows here; a single class is measured with min and max. It does not show how classes share memory.",
    classes_params);

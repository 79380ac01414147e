// calls.c: the other ways to allocate and to free: calloc, aligned_alloc, free_sized. Random replacement in a
// live set, as churn, with that call in malloc's or free's place.
//
// calloc stresses clearing memory that was used before: every block is dirtied in full before it is freed,
// and a fresh one is looked at. A good allocator clears what it must and no page that the kernel just
// cleared. aligned stresses alignments from 16 bytes up to max_align, each twice as rare as the one below. A
// good allocator finds an aligned block in a size class; a simple one allocates too much and cuts. Misaligned
// blocks are counted and told in the note, since a released allocator has that bug (mimalloc issue 700);
// misaligned=fail makes them a failure. sizedfree passes the size to free: a good allocator saves the look-up
// of the size. Where an allocator has no free_sized, free is called instead and the note of the result says
// so. Idea: calloc zero and aligned of mimalloc-pprof's suite, memalign and sized free of gperftools'
// malloc_bench.
#include "workloads/replacement.h"

#include <stdio.h>
#include <string.h>

typedef struct calls {
  ha_replacement replacement;
  uint64_t most_align;
  bool forgiving;                               // misaligned blocks are counted, not a failure
  _Atomic uint64_t misaligned;                  // blocks
  void (*free_sized)(void *block, size_t size); // NULL: free instead
} calls;

#define CALLS_PARAMS(most)                                                                                   \
  {"live", "20000", "live blocks per thread", 1, 100000000, NULL},                                           \
      {"ops", "4000000", "replacements per thread, a free and an allocation each", 1, 10000000000, NULL},    \
      HA_SIZE_PARAMS("lognormal", "8", most)

static const ha_param calloc_params[] = {CALLS_PARAMS("16384"), {NULL, NULL, NULL, 0, 0, NULL}};
static const ha_param sizedfree_params[] = {CALLS_PARAMS("4096"), {NULL, NULL, NULL, 0, 0, NULL}};
static const ha_param aligned_params[] = {
    CALLS_PARAMS("4096"),
    {"max_align", "4096", "largest alignment, bytes, a power of two", 16, 1 << 20, NULL},
    {"misaligned", "count", "a misaligned block is a failure, or counted in the note", 0, 0,
     HA_WORDS("fail", "count")},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool calls_prepare(ha_run *run) {
  calls *c = ha_map(run, sizeof *c);
  run->state = c;
  return c && ha_replacement_prepare(run, &c->replacement);
}

static bool calls_finish(ha_run *run) {
  return ha_replacement_clear(run, &((calls *)run->state)->replacement);
}

static bool is_zero(const unsigned char *block, uint32_t size, bool whole) {
  if (!whole)
    return !block[0] && !block[size / 2] && !block[size - 1];
  for (uint32_t i = 0; i < size; i++)
    if (block[i])
      return false;
  return true;
}

static bool take_zeroed(ha_thread *self, ha_slot *slot, uint32_t size, uint64_t number) {
  void *block = self->alloc->calloc(1, size);
  bool zero = !block || is_zero(block, size, self->run->verify) || !ha_keeps_contents(self->run);
  return ha_slot_adopt(self, slot, block, size, number >> 32) &&
         (zero || ha_give_up(self, "calloc returned contents that are not zero"));
}

static bool drop_dirty(ha_thread *self, ha_slot *slot) {
  void *block;
  if (!ha_slot_leave(self, slot, &block))
    return false;
  memset(block, 0xdb, slot->size);
  self->alloc->free(block);
  return true;
}

static void calloc_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const calls *c = run->state;
  ha_replace_at_random(&c->replacement, run, thread, tally, take_zeroed, drop_dirty);
}

static bool aligned_prepare(ha_run *run) {
  if (!run->alloc->aligned_alloc)
    return ha_fail(run, "allocator has no aligned_alloc");
  if (!calls_prepare(run))
    return false;
  calls *c = run->state;
  c->forgiving = ha_param_word(run, "misaligned") == 1;
  c->most_align = ha_param_number(run, "max_align");
  if (c->most_align & (c->most_align - 1))
    return ha_fail(run, "aligned: max_align=%llu is not a power of two", (unsigned long long)c->most_align);
  return true;
}

static bool take_aligned(ha_thread *self, ha_slot *slot, uint32_t size, uint64_t number) {
  calls *c = self->run->state;
  uint64_t alignment =
      16ull << __builtin_ctzll(number >> 20 | (1ull << 43)); // half of them 16, a quarter 32, ...
  if (alignment > c->most_align)
    alignment = c->most_align;
  // A multiple of the alignment, as C11 asked for and as sizes of aligned types are; some allocators insist.
  size = (size + (uint32_t)alignment - 1) & ~((uint32_t)alignment - 1);
  void *block = self->alloc->aligned_alloc(alignment, size);
  if ((uintptr_t)block % alignment != 0) {
    atomic_fetch_add_explicit(&c->misaligned, 1, memory_order_relaxed);
    if (!c->forgiving)
      ha_give_up(self, "aligned_alloc returned a block that is not aligned");
  }
  return ha_slot_adopt(self, slot, block, size, number >> 32) && !self->tally.failure;
}

static void aligned_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const calls *c = run->state;
  ha_replace_at_random(&c->replacement, run, thread, tally, take_aligned, ha_slot_drop);
}

static bool aligned_finish(ha_run *run) {
  uint64_t misaligned = atomic_load(&((calls *)run->state)->misaligned);
  if (misaligned)
    snprintf(run->note, sizeof run->note, "misaligned_blocks=%llu", (unsigned long long)misaligned);
  return calls_finish(run);
}

static bool sizedfree_prepare(ha_run *run) {
  if (!calls_prepare(run))
    return false;
  ((calls *)run->state)->free_sized = run->alloc->free_sized;
  snprintf(run->note, sizeof run->note, "free_sized=%s",
           run->alloc->free_sized ? "used" : "absent,free_instead");
  return true;
}

static bool drop_sized(ha_thread *self, ha_slot *slot) {
  const calls *c = self->run->state;
  void *block;
  if (!ha_slot_leave(self, slot, &block))
    return false;
  if (c->free_sized)
    c->free_sized(block, slot->size);
  else
    self->alloc->free(block);
  return true;
}

static void sizedfree_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const calls *c = run->state;
  ha_replace_at_random(&c->replacement, run, thread, tally, ha_slot_take, drop_sized);
}

const ha_workload ha_workload_calloc = {
    .name = "calloc",
    .summary = "calloc of memory that was used and dirtied before",
    .explain =
        "Random replacement in a live set with calloc; every block is written in full before it is freed, so "
        "that "
        "calloc must clear it again. Time is the allocator's and that of clearing, which it can only save "
        "for "
        "pages fresh from the system. The result is checked to be zero: a failure here is a grave bug.",
    .params = calloc_params,
    .scales = true,
    .prepare = calls_prepare,
    .body = calloc_body,
    .finish = calls_finish,
};

const ha_workload ha_workload_aligned = {
    .name = "aligned",
    .summary = "aligned_alloc with alignments from 16 to 4096 bytes, sizes multiples of them",
    .explain =
        "Random replacement in a live set with aligned_alloc: half of the blocks ask for 16 bytes of "
        "alignment, a "
        "quarter for 32, and so on. Look at RSS over live, which shows what alignment wastes, and at time "
        "against "
        "churn, which shows what the search for an aligned place costs. Most programs align far less. A note "
        "misaligned_blocks is a bug of the allocator: blocks were not aligned as asked.",
    .params = aligned_params,
    .scales = true,
    .prepare = aligned_prepare,
    .body = aligned_body,
    .finish = aligned_finish,
};

const ha_workload ha_workload_sizedfree = {
    .name = "sizedfree",
    .summary = "free_sized, which is told the block's size",
    .explain =
        "Random replacement in a live set where free is told the size, as C++ compilers and C23 programs do. "
        "An "
        "allocator can then save the look-up of the size. One that has no such call is measured with plain "
        "free, and its result carries free_sized=absent: do not read that as a gain of the others alone.",
    .params = sizedfree_params,
    .scales = true,
    .prepare = sizedfree_prepare,
    .body = sizedfree_body,
    .finish = calls_finish,
};

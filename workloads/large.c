// large.c: blocks of many MiB, a few of them live: large (5 to 25 MiB) and huge (64 MiB to 1 GiB).
//
// A random one of the live blocks is freed and another allocated in its place. Blocks are written at every
// `stride` bytes: large in each page, as buffers are; huge sparsely, as programs do that reserve far more
// than they use. Stresses: the way to the system: mmap and munmap with a page fault for each page against
// keeping pages for the next block. A good allocator keeps some, does not clear or copy anything, and yet
// stays near the live bytes. Where the allocator never frees, the stride is widened until all that is touched
// fits into 512 MiB (the note says so), so that bump can take part. Where the system backs all memory with 2
// MiB pages, each written place costs one. Idea: mimalloc's issue 447 (5 to 25 MiB, 20 live); huge working
// sets as asked for in mimalloc-bench's pull request 57.
#include "workloads/kit.h"

#include <stdio.h>
#include <string.h>

#define NEVER_FREES_MOST (512 * HA_MIB)

typedef struct large {
  uint64_t live, replace, stride; // blocks a thread, replacements a thread, bytes
  uint64_t least, most;           // bytes
  ha_slot *slots;                 // live * threads
} large;

#define LARGE_PARAMS(live, ops, least, most, stride)                                                         \
  {                                                                                                          \
    {"live", live, "live blocks per thread", 1, 100000, NULL},                                               \
        {"ops", ops, "replacements per thread, a free and an allocation each", 1, 1000000000, NULL},         \
        {"min", least, "smallest block, MiB", 1, 1024, NULL},                                                \
        {"max", most, "largest block, MiB", 1, 1024, NULL},                                                  \
        {"stride", stride, "a word is written every so many bytes", 64, 1 << 30, NULL},                      \
        {NULL, NULL, NULL, 0, 0, NULL},                                                                      \
  }

static const ha_param large_params[] = LARGE_PARAMS("20", "120", "5", "25", "4096");
static const ha_param huge_params[] = LARGE_PARAMS("2", "200", "64", "1024", "1048576");

// Bytes that become resident when `size` bytes are written at every stride.
static double touched(const large *l, double size) {
  return l->stride > HA_PAGE ? size / (double)l->stride * HA_PAGE : size;
}

static bool large_prepare(ha_run *run) {
  large *l = ha_map(run, sizeof *l);
  if (!l)
    return false;
  run->state = l;
  l->live = ha_param_number(run, "live");
  l->replace = ha_scaled(run, "ops");
  l->least = ha_param_number(run, "min") * HA_MIB;
  l->most = ha_param_number(run, "max") * HA_MIB;
  l->stride = ha_param_number(run, "stride");
  if (l->least > l->most)
    return ha_fail(run, "%s: min is above max", run->workload->name);
  double mean = (double)(l->least + l->most) / 2, threads = run->threads;
  double all = (double)(l->live + l->replace) * threads * mean;
  bool piles_up = (run->alloc->traits & HA_TRAIT_NEVER_FREES) && ha_keeps_contents(run);
  if (piles_up && touched(l, all) > (double)NEVER_FREES_MOST) {
    l->stride = (uint64_t)(all * HA_PAGE / (double)NEVER_FREES_MOST);
    snprintf(run->note, sizeof run->note, "stride=%llu", (unsigned long long)l->stride);
  }
  if (!ha_fits(run, touched(l, (double)l->live * threads * mean), touched(l, all)))
    return false;
  l->slots = ha_map(run, l->live * run->threads * sizeof(ha_slot));
  return l->slots != NULL;
}

// The word at an offset; the last one may overlap the last but one, so it is read and written as bytes.
static uint64_t word_at(const ha_slot *s, uint64_t offset) {
  return (offset << 32) ^ s->tag ^ s->size;
}

static void write_words(const ha_slot *s, uint64_t stride) {
  unsigned char *block = s->block;
  for (uint64_t at = 0; at + sizeof(uint64_t) <= s->size; at += stride) {
    uint64_t word = word_at(s, at);
    memcpy(block + at, &word, sizeof word);
  }
}

static bool words_intact(const ha_slot *s, uint64_t stride) {
  const unsigned char *block = s->block;
  for (uint64_t at = 0; at + sizeof(uint64_t) <= s->size; at += stride) {
    uint64_t expected = word_at(s, at), word;
    memcpy(&word, block + at, sizeof word);
    if (word != expected)
      return false;
  }
  return true;
}

static bool put(ha_thread *self, const large *l, ha_slot *s, uint64_t number) {
  uint32_t size = (uint32_t)(l->least + ha_random_below(&self->random, l->most - l->least + 1));
  *s = (ha_slot){.block = self->alloc->malloc(size), .size = size, .tag = (uint32_t)number};
  if (!s->block)
    return ha_give_up(self, "malloc returned NULL");
  write_words(s, l->stride);
  ha_live_add(&self->live, size);
  self->tally.operations++;
  self->tally.checksum = self->tally.checksum * 31 + size;
  return true;
}

static bool drop(ha_thread *self, const large *l, ha_slot *s) {
  if (ha_keeps_contents(self->run) && !words_intact(s, l->stride))
    return ha_give_up(self, "a live block lost its contents");
  self->alloc->free(s->block);
  s->block = NULL;
  ha_live_add(&self->live, -(int64_t)s->size);
  self->tally.operations++;
  return true;
}

static void large_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const large *l = run->state;
  ha_slot *slots = l->slots + l->live * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t i = 0; good && i < l->live; i++)
    good = put(&self, l, &slots[i], i);
  for (uint64_t i = 0; good && i < l->replace; i++) {
    ha_slot *s = &slots[ha_random_below(&self.random, l->live)];
    good = drop(&self, l, s) && put(&self, l, s, l->live + i);
  }
  ha_thread_end(&self, tally);
}

static bool large_finish(ha_run *run) {
  const large *l = run->state;
  bool good = true;
  for (uint64_t i = 0; i < l->live * run->threads; i++) {
    const ha_slot *s = &l->slots[i];
    if (s->block && ha_keeps_contents(run) && !words_intact(s, l->stride))
      good = ha_fail(run, "a block of %u bytes that was live to the end lost its contents", s->size);
    run->alloc->free(s->block);
  }
  return good;
}

const ha_workload ha_workload_large = {
    .name = "large",
    .summary = "blocks of 5 to 25 MiB, 20 live, every page written",
    .explain = "Replaces random ones of 20 live blocks of 5 to 25 MiB and writes a word in each of their "
               "pages. Time is "
               "mostly page faults: an allocator that keeps freed pages has fewer, and then shows it in peak "
               "memory. Look at "
               "both together, and at the page faults. Nothing here concerns small blocks.",
    .params = large_params,
    .scales = true,
    .prepare = large_prepare,
    .body = large_body,
    .finish = large_finish,
};

const ha_workload ha_workload_huge = {
    .name = "huge",
    .summary = "blocks of 64 MiB to 1 GiB, 2 live, a word written in every MiB",
    .explain =
        "Replaces blocks of up to 1 GiB of which hardly anything is written, as programs do that reserve "
        "address space. "
        "Time shows system calls and page-table work; RSS must stay tiny, and an allocator that touches or "
        "clears whole blocks stands out at once. RSS over live means little here, since most of the live "
        "bytes are "
        "never written.",
    .params = huge_params,
    .scales = true,
    .prepare = large_prepare,
    .body = large_body,
    .finish = large_finish,
};

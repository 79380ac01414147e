// kit.h: what the synthetic workloads share: live blocks in slots, what a thread carries along while it
// works, and small helpers for parameters. A body reads
//
//   ha_thread self = ha_thread_begin(run, thread);
//   ... ha_slot_take(&self, &slot, size, tag) ... ha_slot_drop(&self, &slot) ...   until one says false
//   ha_thread_end(&self, tally);
//
// and finish() frees what is left with ha_slots_clear().
#ifndef HEAPARENA_WORKLOADS_KIT_H
#define HEAPARENA_WORKLOADS_KIT_H

#include "workloads/workload.h"

#include <stddef.h>

#define HA_MIB  ((uint64_t)1 << 20)
#define HA_PAGE 4096u // bytes

// A place for one live block; block is NULL while it is empty. The tag is that of ha_block_mark().
typedef struct ha_slot {
  void *block;
  uint32_t size; // requested bytes
  uint32_t tag;
} ha_slot;

// What one thread carries along. Kept on its stack: the tally it is given shares cache lines with others'.
typedef struct ha_thread {
  ha_run *run;
  const ha_alloc *alloc;
  ha_live live;
  ha_tally tally;
  uint64_t random; // a sequence of this thread's own, from the run's seed
} ha_thread;

// One thread's part of a run; `thread` is its number.
static inline ha_thread ha_thread_begin(ha_run *run, unsigned thread) {
  return (ha_thread){.run = run,
                     .alloc = run->alloc,
                     .live = {.run = run},
                     .random = run->seed + 1000003u * ((uint64_t)thread + 1)};
}

// Passes on what it counted.
static inline void ha_thread_end(ha_thread *self, ha_tally *tally) {
  ha_live_flush(&self->live);
  *tally = self->tally;
}

// Notes the first failure of this thread; returns false, which callers pass on.
static inline bool ha_give_up(ha_thread *self, const char *failure) {
  if (!self->tally.failure)
    self->tally.failure = failure;
  return false;
}

// Writes a byte into each page of a block from offset `from` on, so that all of it is resident, as when a
// program fills it.
static inline void ha_touch_pages(void *block, uint32_t from, uint32_t size, uint64_t tag) {
  for (uint64_t at = from; at < size; at += HA_PAGE)
    ((unsigned char *)block)[at] = (unsigned char)tag;
}

// Puts a fresh block, however it was allocated, into a slot and marks it; NULL is a failure.
static inline bool ha_slot_adopt(ha_thread *self, ha_slot *slot, void *block, uint32_t size, uint64_t tag) {
  *slot = (ha_slot){.block = block, .size = size, .tag = (uint32_t)tag};
  if (!block)
    return ha_give_up(self, "malloc returned NULL");
  ha_touch_pages(block, HA_PAGE, size, tag);
  ha_block_mark(block, size, slot->tag, self->run->verify);
  ha_live_add(&self->live, size);
  self->tally.operations++;
  self->tally.checksum = self->tally.checksum * 31 + size;
  return true;
}

// The same with a block from malloc.
static inline bool ha_slot_take(ha_thread *self, ha_slot *slot, uint32_t size, uint64_t tag) {
  return ha_slot_adopt(self, slot, self->alloc->malloc(size), size, tag);
}

// Whether the block still holds what was written; said as a failure if not.
static inline bool ha_slot_intact(ha_thread *self, const ha_slot *slot) {
  if (ha_block_check(slot->block, slot->size, slot->tag, self->run->verify) || !ha_keeps_contents(self->run))
    return true;
  return ha_give_up(self, "a live block lost its contents");
}

// Checks the block, empties the slot and counts a free; the caller frees *block.
static inline bool ha_slot_leave(ha_thread *self, ha_slot *slot, void **block) {
  if (!ha_slot_intact(self, slot))
    return false;
  *block = slot->block;
  slot->block = NULL;
  ha_live_add(&self->live, -(int64_t)slot->size);
  self->tally.operations++;
  return true;
}

// The same, and frees the block.
static inline bool ha_slot_drop(ha_thread *self, ha_slot *slot) {
  void *block;
  if (!ha_slot_leave(self, slot, &block))
    return false;
  self->alloc->free(block);
  return true;
}

// Frees what is left in `count` slots. Returns false after ha_fail() if a block had lost its contents.
bool ha_slots_clear(ha_run *run, ha_slot *slots, uint64_t count);

// Fills order[0 .. count) with the numbers below count, shuffled.
void ha_shuffle(uint32_t *order, uint32_t count, uint64_t *random);

// A parameter that run->scale multiplies: at least 1.
uint64_t ha_scaled(const ha_run *run, const char *key);

// Notes the smallest and the largest request of a run in its result, for those who reckon with their ratio.
void ha_note_requests(ha_run *run, uint64_t least, uint64_t most);

// Whether the machine's memory can hold `live` bytes, or `total` bytes, all that are ever allocated, where
// the allocator never frees. False after ha_fail() with the figures. Both count what the program touches.
bool ha_fits(ha_run *run, double live, double total);

// The start of a small file as text, cut to `size` with the closing NUL; false if it cannot be read. Without stdio, whose
// buffer is the heap's.
bool ha_read_text(const char *path, char *text, size_t size);

// Resident bytes of this process now; 0 if the system does not say. Uses no heap.
uint64_t ha_resident_bytes(void);

#endif

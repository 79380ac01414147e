// The record behind sys_state.h: a sorted array of disjoint ranges that are not None. Linear work, debug
// only.
#include "core/sys_state.h"

#ifndef NDEBUG

#include "core/lock.h"

#include <string.h>

struct range {
  uintptr_t start;
  uintptr_t end;
  enum sys_state state;
};

enum { RANGES_MAX = 1 << 15 };

static struct range ranges[RANGES_MAX];
static size_t range_count;
static struct gm_lock lock;

// Index of the first range that ends after `address`.
static size_t first_after(uintptr_t address) {
  size_t low = 0;
  size_t high = range_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (ranges[middle].end > address)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

// Replaces ranges[at, at+removed) by `added` entries.
static void splice(size_t at, size_t removed, const struct range *entries, size_t added) {
  GM_CHECK(range_count + added - removed <= RANGES_MAX);
  memmove(&ranges[at + added], &ranges[at + removed], (range_count - at - removed) * sizeof *ranges);
  if (added > 0)
    memcpy(&ranges[at], entries, added * sizeof *entries);
  range_count += added - removed;
}

// All of [start, end) must be covered by states of from_mask; gaps are None.
static void check_from(uintptr_t start, uintptr_t end, unsigned from_mask) {
  uintptr_t at = start;
  for (size_t i = first_after(start); at < end; i++) {
    uintptr_t next = i < range_count ? ranges[i].start : end;
    if (next > at) { // a gap
      if ((from_mask & SYS_MASK(SYS_NONE)) == 0)
        gm_fatal("gomalloc: address-space state: range is None\n");
      at = next;
      if (at >= end)
        return;
    }
    if ((from_mask & SYS_MASK(ranges[i].state)) == 0)
      gm_fatal("gomalloc: address-space state: transition not allowed\n");
    at = ranges[i].end;
  }
}

// Joins the range at `at` with its predecessor if they touch and agree.
static void join_with_previous(size_t at) {
  if (at == 0 || at >= range_count)
    return;
  if (ranges[at - 1].end != ranges[at].start || ranges[at - 1].state != ranges[at].state)
    return;
  ranges[at - 1].end = ranges[at].end;
  splice(at, 1, NULL, 0);
}

static void record(uintptr_t start, uintptr_t end, enum sys_state to) {
  size_t first = first_after(start);
  size_t last = first; // one past the last range that overlaps
  while (last < range_count && ranges[last].start < end)
    last++;
  struct range pieces[3];
  size_t count = 0;
  if (first < last && ranges[first].start < start)
    pieces[count++] = (struct range){ranges[first].start, start, ranges[first].state};
  if (to != SYS_NONE)
    pieces[count++] = (struct range){start, end, to};
  if (first < last && ranges[last - 1].end > end)
    pieces[count++] = (struct range){end, ranges[last - 1].end, ranges[last - 1].state};
  splice(first, last - first, pieces, count);
  for (size_t i = first + count + 1; i-- > first;)
    join_with_previous(i);
}

void sys_state_change(uintptr_t start, size_t size, unsigned from_mask, enum sys_state to) {
  lock_acquire(&lock, LOCK_RANK_SYS);
  check_from(start, start + size, from_mask);
  record(start, start + size, to);
  lock_release(&lock, LOCK_RANK_SYS);
}

void sys_state_expect(uintptr_t start, size_t size, unsigned from_mask) {
  lock_acquire(&lock, LOCK_RANK_SYS);
  check_from(start, start + size, from_mask);
  lock_release(&lock, LOCK_RANK_SYS);
}

enum sys_state sys_state_of(uintptr_t address) {
  lock_acquire(&lock, LOCK_RANK_SYS);
  size_t i = first_after(address);
  enum sys_state state = i < range_count && ranges[i].start <= address ? ranges[i].state : SYS_NONE;
  lock_release(&lock, LOCK_RANK_SYS);
  return state;
}

#else
// ISO C forbids an empty translation unit.
typedef int sys_state_unused;
#endif

// replacement.h: what churn.c and calls.c have in common: each thread keeps a set of live blocks and, over and over,
// replaces a random one.
#ifndef HEAPARENA_WORKLOADS_REPLACEMENT_H
#define HEAPARENA_WORKLOADS_REPLACEMENT_H

#include "workloads/kit.h"
#include "workloads/sizes.h"

typedef struct ha_replacement {
  const uint32_t *sizes;
  uint64_t live;    // slots a thread
  uint64_t replace; // replacements a thread
  ha_slot *slots;   // live * threads
  bool filled;      // the live set is there when a body starts: ha_fill_slots() made it
} ha_replacement;

typedef bool ha_take_function(ha_thread *self, ha_slot *slot, uint32_t size, uint64_t number);
typedef bool ha_drop_function(ha_thread *self, ha_slot *slot);

// Of the parameters live and ops and those of HA_SIZE_PARAMS. False after ha_fail().
bool ha_replacement_prepare(ha_run *run, ha_replacement *r);

// Makes the live set of one thread.
static inline __attribute__((always_inline)) bool ha_fill_slots(const ha_replacement *r, ha_thread *self,
                                                                unsigned thread, ha_take_function *take) {
  ha_slot *slots = r->slots + r->live * thread;
  bool good = true;
  for (uint64_t i = 0; good && i < r->live; i++)
    good = take(self, &slots[i], r->sizes[(i + (uint64_t)thread * 7919) % HA_SIZES], i * 0x9e3779b97f4a7c15u);
  return good;
}

// A body; inlined into each, so that the calls are direct. Makes the live set unless it is there.
static inline __attribute__((always_inline)) void ha_replace_at_random(const ha_replacement *r, ha_run *run,
                                                                       unsigned thread, ha_tally *tally,
                                                                       ha_take_function *take,
                                                                       ha_drop_function *drop) {
  ha_slot *slots = r->slots + r->live * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = r->filled || ha_fill_slots(r, &self, thread, take);
  for (uint64_t i = 0; good && i < r->replace; i++) {
    uint64_t number = ha_random(&self.random);
    ha_slot *s = &slots[(uint64_t)(((unsigned __int128)number * r->live) >> 64)];
    good = drop(&self, s) && take(&self, s, r->sizes[number % HA_SIZES], number);
  }
  ha_thread_end(&self, tally);
}

// Frees what is live at the end; false after ha_fail() if a block had lost its contents.
bool ha_replacement_clear(ha_run *run, const ha_replacement *r);

#endif

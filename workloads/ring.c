// ring.c: see ring.h.
#include "workloads/ring.h"

#include <sched.h>
#include <time.h>

// A waiting thread first only yields; on a busy machine that can eat the time of the thread it waits for, so
// then it sleeps.
#define YIELDS   100u
#define SLEEP_NS 20000

bool ha_rings_make(ha_run *run, ha_rings *rings, uint64_t count, uint64_t batch, uint64_t depth) {
  rings->count = count;
  rings->batch = batch;
  rings->depth = depth;
  double bytes = (double)count * ((double)depth * (double)batch * sizeof(ha_slot) + sizeof(ha_ring));
  if (!ha_fits(run, bytes, bytes))
    return false;
  rings->ring = ha_map(run, count * sizeof(ha_ring));
  ha_slot *slots = rings->ring ? ha_map(run, count * depth * batch * sizeof(ha_slot)) : NULL;
  for (uint64_t i = 0; slots && i < count; i++)
    rings->ring[i].slots = slots + i * depth * batch;
  return slots != NULL;
}

bool ha_rings_clear(ha_run *run, ha_rings *rings) {
  return ha_slots_clear(run, rings->ring[0].slots, rings->count * rings->depth * rings->batch);
}

void ha_rings_stop(ha_rings *rings) {
  atomic_store_explicit(&rings->stopped, true, memory_order_relaxed);
}

// Waits until the ring has room for a batch (writer) or holds one (reader).
static bool wait_for(const ha_rings *rings, const ha_ring *ring, bool room) {
  const struct timespec pause = {.tv_nsec = SLEEP_NS};
  for (unsigned tries = 0;; tries++) {
    uint64_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
    uint64_t read = atomic_load_explicit(&ring->read, memory_order_acquire);
    if (room ? written - read < rings->depth : written != read)
      return true;
    if (atomic_load_explicit(&rings->stopped, memory_order_relaxed))
      return false;
    if (tries < YIELDS)
      sched_yield();
    else
      nanosleep(&pause, NULL);
  }
}

// The batch that the count of batches stands at.
static ha_slot *batch_at(const ha_rings *rings, const ha_ring *ring, const _Atomic uint64_t *count) {
  return ring->slots + atomic_load_explicit(count, memory_order_relaxed) % rings->depth * rings->batch;
}

ha_slot *ha_ring_room(const ha_rings *rings, ha_ring *ring) {
  return wait_for(rings, ring, true) ? batch_at(rings, ring, &ring->written) : NULL;
}

void ha_ring_send(ha_ring *ring) {
  atomic_fetch_add_explicit(&ring->written, 1, memory_order_release);
}

ha_slot *ha_ring_next(const ha_rings *rings, ha_ring *ring) {
  return wait_for(rings, ring, false) ? batch_at(rings, ring, &ring->read) : NULL;
}

void ha_ring_done(ha_ring *ring) {
  atomic_fetch_add_explicit(&ring->read, 1, memory_order_release);
}

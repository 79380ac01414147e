// ring.h: bounded queues of batches of blocks, each between one writing and one reading thread. Lock-free, so
// that handing a block over costs next to nothing beside malloc and free.
//
// After a failure a thread calls ha_rings_stop(): every wait then ends, so that no thread is left waiting.
#ifndef HEAPARENA_WORKLOADS_RING_H
#define HEAPARENA_WORKLOADS_RING_H

#include "workloads/kit.h"

#include <stdalign.h>

typedef struct ha_ring {
  alignas(64) _Atomic uint64_t written; // batches, by the writer
  alignas(64) _Atomic uint64_t read;    // batches, by the reader
  ha_slot *slots;                       // depth * batch
} ha_ring;

typedef struct ha_rings {
  ha_ring *ring; // count of them
  uint64_t count;
  uint64_t batch, depth; // slots in a batch, batches in a ring
  _Atomic bool stopped;
} ha_rings;

// Maps `count` empty rings; false after ha_fail().
bool ha_rings_make(ha_run *run, ha_rings *rings, uint64_t count, uint64_t batch, uint64_t depth);

// Frees the blocks that a failure left in the rings; the threads have ended. As ha_slots_clear().
bool ha_rings_clear(ha_run *run, ha_rings *rings);

// Lets all who wait go on, with NULL: for a thread that failed.
void ha_rings_stop(ha_rings *rings);

// The writer waits for room and gets a batch to fill; NULL if the rings were stopped. ha_ring_send() hands it
// over.
ha_slot *ha_ring_room(const ha_rings *rings, ha_ring *ring);
void ha_ring_send(ha_ring *ring);

// The reader waits for a batch and gets it; NULL if the rings were stopped. ha_ring_done() gives its room
// back.
ha_slot *ha_ring_next(const ha_rings *rings, ha_ring *ring);
void ha_ring_done(ha_ring *ring);

#endif

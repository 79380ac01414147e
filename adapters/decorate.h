// decorate.h: allocators that wrap another one. A decorator is a vtable whose operations do something and
// call the wrapped allocator's; what that one lacks (NULL) stays lacking, its name, version and traits stay.
// Vtables have no context, so each decorator exists once in a process. Decorate before threads exist.
#ifndef HEAPARENA_ADAPTERS_DECORATE_H
#define HEAPARENA_ADAPTERS_DECORATE_H

#include "adapters/alloc.h"
#include "adapters/histogram.h"

#include <stdalign.h>
#include <stdatomic.h>

// A vtable for a decorator: the nine operations that allocate and free are those of `operations` where `wrapped` has them;
// everything else is that of `wrapped`.
ha_alloc ha_decorated(const ha_alloc *wrapped, const ha_alloc *operations);

// Threads that may be inside a decorator at one time; what further ones do is forwarded but not recorded.
#define HA_DECORATED_THREADS 4096

// ---- Latency: times every call by itself (decorate_latency.c)

typedef enum ha_call {
  HA_CALL_MALLOC,  // malloc, calloc, aligned_alloc, posix_memalign
  HA_CALL_FREE,    // free, free_sized, free_aligned_sized
  HA_CALL_REALLOC, // realloc, reallocarray
  HA_CALLS,
} ha_call;

typedef struct ha_latency {
  ha_histogram calls[HA_CALLS]; // ticks, the clock's own cost subtracted
} ha_latency;

typedef struct ha_latency_clock {
  double ns_per_tick;
  double overhead_ns; // of reading the clock twice and making a call that does nothing: subtracted
} ha_latency_clock;

// Wraps `wrapped` and measures the clock. NULL if there is no memory for the threads' records.
const ha_alloc *ha_decorate_latency(const ha_alloc *wrapped, ha_latency_clock *clock);

// Adds all threads' records into *out, and empties them. No other thread may be inside the allocator.
void ha_latency_take(ha_latency *out);

// ---- Counting: how many bytes are in use (decorate_counting.c)

// What one thread did. Written by that thread alone and readable at any time, from another process too; a
// thread that frees what another allocated has negative bytes: only the sum over all threads means something.
typedef struct ha_counts {
  alignas(64) _Atomic int64_t usable_bytes; // usable_size() of what is live
  _Atomic int64_t requested_bytes;          // what the program asked for, of what is live
  _Atomic uint64_t allocations;             // count, reallocations included
  _Atomic uint64_t own_bytes;               // memory that the decorator took
} ha_counts;

// Wraps `wrapped`, which has usable_size, and counts into threads[0 .. HA_DECORATED_THREADS), zeroed memory
// of the caller's that stays. With `requests` it also remembers the requested size of every block, which no
// allocator tells: some 100 ns a call. NULL if `wrapped` has no usable_size.
const ha_alloc *ha_decorate_counting(const ha_alloc *wrapped, ha_counts *threads, bool requests);

// The sum over all threads, taken while they run.
typedef struct ha_counted {
  int64_t usable_bytes, requested_bytes;
  uint64_t allocations, own_bytes;
} ha_counted;
ha_counted ha_counting_sum(const ha_counts *threads);

// ---- Addresses: tells of every block that comes and goes (decorate_addresses.c)

// Both are called under one lock, in the order of the events, with no other thread inside the allocator: they
// may look at its heap, and must neither allocate from it nor free.
typedef struct ha_address_watcher {
  void (*came)(void *context, void *block, size_t requested);
  void (*went)(void *context, void *block, size_t requested); // requested: as it came; 0 if that is not known
  void *context;
} ha_address_watcher;

// Wraps `wrapped`; *told is copied. Calls are served one at a time. NULL if there is no memory.
const ha_alloc *ha_decorate_addresses(const ha_alloc *wrapped, const ha_address_watcher *told);

// Calls look() under that lock.
void ha_addresses_locked(void (*look)(void *context), void *context);

#endif

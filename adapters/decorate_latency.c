// decorate_latency.c: times every call to the wrapped allocator into the calling thread's histograms. The
// cost of the clock is found by timing an allocator that does nothing with this very code, and is subtracted.
//
// A timed call runs alone: fences keep the processor from overlapping it with the program around it. So the
// figures are the calls' latency, not their share in a program's time, which overlap makes smaller.
#include "adapters/decorate.h"
#include "adapters/decorate_threads.h"
#include "adapters/ticks.h"

#include <string.h>
#include <sys/mman.h>

#define CALIBRATION_CALLS 20000

static const ha_alloc *inner;
static uint64_t overhead; // ticks
static ha_records records;
static _Thread_local ha_own_record mine;

static ha_latency *my_record(void) {
  return ha_records_own(&records, &mine);
}

static inline void note(ha_latency *record, ha_call call, uint64_t begin) {
  uint64_t spent = ha_ticks_end() - begin;
  if (record)
    ha_histogram_add(&record->calls[call],
                     spent > overhead ? spent - overhead : 1); // at least the finest step of the clock
}

static void *timed_malloc(size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  void *block = inner->malloc(size);
  note(record, HA_CALL_MALLOC, begin);
  return block;
}

static void *timed_calloc(size_t count, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  void *block = inner->calloc(count, size);
  note(record, HA_CALL_MALLOC, begin);
  return block;
}

static void *timed_aligned_alloc(size_t alignment, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  void *block = inner->aligned_alloc(alignment, size);
  note(record, HA_CALL_MALLOC, begin);
  return block;
}

static int timed_posix_memalign(void **block, size_t alignment, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  int error = inner->posix_memalign(block, alignment, size);
  note(record, HA_CALL_MALLOC, begin);
  return error;
}

static void *timed_realloc(void *block, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  void *moved = inner->realloc(block, size);
  note(record, HA_CALL_REALLOC, begin);
  return moved;
}

static void *timed_reallocarray(void *block, size_t count, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  void *moved = inner->reallocarray(block, count, size);
  note(record, HA_CALL_REALLOC, begin);
  return moved;
}

static void timed_free(void *block) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  inner->free(block);
  note(record, HA_CALL_FREE, begin);
}

static void timed_free_sized(void *block, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  inner->free_sized(block, size);
  note(record, HA_CALL_FREE, begin);
}

static void timed_free_aligned_sized(void *block, size_t alignment, size_t size) {
  ha_latency *record = my_record();
  uint64_t begin = ha_ticks_begin();
  inner->free_aligned_sized(block, alignment, size);
  note(record, HA_CALL_FREE, begin);
}

static void *nothing(size_t size) {
  (void)size;
  return NULL;
}

// The median: single calls may be interrupted.
static uint64_t measure_overhead(void) {
  static const ha_alloc idle = {.malloc = nothing};
  static ha_latency taken;
  overhead = 0;
  inner = &idle;
  for (unsigned i = 0; i < CALIBRATION_CALLS; i++)
    timed_malloc(i);
  memset(&taken, 0, sizeof taken);
  ha_latency_take(&taken);
  return ha_histogram_percentile(&taken.calls[HA_CALL_MALLOC], 0.5);
}

static const ha_alloc timed = {
    .malloc = timed_malloc,
    .free = timed_free,
    .calloc = timed_calloc,
    .realloc = timed_realloc,
    .aligned_alloc = timed_aligned_alloc,
    .posix_memalign = timed_posix_memalign,
    .free_sized = timed_free_sized,
    .free_aligned_sized = timed_free_aligned_sized,
    .reallocarray = timed_reallocarray,
};

const ha_alloc *ha_decorate_latency(const ha_alloc *wrapped, ha_latency_clock *clock) {
  static ha_alloc vtable;
  void *memory = mmap(NULL, HA_DECORATED_THREADS * sizeof(ha_latency), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || !ha_records_start(&records, memory, sizeof(ha_latency), &mine))
    return NULL;
  clock->ns_per_tick = ha_ticks_calibrate();
  overhead = measure_overhead();
  clock->overhead_ns = (double)overhead * clock->ns_per_tick;
  inner = wrapped;
  vtable = ha_decorated(wrapped, &timed);
  return &vtable;
}

void ha_latency_take(ha_latency *out) {
  for (unsigned i = 0; i < records.used; i++) {
    ha_latency *record = (ha_latency *)(void *)(records.base + i * records.size);
    for (unsigned call = 0; call < HA_CALLS; call++)
      ha_histogram_merge(&out->calls[call], &record->calls[call]);
    memset(record, 0, sizeof *record);
  }
}

// decorate_counting.c: asks the wrapped allocator for the usable size of every block that comes and goes, and
// keeps the sums by thread, so that the bytes handed out can be read at any time without stopping anybody. On
// demand it remembers the requested sizes, too.
#include "adapters/decorate.h"
#include "adapters/decorate_sizes.h"
#include "adapters/decorate_threads.h"

static const ha_alloc *inner;
static bool requests_kept;
static ha_records records;
static _Thread_local ha_own_record mine;

static ha_counts *my_counts(void) {
  return ha_records_own(&records, &mine);
}

// Only the owner writes: no locked instruction is needed, readers see one value or the next.
#define ADD(field, amount)                                                                                   \
  atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (amount),           \
                        memory_order_relaxed)

// What is known of a block that is about to go.
typedef struct held {
  size_t usable, requested;
} held;

static void came(void *block, size_t requested) {
  ha_counts *counts = my_counts();
  if (!block || !counts)
    return;
  ADD(counts->usable_bytes, (int64_t)inner->usable_size(block));
  ADD(counts->allocations, 1);
  if (!requests_kept)
    return;
  ADD(counts->requested_bytes, (int64_t)requested);
  ADD(counts->own_bytes, ha_requested_put(block, requested));
}

// Before the allocator has the block back: then another thread may get it.
static held look_at(void *block) {
  if (!block)
    return (held){0};
  return (held){.usable = inner->usable_size(block),
                .requested = requests_kept ? ha_requested_take(block) : 0};
}

static void went(held gone) {
  ha_counts *counts = my_counts();
  if (!counts)
    return;
  ADD(counts->usable_bytes, -(int64_t)gone.usable);
  ADD(counts->requested_bytes, -(int64_t)gone.requested);
}

static void *counted_malloc(size_t size) {
  void *block = inner->malloc(size);
  came(block, size);
  return block;
}

static void *counted_calloc(size_t count, size_t size) {
  void *block = inner->calloc(count, size);
  came(block, count * size); // no overflow, or there is no block
  return block;
}

static void *counted_aligned_alloc(size_t alignment, size_t size) {
  void *block = inner->aligned_alloc(alignment, size);
  came(block, size);
  return block;
}

static int counted_posix_memalign(void **block, size_t alignment, size_t size) {
  int error = inner->posix_memalign(block, alignment, size);
  if (error == 0)
    came(*block, size);
  return error;
}

// A failed realloc leaves the block, except that of size 0, which frees it and may return NULL.
static void *resized(void *block, void *moved, held before, size_t size) {
  if (moved || size == 0)
    went(before);
  else if (block && requests_kept)
    ha_requested_put(block, before.requested); // there is room: it was there a moment ago
  came(moved, size);
  return moved;
}

static void *counted_realloc(void *block, size_t size) {
  held before = look_at(block);
  return resized(block, inner->realloc(block, size), before, size);
}

static void *counted_reallocarray(void *block, size_t count, size_t size) {
  held before = look_at(block);
  size_t bytes;
  bool too_many = __builtin_mul_overflow(count, size, &bytes);
  return resized(block, inner->reallocarray(block, count, size), before, too_many ? SIZE_MAX : bytes);
}

static void counted_free(void *block) {
  went(look_at(block));
  inner->free(block);
}

static void counted_free_sized(void *block, size_t size) {
  went(look_at(block));
  inner->free_sized(block, size);
}

static void counted_free_aligned_sized(void *block, size_t alignment, size_t size) {
  went(look_at(block));
  inner->free_aligned_sized(block, alignment, size);
}

static const ha_alloc counted = {
    .malloc = counted_malloc,
    .free = counted_free,
    .calloc = counted_calloc,
    .realloc = counted_realloc,
    .aligned_alloc = counted_aligned_alloc,
    .posix_memalign = counted_posix_memalign,
    .free_sized = counted_free_sized,
    .free_aligned_sized = counted_free_aligned_sized,
    .reallocarray = counted_reallocarray,
};

const ha_alloc *ha_decorate_counting(const ha_alloc *wrapped, ha_counts *threads, bool requests) {
  static ha_alloc vtable;
  if (!wrapped->usable_size || !ha_records_start(&records, threads, sizeof *threads, &mine))
    return NULL;
  inner = wrapped;
  requests_kept = requests;
  if (requests)
    ha_requested_start();
  vtable = ha_decorated(wrapped, &counted);
  return &vtable;
}

ha_counted ha_counting_sum(const ha_counts *threads) {
  ha_counted sum = {0};
  for (unsigned i = 0; i < HA_DECORATED_THREADS; i++) {
    sum.usable_bytes += atomic_load_explicit(&threads[i].usable_bytes, memory_order_relaxed);
    sum.requested_bytes += atomic_load_explicit(&threads[i].requested_bytes, memory_order_relaxed);
    sum.allocations += atomic_load_explicit(&threads[i].allocations, memory_order_relaxed);
    sum.own_bytes += atomic_load_explicit(&threads[i].own_bytes, memory_order_relaxed);
  }
  return sum;
}

// decorate_addresses.c: tells a watcher of every block that comes and goes, in the order in which they do: one lock
// is held around each call and its report, for between free() and the report another thread could get the block.
#include "adapters/decorate.h"
#include "adapters/decorate_sizes.h"

#include <pthread.h>

static const ha_alloc *inner;
static ha_address_watcher watcher;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// A forked child must find the lock free.
static void before_fork(void) {
  pthread_mutex_lock(&lock);
}
static void after_fork(void) {
  pthread_mutex_unlock(&lock);
}

static void came(void *block, size_t requested) {
  if (!block)
    return;
  ha_requested_put(block, requested);
  watcher.came(watcher.context, block, requested);
}

static void went(void *block, size_t requested) {
  if (block)
    watcher.went(watcher.context, block, requested);
}

static void *watched_malloc(size_t size) {
  pthread_mutex_lock(&lock);
  void *block = inner->malloc(size);
  came(block, size);
  pthread_mutex_unlock(&lock);
  return block;
}

static void *watched_calloc(size_t count, size_t size) {
  pthread_mutex_lock(&lock);
  void *block = inner->calloc(count, size);
  came(block, count * size); // no overflow, or there is no block
  pthread_mutex_unlock(&lock);
  return block;
}

static void *watched_aligned_alloc(size_t alignment, size_t size) {
  pthread_mutex_lock(&lock);
  void *block = inner->aligned_alloc(alignment, size);
  came(block, size);
  pthread_mutex_unlock(&lock);
  return block;
}

static int watched_posix_memalign(void **block, size_t alignment, size_t size) {
  pthread_mutex_lock(&lock);
  int error = inner->posix_memalign(block, alignment, size);
  if (error == 0)
    came(*block, size);
  pthread_mutex_unlock(&lock);
  return error;
}

// A failed realloc leaves the block, except that of size 0, which frees it and may return NULL.
static void resized(void *block, void *moved, size_t size) {
  if (!moved && size > 0)
    return;
  if (block)
    went(block, ha_requested_take(block));
  came(moved, size);
}

static void *watched_realloc(void *block, size_t size) {
  pthread_mutex_lock(&lock);
  void *moved = inner->realloc(block, size);
  resized(block, moved, size);
  pthread_mutex_unlock(&lock);
  return moved;
}

static void *watched_reallocarray(void *block, size_t count, size_t size) {
  size_t bytes;
  bool too_many = __builtin_mul_overflow(count, size, &bytes);
  pthread_mutex_lock(&lock);
  void *moved = inner->reallocarray(block, count, size);
  resized(block, moved, too_many ? SIZE_MAX : bytes);
  pthread_mutex_unlock(&lock);
  return moved;
}

static void watched_free(void *block) {
  pthread_mutex_lock(&lock);
  inner->free(block);
  went(block, block ? ha_requested_take(block) : 0);
  pthread_mutex_unlock(&lock);
}

static void watched_free_sized(void *block, size_t size) {
  pthread_mutex_lock(&lock);
  inner->free_sized(block, size);
  went(block, block ? ha_requested_take(block) : 0);
  pthread_mutex_unlock(&lock);
}

static void watched_free_aligned_sized(void *block, size_t alignment, size_t size) {
  pthread_mutex_lock(&lock);
  inner->free_aligned_sized(block, alignment, size);
  went(block, block ? ha_requested_take(block) : 0);
  pthread_mutex_unlock(&lock);
}

static const ha_alloc watched = {
    .malloc = watched_malloc,
    .free = watched_free,
    .calloc = watched_calloc,
    .realloc = watched_realloc,
    .aligned_alloc = watched_aligned_alloc,
    .posix_memalign = watched_posix_memalign,
    .free_sized = watched_free_sized,
    .free_aligned_sized = watched_free_aligned_sized,
    .reallocarray = watched_reallocarray,
};

const ha_alloc *ha_decorate_addresses(const ha_alloc *wrapped, const ha_address_watcher *told) {
  static ha_alloc vtable;
  static bool registered;
  if (!registered) {
    // Handlers run in reverse order before a fork: this lock, like everywhere, before those of the table.
    ha_requested_start();
    if (pthread_atfork(before_fork, after_fork, after_fork) != 0)
      return NULL;
    registered = true;
  }
  inner = wrapped;
  watcher = *told;
  vtable = ha_decorated(wrapped, &watched);
  return &vtable;
}

void ha_addresses_locked(void (*look)(void *context), void *context) {
  pthread_mutex_lock(&lock);
  look(context);
  pthread_mutex_unlock(&lock);
}

// decorate_sizes.c: see decorate_sizes.h. Hash tables with open addressing, 32 of them with a lock each, so
// that threads seldom meet. Removing moves later entries up, so there are no marks of removed ones.
#include "adapters/decorate_sizes.h"

#include <pthread.h>
#include <stdalign.h>
#include <sys/mman.h>

// fork() holds all locks at once, of which ThreadSanitizer bears less than 64.
enum { SHARD_BITS = 5, SHARDS = 1 << SHARD_BITS, FIRST_CAPACITY = 1024 };

typedef struct entry {
  uintptr_t block; // 0: empty
  size_t size;
} entry;

typedef struct shard {
  alignas(64) pthread_mutex_t lock;
  entry *entries;
  size_t capacity; // a power of two
  size_t used;
} shard;

static shard shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static uint64_t hash(uintptr_t block) {
  uint64_t h = block * 0x9e3779b97f4a7c15u;
  return h ^ h >> 32;
}

static shard *shard_of(uint64_t h) {
  return &shards[h & (SHARDS - 1)];
}

static size_t home(const shard *s, uintptr_t block) {
  return (hash(block) >> SHARD_BITS) & (s->capacity - 1);
}

// The entry of a block, or the empty one where it belongs.
static size_t find(const shard *s, uintptr_t block) {
  size_t i = home(s, block);
  while (s->entries[i].block && s->entries[i].block != block)
    i = (i + 1) & (s->capacity - 1);
  return i;
}

// Doubles the table. Returns the bytes by which it grew, 0 if there is no memory.
static size_t grow(shard *s) {
  shard larger = {.capacity = s->capacity ? s->capacity * 2 : FIRST_CAPACITY};
  size_t bytes = larger.capacity * sizeof(entry);
  larger.entries =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (larger.entries == MAP_FAILED)
    return 0;
  for (size_t i = 0; i < s->capacity; i++)
    if (s->entries[i].block)
      larger.entries[find(&larger, s->entries[i].block)] = s->entries[i];
  if (s->entries)
    munmap(s->entries, s->capacity * sizeof(entry));
  size_t grown = bytes - s->capacity * sizeof(entry);
  s->entries = larger.entries;
  s->capacity = larger.capacity;
  return grown;
}

static void lock_all(void) {
  for (size_t i = 0; i < SHARDS; i++)
    pthread_mutex_lock(&shards[i].lock);
}

static void unlock_all(void) {
  for (size_t i = 0; i < SHARDS; i++)
    pthread_mutex_unlock(&shards[i].lock);
}

void ha_requested_start(void) {
  static bool started;
  if (!started)
    pthread_atfork(lock_all, unlock_all, unlock_all);
  started = true;
}

size_t ha_requested_put(const void *block, size_t size) {
  uintptr_t key = (uintptr_t)block;
  shard *s = shard_of(hash(key));
  size_t grown = 0;
  pthread_mutex_lock(&s->lock);
  if (s->used * 2 >= s->capacity)
    grown = grow(s);
  if (s->used < s->capacity - (s->capacity > 0)) { // one stays empty: it ends every search
    entry *e = &s->entries[find(s, key)];
    s->used += e->block == 0;
    *e = (entry){.block = key, .size = size};
  }
  pthread_mutex_unlock(&s->lock);
  return grown;
}

// Closes the gap at `hole`: what follows it and would have liked to be there, or before, moves up.
static void close_gap(shard *s, size_t hole) {
  size_t mask = s->capacity - 1;
  for (size_t i = (hole + 1) & mask; s->entries[i].block; i = (i + 1) & mask) {
    size_t wanted = home(s, s->entries[i].block);
    if (((i - wanted) & mask) < ((i - hole) & mask))
      continue;
    s->entries[hole] = s->entries[i];
    hole = i;
  }
  s->entries[hole].block = 0;
}

size_t ha_requested_take(const void *block) {
  uintptr_t key = (uintptr_t)block;
  shard *s = shard_of(hash(key));
  size_t size = 0;
  pthread_mutex_lock(&s->lock);
  size_t i = s->capacity ? find(s, key) : 0;
  if (s->capacity && s->entries[i].block) {
    size = s->entries[i].size;
    s->used--;
    close_gap(s, i);
  }
  pthread_mutex_unlock(&s->lock);
  return size;
}

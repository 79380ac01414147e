// planted_life.c: faults about what happens to a heap: failures, threads, processes. See planted.h.
#include "fuzz/planted_parts.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static struct {
  void *last;        // live block that the fault looks at
  void *newest;      // live block of whichever thread
  pthread_t owner;   // who allocated it
  unsigned failures; // calls that failed and are not paid for
  unsigned live;
  pid_t home; // the process that called first
  pthread_key_t key;
} life;

static __thread void *newest __attribute__((tls_model("initial-exec"))); // of this thread

static void forget(const void *block) {
  if (block == life.last)
    life.last = NULL;
  if (block == life.newest)
    life.newest = NULL;
}
static void free_forgetting(void *block) {
  forget(block);
  sound()->free(block);
}
static void *realloc_forgetting(void *block, size_t size) {
  forget(block);
  return sound()->realloc(block, size);
}

// ---- Failures ----

static void *malloc_failing(size_t size) {
  void *block = sound()->malloc(size);
  if (block == NULL) {
    life.failures = 1;
  } else if (life.failures > 0 && life.last && size <= sound()->usable_size(life.last)) {
    life.failures = 0;
    sound()->free(block);
    return life.last;
  }
  return life.last = block;
}
static void plant_after_failure(ha_alloc *alloc) {
  alloc->malloc = malloc_failing;
  alloc->free = free_forgetting;
  alloc->realloc = realloc_forgetting;
}

static void *realloc_counting_anew(void *block, size_t size) {
  void *moved = sound()->realloc(block, size);
  if (moved == NULL && block && size != 0 && sound()->usable_size(block) >= 48)
    life.last = block;
  else
    forget(block);
  return moved;
}
static size_t usable_size_anew(void *block) {
  return sound()->usable_size(block) - (block && block == life.last ? 16 : 0);
}
static void plant_shorter(ha_alloc *alloc) {
  alloc->realloc = realloc_counting_anew;
  alloc->free = free_forgetting;
  alloc->usable_size = usable_size_anew;
}

static void free_noisy(void *block) {
  bool large = block && sound()->usable_size(block) > 8192;
  sound()->free(block);
  if (large)
    errno = EINVAL;
}
static void plant_noisy(ha_alloc *alloc) {
  alloc->free = free_noisy;
}

static void *malloc_refusing(size_t size) {
  if (size > 700 && size < 900 && life.live >= 8) {
    errno = ENOMEM;
    return NULL;
  }
  void *block = sound()->malloc(size);
  life.live += block != NULL;
  return block;
}
static void free_counting(void *block) {
  life.live -= block && life.live > 0;
  sound()->free(block);
}
static void plant_refusing(ha_alloc *alloc) {
  alloc->malloc = malloc_refusing;
  alloc->free = free_counting;
}

static void *realloc_crashing(void *block, size_t size) {
  if (block && size == sound()->usable_size(block))
    __builtin_trap();
  return sound()->realloc(block, size);
}
static void plant_crashing(ha_alloc *alloc) {
  alloc->realloc = realloc_crashing;
}

static void free_hanging(void *block) {
  if (block && block == life.last && sound()->usable_size(block) > 8192)
    for (;;)
      pause();
  free_forgetting(block);
}
static void *malloc_watched(size_t size) {
  return life.last = sound()->malloc(size);
}
static void plant_hanging(ha_alloc *alloc) {
  alloc->malloc = malloc_watched;
  alloc->free = free_hanging;
  alloc->realloc = realloc_forgetting;
}

// ---- Threads ----

// A free of another thread's newest block writes behind the block: into what its owner got before.
static void free_remote_writing(void *block) {
  unsigned char *other = life.last;
  if (block && other && other != block && !pthread_equal(life.owner, pthread_self()) &&
      sound()->usable_size(other) >= 112)
    other[40] ^= 1;
  free_forgetting(block);
}
static void *malloc_owned(size_t size) {
  life.owner = pthread_self();
  return life.last = sound()->malloc(size);
}
static void plant_remote_write(ha_alloc *alloc) {
  alloc->malloc = malloc_owned;
  alloc->free = free_remote_writing;
  alloc->realloc = realloc_forgetting;
}

// What a thread had when it ended, and nobody freed, is taken for free.
static void reclaim(void *block) {
  (void)block;
  if (newest && newest == life.newest)
    life.last = newest;
}
static void *malloc_of_thread(size_t size) {
  void *block = life.last;
  if (block && size <= sound()->usable_size(block)) {
    life.last = NULL;
    return block;
  }
  life.newest = newest = sound()->malloc(size);
  if (newest)
    (void)pthread_setspecific(life.key, newest);
  return newest;
}
static void plant_thread_exit(ha_alloc *alloc) {
  (void)pthread_key_create(&life.key, reclaim);
  alloc->malloc = malloc_of_thread;
  alloc->free = free_forgetting;
  alloc->realloc = realloc_forgetting;
}

// ---- Processes ----

static bool in_child(void) {
  if (life.home == 0)
    life.home = getpid();
  return life.home != getpid();
}

// The child begins with a free list that has a live block on it.
static void *malloc_in_child(size_t size) {
  void *block = life.last;
  if (in_child() && block && size <= sound()->usable_size(block)) {
    life.last = NULL;
    return block;
  }
  return life.last = sound()->malloc(size);
}
static void plant_child(ha_alloc *alloc) {
  alloc->malloc = malloc_in_child;
  alloc->free = free_forgetting;
  alloc->realloc = realloc_forgetting;
}

// The child does not get past its first free of a block that the parent made.
static void free_in_child(void *block) {
  if (in_child() && block)
    __builtin_trap();
  sound()->free(block);
}
static void plant_child_dies(ha_alloc *alloc) {
  alloc->free = free_in_child;
}

static const fuzz_planted faults[] = {
    {"after-failure", "after a malloc that failed, the next one hands out a live block", FUZZ_ORACLE_OVERLAP,
     200, plant_after_failure},
    {"shorter", "after a realloc that failed, the block's usable size is 16 less", FUZZ_ORACLE_FAILED, 400,
     plant_shorter},
    {"noisy", "free of a block above 8 KiB sets errno", FUZZ_ORACLE_ERRNO, 100, plant_noisy},
    {"refusing", "with eight live blocks, malloc of 701 to 899 bytes fails", FUZZ_ORACLE_REFUSED, 100,
     plant_refusing},
    {"crashing", "realloc to exactly the usable size traps", FUZZ_ORACLE_CRASH, 400, plant_crashing},
    {"hanging", "free of the newest block does not return if it is larger than 8 KiB", FUZZ_ORACLE_HANG, 50,
     plant_hanging},
    {"remote-write", "a free on another thread than the newest block's changes a byte of that",
     FUZZ_ORACLE_CONTENTS, 100, plant_remote_write},
    {"thread-exit", "the newest block of a thread that ended is handed out again", FUZZ_ORACLE_OVERLAP, 100,
     plant_thread_exit},
    {"child", "the child of a fork hands out a live block", FUZZ_ORACLE_FORK, 400, plant_child},
    {"child-dies", "the child of a fork traps at its first free", FUZZ_ORACLE_FORK, 400, plant_child_dies},
};

fuzz_planted_part fuzz_planted_life(void) {
  return (fuzz_planted_part){faults, sizeof faults / sizeof faults[0]};
}

// planted.c: see planted.h. Here are the first faults and the table of all; others are in planted_blocks.c and
// planted_life.c. To add one: a function that replaces calls, and a line in a table.
#include "fuzz/planted_parts.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define LATE 2000u // calls at one size before the late fault shows

static struct {
  void *last;        // block handed out before
  unsigned count;    // of calls that could go wrong, or steps taken towards it
  unsigned patience; // calls until the steps are forgotten
  void *watched;     // block of `owner`
  pthread_t owner;
  void *spare; // freed by another thread
} planted_state;

// Hands out the block before once more, every second time.
static void *again(void *fresh) {
  void *twice = planted_state.last;
  planted_state.last = twice ? NULL : fresh;
  return twice ? twice : fresh;
}

// A block that is freed or moved is not handed out again: that would be a fault of its own.
static void free_forgetting(void *block) {
  if (block == planted_state.last)
    planted_state.last = NULL;
  sound()->free(block);
}
static void *realloc_forgetting(void *block, size_t size) {
  if (block == planted_state.last)
    planted_state.last = NULL;
  return sound()->realloc(block, size);
}

static void *malloc_twice(size_t size) {
  void *block = sound()->malloc(size);
  return size > 1000 && size <= 1024 && block ? again(block) : block;
}
static void plant_overlap(ha_alloc *alloc) {
  alloc->malloc = malloc_twice;
  alloc->free = free_forgetting;
  alloc->realloc = realloc_forgetting;
}

static void *malloc_twice_late(size_t size) {
  void *block = sound()->malloc(size);
  return size == 48 && ++planted_state.count > LATE && block ? again(block) : block;
}
static void plant_late(ha_alloc *alloc) {
  plant_overlap(alloc);
  alloc->malloc = malloc_twice_late;
}

static void *calloc_unclean(size_t count, size_t size) {
  unsigned char *block = sound()->calloc(count, size);
  if (block && count * size > 256 && count * size <= 512)
    block[count * size - 1] = 1;
  return block;
}
static void plant_zeroing(ha_alloc *alloc) {
  alloc->calloc = calloc_unclean;
}

static void *realloc_short(void *block, size_t size) {
  size_t old = block ? sound()->usable_size(block) : 0;
  unsigned char *moved = sound()->realloc(block, size);
  if (moved && moved != block && size > 4096 && old >= 16 && old < size)
    moved[8] ^= 1; // a byte that was not copied
  return moved;
}
static void plant_realloc(ha_alloc *alloc) {
  alloc->realloc = realloc_short;
}

static void *aligned_alloc_lazy(size_t alignment, size_t size) {
  return alignment == 64 ? sound()->malloc(size) : sound()->aligned_alloc(alignment, size);
}
static void plant_alignment(ha_alloc *alloc) {
  alloc->aligned_alloc = aligned_alloc_lazy;
}

static void free_scribbling(void *block) {
  unsigned char *other = planted_state.last;
  if (other && other != block && sound()->usable_size(block) > 2048)
    other[3] ^= 0x40;
  free_forgetting(block);
}
static void *malloc_watched(size_t size) {
  return planted_state.last = sound()->malloc(size);
}
static void plant_contents(ha_alloc *alloc) {
  alloc->malloc = malloc_watched;
  alloc->realloc = realloc_forgetting;
  alloc->free = free_scribbling;
}

static void *malloc_mute(size_t size) {
  int before = errno;
  void *block = sound()->malloc(size);
  errno = before;
  return block;
}
static void plant_errno(ha_alloc *alloc) {
  alloc->malloc = malloc_mute;
}

static void *calloc_wrapping(size_t count, size_t size) {
  size_t product;
  bool overflows = __builtin_mul_overflow(count, size, &product);
  return sound()->calloc(1, overflows ? product % 4096 : product);
}
static void plant_overflow(ha_alloc *alloc) {
  alloc->calloc = calloc_wrapping;
}

static void *realloc_spoiling(void *block, size_t size) {
  void *moved = sound()->realloc(block, size);
  if (!moved && block && size != 0)
    *(unsigned char *)block ^= 1;
  return moved;
}
static void plant_failed(ha_alloc *alloc) {
  alloc->realloc = realloc_spoiling;
}

// A block that another thread freed is put aside, and handed out to two.
static void free_losing(void *block) {
  if (block && block == planted_state.watched && !pthread_equal(planted_state.owner, pthread_self())) {
    planted_state.spare = block;
    planted_state.count = 2;
    planted_state.watched = NULL;
    return;
  }
  if (block == planted_state.watched)
    planted_state.watched = NULL;
  if (block == NULL || block != planted_state.spare)
    sound()->free(block);
}
static void *malloc_losing(size_t size) {
  if (planted_state.count > 0 && size <= sound()->usable_size(planted_state.spare)) {
    planted_state.count--;
    return planted_state.spare;
  }
  planted_state.owner = pthread_self();
  return planted_state.watched = sound()->malloc(size);
}
static void *realloc_losing(void *block, size_t size) {
  if (block == planted_state.watched)
    planted_state.watched = NULL;
  return sound()->realloc(block, size);
}
static void plant_remote(ha_alloc *alloc) {
  alloc->malloc = malloc_losing;
  alloc->free = free_losing;
  alloc->realloc = realloc_losing;
}

// A lock of three steps: a malloc of the right size takes one, within a hundred calls of the one before, and shows from outside: from
// then on mallocs of some small sizes, others after each step, ask the system for memory. At the last, realloc spoils
// a byte.
static const struct {
  size_t from, to;             // the request that takes the step
  size_t shows_from, shows_to; // requests that show it
} deep_steps[] = {{3000, 3300, 1, 24}, {520, 600, 25, 100}, {17000, 20000, 101, 255}};
#define DEEP (sizeof deep_steps / sizeof deep_steps[0])

static void *malloc_deep(size_t size) {
  unsigned step = planted_state.count;
  if (step < DEEP && size >= deep_steps[step].from && size <= deep_steps[step].to)
    planted_state.count = step + 1, planted_state.patience = 100;
  else if (planted_state.patience > 0 && --planted_state.patience == 0)
    planted_state.count = 0;
  if (step > 0 && size >= deep_steps[step - 1].shows_from && size <= deep_steps[step - 1].shows_to)
    munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
  return sound()->malloc(size);
}
static void *realloc_deep(void *block, size_t size) {
  unsigned char *moved = sound()->realloc(block, size);
  if (moved && planted_state.count == DEEP && size > 8)
    moved[5] ^= 1;
  return moved;
}
static void plant_deep(ha_alloc *alloc) {
  alloc->malloc = malloc_deep;
  alloc->realloc = realloc_deep;
}

static void plant_nothing(ha_alloc *alloc) {
  (void)alloc;
}

static const fuzz_planted faults[] = {
    {"none", "nothing: the control", FUZZ_ORACLES, 500, plant_nothing},
    {"overlap", "malloc of 1001 to 1024 bytes hands out the block before once more", FUZZ_ORACLE_OVERLAP, 100,
     plant_overlap},
    {"late", "the same for 48 bytes, after 2,000 calls of that size", FUZZ_ORACLE_OVERLAP, 12000, plant_late},
    {"zeroing", "calloc of 257 to 512 bytes leaves its last byte", FUZZ_ORACLE_ZEROED, 100, plant_zeroing},
    {"realloc", "realloc that moves beyond 4096 bytes loses byte 8", FUZZ_ORACLE_REALLOC, 100, plant_realloc},
    {"alignment", "aligned_alloc forgets the alignment 64", FUZZ_ORACLE_ALIGNMENT, 100, plant_alignment},
    {"contents", "free of a block above 2 KiB changes a byte of another", FUZZ_ORACLE_CONTENTS, 100,
     plant_contents},
    {"errno", "a failed malloc leaves errno", FUZZ_ORACLE_ERRNO, 300, plant_errno},
    {"overflow", "calloc does not see that its product overflows", FUZZ_ORACLE_IMPOSSIBLE, 600,
     plant_overflow},
    {"remote", "a block freed by another thread is handed out to two", FUZZ_ORACLE_OVERLAP, 200,
     plant_remote},
    {"deep", "realloc spoils a byte, once mallocs of three sizes came in their order", FUZZ_ORACLE_REALLOC,
     12000, plant_deep},
    {"failed", "a failed realloc changes the block's first byte", FUZZ_ORACLE_FAILED, 600, plant_failed},
};

#define MOST 64u // faults of all files

const fuzz_planted *fuzz_planted_all(size_t *count) {
  static fuzz_planted all[MOST];
  static size_t known;
  if (known == 0) {
    const fuzz_planted_part parts[] = {
        {faults, sizeof faults / sizeof faults[0]}, fuzz_planted_blocks(), fuzz_planted_life()};
    for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++)
      for (size_t i = 0; i < parts[part].count && known < MOST; i++)
        all[known++] = parts[part].faults[i];
  }
  *count = known;
  return all;
}

const fuzz_planted *fuzz_planted_find(const char *name) {
  size_t count;
  const fuzz_planted *all = fuzz_planted_all(&count);
  for (size_t i = 0; i < count; i++)
    if (strcmp(all[i].name, name) == 0)
      return &all[i];
  const fuzz_planted *steps = fuzz_planted_steps(&count);
  for (size_t i = 0; i < count; i++)
    if (strcmp(steps[i].name, name) == 0)
      return &steps[i];
  return NULL;
}

ha_alloc fuzz_planted_alloc(const fuzz_planted *planted) {
  ha_alloc alloc = *sound();
  alloc.name = planted->name;
  planted->plant(&alloc);
  return alloc;
}

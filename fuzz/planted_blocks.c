// planted_blocks.c: faults about which bytes a block has: its size, its place, its first contents. See planted.h.
#include "fuzz/planted_parts.h"

#include <string.h>
#include <sys/mman.h>

#define LARGE ((size_t)32 << 10)

static struct {
  unsigned char *last;  // live block that the fault looks at
  unsigned char *inner; // block inside it
  size_t inner_size;
  unsigned char *page; // that was made read-only
  unsigned count;
} blocks;

// ---- Sizes ----

// The allocator's classes are powers of two with 16 bytes taken off.
static void *malloc_edge(size_t size) {
  bool beyond = size > 200 && ((size + 15) & (size + 14)) == 0;
  return sound()->malloc(beyond ? size - 1 : size);
}
static void plant_edge(ha_alloc *alloc) {
  alloc->malloc = malloc_edge;
}

static size_t usable_size_boasting(void *block) {
  size_t usable = sound()->usable_size(block);
  return usable == 496 ? usable + 496 : usable;
}
static void plant_boast(ha_alloc *alloc) {
  alloc->usable_size = usable_size_boasting;
}

static void *aligned_alloc_short(size_t alignment, size_t size) {
  return sound()->aligned_alloc(alignment, alignment >= 4096 ? size / 2 : size);
}
static void plant_aligned_short(ha_alloc *alloc) {
  alloc->aligned_alloc = aligned_alloc_short;
}

static void *calloc_short(size_t count, size_t size) {
  return sound()->calloc(count > 2 ? count - 1 : count, size);
}
static void plant_calloc_short(ha_alloc *alloc) {
  alloc->calloc = calloc_short;
}

static void *malloc_huge(size_t size) {
  return sound()->malloc(size > PTRDIFF_MAX ? SIZE_MAX - size + 1 : size);
}
static void plant_huge(ha_alloc *alloc) {
  alloc->malloc = malloc_huge;
}

// A free makes the block before the last seem smaller.
static size_t usable_size_shrinking(void *block) {
  size_t usable = sound()->usable_size(block);
  return block == blocks.last && blocks.count > 0 && usable >= 112 ? usable - 16 : usable;
}
static void *malloc_noting(size_t size) {
  blocks.count = 0;
  return blocks.last = sound()->malloc(size);
}
static void free_shrinking(void *block) {
  blocks.count += block != blocks.last;
  if (block == blocks.last)
    blocks.last = NULL;
  sound()->free(block);
}
static void *realloc_forgetting(void *block, size_t size) {
  if (block == blocks.last)
    blocks.last = NULL;
  return sound()->realloc(block, size);
}
static void plant_shrinking(ha_alloc *alloc) {
  alloc->usable_size = usable_size_shrinking;
  alloc->malloc = malloc_noting;
  alloc->free = free_shrinking;
  alloc->realloc = realloc_forgetting;
}

// ---- Places ----

static bool is_skewed(const void *block) {
  return ((uintptr_t)block & 15) == 8;
}
static void *straight(void *block) {
  return is_skewed(block) ? (unsigned char *)block - 8 : block;
}
static void *malloc_skewed(size_t size) {
  unsigned char *block = sound()->malloc(size > 96 && size <= 112 ? size + 8 : size);
  return block && size > 96 && size <= 112 ? block + 8 : block;
}
static void free_skewed(void *block) {
  sound()->free(straight(block));
}
static void *realloc_skewed(void *block, size_t size) {
  if (!is_skewed(block))
    return sound()->realloc(block, size);
  void *moved = sound()->malloc(size);
  if (moved)
    memcpy(moved, block, size < 112 ? size : 112);
  if (moved || size == 0)
    free_skewed(block);
  return moved;
}
static size_t usable_size_skewed(void *block) {
  return sound()->usable_size(straight(block)) - (is_skewed(block) ? 8 : 0);
}
static void plant_skewed(ha_alloc *alloc) {
  alloc->malloc = malloc_skewed;
  alloc->free = free_skewed;
  alloc->realloc = realloc_skewed;
  alloc->usable_size = usable_size_skewed;
}

// A large block, and while it is live another one in its second half.
static void *malloc_interior(size_t size) {
  if (size >= LARGE && blocks.last && blocks.inner == NULL && size <= sound()->usable_size(blocks.last) / 2) {
    blocks.inner_size = size;
    return blocks.inner = blocks.last + (sound()->usable_size(blocks.last) / 2 & ~(size_t)15);
  }
  unsigned char *block = sound()->malloc(size);
  if (size >= 2 * LARGE && blocks.inner == NULL)
    blocks.last = block;
  return block;
}
static void free_interior(void *block) {
  if (block == blocks.last)
    blocks.last = NULL;
  if (block && block == blocks.inner)
    blocks.inner = NULL;
  else
    sound()->free(block);
}
static void *realloc_interior(void *block, size_t size) {
  if (block == NULL || block != blocks.inner) {
    if (block == blocks.last)
      blocks.last = NULL;
    return sound()->realloc(block, size);
  }
  void *moved = sound()->malloc(size);
  if (moved)
    memcpy(moved, block, size < blocks.inner_size ? size : blocks.inner_size);
  if (moved || size == 0)
    blocks.inner = NULL;
  return moved;
}
static size_t usable_size_interior(void *block) {
  return block && block == blocks.inner ? blocks.inner_size : sound()->usable_size(block);
}
static void plant_interior(ha_alloc *alloc) {
  alloc->malloc = malloc_interior;
  alloc->free = free_interior;
  alloc->realloc = realloc_interior;
  alloc->usable_size = usable_size_interior;
}

// What realloc left where it was is handed out once more.
static void *realloc_in_place_noting(void *block, size_t size) {
  void *moved = sound()->realloc(block, size);
  if (moved == block)
    blocks.last = moved;
  else if (block == blocks.last)
    blocks.last = NULL;
  return moved;
}
static void *malloc_in_place_again(size_t size) {
  unsigned char *last = blocks.last;
  if (last == NULL || size > sound()->usable_size(last))
    return sound()->malloc(size);
  blocks.last = NULL;
  return last;
}
static void free_noting(void *block) {
  if (block == blocks.last)
    blocks.last = NULL;
  sound()->free(block);
}
static void plant_in_place(ha_alloc *alloc) {
  alloc->malloc = malloc_in_place_again;
  alloc->realloc = realloc_in_place_noting;
  alloc->free = free_noting;
}

// realloc to nothing frees the block, and returns it.
static void *realloc_dangling(void *block, size_t size) {
  if (block && size == 0)
    return blocks.last = block;
  return realloc_forgetting(block, size);
}
static void plant_dangling(ha_alloc *alloc) {
  alloc->malloc = malloc_in_place_again;
  alloc->realloc = realloc_dangling;
  alloc->free = free_noting;
}

// The last page of a large block cannot be written, until the next free.
static void *malloc_sealed(size_t size) {
  unsigned char *block = sound()->malloc(size);
  uintptr_t end = ((uintptr_t)block + size) & ~(uintptr_t)4095;
  if (block == NULL || size < LARGE || blocks.page || ++blocks.count % 4 != 0)
    return block;
  blocks.page = (unsigned char *)end - 4096;
  (void)mprotect(blocks.page, 4096, PROT_READ);
  return block;
}
static void unseal(void) {
  if (blocks.page)
    (void)mprotect(blocks.page, 4096, PROT_READ | PROT_WRITE);
  blocks.page = NULL;
}
static void free_sealed(void *block) {
  unseal();
  sound()->free(block);
}
static void *realloc_sealed(void *block, size_t size) {
  unseal();
  return sound()->realloc(block, size);
}
static void plant_sealed(ha_alloc *alloc) {
  alloc->malloc = malloc_sealed;
  alloc->free = free_sealed;
  alloc->realloc = realloc_sealed;
}

// ---- Contents ----

static void *calloc_stale_tail(size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) || total > LARGE)
    return sound()->calloc(count, size);
  void *block = sound()->malloc(total);
  return block ? memset(block, 0, total & ~(size_t)7) : NULL;
}
static void plant_stale_tail(ha_alloc *alloc) {
  alloc->calloc = calloc_stale_tail;
}

static void *realloc_shrinking(void *block, size_t size) {
  size_t old = block ? sound()->usable_size(block) : 0;
  unsigned char *moved = sound()->realloc(block, size);
  if (moved && size >= 16 && size < old / 2)
    moved[size - 1] ^= 1;
  return moved;
}
static void plant_shrink(ha_alloc *alloc) {
  alloc->realloc = realloc_shrinking;
}

static const fuzz_planted faults[] = {
    {"edge", "malloc of one byte more than a class has gets that class", FUZZ_ORACLE_USABLE, 400, plant_edge},
    {"boast", "usable_size of one class counts the next block in", FUZZ_ORACLE_OVERLAP, 100, plant_boast},
    {"aligned-short", "aligned_alloc to 4096 and more gives half of the size", FUZZ_ORACLE_USABLE, 100,
     plant_aligned_short},
    {"calloc-short", "calloc of three and more elements forgets one", FUZZ_ORACLE_USABLE, 100,
     plant_calloc_short},
    {"huge", "malloc of more than PTRDIFF_MAX gives what is missing to 2^64", FUZZ_ORACLE_IMPOSSIBLE, 100,
     plant_huge},
    {"usable-shrinks", "after a free of another block, the newest one's usable size is 16 less",
     FUZZ_ORACLE_USABLE, 100, plant_shrinking},
    {"skewed", "malloc of 97 to 112 bytes is a multiple of 8 only", FUZZ_ORACLE_ALIGNMENT, 100, plant_skewed},
    {"interior", "a large block lies inside another", FUZZ_ORACLE_OVERLAP, 400, plant_interior},
    {"in-place", "the block that realloc left in its place is handed out again", FUZZ_ORACLE_OVERLAP, 100,
     plant_in_place},
    {"dangling", "realloc to 0 bytes frees the block and returns it", FUZZ_ORACLE_OVERLAP, 1000,
     plant_dangling},
    {"sealed", "the last whole page of every fourth large block cannot be written", FUZZ_ORACLE_WRITABLE, 200,
     plant_sealed},
    {"stale-tail", "calloc does not clear the last bytes of an odd size", FUZZ_ORACLE_ZEROED, 100,
     plant_stale_tail},
    {"shrink", "realloc to less than half spoils the last byte that it keeps", FUZZ_ORACLE_REALLOC, 100,
     plant_shrink},
};

fuzz_planted_part fuzz_planted_blocks(void) {
  return (fuzz_planted_part){faults, sizeof faults / sizeof faults[0]};
}

// pocket.c: a small allocator as its author would keep it, in a repository of its own. It replaces malloc in any
// program (LD_PRELOAD) and knows nothing of heaparena; pocket_heaparena.c does.
//
// Blocks are powers of two, header included, carved from chunks that hold one size each. Free blocks of a size
// hang in a list. One lock guards it all. Every block starts with a header whose mark says live, free, or that
// an aligned block's header lies further on; free() of anything but a live block ends the program.
#include "pocket.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#ifndef POCKET_SMALLEST_SHIFT
#define POCKET_SMALLEST_SHIFT 5 // 32 bytes: a header and 16 bytes
#endif
#ifndef POCKET_ZERO_ON_FREE
#define POCKET_ZERO_ON_FREE 0 // clears blocks when they are freed
#endif

#define SHIFTS        48
#define CHUNK_BYTES   ((size_t)1 << 20)
#define LARGEST_SHIFT 19 // larger blocks are mapped alone

_Static_assert(POCKET_SMALLEST_SHIFT >= 5 && POCKET_SMALLEST_SHIFT <= 12,
               "a header and 16 bytes, at most a page");

enum { LIVE = 0x11fe11fe, FREE = 0x0f4ee0f4, MOVED = 0x30ed30ed };

typedef struct header {
  alignas(16) uint32_t mark;
  uint32_t shift;      // the block is 2^shift bytes, this header included
  uint64_t from_start; // bytes from the block's first byte to this header
} header;

typedef struct chunk {
  alignas(16) struct chunk *older;
  uint32_t shift;
  uint32_t carved; // blocks handed out so far
} chunk;

typedef struct free_block {
  header head;
  struct free_block *next;
} free_block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static free_block *free_blocks[LARGEST_SHIFT + 1];
static chunk *newest_chunk[LARGEST_SHIFT + 1];
static pocket_counts counts;

// A fork while another thread holds the lock would leave the child with it held.
static void hold(void) {
  pthread_mutex_lock(&lock);
}
static void release(void) {
  pthread_mutex_unlock(&lock);
}
__attribute__((constructor)) static void prepare_for_fork(void) {
  pthread_atfork(hold, release, release);
}

static void say(const char *line) {
  ssize_t ignored = write(STDERR_FILENO, line, strlen(line));
  (void)ignored;
}

static void *map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  counts.mapped_bytes += bytes;
  return p;
}

static uint32_t shift_of(size_t bytes) {
  uint32_t shift = bytes <= 1 ? 0 : (uint32_t)(64 - __builtin_clzl(bytes - 1));
  return shift < POCKET_SMALLEST_SHIFT ? POCKET_SMALLEST_SHIFT : shift;
}

// The chunk's blocks start at its end, so that the chunk's own header costs one block at most.
static size_t blocks_in_chunk(uint32_t shift) {
  return (CHUNK_BYTES - sizeof(chunk)) >> shift;
}
static unsigned char *block_at(chunk *c, size_t index) {
  return (unsigned char *)c + CHUNK_BYTES - ((index + 1) << c->shift);
}

// A block of 2^shift bytes. The lock is held.
static unsigned char *take(uint32_t shift) {
  if (shift > LARGEST_SHIFT)
    return map((size_t)1 << shift);
  free_block *block = free_blocks[shift];
  if (block) {
    free_blocks[shift] = block->next;
    return (unsigned char *)block;
  }
  chunk *c = newest_chunk[shift];
  if (!c || c->carved == blocks_in_chunk(shift)) {
    c = map(CHUNK_BYTES);
    if (!c)
      return NULL;
    *c = (chunk){.older = newest_chunk[shift], .shift = shift};
    newest_chunk[shift] = c;
  }
  return block_at(c, c->carved++);
}

static size_t usable(const header *h) {
  return ((size_t)1 << h->shift) - (size_t)h->from_start - sizeof(header);
}

static void *allocate(size_t alignment, size_t size) {
  size_t slack = alignment > 16 ? alignment : 0;
  if (alignment > CHUNK_BYTES || size > PTRDIFF_MAX - slack - sizeof(header))
    goto fail;
  uint32_t shift = shift_of(size + slack + sizeof(header));
  if (shift >= SHIFTS)
    goto fail;
  hold();
  unsigned char *start = take(shift);
  if (start) {
    uintptr_t block = (uintptr_t)start + sizeof(header);
    if (slack)
      block = (block + alignment - 1) & ~(alignment - 1);
    header *h = (header *)block - 1;
    if ((unsigned char *)h != start)
      *(header *)start = (header){.mark = MOVED, .shift = shift};
    *h = (header){.mark = LIVE, .shift = shift, .from_start = (uintptr_t)h - (uintptr_t)start};
    counts.mallocs++;
    counts.live_bytes += usable(h);
    release();
    return (void *)block;
  }
  release();
fail:
  errno = ENOMEM;
  return NULL;
}

static header *live(void *block) {
  header *h = (header *)block - 1;
  if (((uintptr_t)block & 15) == 0 && h->mark == LIVE)
    return h;
  say("pocket: free or realloc of what is no live block\n");
  abort();
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library declares them with names of its own
EXPORT void *malloc(size_t size) {
  return allocate(16, size);
}

EXPORT void free(void *block) {
  if (!block)
    return;
  int saved = errno;
  header *h = live(block);
  uint32_t shift = h->shift;
  if (POCKET_ZERO_ON_FREE)
    memset(block, 0, usable(h));
  hold();
  counts.frees++;
  counts.live_bytes -= usable(h);
  h->mark = FREE;
  free_block *start = (free_block *)((unsigned char *)h - h->from_start);
  if (shift > LARGEST_SHIFT) {
    counts.mapped_bytes -= (size_t)1 << shift;
    munmap(start, (size_t)1 << shift);
  } else {
    start->head = (header){.mark = FREE, .shift = shift};
    start->next = free_blocks[shift];
    free_blocks[shift] = start;
  }
  release();
  errno = saved;
}

EXPORT void *calloc(size_t count, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(count, size, &product)) {
    errno = ENOMEM;
    return NULL;
  }
  void *block = malloc(product);
  return block ? memset(block, 0, product) : NULL;
}

EXPORT size_t malloc_usable_size(void *block) {
  return block ? usable(live(block)) : 0;
}

EXPORT void *realloc(void *block, size_t size) {
  if (!block)
    return malloc(size);
  size_t capacity = usable(live(block));
  if (size <= capacity && size > capacity / 4)
    return block;
  void *fresh = malloc(size);
  if (fresh) {
    memcpy(fresh, block, size < capacity ? size : capacity);
    free(block);
  }
  return fresh;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    errno = EINVAL;
    return NULL;
  }
  return allocate(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size) {
  return aligned_alloc(alignment, size);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  int saved = errno;
  void *fresh = allocate(alignment, size);
  errno = saved;
  if (!fresh)
    return ENOMEM;
  *block = fresh;
  return 0;
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

pocket_counts pocket_count(void) {
  hold();
  pocket_counts now = counts;
  release();
  return now;
}

static int damaged(chunk *c) {
  int faults = 0;
  for (size_t i = 0; i < c->carved; i++) {
    const header *h = (const header *)block_at(c, i);
    bool known = h->mark == LIVE || h->mark == FREE || h->mark == MOVED;
    if (!known || h->shift != c->shift) {
      faults++;
      say("pocket: a block's header was overwritten\n");
    }
  }
  return faults;
}

int pocket_check(void) {
  int faults = 0;
  hold();
  for (size_t shift = 0; shift <= LARGEST_SHIFT; shift++)
    for (chunk *c = newest_chunk[shift]; c; c = c->older)
      faults += damaged(c);
  release();
  return faults;
}

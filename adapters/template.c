// template.c: copy this file to add an allocator that is linked in. It is a complete small allocator, tested
// like all others: free lists of power-of-two blocks behind one lock.
//
// What to change, in order:
//   1. the functions: your allocator's, or wrappers that call it
//   2. the vtable: leave out (NULL) what it does not have; nobody will fake it
//   3. the descriptor at the end: name, one line for people; drop HA_TRAIT_EXAMPLE
//   4. one line each in adapters.h, registry.c and CMakeLists.txt
// For an allocator that is a shared library with malloc's own names, copy tcmalloc.c instead (the library is
// found, preloaded and filled for you), or write nothing: --allocators NAME=/path/lib.so.
#include "adapters/adapters.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>

#define CLASSES        48                // block sizes 2^5 .. 2^47, headers included
#define SMALLEST_CLASS 5                 // 32 bytes: a header and 16 bytes
#define CHUNK_BYTES    ((size_t)4 << 20) // taken from the system at once for small blocks
#define LARGEST_CARVED ((size_t)1 << 20) // larger blocks are mapped one by one and unmapped when freed

// Stands in front of every block. `offset` is not 0 only for aligned blocks, whose header lies above the
// start.
typedef struct header {
  alignas(16) uint32_t class_index;
  uint32_t offset; // in 16-byte units, from the block's first byte to this header
  size_t size;     // requested
} header;

typedef struct free_block {
  struct free_block *next;
} free_block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static free_block *free_lists[CLASSES];
static unsigned char *chunk_next, *chunk_end;

// fork copies the lock as it is: held by whichever thread was inside. So fork waits for it, and both sides
// let go.
static void before_fork(void) {
  pthread_mutex_lock(&lock);
}
static void after_fork(void) {
  pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void prepare_for_fork(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
}

static void *fail(void) {
  errno = ENOMEM;
  return NULL;
}

static void *map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static unsigned class_of(size_t bytes) {
  unsigned index = bytes <= 1 ? 0 : (unsigned)(64 - __builtin_clzl(bytes - 1));
  return index < SMALLEST_CLASS ? SMALLEST_CLASS : index;
}

// A block of 2^index bytes from the free list or the chunk. The lock is held.
static void *take(unsigned index) {
  free_block *block = free_lists[index];
  if (block) {
    free_lists[index] = block->next;
    return block;
  }
  size_t bytes = (size_t)1 << index;
  if ((size_t)(chunk_end - chunk_next) < bytes) {
    unsigned char *chunk = map(CHUNK_BYTES); // what is left of the old chunk is lost: simple, at most 1 in 4
    if (!chunk)
      return NULL;
    chunk_next = chunk;
    chunk_end = chunk + CHUNK_BYTES;
  }
  void *fresh = chunk_next;
  chunk_next += bytes;
  return fresh;
}

static void *template_aligned_alloc(size_t alignment, size_t size) {
  size_t slack = alignment > 16 ? alignment : 0;
  if (alignment > ((size_t)1 << 32) || size > PTRDIFF_MAX - slack - sizeof(header))
    return fail();
  unsigned index = class_of(size + slack + sizeof(header));
  if (index >= CLASSES)
    return fail();
  unsigned char *start;
  if (((size_t)1 << index) > LARGEST_CARVED) {
    start = map((size_t)1 << index);
  } else {
    pthread_mutex_lock(&lock);
    start = take(index);
    pthread_mutex_unlock(&lock);
  }
  if (!start)
    return fail();
  uintptr_t block = (uintptr_t)start + sizeof(header);
  if (slack)
    block = (block + alignment - 1) & ~(alignment - 1);
  header *h = (header *)block - 1;
  *h = (header){
      .class_index = index, .offset = (uint32_t)(((uintptr_t)h - (uintptr_t)start) / 16), .size = size};
  return (void *)block;
}

static void *template_malloc(size_t size) {
  return template_aligned_alloc(16, size);
}

static void template_free(void *block) {
  if (!block)
    return;
  header *h = (header *)block - 1;
  unsigned index = h->class_index;
  void *start = (unsigned char *)h - (size_t)h->offset * 16;
  if (((size_t)1 << index) > LARGEST_CARVED) {
    int saved = errno;
    munmap(start, (size_t)1 << index);
    errno = saved;
    return;
  }
  free_block *f = start;
  pthread_mutex_lock(&lock);
  f->next = free_lists[index];
  free_lists[index] = f;
  pthread_mutex_unlock(&lock);
}

static void *template_calloc(size_t count, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(count, size, &product))
    return fail();
  void *block = template_malloc(product);
  return block ? memset(block, 0, product) : NULL;
}

static size_t template_usable_size(void *block) {
  if (!block)
    return 0;
  const header *h = (const header *)block - 1;
  return ((size_t)1 << h->class_index) - (size_t)h->offset * 16 - sizeof(header);
}

static void *template_realloc(void *block, size_t size) {
  size_t capacity = template_usable_size(block);
  if (block && size <= capacity && size > capacity / 4) {
    ((header *)block)[-1].size = size;
    return block;
  }
  void *fresh = template_malloc(size);
  if (fresh && block) {
    size_t old = ((header *)block)[-1].size;
    memcpy(fresh, block, old < size ? old : size);
    template_free(block);
  }
  return fresh;
}

static const ha_alloc vtable = {
    .name = "template",
    .version = "1",
    .traits = HA_TRAIT_EXAMPLE,
    .malloc = template_malloc,
    .free = template_free,
    .calloc = template_calloc,
    .realloc = template_realloc,
    .aligned_alloc = template_aligned_alloc,
    .usable_size = template_usable_size,
};

const ha_adapter ha_adapter_template = {
    .name = "template",
    .summary = "power-of-two free lists behind one lock: copy template.c to add an allocator",
    .linked = &vtable,
};

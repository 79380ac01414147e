// misuse_naive.c: an allocator that trusts its caller: blocks of powers of two, carved from one mapping, freed
// ones on last-in first-out lists whose links lie in the blocks. A library for the tests of heaparena misuse: a
// block that is freed twice is handed out twice, and a freed address is believed whatever it is.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT  __attribute__((visibility("default")))
#define POOL    ((size_t)1 << 34)
#define CLASSES 48u

typedef struct naive_header {
  _Alignas(16) size_t class;
} naive_header;

typedef struct naive_free {
  struct naive_free *next;
} naive_free;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static naive_free *lists[CLASSES];
static unsigned char *pool, *pool_end;

EXPORT void *malloc(size_t size);
EXPORT void free(void *block);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *block, size_t size);
EXPORT size_t malloc_usable_size(void *block);
EXPORT void delete_sized(void *block, size_t size) __asm__("_ZdlPvm"); // operator delete(void *, size_t)

static size_t class_of(size_t size) {
  size_t class = 4;
  while (((size_t)1 << class) < size)
    class ++;
  return class;
}

static naive_header *header_of(void *block) {
  return (naive_header *)block - 1;
}

static void *carve(size_t class) {
  if (!pool) {
    pool = mmap(NULL, POOL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) {
      pool = NULL;
      return NULL;
    }
    pool_end = pool + POOL;
  }
  size_t bytes = sizeof(naive_header) + ((size_t)1 << class);
  if (bytes > (size_t)(pool_end - pool))
    return NULL;
  naive_header *header = (naive_header *)(void *)pool;
  pool += bytes;
  header->class = class;
  return header + 1;
}

void *malloc(size_t size) {
  if (size > POOL) {
    errno = ENOMEM;
    return NULL;
  }
  size_t class = class_of(size);
  pthread_mutex_lock(&lock);
  void *block = lists[class];
  if (block)
    lists[class] = lists[class]->next;
  else
    block = carve(class);
  pthread_mutex_unlock(&lock);
  if (!block)
    errno = ENOMEM;
  return block;
}

static void put(void *block, size_t class) {
  pthread_mutex_lock(&lock);
  naive_free *freed = block;
  freed->next = lists[class];
  lists[class] = freed;
  pthread_mutex_unlock(&lock);
}

void free(void *block) {
  if (block)
    put(block, header_of(block)->class % CLASSES);
}

void delete_sized(void *block, size_t size) {
  if (block)
    put(block, class_of(size));
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  void *block = malloc(bytes);
  return block ? memset(block, 0, bytes) : NULL;
}

size_t malloc_usable_size(void *block) {
  return block ? (size_t)1 << header_of(block)->class : 0;
}

void *realloc(void *block, size_t size) {
  void *moved = malloc(size);
  if (!block || !moved)
    return moved;
  size_t old = malloc_usable_size(block);
  memcpy(moved, block, old < size ? old : size);
  free(block);
  return moved;
}

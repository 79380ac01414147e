// What every textbook heap has in common. See textbook.h.
#include "core/textbook/textbook.h"

#include "core/textbook/region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void *out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

static bool impossible(size_t alignment, size_t size) {
  return size > REGION_LIMIT || alignment > REGION_LIMIT;
}

// The lock is held.
static void *allocate(struct textbook *book, size_t alignment, size_t size) {
  if (impossible(alignment, size))
    return NULL;
  void *block = book->kind->allocate(book->heap, alignment, size > 0 ? size : 1);
  book->mallocs += block != NULL;
  return block;
}

static void release(struct textbook *book, void *block) {
  book->kind->release(book->heap, block);
  book->frees++;
}

void *textbook_aligned_alloc(struct textbook *book, size_t alignment, size_t size) {
  if (!gm_is_power_of_two(alignment)) {
    errno = EINVAL;
    return NULL;
  }
  pthread_mutex_lock(&book->lock);
  void *block = allocate(book, alignment < TEXTBOOK_ALIGNMENT ? TEXTBOOK_ALIGNMENT : alignment, size);
  pthread_mutex_unlock(&book->lock);
  return block != NULL ? block : out_of_memory();
}

void *textbook_malloc(struct textbook *book, size_t size) {
  return textbook_aligned_alloc(book, TEXTBOOK_ALIGNMENT, size);
}

void *textbook_calloc(struct textbook *book, size_t count, size_t size) {
  size_t product = 0;
  if (__builtin_mul_overflow(count, size, &product))
    return out_of_memory();
  void *block = textbook_malloc(book, product);
  return block != NULL ? memset(block, 0, product) : NULL;
}

void textbook_free(struct textbook *book, void *block) {
  if (block == NULL)
    return;
  int saved_errno = errno;
  pthread_mutex_lock(&book->lock);
  release(book, block);
  pthread_mutex_unlock(&book->lock);
  errno = saved_errno;
}

void *textbook_realloc(struct textbook *book, void *block, size_t size) {
  if (block == NULL)
    return textbook_malloc(book, size);
  if (size == 0) {
    textbook_free(book, block);
    return NULL;
  }
  if (impossible(TEXTBOOK_ALIGNMENT, size))
    return out_of_memory();
  pthread_mutex_lock(&book->lock);
  void *result = block;
  if (!book->kind->resize(book->heap, block, size)) {
    size_t old = book->kind->usable(book->heap, block);
    result = allocate(book, TEXTBOOK_ALIGNMENT, size);
    if (result != NULL) {
      memcpy(result, block, old < size ? old : size);
      release(book, block);
    }
  }
  pthread_mutex_unlock(&book->lock);
  return result != NULL ? result : out_of_memory();
}

size_t textbook_usable_size(struct textbook *book, void *block) {
  if (block == NULL)
    return 0;
  pthread_mutex_lock(&book->lock);
  size_t usable = book->kind->usable(book->heap, block);
  pthread_mutex_unlock(&book->lock);
  return usable;
}

size_t textbook_purge(struct textbook *book) {
  pthread_mutex_lock(&book->lock);
  size_t bytes = book->kind->trim(book->heap);
  pthread_mutex_unlock(&book->lock);
  return bytes;
}

void textbook_count(struct textbook *book, struct textbook_counts *counts, uint64_t *mallocs,
                    uint64_t *frees) {
  pthread_mutex_lock(&book->lock);
  book->kind->count(book->heap, counts);
  *mallocs = book->mallocs;
  *frees = book->frees;
  pthread_mutex_unlock(&book->lock);
}

int textbook_check(struct textbook *book) {
  pthread_mutex_lock(&book->lock);
  int faults = book->kind->check(book->heap);
  pthread_mutex_unlock(&book->lock);
  return faults;
}

int textbook_fault(const char *kind, const char *what, uintptr_t address) {
  fprintf(stderr, "textbook: %s: %s at 0x%zx\n", kind, what, (size_t)address);
  return 1;
}

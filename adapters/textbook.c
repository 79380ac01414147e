// textbook.c: the textbook allocators of core/textbook/, linked in: the reference versions of the ideas that
// lead to Go's allocator. There to be read and to be measured against; a run takes them when they are named.
//
// firstfit takes the lowest hole; HEAPARENA_FIRSTFIT_ORDER=lifo instead of `address` makes it take the hole that
// was freed last (`heaparena run --allocators firstfit --env firstfit:HEAPARENA_FIRSTFIT_ORDER=lifo`).
#include "core/textbook/textbook.h"
#include "adapters/adapters.h"
#include "core/textbook/buddy.h"
#include "core/textbook/free_list.h"
#include "core/textbook/linear.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct linear linear_heap;
static struct free_list firstfit_heap = {.fit = FIT_FIRST};
static struct free_list nextfit_heap = {.fit = FIT_NEXT};
static struct free_list bestfit_heap = {.fit = FIT_BEST};
static struct free_list segfit_heap = {.fit = FIT_SEGREGATED};
static struct buddy buddy_heap;

static struct textbook linear_book = TEXTBOOK_INIT(&textbook_linear, &linear_heap);
static struct textbook firstfit_book = TEXTBOOK_INIT(&textbook_free_list, &firstfit_heap);
static struct textbook nextfit_book = TEXTBOOK_INIT(&textbook_free_list, &nextfit_heap);
static struct textbook bestfit_book = TEXTBOOK_INIT(&textbook_free_list, &bestfit_heap);
static struct textbook segfit_book = TEXTBOOK_INIT(&textbook_free_list, &segfit_heap);
static struct textbook buddy_book = TEXTBOOK_INIT(&textbook_buddy, &buddy_heap);

static struct textbook *const books[] = {&linear_book,  &firstfit_book, &nextfit_book,
                                         &bestfit_book, &segfit_book,   &buddy_book};
#define BOOKS (sizeof books / sizeof books[0])

// fork copies a lock as it is: held by whichever thread was inside. So fork waits for all of them, and both
// sides let go.
static void before_fork(void) {
  for (size_t i = 0; i < BOOKS; i++)
    pthread_mutex_lock(&books[i]->lock);
}

static void after_fork(void) {
  for (size_t i = BOOKS; i-- > 0;)
    pthread_mutex_unlock(&books[i]->lock);
}

__attribute__((constructor)) static void prepare(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
  const char *order = getenv("HEAPARENA_FIRSTFIT_ORDER");
  firstfit_heap.lifo = order != NULL && strcmp(order, "lifo") == 0;
  if (order != NULL && !firstfit_heap.lifo && strcmp(order, "address") != 0) {
    dprintf(STDERR_FILENO, "heaparena: HEAPARENA_FIRSTFIT_ORDER=%s: give address or lifo\n", order);
    _exit(2);
  }
}

static bool stats_of(struct textbook *book, ha_alloc_stats *out) {
  struct textbook_counts counts;
  uint64_t mallocs = 0;
  uint64_t frees = 0;
  textbook_count(book, &counts, &mallocs, &frees);
  *out = (ha_alloc_stats){
      .live_bytes = counts.live_bytes,
      .inuse_bytes = UINT64_MAX,
      .mapped_bytes = counts.heap_bytes + counts.table_bytes,
      .released_bytes = UINT64_MAX,
      .mallocs = mallocs,
      .frees = frees,
  };
  return true;
}

static int memalign_in(struct textbook *book, void **block, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  int saved = errno;
  void *fresh = textbook_aligned_alloc(book, alignment, size);
  errno = saved;
  if (!fresh)
    return ENOMEM;
  *block = fresh;
  return 0;
}

static void *reallocarray_in(struct textbook *book, void *block, size_t count, size_t size) {
  size_t product;
  if (__builtin_mul_overflow(count, size, &product)) {
    errno = ENOMEM;
    return NULL;
  }
  return textbook_realloc(book, block, product);
}

// The vtable's functions take no context, so each heap has its own set: the same few lines for all six.
#define TEXTBOOK_ADAPTER(NAME, TRAITS, SUMMARY)                                                              \
  static void *NAME##_malloc(size_t size) {                                                                  \
    return textbook_malloc(&NAME##_book, size);                                                              \
  }                                                                                                          \
  static void NAME##_free(void *block) {                                                                     \
    textbook_free(&NAME##_book, block);                                                                      \
  }                                                                                                          \
  static void *NAME##_calloc(size_t count, size_t size) {                                                    \
    return textbook_calloc(&NAME##_book, count, size);                                                       \
  }                                                                                                          \
  static void *NAME##_realloc(void *block, size_t size) {                                                    \
    return textbook_realloc(&NAME##_book, block, size);                                                      \
  }                                                                                                          \
  static void *NAME##_aligned_alloc(size_t alignment, size_t size) {                                         \
    return textbook_aligned_alloc(&NAME##_book, alignment, size);                                            \
  }                                                                                                          \
  static int NAME##_posix_memalign(void **block, size_t alignment, size_t size) {                            \
    return memalign_in(&NAME##_book, block, alignment, size);                                                \
  }                                                                                                          \
  static size_t NAME##_usable_size(void *block) {                                                            \
    return textbook_usable_size(&NAME##_book, block);                                                        \
  }                                                                                                          \
  static void *NAME##_reallocarray(void *block, size_t count, size_t size) {                                 \
    return reallocarray_in(&NAME##_book, block, count, size);                                                \
  }                                                                                                          \
  static bool NAME##_purge(void) {                                                                           \
    textbook_purge(&NAME##_book);                                                                            \
    return true;                                                                                             \
  }                                                                                                          \
  static bool NAME##_stats(ha_alloc_stats *out) {                                                            \
    return stats_of(&NAME##_book, out);                                                                      \
  }                                                                                                          \
  static int NAME##_check_heap(void) {                                                                       \
    return textbook_check(&NAME##_book);                                                                     \
  }                                                                                                          \
  static const ha_alloc NAME##_vtable = {                                                                    \
      .name = #NAME,                                                                                         \
      .version = "1",                                                                                        \
      .traits = HA_TRAIT_EXAMPLE | (TRAITS),                                                                 \
      .malloc = NAME##_malloc,                                                                               \
      .free = NAME##_free,                                                                                   \
      .calloc = NAME##_calloc,                                                                               \
      .realloc = NAME##_realloc,                                                                             \
      .aligned_alloc = NAME##_aligned_alloc,                                                                 \
      .posix_memalign = NAME##_posix_memalign,                                                               \
      .usable_size = NAME##_usable_size,                                                                     \
      .reallocarray = NAME##_reallocarray,                                                                   \
      .purge = NAME##_purge,                                                                                 \
      .stats = NAME##_stats,                                                                                 \
      .check_heap = NAME##_check_heap,                                                                       \
  };                                                                                                         \
  const ha_adapter ha_adapter_##NAME = {                                                                     \
      .name = #NAME, .summary = SUMMARY " (measured when named)", .linked = &NAME##_vtable};

TEXTBOOK_ADAPTER(linear, HA_TRAIT_NEVER_FREES,
                 "textbook: a pointer that moves up, back only when nothing is live")
TEXTBOOK_ADAPTER(firstfit, 0, "textbook: boundary tags, the lowest hole that fits")
TEXTBOOK_ADAPTER(nextfit, 0, "textbook: boundary tags, the next hole that fits")
TEXTBOOK_ADAPTER(bestfit, 0, "textbook: boundary tags, the smallest hole that fits")
TEXTBOOK_ADAPTER(segfit, 0, "textbook: boundary tags, a list of holes for each class of sizes")
TEXTBOOK_ADAPTER(buddy, 0, "textbook: powers of two that split and join with their buddies")

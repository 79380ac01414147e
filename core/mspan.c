// Spans: set-up, remote frees, lists. See mspan.h.
#include "core/mspan.h"

#include "core/errors.h"

static_assert(SPAN_CELLS_MAX == 4096, "mksizeclass.c's CELLS_MAX");

struct mspan mspan_returned;

// Inverse of an odd number modulo 2^64; each Newton step doubles the right bits, and odd * odd == 1 modulo 8.
static uint64_t inverse_of_odd(uint64_t odd) {
  uint64_t inverse = odd;
  for (int i = 0; i < 5; i++)
    inverse *= 2 - odd * inverse;
  return inverse;
}

static void init_common(struct mspan *span, uintptr_t start, size_t npages, span_class class,
                        size_t object_size) {
  span->start = start;
  span->npages = npages;
  span->class = class;
  span->object_size = object_size;
  span->divide_shift = (uint8_t)__builtin_ctzll(object_size);
  span->divide_inverse = inverse_of_odd(object_size >> span->divide_shift);
  span->next = NULL;
  span->previous = NULL;
  span->pending_next = NULL;
  span->remote_debt = 0;
  span->orphaned = false;
  span->fresh = 0;
  atomic_store_explicit(&span->owner, NULL, memory_order_relaxed);
  atomic_store_explicit(&span->remote_count, 0, memory_order_relaxed);
}

void mspan_init_small(struct mspan *span, uintptr_t start, span_class class, bool fresh) {
  unsigned size_class = span_class_size_class(class);
  init_common(span, start, size_class_pages[size_class], class, size_class_size[size_class]);
  span->object_count = size_class_objects[size_class];
  span->place = SPAN_IN_SLOT;
  span->needs_zero = !fresh;
  uint32_t words = mspan_word_count(span);
  uint64_t all_words = UINT64_MAX >> (64 - words);
  for (uint32_t w = 0; w < words; w++) {
    uint32_t left = span->object_count - w * 64;
    atomic_store_explicit(&span->words[w].free, left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1,
                          memory_order_relaxed);
    atomic_store_explicit(&span->words[w].claimed, 0, memory_order_relaxed);
    atomic_store_explicit(&span->words[w].remote, 0, memory_order_relaxed);
  }
  atomic_store_explicit(&span->summary, all_words, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, 0, memory_order_relaxed);
  span->fresh = fresh ? all_words : 0;
}

void mspan_init_large(struct mspan *span, uintptr_t start, size_t npages, span_class class, bool fresh) {
  init_common(span, start, npages, class, npages << GM_PAGE_SHIFT);
  span->object_count = 1;
  span->place = SPAN_LARGE;
  span->needs_zero = !fresh;
  atomic_store_explicit(&span->summary, 0, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, 1, memory_order_relaxed);
}

uintptr_t mspan_object_of(const struct mspan *span, uintptr_t address) {
  unsigned size_class = span_class_size_class(span->class);
  if (size_class == 0)
    return span->start;
  uint32_t index = size_class_divide(size_class, (uint32_t)(address - span->start));
  return index < span->object_count ? span->start + index * span->object_size : 0;
}

bool mspan_object_is_free(const struct mspan *span, uint32_t index) {
  if (span_class_size_class(span->class) == 0)
    return atomic_load_explicit(&span->taken_count, memory_order_acquire) == 0;
  const struct span_word *word = &span->words[index / 64];
  uint64_t free_bits = atomic_load_explicit(&word->free, memory_order_acquire);
  uint64_t taken = free_bits | atomic_load_explicit(&word->claimed, memory_order_acquire) |
                   atomic_load_explicit(&word->remote, memory_order_acquire);
  return (taken >> (index % 64) & 1) != 0;
}

void mspan_apply_remote(struct mspan *span) {
  // Acquire: what the freeing threads did with the objects comes before they are handed out again. Taking the
  // count before the bits means that a thread which announces later is seen as a debt of 0 or as a new
  // queueing.
  int32_t announced = (int32_t)atomic_exchange_explicit(&span->remote_count, 0, memory_order_acq_rel);
  int32_t taken = 0;
  for (uint32_t w = 0; w < mspan_word_count(span); w++) {
    struct span_word *word = &span->words[w];
    if (atomic_load_explicit(&word->remote, memory_order_relaxed) == 0)
      continue;
    uint64_t bits = atomic_exchange_explicit(&word->remote, 0, memory_order_acq_rel);
    uint64_t free_bits = atomic_load_explicit(&word->free, memory_order_relaxed);
    taken += __builtin_popcountll(bits);
    uint64_t claimed = atomic_load_explicit(&word->claimed, memory_order_relaxed);
    for (uint64_t twice = bits & (free_bits | claimed); twice != 0; twice &= twice - 1) {
      uint32_t index = w * 64 + (uint32_t)__builtin_ctzll(twice);
      bits &= ~(twice & -twice);
      mspan_report("double free of", span, span->start + index * span->object_size);
    }
    atomic_store_explicit(&word->free, free_bits | bits, memory_order_release);
    if (bits != 0)
      atomic_store_explicit(&span->summary,
                            atomic_load_explicit(&span->summary, memory_order_relaxed) | (uint64_t)1 << w,
                            memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&span->taken_count, memory_order_relaxed);
    atomic_store_explicit(&span->taken_count, count - (uint32_t)__builtin_popcountll(bits),
                          memory_order_relaxed);
  }
  span->remote_debt += taken - announced;
}

bool mspan_is_releasable(struct mspan *span) {
  return atomic_load_explicit(&span->taken_count, memory_order_relaxed) == 0 && span->remote_debt == 0 &&
         atomic_load_explicit(&span->remote_count, memory_order_acquire) == 0;
}

void mspan_report(const char *what, const struct mspan *span, uintptr_t address) {
  if (span == NULL || span->object_count == 0)
    errors_report(what, address, 0, 0);
  else
    errors_report(what, address, span->object_size, span->start);
}

void mspan_list_append(struct mspan_list *list, struct mspan *span) {
  span->next = NULL;
  span->previous = list->last;
  if (list->last != NULL)
    list->last->next = span;
  else
    list->first = span;
  list->last = span;
}

void mspan_list_remove(struct mspan_list *list, struct mspan *span) {
  if (span->previous != NULL)
    span->previous->next = span->next;
  else
    list->first = span->next;
  if (span->next != NULL)
    span->next->previous = span->previous;
  else
    list->last = span->previous;
  span->next = NULL;
  span->previous = NULL;
}

// Spans: set-up, remote frees, lists. See mspan.h.
#include "core/mspan.h"

#include "core/errors.h"
#include "core/mheap.h"

#include <string.h>

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
  span->hollow = false;
  span->orphaned = false;
  span->fresh = 0;
  mspan_set_owner(span, NULL);
  atomic_store_explicit(&span->remote, 0, memory_order_relaxed);
}

void mspan_init_small(struct mspan *span, uintptr_t start, span_class class, bool fresh) {
  unsigned size_class = span_class_size_class(class);
  init_common(span, start, size_class_pages[size_class], class, size_class_size[size_class]);
  span->object_count = size_class_objects[size_class];
  span->place = SPAN_IN_SLOT;
  span->needs_zero = !fresh;
  uint32_t groups = mspan_group_count(span);
  uint64_t all_groups = UINT64_MAX >> (64 - groups);
  memset(span->states, OBJECT_NONE, (size_t)groups * 64); // the last group's rest is nobody's
  memset(span->states, OBJECT_FREE, span->object_count);
  atomic_store_explicit(&span->summary, all_groups, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, 0, memory_order_relaxed);
  span->fresh = fresh ? all_groups : 0;
}

void mspan_init_large(struct mspan *span, uintptr_t start, size_t npages, span_class class, bool fresh) {
  init_common(span, start, npages, class, npages << GM_PAGE_SHIFT);
  span->object_count = 1;
  span->place = SPAN_LARGE;
  span->needs_zero = !fresh;
  atomic_store_explicit(&span->summary, 0, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, 1, memory_order_relaxed);
  mspan_set_state(span->states, OBJECT_LIVE);
}

void mspan_init_collected(struct mspan *span, uintptr_t start, size_t npages, bool fresh) {
  init_common(span, start, npages, make_span_class(0, true), npages << GM_PAGE_SHIFT);
  span->object_count = 0;
  span->place = SPAN_COLLECTED;
  span->needs_zero = !fresh;
  atomic_store_explicit(&span->summary, 0, memory_order_relaxed);
  atomic_store_explicit(&span->taken_count, 0, memory_order_relaxed);
}

uintptr_t mspan_object_of(const struct mspan *span, uintptr_t address) {
  unsigned size_class = span_class_size_class(span->class);
  if (size_class == 0)
    return span->start;
  uint32_t index = size_class_divide(size_class, (uint32_t)(address - span->start));
  return index < span->object_count ? span->start + index * span->object_size : 0;
}

// Eight states at once.
typedef uint64_t __attribute__((may_alias)) eight_states;

#define EIGHT_TIMES(byte) ((byte)*UINT64_C(0x0101010101010101))

static uint64_t load_eight(const uint8_t *states) {
  return __atomic_load_n((const eight_states *)states, __ATOMIC_RELAXED);
}

uint64_t mspan_free_bits(const struct mspan *span, uint32_t group) {
  const uint8_t *states = &span->states[(size_t)group * 64];
  uint64_t bits = 0;
  for (unsigned i = 0; i < 8; i++) {
    uint64_t high = load_eight(states + (size_t)i * 8) & EIGHT_TIMES((uint64_t)OBJECT_FREE);
    // Bit 8 n + 7 moves to bit 56 + n, once for each n, and nothing else gets there.
    bits |= (high * UINT64_C(0x0002040810204081)) >> 56 << (8 * i);
  }
  return bits;
}

// Release: what this thread did with the object comes before its next use.
static bool leave_live(uint8_t *state, enum object_state next) {
  uint8_t expected = OBJECT_LIVE;
  return __atomic_compare_exchange_n(state, &expected, (uint8_t)next, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED);
}

bool mspan_free_remotely(struct mspan *span, uint64_t index) {
  return leave_live(&span->states[index], OBJECT_REMOTE);
}

bool mspan_free_large(struct mspan *span) {
  return leave_live(span->states, OBJECT_FREE);
}

// Frees the remote objects of a group; returns how many there were.
static int32_t apply_group(struct mspan *span, uint32_t group) {
  int32_t found = 0;
  for (uint64_t first = (uint64_t)group * 64; first < (uint64_t)group * 64 + 64; first += 8) {
    if ((load_eight(&span->states[first]) & EIGHT_TIMES((uint64_t)OBJECT_REMOTE)) == 0)
      continue;
    for (uint64_t index = first; index < first + 8; index++) {
      // Acquire: what the freeing thread did with the object comes before it is handed out again.
      if (__atomic_load_n(&span->states[index], __ATOMIC_ACQUIRE) != OBJECT_REMOTE)
        continue;
      (void)mspan_put_back(span, index);
      found++;
    }
  }
  return found;
}

bool mspan_all_remote(const struct mspan *span) {
  for (uint64_t i = 0; i < span->object_count; i++)
    if (__atomic_load_n(&span->states[i], __ATOMIC_ACQUIRE) != OBJECT_REMOTE)
      return false;
  return true;
}

// Takes the announcements. A thread that looks whether it may take the pages does so under the heap's lock.
static uint64_t take_announced(struct mspan *span) {
  uint64_t announced = atomic_load_explicit(&span->remote, memory_order_relaxed);
  for (;;) {
    if ((announced & REMOTE_TAKING) != 0) {
      mheap_lock();
      mheap_unlock();
      announced = atomic_load_explicit(&span->remote, memory_order_relaxed);
    } else if (atomic_compare_exchange_weak_explicit(&span->remote, &announced, 0, memory_order_acq_rel,
                                                     memory_order_relaxed)) {
      return announced;
    }
  }
}

// The remote objects of a span whose pages were taken: all. If the owner freed one in the same moment, its stack
// may still point here: then the struct never goes.
static int32_t apply_taken(struct mspan *span) {
  uint32_t found = 0;
  for (uint64_t i = 0; i < span->object_count; i++)
    found += mspan_state(&span->states[i]) == OBJECT_REMOTE;
  atomic_store_explicit(&span->taken_count, (uint32_t)span->object_count - found, memory_order_relaxed);
  span->hollow = true;
  return (int32_t)found;
}

void mspan_apply_remote(struct mspan *span) {
  // Taking the announcement before the states means that a thread which announces later is seen as a debt or
  // as a new queueing.
  uint64_t announced = take_announced(span);
  int32_t found = (announced & REMOTE_TAKEN) != 0 ? apply_taken(span) : 0;
  for (uint64_t pairs = span->hollow ? 0 : announced & UINT32_MAX; pairs != 0; pairs &= pairs - 1) {
    uint32_t group = (uint32_t)__builtin_ctzll(pairs) * 2;
    found += apply_group(span, group);
    if (group + 1 < mspan_group_count(span))
      found += apply_group(span, group + 1);
  }
  span->remote_debt += found - (int32_t)REMOTE_COUNT(announced);
  // Announced, but not there: the owner freed the object in the same moment and its state covered the
  // other's. The object is in one place only; which one it was is not known any more.
  while (GM_UNLIKELY(span->remote_debt < 0)) {
    mspan_report("double free by two threads at once, in the span of", span, span->start);
    span->remote_debt++;
  }
}

bool mspan_is_releasable(struct mspan *span) {
  return atomic_load_explicit(&span->taken_count, memory_order_relaxed) == 0 && span->remote_debt == 0 &&
         atomic_load_explicit(&span->remote, memory_order_acquire) == 0;
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

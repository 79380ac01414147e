// The allocator's entry points, and the overview of the whole.
//
// Vocabulary (Go's, as in runtime/malloc.go):
//   page      8 KiB, the unit of spans (base.h)
//   arena     64 MiB of address space with tables about its pages (heap_arena.h)
//   span      a run of pages with objects of one size class, or one large object (mspan.h)
//   mcache    a thread's cache: for each class a stack of freed objects, a slot with up to 64 claimed
//             ones, and spans (mcache.h)
//   mcentral  the spans of one class that no thread owns (mcentral.h)
//   mheap     pages to spans and back (mheap.h), over the page allocator (page_alloc.h) and the system
//             (sys_mem.h)
//
// The way down, for a small request (up to 32 KiB):
//   1. size_class_of rounds the size up to a class. The class's slot in the thread's mcache has a stack of
//      objects that the thread freed: take the last one. This is all that most calls do (malloc_inline.h).
//   2. The stack is empty: take the lowest of the objects that the slot claimed from a span.
//   3. None claimed: claim the next group of 64 objects of the slot's span (mcache_refill).
//   4. The span has none: it goes to the thread's full list. Frees of other threads are taken in, and the
//      oldest partial span, the spare one, one of the mcentral's, or a new one is next.
//   5. A new span: mheap takes pages from the page cache or the page allocator, which grows into the next
//      chunks of an arena, reserved from the system 64 MiB at a time.
// A larger request is whole pages with one object: one that the thread freed and kept, or mheap's.
//
// The way up, for a free:
//   1. The arena map leads from the address to the span; one multiplication gives the object's index or
//      shows that no object starts there (mspan_divide). A state that is not live shows a double free.
//   2. The span is the thread's own: the object goes on the class's stack; when that is full, back to the
//      span.
//   3. Else its state becomes remote with a compare-exchange, and the first thread to do so queues the span
//      for its owner (mcache_announce_remote), adopts it, or settles it in the mcentral when it has none.
//   4. A full span's first free moves it to the partial list; an empty span becomes the spare or goes back
//      to mheap, whose free pages go back to the system when nobody took them for a while (scavenge.h).
//
// No allocator state lies in an object, ever: free objects are not touched.
#include "core/gomalloc.h"

#include "core/errors.h"
#include "core/malloc_inline.h"
#include "core/mcache_large.h"
#include "core/mheap.h"
#include "core/remote.h"
#include "core/scavenge.h"
#include "core/startup.h"

#include <errno.h>
#include <string.h>

#define PUBLIC GM_EXPORT

// What is wrong with a pointer, and what the program wanted with it: the words of the report.
enum misuse {
  MISUSE_FREED,
  MISUSE_INTERIOR,
  MISUSE_MISALIGNED,
  MISUSE_INVALID,
  MISUSE_FOREIGN,
  MISUSE_COLLECTED
};
enum operation { OPERATION_FREE, OPERATION_REALLOC, OPERATION_USABLE_SIZE };

static const char *const misuse_text[3][6] = {
    {"double free of", "interior free of", "misaligned free of", "invalid free of", "foreign free of",
     "free of collected object"},
    {"realloc of freed block", "realloc of interior pointer", "realloc of misaligned pointer",
     "realloc of invalid pointer", "realloc of foreign pointer", "realloc of collected object"},
    {"usable size of freed block", "usable size of interior pointer", "usable size of misaligned pointer",
     "usable size of invalid pointer", "usable size of foreign pointer", "usable size of collected object"},
};

static GM_COLD void report_not_a_block(enum operation operation, uintptr_t address, struct mspan *span) {
  enum misuse misuse = MISUSE_FOREIGN;
  if (address >> GM_ADDR_BITS != 0) {
    span = NULL; // the map was asked for an address that it does not cover
  } else if (span != NULL ? span->start == 0 : heap_arena_was_span(address)) {
    // mspan_returned, or a struct that is gone: the pages were a span's, whose objects are all free.
    misuse = MISUSE_FREED;
    span = NULL;
  } else if (span != NULL && span->place == SPAN_COLLECTED) {
    misuse = MISUSE_COLLECTED;
  } else if (heap_arena_of(address) != NULL) {
    span = heap_arena_find_span(address);
    misuse = MISUSE_INVALID;
    if (span != NULL && mspan_object_of(span, address) != 0)
      misuse = MISUSE_INTERIOR;
  }
  if (misuse != MISUSE_FREED && misuse != MISUSE_COLLECTED && address % 8 != 0)
    misuse = MISUSE_MISALIGNED;
  mspan_report(misuse_text[operation][misuse], span, address);
}

GM_NOINLINE void free_not_a_block(uintptr_t address, struct mspan *span) {
  if (address != 0)
    report_not_a_block(OPERATION_FREE, address, span);
}

GM_COLD void free_twice(uintptr_t address, struct mspan *span) {
  mspan_report(misuse_text[OPERATION_FREE][MISUSE_FREED], span, address);
}

static void free_large(uintptr_t address, struct mspan *span) {
  struct mcache *cache = mcache_current;
  if (cache->large.limit == 0 || span->npages > MCACHE_LARGE_MAX) {
    if (GM_UNLIKELY(!mheap_free_large(span, address)))
      free_twice(address, span);
    return;
  }
  // The exchange decides between two threads that free the same block at once.
  if (GM_UNLIKELY(!mspan_free_large(span))) {
    free_twice(address, span);
    return;
  }
  if (!mcache_large_keep(cache, span))
    mheap_free_span(span);
  if (GM_UNLIKELY(cache->shrinks_seen != atomic_load_explicit(&scavenge_shrinks, memory_order_relaxed)))
    mcache_trim(cache);
}

GM_NOINLINE void free_remote(uintptr_t address, struct mspan *span, uint64_t index) {
  if (span_class_size_class(span->class) == 0) {
    free_large(address, span);
    return;
  }
  struct mcache *cache = mcache_current;
  if (mspan_owner(span) == NULL && cache != &mcache_none && !mspan_object_is_free(span, index) &&
      mcache_adopt(cache, span)) {
    gm_free((void *)address); // a local one now
    return;
  }
  if (GM_UNLIKELY(!mspan_free_remotely(span, index))) {
    free_twice(address, span);
    return;
  }
  remote_announce(span, index);
}

// A live block: its span and index. The one place where realloc and usable_size validate a pointer.
static struct mspan *find_live_block(enum operation operation, uintptr_t address) {
  struct mspan *span = heap_arena_span_of(address);
  uint64_t index = span == NULL ? 0 : mspan_divide(span, address);
  if (GM_UNLIKELY(span == NULL || index >= span->object_count)) {
    report_not_a_block(operation, address, span);
    return NULL;
  }
  if (GM_UNLIKELY(mspan_object_is_free(span, index))) {
    mspan_report(misuse_text[operation][MISUSE_FREED], span, address);
    return NULL;
  }
  return span;
}

static GM_COLD void *fail(int error) {
  errno = error;
  return NULL;
}

// The slow paths of malloc are where the background thread may be started: see scavenge.h.
static void help_scavenger(void) {
  if (GM_UNLIKELY(atomic_load_explicit(&scavenge_thread_wanted, memory_order_relaxed)) &&
      mcache_current != &mcache_none)
    scavenge_start_thread();
}

GM_NOINLINE void *malloc_small_slow(struct mcache *cache, size_t size_class) {
  bool fresh = false;
  void *object = mcache_refill(cache, (span_class)size_class, &fresh);
  help_scavenger();
  return object;
}

static size_t pages_for(size_t size) {
  return (size + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT;
}

static struct mspan *large_span(size_t size, size_t align) {
  if (size > GM_MAX_REQUEST || align > GM_MAX_REQUEST)
    return NULL;
  size_t npages = pages_for(size);
  struct mspan *span = align <= GM_PAGE_SIZE ? mcache_large_take(mcache_current, npages) : NULL;
  return span != NULL ? span : mheap_alloc_large(npages, align);
}

static GM_NOINLINE void *malloc_large(size_t size) {
  struct mspan *span = large_span(size, GM_PAGE_SIZE);
  help_scavenger();
  return span != NULL ? (void *)span->start : fail(ENOMEM);
}

GM_NOINLINE void *malloc_slow(size_t size) {
  return GM_LIKELY(size <= SIZE_CLASS_MAX) ? malloc_of_class(mcache_current, size_class_of(size))
                                           : malloc_large(size);
}

PUBLIC void *gm_malloc(size_t size) {
  return malloc_inline(size);
}

PUBLIC void gm_free(void *pointer) {
  free_inline(pointer);
}

PUBLIC void gm_free_sized(void *pointer, size_t size) {
  (void)size;
  free_inline(pointer);
}

PUBLIC void gm_free_aligned_sized(void *pointer, size_t alignment, size_t size) {
  (void)alignment;
  (void)size;
  free_inline(pointer);
}

static void *calloc_small(size_t size) {
  struct mcache *cache = mcache_current;
  unsigned size_class = size_class_of(size);
  span_class class = make_span_class(size_class, true);
  struct mcache_slot *slot = &cache->slots[class];
  bool fresh = false;
  void *object = NULL;
  if (!mcache_stack_is_empty(slot)) {
    object = mcache_stack_pop(slot);
  } else if (slot->alloc_cache != 0) {
    fresh = slot->fresh;
    object = mcache_slot_take(slot, slot->alloc_cache);
  } else {
    object = mcache_refill(cache, class, &fresh);
  }
  if (object == NULL)
    return NULL;
  if (!fresh)
    memset(object, 0, size_class_size[size_class]);
  else // a page that is read before it is written costs two faults
    *(volatile char *)object = 0;
  return object;
}

PUBLIC void *gm_calloc(size_t count, size_t size) {
  size_t total = 0;
  if (GM_UNLIKELY(__builtin_mul_overflow(count, size, &total)))
    return fail(ENOMEM);
  if (GM_LIKELY(total <= SIZE_CLASS_MAX))
    return calloc_small(total);
  struct mspan *span = large_span(total, GM_PAGE_SIZE);
  if (span == NULL)
    return fail(ENOMEM);
  void *object = (void *)span->start;
  if (span->needs_zero)
    memset(object, 0, span->object_size);
  return object;
}

// A block of a class can stay where it is: the class serves the new size without wasting half of it.
GM_INLINE bool fits_class(size_t old, size_t size) {
  return size <= old && (size > old / 2 || old <= GM_MIN_ALIGN);
}

// The same for all blocks; a large one may change its number of pages.
static bool fits_in_place(struct mspan *span, size_t size) {
  size_t old = span->object_size;
  if (span_class_size_class(span->class) != 0)
    return fits_class(old, size);
  if (size <= SIZE_CLASS_MAX || size > GM_MAX_REQUEST)
    return false;
  size_t npages = pages_for(size);
  return npages == span->npages || mheap_resize_large(span, npages);
}

// Every realloc that is not of a small block in place.
static GM_NOINLINE void *realloc_slow(void *pointer, size_t size) {
  if (pointer == NULL)
    return malloc_inline(size);
  struct mspan *span = find_live_block(OPERATION_REALLOC, (uintptr_t)pointer);
  if (GM_UNLIKELY(span == NULL))
    return fail(EINVAL);
  if (size == 0) {
    free_inline(pointer);
    return NULL;
  }
  if (fits_in_place(span, size))
    return pointer;
  size_t old = span->object_size;
  void *moved = malloc_inline(size);
  if (moved == NULL)
    return NULL;
  memcpy(moved, pointer, old < size ? old : size);
  free_inline(pointer);
  return moved;
}

PUBLIC void *gm_realloc(void *pointer, size_t size) {
  // What programs do most: grow a small block by a little. No call, and so no registers to save.
  struct mspan *span = heap_arena_span_of((uintptr_t)pointer);
  if (GM_LIKELY(span != NULL)) {
    uint64_t index = mspan_divide(span, (uintptr_t)pointer);
    size_t old = span->object_size;
    if (GM_LIKELY(index < span->object_count && !mspan_object_is_free(span, index) && size != 0 &&
                  old <= SIZE_CLASS_MAX && fits_class(old, size)))
      return pointer;
  }
  return realloc_slow(pointer, size);
}

PUBLIC void *gm_reallocarray(void *pointer, size_t count, size_t size) {
  size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total))
    return fail(ENOMEM);
  return gm_realloc(pointer, total);
}

// align: a power of two.
static void *alloc_aligned(size_t align, size_t size) {
  if (align <= GM_MIN_ALIGN) // as every block of so many bytes is
    return malloc_inline(size < align ? align : size);
  unsigned size_class = align <= GM_PAGE_SIZE ? size_class_of_aligned(size, align) : 0;
  if (size_class != 0)
    return malloc_of_class(mcache_current, size_class);
  struct mspan *span = large_span(size > 0 ? size : 1, align);
  return span != NULL ? (void *)span->start : fail(ENOMEM);
}

PUBLIC void *gm_aligned_alloc(size_t alignment, size_t size) {
  return gm_is_power_of_two(alignment) ? alloc_aligned(alignment, size) : fail(EINVAL);
}

PUBLIC void *gm_memalign(size_t alignment, size_t size) {
  if (alignment > (size_t)1 << 62)
    return fail(EINVAL);
  size_t power = alignment <= 1 ? 1 : (size_t)1 << (64 - __builtin_clzll(alignment - 1));
  return alloc_aligned(power, size);
}

PUBLIC int gm_posix_memalign(void **result, size_t alignment, size_t size) {
  if (!gm_is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
    return EINVAL;
  int saved_errno = errno;
  void *object = alloc_aligned(alignment, size);
  errno = saved_errno;
  if (object == NULL)
    return ENOMEM;
  *result = object;
  return 0;
}

PUBLIC size_t gm_usable_size(const void *pointer) {
  if (pointer == NULL)
    return 0;
  struct mspan *span = find_live_block(OPERATION_USABLE_SIZE, (uintptr_t)pointer);
  return span != NULL ? span->object_size : 0;
}

PUBLIC size_t gm_purge(void) {
  mcache_purge();
  return mheap_release_all();
}

PUBLIC int gm_set_error_action(enum gm_error_action action) {
  if (action != GM_ERROR_ABORT && action != GM_ERROR_REPORT) {
    errno = EINVAL;
    return -1;
  }
  errors_set_action(action == GM_ERROR_REPORT ? ERROR_REPORT : ERROR_ABORT);
  return 0;
}

PUBLIC uint64_t gm_error_count(void) {
  return errors_count();
}

__attribute__((constructor)) static void start(void) {
  startup_process();
}

PUBLIC const char *gm_version(void) {
  return HEAPARENA_VERSION;
}

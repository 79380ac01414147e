// Words that every file of core/ shares: page and address constants, assertions, small helpers.
// Nothing here touches memory; it is the bottom of the room.
#ifndef GOMALLOC_BASE_H
#define GOMALLOC_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Go's unit of span memory: 8 KiB, whatever the hardware's page size is (Go: _PageShift in malloc.go).
#define GM_PAGE_SHIFT 13
#define GM_PAGE_SIZE  ((size_t)1 << GM_PAGE_SHIFT)
#define GM_PAGE_MASK  (GM_PAGE_SIZE - 1)

// User addresses that the heap can describe: [0, 2^48).
#define GM_ADDR_BITS 48

#define GM_CACHE_LINE 64

// Every block of 16 bytes and more starts at a multiple of this; smaller ones at a multiple of 8.
#define GM_MIN_ALIGN 16

// No request above this can be met (C forbids objects whose size does not fit ptrdiff_t).
#define GM_MAX_REQUEST ((size_t)PTRDIFF_MAX - ((size_t)1 << 26))

#define GM_LIKELY(x)   __builtin_expect(!!(x), 1)
#define GM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GM_NOINLINE    __attribute__((noinline))
#define GM_COLD        __attribute__((noinline, cold))
#define GM_INLINE      static inline __attribute__((always_inline))
#define GM_EXPORT      __attribute__((visibility("default")))

// Of a variable that is large, and mostly untouched: behind all others, so that these share a page or two of memory.
// (The build for white-box fuzzing has sections of its own.)
#ifndef GM_TABLE
#define GM_TABLE __attribute__((section(".bss.tables")))
#endif

#if defined(__SANITIZE_THREAD__)
#define GM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GM_TSAN 1
#endif
#endif

// Accesses to a word that one thread writes while others may read it. Relaxed atomics under ThreadSanitizer;
// else plain accesses of aligned words, which are the same on every machine that gomalloc runs on, and which
// gcc folds into the operands of other instructions.
#ifdef GM_TSAN
#define GM_SHARED_LOAD(pointer)         __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define GM_SHARED_STORE(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#else
#define GM_SHARED_LOAD(pointer)         (*(pointer))
#define GM_SHARED_STORE(pointer, value) ((void)(*(pointer) = (value)))
#endif

// Three levels of assertion, as in mimalloc: GM_CHECK is always on (a broken promise of the allocator
// itself), GM_ASSERT from level 2 on, GM_ASSERT_SLOW at level 3: walks over whole structures, now and then
// while the program runs. Release builds have level 1, debug builds 2, and the library that the
// *_checked_test programs link has 3. gm_check_heap() walks everything when asked, at any level.
#ifndef GM_ASSERT_LEVEL
#ifdef NDEBUG
#define GM_ASSERT_LEVEL 1
#else
#define GM_ASSERT_LEVEL 2
#endif
#endif

#define GM_CHECK(cond)                                                                                       \
  do {                                                                                                       \
    if (GM_UNLIKELY(!(cond)))                                                                                \
      gm_fatal("gomalloc: internal check failed: " #cond "\n");                                              \
  } while (0)

#if GM_ASSERT_LEVEL >= 2
#define GM_ASSERT(cond) GM_CHECK(cond)
#else
#define GM_ASSERT(cond) ((void)0)
#endif

#if GM_ASSERT_LEVEL >= 3
#define GM_ASSERT_SLOW(cond) GM_CHECK(cond)
#else
#define GM_ASSERT_SLOW(cond) ((void)0)
#endif

// Writes the constant string to stderr with write(2) and aborts. Safe at any moment. Defined in errors.c.
__attribute__((noreturn, cold)) void gm_fatal(const char *message);

// The next multiple of `align`, a power of two, at or above `value`; and at or below it.
GM_INLINE uintptr_t gm_align_up(uintptr_t value, size_t align) {
  return (value + align - 1) & ~(uintptr_t)(align - 1);
}

// See gm_align_up.
GM_INLINE uintptr_t gm_align_down(uintptr_t value, size_t align) {
  return value & ~(uintptr_t)(align - 1);
}

// Not for 0.
GM_INLINE bool gm_is_power_of_two(size_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

#endif

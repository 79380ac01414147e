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

// Three levels: GM_CHECK is always on (a broken promise of the allocator itself), GM_ASSERT in debug builds,
// gm_check_heap() is the slow walk over every structure.
#define GM_CHECK(cond)                                                                                       \
  do {                                                                                                       \
    if (GM_UNLIKELY(!(cond)))                                                                                \
      gm_fatal("gomalloc: internal check failed: " #cond "\n");                                              \
  } while (0)

#ifdef NDEBUG
#define GM_ASSERT(cond) ((void)0)
#else
#define GM_ASSERT(cond) GM_CHECK(cond)
#endif

// Writes the constant string to stderr with write(2) and aborts. Safe at any moment. Defined in errors.c.
__attribute__((noreturn, cold)) void gm_fatal(const char *message);

GM_INLINE uintptr_t gm_align_up(uintptr_t value, size_t align) {
  return (value + align - 1) & ~(uintptr_t)(align - 1);
}

GM_INLINE uintptr_t gm_align_down(uintptr_t value, size_t align) {
  return value & ~(uintptr_t)(align - 1);
}

GM_INLINE bool gm_is_power_of_two(size_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

#endif

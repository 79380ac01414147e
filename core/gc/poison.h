// AddressSanitizer's view of a collected heap: memory that no object occupies is poisoned. Nothing without
// it.
#ifndef GOMALLOC_GC_POISON_H
#define GOMALLOC_GC_POISON_H

#include "core/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define GC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GC_ASAN 1
#endif
#endif

#ifdef GC_ASAN
#include <sanitizer/asan_interface.h>
// From now on an access to the range is an error; and is none again.
GM_INLINE void gc_poison(uintptr_t start, size_t bytes) {
  ASAN_POISON_MEMORY_REGION((void *)start, bytes);
}
GM_INLINE void gc_unpoison(uintptr_t start, size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION((void *)start, bytes);
}
#else
// Nobody watches.
GM_INLINE void gc_poison(uintptr_t start, size_t bytes) {
  (void)start;
  (void)bytes;
}
GM_INLINE void gc_unpoison(uintptr_t start, size_t bytes) {
  (void)start;
  (void)bytes;
}
#endif

#endif

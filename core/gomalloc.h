// gomalloc: Go's runtime allocator rebuilt in C for programs that call free. The public interface.
//
// Conventions for every function here:
//  - Sizes are bytes. A returned block is owned by the caller until it is freed; any thread may free any
//  block.
//  - Blocks of 16 bytes and more start at multiples of 16, smaller ones at multiples of 8.
//  - All functions may be called from any thread at any moment of a program's life. Signal handlers may call
//  them too when libgomalloc.so is preloaded or linked ahead of libc; signal_guard.h has the exact guarantee.
//  With libgomalloc.a a handler must not interrupt an allocation.
//  - A failed allocation returns NULL with errno ENOMEM and changes nothing. Requests above PTRDIFF_MAX
//    always fail. gm_free and gm_usable_size keep errno.
//  - A pointer that is not a live block (freed already, interior, misaligned, foreign) is reported in one
//    line on stderr and the program aborts; with GOMALLOC_ON_ERROR=report in the environment, or
//    gm_set_error_action, the call is ignored (realloc returns NULL with errno EINVAL, usable_size 0).
//
// Environment, read once at start-up and never by programs that run with more rights than their user
// (set-user-ID and the like). A name that is not known and a value out of range are named in one line on
// stderr and ignored.
//   GOMALLOC_ON_ERROR=abort|report   what happens on misuse; default abort
//   GOMALLOC_SIGNALS=0|1             0: signal handlers are left alone and must not allocate (signal_guard.h)
//   GOMALLOC_STATS=0|1               1: statistics as JSON on stderr when the program exits
//   GOMALLOC_LAYOUT=sparse|linear    how address space is laid out; default sparse
//   GOMALLOC_MEMLIMIT=512MiB         soft limit on memory: above it free pages go back at once; default none
//   GOMALLOC_RETAIN=10               free memory to keep for reuse, percent of what is in use, 0 to 1000
//   GOMALLOC_RETAIN_MIN=8MiB         free memory to keep in any case until it decays, up to 1TiB
//   GOMALLOC_DECAY=500               milliseconds after which unused free memory goes back, up to 3600000;
//                                    none: never
//   GOMALLOC_HUGE_PAGES=16MiB        a heap with so much in use grows by huge pages where the system gives
//                                    them on request and they are not dear, up to 1TiB; none: never
// Bytes are plain or have B, KiB, MiB, GiB or TiB behind them.
//
// Origin: Go's runtime/malloc.go and the MemStats of runtime/mstats.go.
#ifndef GOMALLOC_H
#define GOMALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The version as text, "0.1.0"; static memory. pkg-config and find_package know it too.
const char *gm_version(void);

// size 0 gives a block of its own that may be freed.
void *gm_malloc(size_t size);

// count * size bytes, all usable bytes zero; overflow of the product fails.
void *gm_calloc(size_t count, size_t size);

// Changes a block's size, moving it when needed; the first min(old, new) bytes stay. pointer NULL: as
// gm_malloc. size 0: frees the block and returns NULL, as glibc does. On failure the old block stays as it
// was.
void *gm_realloc(void *pointer, size_t size);

// gm_realloc of count * size bytes; overflow of the product fails.
void *gm_reallocarray(void *pointer, size_t count, size_t size);

// pointer NULL does nothing.
void gm_free(void *pointer);

// C23: size (and alignment) are those of the allocation. They are not needed to find the block and not
// checked: a wrong size cannot harm gomalloc, and a check would cost every sized delete of every C++ program.
void gm_free_sized(void *pointer, size_t size);
void gm_free_aligned_sized(void *pointer, size_t alignment, size_t size);

// alignment: a power of two, else NULL with EINVAL. size need not be a multiple of it.
void *gm_aligned_alloc(size_t alignment, size_t size);

// Returns 0, EINVAL (alignment is not a power-of-two multiple of sizeof(void *)) or ENOMEM; then *result is
// not touched. errno is kept.
int gm_posix_memalign(void **result, size_t alignment, size_t size);

// As gm_aligned_alloc, with alignments that are not powers of two rounded up, as glibc does.
void *gm_memalign(size_t alignment, size_t size);

// Bytes that the block really has, all of them writable; 0 for NULL.
size_t gm_usable_size(const void *pointer);

// Gives the calling thread's unused spans and all free pages back to the system. Returns the bytes given
// back.
size_t gm_purge(void);

enum gm_error_action { GM_ERROR_ABORT = 0, GM_ERROR_REPORT = 1 };

// What happens on misuse. Returns 0, or -1 with errno EINVAL for an unknown action.
int gm_set_error_action(enum gm_error_action action);

// Sets an option: the name of an environment variable above in lower case without GOMALLOC_ ("memlimit"), and
// a value as in the environment ("512MiB"). Takes effect at once, for the whole process. Returns 0, or -1
// with errno EINVAL (no such option, or a value out of its range: nothing changes) or EBUSY (the layout, once
// the heap has memory).
int gm_set_option(const char *name, const char *value);

// Misuses reported so far.
uint64_t gm_error_count(void);

enum { GM_SIZE_CLASSES = 68 };

// Go's MemStats, as far as it makes sense without a collector. Exact when no other thread allocates or frees
// during the call, else close. Large objects count in the totals, not in BySize. Values are bytes or counts
// since the start of the process; in a child of fork, of its parent's too.
struct gm_stats {
  uint64_t Alloc;        // the same as HeapAlloc
  uint64_t TotalAlloc;   // bytes ever handed out, at their size class
  uint64_t Sys;          // bytes of address space in use: HeapSys + MetadataSys + ArenaSys
  uint64_t Mallocs;      // blocks ever handed out
  uint64_t Frees;        // blocks ever freed
  uint64_t HeapSys;      // bytes of address space mapped for the heap: HeapInuse + HeapIdle
  uint64_t HeapAlloc;    // bytes in live blocks, at their size class
  uint64_t HeapInuse;    // bytes in spans
  uint64_t HeapIdle;     // bytes in free pages
  uint64_t HeapReleased; // bytes of HeapIdle that are not backed by memory
  uint64_t HeapObjects;  // live blocks: Mallocs - Frees
  uint64_t MSpanInuse;   // bytes of the structs of spans in use; part of MetadataSys, as the next two
  uint64_t MCacheInuse;  // bytes of the mcaches of living threads, and of the shared one
  uint64_t MCacheSys;    // bytes of all mcaches
  uint64_t MetadataSys;  // bytes taken from the system for gomalloc's own structures, arena tables aside
  uint64_t ArenaSys;     // bytes of address space of the arena tables; few of them are touched
  struct {
    uint32_t Size; // bytes per block; 0 for the unused class 0
    uint64_t Mallocs;
    uint64_t Frees;
  } BySize[GM_SIZE_CLASSES];
};

// Fills *stats. Takes all heap locks for a moment.
void gm_stats_read(struct gm_stats *stats);

// Writes the statistics as one JSON object on one line and a closing NUL into buffer (size bytes; may be 0).
// Returns the bytes that the whole text needs without the NUL, as snprintf does; 16 KiB hold it always. The
// members are those of gm_stats by name, "BySize" an array of {"Size", "Mallocs", "Frees"} with the classes
// that were used, "Version" a string, "Layout" "sparse" or "linear", "Errors" the misuses reported, and
// "Options" an object with each option's value as a number (words count from 0 in the order of the table in
// options.h; 18446744073709551615 is none).
size_t gm_stats_json(char *buffer, size_t size);

// Walks every structure of the heap and holds counters against bitmaps. Prints one line per fault to stderr
// and returns their number: 0 for a sound heap. No other thread may allocate or free meanwhile.
int gm_check_heap(void);

#ifdef __cplusplus
}
#endif

#endif

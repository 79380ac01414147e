// alloc.h: the vtable behind which every allocator stands, and its contract.
//
// A vtable is a constant table of functions; there is one heap per process and allocator, as there is one
// malloc per program, so no function takes a context. An operation that an allocator does not have is a NULL
// pointer: ha_alloc_has() says so to callers, `heaparena list` says so to people, and nobody fakes it. The
// traits are promises (or confessions) that cannot be read off the pointers.
//
// Idea: SQLite's sqlite3_mem_methods (a vtable with a written contract, and decorators instead of forks).
#ifndef HEAPARENA_ADAPTERS_ALLOC_H
#define HEAPARENA_ADAPTERS_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What an allocator says of itself, bytes unless named otherwise; UINT64_MAX in a field: not known to it.
typedef struct ha_alloc_stats {
  uint64_t live_bytes;     // handed to the program and not freed, as the allocator counts it (usable size)
  uint64_t inuse_bytes;    // pages that hold at least one live block
  uint64_t mapped_bytes;   // address space taken from the system and readable
  uint64_t released_bytes; // of mapped_bytes: given back to the system, address space kept
  uint64_t mallocs;        // allocations since the start, count
  uint64_t frees;          // frees since the start, count
} ha_alloc_stats;

// A run of pages as the allocator sees it, for pictures of the heap.
typedef enum ha_range_state {
  HA_RANGE_RESERVED, // address space only
  HA_RANGE_RELEASED, // free, not backed by memory: never used, or given back to the system
  HA_RANGE_FREE,     // free, kept for reuse
  HA_RANGE_BLOCKS,   // holds blocks, or has room for them
} ha_range_state;

typedef struct ha_heap_range {
  uintptr_t start;
  size_t size; // bytes
  ha_range_state state;
  // Of HA_RANGE_BLOCKS, else 0.
  size_t block_size;    // bytes each; 0 if they are not alike
  uint64_t blocks;      // that have room
  uint64_t live_blocks; // handed out
} ha_heap_range;

// Traits: what a workload or a test must know before it uses an allocator.
enum {
  HA_TRAIT_NEVER_FREES =
      1u << 0, // free() is accepted and does nothing: memory grows with the work (bump, null)
  HA_TRAIT_SHARED_BLOCKS =
      1u << 1,              // live blocks overlap: contents are not kept; a bound, not an allocator (null)
  HA_TRAIT_BOUND = 1u << 2, // entered as a limit of what is possible, not as a contender (null, bump, oracle)
  // There to be read, copied or compared with (template, the textbook allocators, gomalloc-linear): tested,
  // but measured only when named.
  HA_TRAIT_EXAMPLE = 1u << 3,
  HA_TRAIT_TRACE_ONLY = 1u << 4, // serves only the workloads that replay a trace or a model (oracle)
  HA_TRAIT_COLLECTOR = 1u << 5,  // a collector: serves only the mutator programs (collectors.h)
};

// The vtable. Unless a comment says otherwise:
//  * sizes and alignments are bytes; any size_t is a legal argument, and one above PTRDIFF_MAX fails;
//  * every function may be called from any thread at any time after ha_open(), a block may be freed by any
//  thread;
//  * a block is aligned to at least 16 bytes, or to the largest power of two <= its size where that is
//  smaller;
//  * failure returns NULL, sets errno to ENOMEM and changes nothing: live blocks keep address and contents;
//  * success leaves errno as it was or not, as the C library does; free leaves errno as it was (POSIX 2024).
typedef struct ha_alloc {
  const char *name;    // as entered: "mimalloc", or NAME of "NAME=/path/lib.so"; owned by the vtable
  const char *version; // the allocator's own word for it, "unknown" if it says none; owned by the vtable
  const char *library; // path of the shared library that serves it, NULL if linked in; owned by the vtable
  uint32_t traits;     // HA_TRAIT_*

  // Required of every allocator. malloc(0) and calloc(0, x) return a unique block that can be freed, or NULL.
  void *(*malloc)(size_t size);
  void (*free)(void *block); // NULL is accepted and ignored
  // The product is checked: calloc(n, s) with n * s > SIZE_MAX fails. The requested bytes are zero.
  void *(*calloc)(size_t count, size_t size);
  // Keeps the first min(old, new) bytes; NULL as block is malloc; on failure the block stays as it was.
  // realloc(block, 0) frees the block and returns NULL or a unique block, as the library behind it does.
  void *(*realloc)(void *block, size_t size);

  // Optional from here on: NULL means that the allocator has no such operation.
  // alignment: a power of two; size need not be a multiple. Fails with EINVAL for other alignments where the
  // library checks; callers of ours pass powers of two only.
  void *(*aligned_alloc)(size_t alignment, size_t size);
  // Returns 0 and stores the block, or returns EINVAL (alignment not a power of two, or no multiple of
  // sizeof(void *)) or ENOMEM and leaves *block as it was. Does not set errno.
  int (*posix_memalign)(void **block, size_t alignment, size_t size);
  // Bytes that may be used from block on, at least the requested size; 0 for NULL.
  size_t (*usable_size)(void *block);
  // C23 free_sized: size is that of the request (malloc, calloc's product, realloc). NULL is accepted.
  void (*free_sized)(void *block, size_t size);
  // C23 free_aligned_sized: alignment and size are those of the aligned_alloc request. NULL is accepted.
  void (*free_aligned_sized)(void *block, size_t alignment, size_t size);
  // realloc(block, count * size) with the product checked: overflow fails with ENOMEM, the block stays.
  void *(*reallocarray)(void *block, size_t count, size_t size);

  // Gives free memory back to the system as far as the allocator can, from every thread's cache that it may
  // touch. Returns false if it knows that it could not.
  bool (*purge)(void);
  // Fills *out. Returns false (and leaves *out) if the figures cannot be had now.
  bool (*stats)(ha_alloc_stats *out);
  // Walks the whole heap and returns the number of faults found, 0 for a sound heap; what was wrong goes to
  // stderr. No other thread may be inside the allocator.
  int (*check_heap)(void);
  // Called by each thread before its first and after its last operation, for allocators that must be told.
  void (*thread_start)(void);
  void (*thread_exit)(void);
  // Calls visit for every run of pages that the allocator knows, none twice, in no order. visit must neither
  // allocate nor free. Exact if no other thread is inside the allocator. Returns false if it cannot be had now.
  bool (*walk)(void (*visit)(const ha_heap_range *range, void *context), void *context);
} ha_alloc;

// The optional operations, for tables and messages. ha_alloc_operations() yields them one by one.
typedef struct ha_alloc_operation {
  const char *name; // as in ha_alloc: "usable_size"
  bool present;     // the allocator has it
} ha_alloc_operation;

// Writes the optional operations of `alloc` and whether each is there; returns their number, at most
// `capacity` are written. Thread-safe.
size_t ha_alloc_operations(const ha_alloc *alloc, ha_alloc_operation *out, size_t capacity);

#endif

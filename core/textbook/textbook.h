// The textbook allocators behind one interface and one lock each: linear, the free-list heap with its four
// fits, and the binary buddy system. README.md tells the family's story. Their files hold the idea and
// nothing else; what every malloc needs besides (the lock, calloc, realloc by moving, fork) is here.
//
// Units: bytes. Threads: any. Ownership: a block belongs to the caller until it is freed. Errors: NULL with
// errno ENOMEM, and nothing has changed. A free of what is no live block ends the program with one line, as
// far as the heap's own marks in memory show it: unlike gomalloc these heaps keep their state in the blocks.
#ifndef GOMALLOC_TEXTBOOK_H
#define GOMALLOC_TEXTBOOK_H

#include "core/base.h"

#include <pthread.h>

#define TEXTBOOK_ALIGNMENT ((size_t)16)

// Bytes and blocks as a heap counts them.
struct textbook_counts {
  size_t live_bytes;  // usable bytes of live blocks
  size_t live_blocks; // a count
  size_t heap_bytes;  // from the heap's first byte to its last, holes included
  size_t table_bytes; // of tables beside the heap
};

// One kind of heap. The heap is the kind's own struct, zero at first; the lock is held. Sizes and alignments
// were checked: 1 <= size <= REGION_LIMIT, alignment a power of two, 16 <= alignment <= REGION_LIMIT.
struct textbook_kind {
  // A block, or NULL.
  void *(*allocate)(void *heap, size_t alignment, size_t size);
  void (*release)(void *heap, void *block);
  // Changes the size of a block where it is. False when it would have to move; nothing has changed then.
  bool (*resize)(void *heap, void *block, size_t size);
  size_t (*usable)(const void *heap, const void *block);
  // Gives free pages back to the system; returns bytes.
  size_t (*trim)(void *heap);
  void (*count)(const void *heap, struct textbook_counts *counts);
  // Walks everything and holds it against the counts. Prints a line per fault to stderr; returns their number.
  int (*check)(const void *heap);
};

struct textbook {
  pthread_mutex_t lock;
  const struct textbook_kind *kind;
  void *heap;
  uint64_t mallocs, frees; // so far
};

#define TEXTBOOK_INIT(the_kind, the_heap)                                                                    \
  { .lock = PTHREAD_MUTEX_INITIALIZER, .kind = (the_kind), .heap = (the_heap) }

// As the C library's functions of these names. size 0 gives a block of its own; textbook_realloc to size 0
// frees the block and returns NULL.
void *textbook_malloc(struct textbook *book, size_t size);
void *textbook_aligned_alloc(struct textbook *book, size_t alignment, size_t size);
void *textbook_calloc(struct textbook *book, size_t count, size_t size);
void *textbook_realloc(struct textbook *book, void *block, size_t size);
void textbook_free(struct textbook *book, void *block);

// Bytes from block on that may be used; 0 for NULL.
size_t textbook_usable_size(struct textbook *book, void *block);

// Gives free pages back to the system. Returns bytes.
size_t textbook_purge(struct textbook *book);

// The counts now, and how many blocks were handed out and taken back since the start.
void textbook_count(struct textbook *book, struct textbook_counts *counts, uint64_t *mallocs,
                    uint64_t *frees);

// Number of faults found, 0 for a sound heap.
int textbook_check(struct textbook *book);

// For the heaps' checks: prints "textbook: KIND: what at 0x..." to stderr. Returns 1, the fault counted.
int textbook_fault(const char *kind, const char *what, uintptr_t address);

#endif

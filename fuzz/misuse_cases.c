// misuse_cases.c: the ways to misuse a heap. See misuse.h; misuse.md says of each what it stands for.
#include "fuzz/misuse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define ANY    2, (size_t)1 << 20
#define HEADER ((size_t)16) // of a chunk as glibc lays it out: previous size, size

// ---- preparing ----

// The victim is freed, correctly.
static void free_victim(misuse_trial *trial) {
  misuse_block *block = misuse_find(trial, trial->victim);
  if (block)
    misuse_disown(trial, block);
  trial->alloc->free(trial->victim);
  trial->freed = true;
  trial->pointer = trial->victim;
}

// ... and another block after it: allocators that look only at the last freed block miss the second free.
static void free_two(misuse_trial *trial) {
  void *second = trial->alloc->malloc(trial->size);
  free_victim(trial);
  trial->alloc->free(second);
}

// ... after and before many others, so that it leaves the thread's cache.
static void free_many(misuse_trial *trial) {
  enum { MANY = 24 };
  void *others[2 * MANY];
  unsigned count = trial->size > 65536 ? 4 : MANY;
  for (unsigned i = 0; i < 2 * count; i++)
    others[i] = trial->alloc->malloc(trial->size);
  for (unsigned i = 0; i < count; i++)
    trial->alloc->free(others[i]);
  free_victim(trial);
  for (unsigned i = count; i < 2 * count; i++)
    trial->alloc->free(others[i]);
}

// ... and handed out again: the second free hits a block that has a new owner.
static void free_and_reuse(misuse_trial *trial) {
  free_victim(trial);
  for (unsigned i = 0; i < 64 && trial->count < MISUSE_BLOCKS - 1; i++) {
    void *block = trial->alloc->malloc(trial->size);
    if (!block)
      break;
    misuse_own(trial, block, trial->size, "the victim's new owner", true);
    if (block == trial->victim)
      return;
  }
  misuse_if_clean(trial, MISUSE_SKIPPED, "the block was not handed out again, so there was no new owner");
}

static void point_misaligned(misuse_trial *trial) {
  misuse_watch_whole(misuse_find(trial, trial->victim));
  trial->pointer = trial->victim + 1 + misuse_random(trial, trial->size < 8 ? trial->size - 1 : 7);
}

static void point_inside(misuse_trial *trial) {
  misuse_watch_whole(misuse_find(trial, trial->victim));
  trial->pointer = trial->victim + 16 * (1 + misuse_random(trial, (trial->size - 16) / 16));
}

// A size field before `at` as a free chunk of glibc's would have it, and one where the next chunk would be.
static void forge(unsigned char *at, size_t size) {
  size_t chunk = (size + 8 + 15) & ~(size_t)15;
  size_t fields[2] = {0, (chunk < 32 ? 32 : chunk) | 1};
  memcpy(at - HEADER, fields, HEADER);
}

static void point_inside_forged(misuse_trial *trial) {
  point_inside(trial);
  misuse_block *block = misuse_find(trial, trial->victim);
  misuse_leave_out(block, (size_t)(trial->pointer - trial->victim) - HEADER, HEADER);
  forge(trial->pointer, trial->size);
}

static void point_into(misuse_trial *trial, unsigned char *region, const char *what, bool forged) {
  memset(region, 0, MISUSE_REGION);
  region += -(uintptr_t)region % 16;
  trial->pointer = region + HEADER + 16 * misuse_random(trial, 64);
  misuse_block *block = misuse_own(trial, region, MISUSE_REGION - 16, what, false);
  if (forged) {
    misuse_leave_out(block, (size_t)(trial->pointer - region) - HEADER, HEADER);
    forge(trial->pointer, trial->size);
  }
}

static void point_stack(misuse_trial *trial) {
  point_into(trial, trial->stack, "a buffer on the stack", false);
}

static void point_stack_forged(misuse_trial *trial) {
  point_into(trial, trial->stack, "a buffer on the stack", true);
}

static unsigned char static_region[MISUSE_REGION];

static void point_static(misuse_trial *trial) {
  point_into(trial, static_region, "a static buffer", false);
}

static void point_mapped(misuse_trial *trial) {
  unsigned char *region =
      mmap(NULL, MISUSE_REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED)
    misuse_end(trial, MISUSE_SKIPPED, "mmap failed");
  point_into(trial, region, "memory from mmap", false);
}

// An address that holds nothing: it can be neither read nor written, and no thread's stack comes to lie there.
static void point_nowhere(misuse_trial *trial) {
  size_t size = (size_t)1 << 24;
  unsigned char *region = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED)
    misuse_end(trial, MISUSE_SKIPPED, "mmap failed");
  trial->pointer = region + size / 2 + 16 * misuse_random(trial, 4096);
}

// ---- wrong operations ----

static void wrong_free(misuse_trial *trial) {
  trial->alloc->free(trial->pointer);
}

static void free_new_owner(misuse_trial *trial) {
  trial->alloc->free(trial->pointer);
  trial->freed = false; // that the address comes back shows nothing good here
}

static void poison(misuse_trial *trial, unsigned char *at, size_t size) {
  static const uint8_t values[] = {0, 'A', 0xFF};
  uint64_t die = misuse_random(trial, 4);
  if (die < 3)
    memset(at, values[die], size);
  else
    for (size_t i = 0; i < size; i++)
      at[i] = (uint8_t)misuse_random(trial, 256);
}

static void overflow(misuse_trial *trial, size_t bytes) {
  const ha_alloc *alloc = trial->alloc;
  if (alloc->usable_size && alloc->usable_size(trial->victim) >= trial->size + bytes)
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "it stayed within the block's usable size");
  poison(trial, trial->victim + trial->size, bytes);
}

static void overflow_1(misuse_trial *trial) {
  overflow(trial, 1);
}
static void overflow_8(misuse_trial *trial) {
  overflow(trial, 8);
}
static void overflow_64(misuse_trial *trial) {
  overflow(trial, 64);
}
static void underflow_1(misuse_trial *trial) {
  poison(trial, trial->victim - 1, 1);
}
static void underflow_8(misuse_trial *trial) {
  poison(trial, trial->victim - 8, 8);
}
static void underflow_64(misuse_trial *trial) {
  poison(trial, trial->victim - 64, 64);
}

// Of a freed block its first 64 bytes, where allocators keep links.
static void write_freed(misuse_trial *trial) {
  poison(trial, trial->victim, trial->size < 64 ? trial->size : 64);
}

static const unsigned char secret[8] = {0x5E, 0xC2, 0xE7, 0x13, 0x9B, 0x44, 0xF0, 0x0D};

static void fill_secret(misuse_trial *trial) {
  for (size_t i = 0; i < trial->size; i++)
    trial->victim[i] = secret[i % sizeof secret];
}

static size_t count_secret(const unsigned char *at, size_t size) {
  size_t found = 0;
  for (size_t i = 0; i < size; i++)
    found += at[i] == secret[i % sizeof secret];
  return found > size / 64 ? found : 0; // fewer are chance
}

static void hide_and_free(misuse_trial *trial) {
  misuse_disown(trial, misuse_find(trial, trial->victim));
  fill_secret(trial);
  free_victim(trial);
}

static void read_freed(misuse_trial *trial) {
  size_t found = count_secret(trial->victim, trial->size);
  bool zero = true;
  for (size_t i = 0; i < trial->size; i++)
    zero = zero && ((volatile unsigned char *)trial->victim)[i] == trial->victim[0];
  if (found)
    misuse_if_clean(trial, MISUSE_SILENT, "%zu of its %zu bytes could still be read", found, trial->size);
  else if (zero)
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "the block had been wiped");
  else
    misuse_if_clean(trial, MISUSE_SILENT, "the allocator's own data could be read");
}

static void read_fresh(misuse_trial *trial) {
  size_t most = 0;
  for (unsigned i = 0; i < 32 && trial->count < MISUSE_BLOCKS - 1; i++) {
    unsigned char *block = trial->alloc->malloc(trial->size);
    if (!block)
      break;
    size_t found = count_secret(block, trial->size);
    most = found > most ? found : most;
    misuse_own(trial, block, trial->size, "a fresh block", true);
  }
  if (most)
    misuse_if_clean(trial, MISUSE_SILENT, "a fresh block held %zu of a freed one's %zu bytes", most,
                    trial->size);
  else
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "no fresh block held a freed one's contents");
}

static void realloc_freed(misuse_trial *trial) {
  size_t size = misuse_random(trial, 2) ? trial->size : 2 * trial->size;
  void *block = trial->alloc->realloc(trial->victim, size);
  if (block)
    misuse_own(trial, block, size, "what realloc of the freed block returned", true);
  else
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "realloc returned NULL");
}

static void usable_freed(misuse_trial *trial) {
  if (!trial->alloc->usable_size)
    misuse_end(trial, MISUSE_SKIPPED, "the allocator has no usable_size");
  size_t size = trial->alloc->usable_size(trial->victim);
  if (size)
    misuse_if_clean(trial, MISUSE_SILENT, "it said %zu bytes", size);
  else
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "it said 0");
}

size_t misuse_wrong_size(misuse_trial *trial) {
  misuse_disown(trial, misuse_find(trial, trial->victim));
  trial->freed = true;
  trial->also = misuse_random(trial, 2) ? 4 * trial->size
                : trial->size >= 64     ? trial->size / 4
                                        : 8 * trial->size;
  return trial->also;
}

static void free_wrong_size(misuse_trial *trial) {
  if (!trial->alloc->free_sized)
    misuse_end(trial, MISUSE_SKIPPED, "the allocator has no free_sized");
  size_t size = misuse_wrong_size(trial);
  trial->alloc->free_sized(trial->victim, size);
}

static void judge_request(misuse_trial *trial, unsigned char *block, size_t really) {
  if (!block) {
    misuse_if_clean(trial, MISUSE_NEUTRALISED, "refused: NULL, errno %s", strerrorname_np(errno));
    return;
  }
  size_t usable = trial->alloc->usable_size ? trial->alloc->usable_size(block) : 0;
  if (trial->alloc->usable_size && usable < really)
    misuse_end(trial, MISUSE_CORRUPTION, "a block of %zu bytes was returned for %zu", usable, really);
  misuse_if_clean(trial, MISUSE_SILENT, "a block was returned");
}

static void overflow_calloc(misuse_trial *trial) {
  errno = 0;
  judge_request(trial, trial->alloc->calloc(SIZE_MAX / trial->size + 2, trial->size), SIZE_MAX);
}

static void overflow_reallocarray(misuse_trial *trial) {
  if (!trial->alloc->reallocarray)
    misuse_end(trial, MISUSE_SKIPPED, "the allocator has no reallocarray");
  errno = 0;
  judge_request(trial, trial->alloc->reallocarray(NULL, SIZE_MAX / trial->size + 2, trial->size), SIZE_MAX);
}

static void misalign(misuse_trial *trial) {
  static const size_t alignments[] = {0, 3, 24, 48, 4097};
  if (!trial->alloc->aligned_alloc)
    misuse_end(trial, MISUSE_SKIPPED, "the allocator has no aligned_alloc");
  size_t alignment = alignments[misuse_random(trial, sizeof alignments / sizeof alignments[0])];
  errno = 0;
  unsigned char *block = trial->alloc->aligned_alloc(alignment, trial->size);
  if (block)
    misuse_own(trial, block, trial->size, "what aligned_alloc returned", true);
  judge_request(trial, block, trial->size);
}

static const misuse_case cases[] = {
    {"double-free", "free(p); free(p)", ANY, free_victim, wrong_free},
    {"double-free-between", "free(p); free(q); free(p)", ANY, free_two, wrong_free},
    {"double-free-late", "the same with many other frees before and between", ANY, free_many, wrong_free},
    {"double-free-reused", "free(p); q = malloc: q is p; free(p): frees what q owns", ANY, free_and_reuse,
     free_new_owner},
    {"invalid-free", "free of an address where nothing can be read", 64, 65536, point_nowhere, wrong_free},
    {"misaligned-free", "free(p + 1 to 7)", 8, (size_t)1 << 20, point_misaligned, wrong_free},
    {"interior-free", "free(p + a multiple of 16)", 64, (size_t)1 << 20, point_inside, wrong_free},
    {"interior-free-forged", "the same, with what glibc takes for a chunk's header before it", 64,
     (size_t)1 << 20, point_inside_forged, wrong_free},
    {"stack-free", "free of an address on the stack", 64, 65536, point_stack, wrong_free},
    {"stack-free-forged", "the same, with what glibc takes for a chunk's header before it", 64, 1024,
     point_stack_forged, wrong_free},
    {"static-free", "free of an address in a static buffer", 64, 65536, point_static, wrong_free},
    {"mapped-free", "free of memory that came from mmap", 64, 65536, point_mapped, wrong_free},
    {"overflow-1", "a write of 1 byte behind a block", ANY, NULL, overflow_1},
    {"overflow-8", "a write of 8 bytes behind a block", ANY, NULL, overflow_8},
    {"overflow-64", "a write of 64 bytes behind a block", ANY, NULL, overflow_64},
    {"underflow-1", "a write of 1 byte before a block", ANY, NULL, underflow_1},
    {"underflow-8", "a write of 8 bytes before a block", ANY, NULL, underflow_8},
    {"underflow-64", "a write of 64 bytes before a block", ANY, NULL, underflow_64},
    {"write-after-free", "a write to the first 64 bytes of a freed block", ANY, free_victim, write_freed},
    {"read-after-free", "a read of a freed block", ANY, hide_and_free, read_freed},
    {"uninitialised-read", "does a fresh block hold what a freed one held?", ANY, hide_and_free, read_fresh},
    {"realloc-freed", "realloc of a freed block", ANY, free_victim, realloc_freed},
    {"usable-size-freed", "malloc_usable_size of a freed block", ANY, free_victim, usable_freed},
    {"sized-free-mismatch", "free_sized with a wrong size", ANY, NULL, free_wrong_size},
    {"sized-delete-mismatch", "C++: operator delete(void *, size_t) with a wrong size", ANY, misuse_new,
     misuse_delete_wrong_size},
    {"aligned-delete-mismatch", "C++: the same of a block aligned to 64, with that alignment", ANY,
     misuse_new_aligned, misuse_delete_aligned_wrong_size},
    {"aligned-delete-as-plain",
     "C++: a block aligned to 64 by operator delete(void *, size_t), its size right", ANY, misuse_new_aligned,
     misuse_delete_as_plain},
    {"calloc-overflow", "calloc of a product beyond SIZE_MAX", ANY, NULL, overflow_calloc},
    {"reallocarray-overflow", "reallocarray of a product beyond SIZE_MAX", ANY, NULL, overflow_reallocarray},
    {"aligned-alloc-misuse", "aligned_alloc with an alignment that is no power of two", ANY, NULL, misalign},
};

const misuse_case *misuse_cases(size_t *count) {
  *count = sizeof cases / sizeof cases[0];
  return cases;
}

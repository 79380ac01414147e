// The kernel calls behind the four states of address space. See sys_mem.h.
#include "core/sys_mem.h"

#include "core/sys_state.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

// errno belongs to the program: a free() that returns memory must not disturb it.
static void *map_pages(uintptr_t hint, size_t size, int protection, int flags) {
  int saved_errno = errno;
  // NORESERVE: reservations are address space, not a promise of memory.
  void *memory =
      mmap((void *)hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  errno = saved_errno;
  return memory == MAP_FAILED ? NULL : memory;
}

static void unmap_pages(uintptr_t start, size_t size) {
  int saved_errno = errno;
  if (munmap((void *)start, size) != 0)
    gm_fatal("gomalloc: munmap failed\n");
  errno = saved_errno;
}

void *sys_alloc(size_t size) {
  void *memory = map_pages(0, size, PROT_READ | PROT_WRITE, 0);
  if (memory != NULL)
    sys_state_change((uintptr_t)memory, size, SYS_MASK(SYS_NONE), SYS_READY);
  return memory;
}

void *sys_reserve(uintptr_t hint, size_t size) {
  void *memory = map_pages(hint, size, PROT_NONE, 0);
  if (memory != NULL)
    sys_state_change((uintptr_t)memory, size, SYS_MASK(SYS_NONE), SYS_RESERVED);
  return memory;
}

void *sys_reserve_aligned(uintptr_t hint, size_t size, size_t align) {
  GM_ASSERT(gm_is_power_of_two(align));
  void *exact = sys_reserve(hint, size);
  if (exact == NULL || ((uintptr_t)exact & (align - 1)) == 0)
    return exact;
  sys_free((uintptr_t)exact, size);
  if (size > SIZE_MAX - align)
    return NULL;
  void *wide = sys_reserve(0, size + align);
  if (wide == NULL)
    return NULL;
  // Trim the ends of the wide reservation to the aligned middle.
  uintptr_t start = gm_align_up((uintptr_t)wide, align);
  uintptr_t end = (uintptr_t)wide + size + align;
  if (start > (uintptr_t)wide)
    sys_free((uintptr_t)wide, start - (uintptr_t)wide);
  if (end > start + size)
    sys_free(start + size, end - (start + size));
  return (void *)start;
}

bool sys_let_read(uintptr_t start, size_t size) {
  sys_state_expect(start, size, SYS_MASK(SYS_RESERVED));
  int saved_errno = errno;
  bool done = mprotect((void *)start, size, PROT_READ) == 0;
  errno = saved_errno;
  return done;
}

size_t sys_address_space_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return SIZE_MAX;
  return (size_t)limit.rlim_cur;
}

bool sys_map(uintptr_t start, size_t size) {
  sys_state_expect(start, size, SYS_MASK(SYS_RESERVED));
  int saved_errno = errno;
  bool mapped = mprotect((void *)start, size, PROT_READ | PROT_WRITE) == 0;
  errno = saved_errno;
  if (mapped)
    sys_state_change(start, size, SYS_MASK(SYS_RESERVED), SYS_PREPARED);
  return mapped;
}

void sys_used(uintptr_t start, size_t size) {
  sys_state_change(start, size, SYS_MASK(SYS_PREPARED), SYS_READY);
}

void sys_unused(uintptr_t start, size_t size) {
  sys_state_change(start, size, SYS_MASK(SYS_READY), SYS_PREPARED);
  int saved_errno = errno;
  // A locked page (mlockall) refuses MADV_DONTNEED; its content must still read zero, so map afresh. Where that is
  // refused too, for the limit on locked memory, the pages stay.
  if (madvise((void *)start, size, MADV_DONTNEED) != 0 &&
      map_pages(start, size, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL)
    memset((void *)start, 0, size);
  errno = saved_errno;
}

// A kernel without huge pages refuses, and nothing is lost.
static void advise(uintptr_t start, size_t size, int advice) {
  int saved_errno = errno;
  (void)madvise((void *)start, size, advice);
  errno = saved_errno;
}

void sys_huge_page(uintptr_t start, size_t size) {
  advise(start, size, MADV_HUGEPAGE);
}

void sys_no_huge_page(uintptr_t start, size_t size) {
  advise(start, size, MADV_NOHUGEPAGE);
}

void sys_drop_huge_page(uintptr_t start, size_t size) {
  sys_state_change(start, size, SYS_MASK(SYS_PREPARED), SYS_PREPARED);
  advise(start, size, MADV_DONTNEED);
}

static uint64_t thread_time(void) {
  struct timespec now = {0};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t sys_touch(uintptr_t address) {
  sys_state_expect(gm_align_down(address, GM_PAGE_SIZE), GM_PAGE_SIZE, SYS_MASK(SYS_PREPARED));
  uint64_t before = thread_time();
  *(volatile char *)address = 0;
  return thread_time() - before;
}

bool sys_fault(uintptr_t start, size_t size) {
  sys_state_expect(start, size, SYS_MASK(SYS_PREPARED) | SYS_MASK(SYS_READY));
  if (map_pages(start, size, PROT_NONE, MAP_FIXED) == NULL)
    return false;
  sys_state_change(start, size, SYS_MASK(SYS_PREPARED) | SYS_MASK(SYS_READY), SYS_RESERVED);
  return true;
}

void sys_free(uintptr_t start, size_t size) {
  sys_state_change(start, size, SYS_MASK(SYS_RESERVED) | SYS_MASK(SYS_PREPARED) | SYS_MASK(SYS_READY),
                   SYS_NONE);
  unmap_pages(start, size);
}

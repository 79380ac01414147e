// os_hook.c: see os_hook.h.
#include "fuzz/os_hook.h"

#include "fuzz/os_wrap.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// As in os_wrap.h.
// NOLINTBEGIN(bugprone-reserved-identifier)
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

fuzz_os_counts fuzz_os;
__thread bool fuzz_os_inside;
__thread bool fuzz_os_mute;

static struct {
  unsigned skip, more; // requests to let through, then to refuse
  uint64_t ahead_ns;   // of the subject's clock
} plan;

// One request for memory. True: refuse it.
static bool refuse(void) {
  if (!fuzz_os_inside)
    return false;
  fuzz_os.maps++;
  if (plan.more == 0)
    return false;
  if (plan.skip > 0) {
    plan.skip--;
    return false;
  }
  plan.more--;
  fuzz_os.failures++;
  errno = ENOMEM;
  return true;
}

static void count_unmap(void) {
  if (fuzz_os_inside)
    fuzz_os.unmaps++;
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return refuse() ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
}

int __wrap_mprotect(void *address, size_t length, int protection) {
  // Only what makes memory accessible may fail for want of it.
  return protection != PROT_NONE && refuse() ? -1 : __real_mprotect(address, length, protection);
}

int __wrap_munmap(void *address, size_t length) {
  count_unmap();
  return __real_munmap(address, length);
}

int __wrap_madvise(void *address, size_t length, int advice) {
  count_unmap();
  return __real_madvise(address, length, advice);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
  int result = __real_clock_gettime(clock, now);
  bool follows = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_REALTIME;
  if (result == 0 && follows && fuzz_os_inside && plan.ahead_ns != 0) {
    uint64_t ns = (uint64_t)now->tv_nsec + plan.ahead_ns % 1000000000;
    now->tv_sec += (time_t)(plan.ahead_ns / 1000000000 + ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
  }
  return result;
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
  return fuzz_os_mute && fd == STDERR_FILENO ? (ssize_t)size : __real_write(fd, data, size);
}
// NOLINTEND(bugprone-reserved-identifier)

static void *hooked_mremap(void *old, size_t old_size, size_t size, int flags, ...) {
  void *to = NULL;
  if (flags & MREMAP_FIXED) {
    va_list arguments;
    va_start(arguments, flags);
    to = va_arg(arguments, void *);
    va_end(arguments);
  }
  return size > old_size && refuse() ? MAP_FAILED : mremap(old, old_size, size, flags, to);
}

static void *hooked_sbrk(intptr_t increment) {
  return increment > 0 && refuse() ? (void *)-1 : sbrk(increment);
}

// gperftools asks the kernel for memory through syscall(2).
static long hooked_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_mmap && refuse())
    return -1;
  if (number == SYS_munmap)
    count_unmap();
  return syscall(number, a, b, c, d, e, f);
}

typedef struct hook {
  const char *name;
  uintptr_t address;
  enum { FOR_MEMORY, FOR_RETURN, FOR_TIME, FOR_WORDS } what;
} hook;

static const hook *hook_named(const char *name) {
  static hook hooks[10];
  if (hooks[0].name == NULL) {
    const hook all[] = {
        {"mmap", (uintptr_t)__wrap_mmap, FOR_MEMORY},
        {"mmap64", (uintptr_t)__wrap_mmap, FOR_MEMORY},
        {"mprotect", (uintptr_t)__wrap_mprotect, FOR_MEMORY},
        {"mremap", (uintptr_t)hooked_mremap, FOR_MEMORY},
        {"sbrk", (uintptr_t)hooked_sbrk, FOR_MEMORY},
        {"syscall", (uintptr_t)hooked_syscall, FOR_RETURN},
        {"munmap", (uintptr_t)__wrap_munmap, FOR_RETURN},
        {"madvise", (uintptr_t)__wrap_madvise, FOR_RETURN},
        {"clock_gettime", (uintptr_t)__wrap_clock_gettime, FOR_TIME},
        {"write", (uintptr_t)__wrap_write, FOR_WORDS},
    };
    memcpy(hooks, all, sizeof hooks);
  }
  for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
    if (strcmp(hooks[i].name, name) == 0)
      return &hooks[i];
  return NULL;
}

// Where the dynamic section says that a table lies: the loader has made addresses of its offsets already.
typedef struct tables {
  const ElfW(Sym) * symbols;
  const char *strings;
  const ElfW(Rela) * relocations[2];
  size_t counts[2];
} tables;

static tables tables_of(const struct link_map *map) {
  tables found = {0};
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
    const void *address = (const void *)entry->d_un.d_ptr;
    switch (entry->d_tag) {
    case DT_SYMTAB:
      found.symbols = address;
      break;
    case DT_STRTAB:
      found.strings = address;
      break;
    case DT_JMPREL:
      found.relocations[0] = address;
      break;
    case DT_PLTRELSZ:
      found.counts[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
      break;
    case DT_RELA:
      found.relocations[1] = address;
      break;
    case DT_RELASZ:
      found.counts[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
      break;
    default:
      break;
    }
  }
  return found;
}

// The slot may lie in pages that the loader made read-only.
static bool write_slot(uintptr_t slot, uintptr_t value) {
  uintptr_t page = slot & ~(uintptr_t)4095;
  if (__real_mprotect((void *)page, slot + sizeof value - page, PROT_READ | PROT_WRITE) != 0)
    return false;
  *(uintptr_t *)slot = value;
  return true;
}

static void hook_map(const struct link_map *map, bool *memory, bool *clock) {
  tables found = tables_of(map);
  for (unsigned t = 0; t < 2 && found.symbols != NULL && found.strings != NULL; t++) {
    for (size_t i = 0; i < found.counts[t] && found.relocations[t] != NULL; i++) {
      const ElfW(Rela) *relocation = &found.relocations[t][i];
      uint32_t type = (uint32_t)ELF64_R_TYPE(relocation->r_info);
      if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT)
        continue;
      const ElfW(Sym) *symbol = &found.symbols[ELF64_R_SYM(relocation->r_info)];
      const hook *to = symbol->st_shndx == SHN_UNDEF ? hook_named(found.strings + symbol->st_name) : NULL;
      if (to == NULL || !write_slot(map->l_addr + relocation->r_offset, to->address))
        continue;
      *memory |= to->what == FOR_MEMORY || to->address == (uintptr_t)hooked_syscall;
      *clock |= to->what == FOR_TIME;
    }
  }
}

bool fuzz_os_hook_library(void *handle, bool *clock) {
  struct link_map *map = NULL;
  bool memory = false;
  *clock = false;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
    return false;
  // What was loaded with it stands behind it: tbb's proxy calls the allocator proper.
  for (; map != NULL; map = map->l_next)
    hook_map(map, &memory, clock);
  return memory;
}

void fuzz_os_fail(unsigned skip, unsigned more) {
  plan.skip = skip;
  plan.more = more;
}

bool fuzz_os_stop_failing(void) {
  bool left = plan.more != 0;
  plan.skip = plan.more = 0;
  return left;
}

void fuzz_os_advance_clock(uint64_t milliseconds) {
  plan.ahead_ns += milliseconds * 1000000;
}

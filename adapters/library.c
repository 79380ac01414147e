// library.c: see library.h.
#include "adapters/library.h"

#include "adapters/registry.h"

#include <ctype.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Where Debian and its relatives keep libraries; searched after the folder beside the program and
// LD_LIBRARY_PATH.
static const char *const system_directories[] = {
    "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
};

static bool first_match(const char *pattern, char *path, size_t path_size) {
  glob_t found;
  bool ok = false;
  if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0) {
    // Sorted by name: the last is the newest of "llvm-14", "llvm-15".
    ok = (size_t)snprintf(path, path_size, "%s", found.gl_pathv[found.gl_pathc - 1]) < path_size;
  }
  globfree(&found);
  return ok;
}

static bool match_in(const char *directory, size_t length, const char *pattern, char *path,
                     size_t path_size) {
  char full[PATH_MAX];
  int n = snprintf(full, sizeof full, "%.*s/%s", (int)length, directory, pattern);
  return n > 0 && (size_t)n < sizeof full && first_match(full, path, path_size);
}

// The folder "../lib" beside the running program: build/release/lib, or PREFIX/lib when installed.
static bool match_beside_program(const char *pattern, char *path, size_t path_size) {
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n <= 0)
    return false;
  exe[n] = '\0';
  char *slash = strrchr(exe, '/');
  if (!slash)
    return false;
  *slash = '\0';
  char full[PATH_MAX + 8];
  snprintf(full, sizeof full, "%s/../lib", exe);
  char found[PATH_MAX];
  char real[PATH_MAX];
  if (!match_in(full, strlen(full), pattern, found, sizeof found) || !realpath(found, real))
    return false;
  return (size_t)snprintf(path, path_size, "%s", real) < path_size;
}

static bool find_in_directories(const char *pattern, char *path, size_t path_size) {
  if (match_beside_program(pattern, path, path_size))
    return true;
  const char *list = getenv("LD_LIBRARY_PATH");
  while (list && *list) {
    size_t length = strcspn(list, ":");
    if (length > 0 && match_in(list, length, pattern, path, path_size))
      return true;
    list += length + (list[length] == ':');
  }
  for (size_t i = 0; i < sizeof system_directories / sizeof system_directories[0]; i++)
    if (match_in(system_directories[i], strlen(system_directories[i]), pattern, path, path_size))
      return true;
  return false;
}

bool ha_library_find(const char *const *patterns, char *path, size_t path_size) {
  for (; *patterns; patterns++) {
    bool found = strchr(*patterns, '/') ? first_match(*patterns, path, path_size)
                                        : find_in_directories(*patterns, path, path_size);
    if (found)
      return true;
  }
  return false;
}

bool ha_library_inspect(const char *path, char *why, size_t why_size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    snprintf(why, why_size, "%s: %s; give the path of a shared library", path, strerror(errno));
    return false;
  }
  ElfW(Ehdr) header;
  ssize_t n = read(fd, &header, sizeof header);
  close(fd);
  if (n != (ssize_t)sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    snprintf(why, why_size, "%s: not a shared library (no ELF header); give the path of a .so file", path);
    return false;
  }
  ElfW(Ehdr) own;
  int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  bool known = self >= 0 && read(self, &own, sizeof own) == (ssize_t)sizeof own;
  if (self >= 0)
    close(self);
  if (known && (header.e_machine != own.e_machine || header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS])) {
    snprintf(why, why_size,
             "%s: built for another architecture (ELF machine %u, this is %u); build it for this machine",
             path, (unsigned)header.e_machine, (unsigned)own.e_machine);
    return false;
  }
  if (header.e_type != ET_DYN) {
    snprintf(why, why_size, "%s: not a shared library (ELF type %u); link it with -shared", path,
             (unsigned)header.e_type);
    return false;
  }
  return true;
}

void *ha_library_loaded(const char *path) {
  return dlopen(path, RTLD_NOLOAD | RTLD_LAZY);
}

void *ha_library_symbol(void *library, const char *prefix, const char *name) {
  char full[128];
  if ((size_t)snprintf(full, sizeof full, "%s%s", prefix, name) >= sizeof full)
    return NULL;
  void *address = dlsym(library, full);
  struct link_map *map = NULL;
  Dl_info info;
  if (!address || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || !dladdr(address, &info))
    return NULL;
  // dlsym also searches what the library depends on: libc's malloc is not this library's.
  return (uintptr_t)info.dli_fbase == (uintptr_t)map->l_addr ? address : NULL;
}

// The first of the NULL-terminated names that the library has.
static void *any_symbol(void *library, const char *prefix, const char *const *names) {
  void *address = NULL;
  for (; *names && !address; names++)
    address = ha_library_symbol(library, prefix, *names);
  return address;
}

static bool fill_with_prefix(ha_alloc *out, void *library, const char *prefix) {
  static const char *const usable_names[] = {"malloc_usable_size", "usable_size", "malloc_size", "msize",
                                             NULL};
  static const char *const aligned_names[] = {"aligned_alloc", "memalign", NULL};
  // POSIX guarantees that dlsym's pointer may be called; ISO C has no cast for it, so the bytes are copied.
#define TAKE(field, address)                                                                                 \
  do {                                                                                                       \
    void *symbol_ = (address);                                                                               \
    memcpy(&out->field, &symbol_, sizeof symbol_);                                                           \
  } while (0)
  TAKE(malloc, ha_library_symbol(library, prefix, "malloc"));
  TAKE(free, ha_library_symbol(library, prefix, "free"));
  TAKE(calloc, ha_library_symbol(library, prefix, "calloc"));
  TAKE(realloc, ha_library_symbol(library, prefix, "realloc"));
  TAKE(posix_memalign, ha_library_symbol(library, prefix, "posix_memalign"));
  TAKE(usable_size, any_symbol(library, prefix, usable_names));
  TAKE(free_sized, ha_library_symbol(library, prefix, "free_sized"));
  TAKE(free_aligned_sized, ha_library_symbol(library, prefix, "free_aligned_sized"));
  TAKE(reallocarray, ha_library_symbol(library, prefix, "reallocarray"));
  TAKE(aligned_alloc, any_symbol(library, prefix, aligned_names));
#undef TAKE
  return out->malloc && out->free && out->calloc && out->realloc;
}

bool ha_library_fill(ha_alloc *out, void *library, const char *path, const char *prefix, char *why,
                     size_t why_size) {
  static const char *const known_prefixes[] = {"",    "mi_", "je_", "rp",    "scalable_",
                                               "tc_", "sn_", "gm_", "hoard_"};
  if (prefix) {
    if (fill_with_prefix(out, library, prefix))
      return true;
    snprintf(why, why_size,
             "%s: has no %smalloc, %sfree, %scalloc and %srealloc; name its prefix as NAME=PATH:PREFIX", path,
             prefix, prefix, prefix, prefix);
    return false;
  }
  for (size_t i = 0; i < sizeof known_prefixes / sizeof known_prefixes[0]; i++)
    if (fill_with_prefix(out, library, known_prefixes[i]))
      return true;
  snprintf(
      why, why_size,
      "%s: has no malloc of its own (nor mi_malloc, je_malloc, ...); name its prefix as NAME=PATH:PREFIX",
      path);
  return false;
}

void ha_library_file_version(const char *path, char *out, size_t size) {
  char real[PATH_MAX];
  snprintf(out, size, "unknown");
  if (!realpath(path, real))
    return;
  const char *suffix = strstr(real, ".so.");
  if (suffix && isdigit((unsigned char)suffix[4]))
    snprintf(out, size, "%s", suffix + 4);
}

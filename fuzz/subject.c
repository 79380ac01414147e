// subject.c: see subject.h.
#include "fuzz/subject.h"

#include "adapters/library.h"
#include "adapters/registry.h"
#include "adapters/spec.h"
#include "fuzz/os_hook.h"
#include "fuzz/subject_linked.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TUNABLES   "GLIBC_TUNABLES"
#define STATIC_TLS "glibc.rtld.optional_static_tls=65536"
#define GROWN_BY_US                                                                                          \
  "HEAPARENA_FUZZ_TLS" // set when the program was executed anew, so that it is tried only once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct opened {
  fuzz_subject subject;
  char name[HA_SPEC_NAME];
  char library[PATH_MAX];
  char version[64];
} opened[FUZZ_MAX_SUBJECTS];
static unsigned opened_count;

static int *own_errno(void) {
  return &errno;
}

void *fuzz_arena(size_t bytes) {
  void *memory =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fprintf(stderr, "heaparena-fuzz: no memory for the harness's own tables (%zu bytes)\n", bytes);
    exit(70);
  }
  return memory;
}

fuzz_subject fuzz_subject_of(const ha_alloc *alloc, uint32_t abilities) {
  return (fuzz_subject){
      .alloc = *alloc, .errno_location = own_errno, .abilities = abilities | FUZZ_SETS_ERRNO};
}

// Replaces this process by the same program with more static thread-local storage. Returns only on failure.
static void execute_with_room(char *const argv[]) {
  const char *before = getenv(TUNABLES);
  char value[1024];
  int n =
      snprintf(value, sizeof value, "%s%s" STATIC_TLS, before ? before : "", before && *before ? ":" : "");
  if (n > 0 && (size_t)n < sizeof value && setenv(TUNABLES, value, 1) == 0 &&
      setenv(GROWN_BY_US, "1", 1) == 0)
    execv("/proc/self/exe", argv);
}

static void *load(const char *path, bool apart, char *const argv[], char *why, size_t why_size) {
  // The room for thread-local storage must be there before the library asks for it, or the library is left half
  // loaded: so the program starts anew whenever a library is to be opened.
  if (getenv(GROWN_BY_US) == NULL && argv != NULL)
    execute_with_room(argv);
  void *handle = apart ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL)
                       : dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (handle == NULL) {
    const char *said = dlerror();
    snprintf(why, why_size, "%s cannot be loaded: %s", path, said ? said : "no reason given");
  }
  return handle;
}

static bool second_libc_purge(void);
static int (*second_trim)(size_t);

static bool second_libc_purge(void) {
  second_trim(0);
  return true;
}

// What only the allocator itself has: version, purge, statistics. `system`'s adapter would ask the wrong libc.
static void extend(fuzz_subject *subject, bool apart) {
  if (apart) {
    void *trim = dlsym(subject->handle, "malloc_trim");
    void *location = dlsym(subject->handle, "__errno_location");
    const char *(*version)(void);
    void *symbol = dlsym(subject->handle, "gnu_get_libc_version");
    memcpy(&version, &symbol, sizeof symbol);
    memcpy(&second_trim, &trim, sizeof trim);
    memcpy(&subject->errno_location, &location, sizeof location);
    if (version)
      subject->alloc.version = version();
    if (trim)
      subject->alloc.purge = second_libc_purge;
    subject->abilities |= FUZZ_CAN_LIMIT | FUZZ_FORGETS_THREADS;
    return;
  }
  size_t count;
  const ha_adapter *const *all = ha_registry(&count);
  for (size_t i = 0; i < count; i++)
    if (all[i]->extend && strcmp(all[i]->name, "system") != 0 &&
        all[i]->extend(&subject->alloc, subject->handle)) {
      if (strcmp(all[i]->name, "gomalloc") == 0) {
        subject->abilities |= FUZZ_ZEROES_USABLE | FUZZ_COUNTS_EXACTLY;
        subject->misuse = fuzz_gomalloc_misuse(subject->handle);
      }
      return;
    }
}

static bool has_heap(const struct opened *opening, char *why, size_t why_size) {
  if (!(opening->subject.alloc.traits &
        (HA_TRAIT_NEVER_FREES | HA_TRAIT_SHARED_BLOCKS | HA_TRAIT_TRACE_ONLY)))
    return true;
  snprintf(why, why_size, "%s is a bound, not an allocator: it has no heap to corrupt", opening->name);
  return false;
}

static bool open_library(struct opened *into, const char *path, const char *prefix, char *const argv[],
                         char *why, size_t why_size) {
  if (SANITIZED) {
    snprintf(why, why_size,
             "%s: a sanitizer's build takes no libraries beside its own heap; use the release build", path);
    return false;
  }
  if (!ha_library_inspect(path, why, why_size))
    return false;
  if (!realpath(path, into->library)) {
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    return false;
  }
  fuzz_subject *subject = &into->subject;
  bool apart = strstr(into->library, "/libc.so.6") != NULL;
  subject->handle = load(into->library, apart, argv, why, why_size);
  if (subject->handle == NULL)
    return false;
  bool filled = ha_library_fill(&subject->alloc, subject->handle, into->library, prefix, why, why_size);
  ha_library_file_version(into->library, into->version, sizeof into->version);
  subject->alloc.version = into->version;
  subject->alloc.library = into->library;
  bool clock = false;
  if (!apart && fuzz_os_hook_library(subject->handle, &clock))
    subject->abilities |= FUZZ_CAN_FAIL_MAPS;
  if (clock)
    subject->abilities |= FUZZ_CAN_SHIFT_CLOCK;
  if (filled)
    extend(subject, apart);
  return ha_library_plugin(&subject->alloc, subject->handle, into->library, why, why_size) &&
         has_heap(into, why, why_size);
}

static bool open_linked(struct opened *into, const ha_alloc *alloc, char *why, size_t why_size) {
  into->subject.alloc = *alloc;
  if (!has_heap(into, why, why_size))
    return false;
  if (alloc == &fuzz_linked_gomalloc) {
    into->subject.abilities |= FUZZ_ZEROES_USABLE | FUZZ_COUNTS_EXACTLY;
    into->subject.misuse = fuzz_gomalloc_misuse(NULL);
  }
  // Its calls of the system are this program's, which --wrap leads to the hooks.
  into->subject.abilities |= FUZZ_CAN_FAIL_MAPS | FUZZ_CAN_SHIFT_CLOCK;
  return true;
}

static bool open_named(struct opened *into, char *const argv[], char *why, size_t why_size) {
  if (strcmp(into->name, "gomalloc") == 0)
    return open_linked(into, &fuzz_linked_gomalloc, why, why_size);
  const ha_adapter *adapter = ha_registry_find(into->name);
  if (adapter == NULL) {
    snprintf(why, why_size,
             "no allocator is called \"%.64s\"; `heaparena list` names them (a library: NAME=/path/lib.so)",
             into->name);
    return false;
  }
  if (adapter->linked)
    return open_linked(into, adapter->linked, why, why_size);
  char path[PATH_MAX];
  return ha_adapter_library(adapter, path, sizeof path, why, why_size) &&
         open_library(into, path, "", argv, why, why_size);
}

const fuzz_subject *fuzz_subject_open(const char *spec, char *const argv[], char *why, size_t why_size) {
  ha_spec asked;
  if (!ha_spec_parse(spec, &asked, why, why_size))
    return NULL;
  if (opened_count == FUZZ_MAX_SUBJECTS) {
    snprintf(why, why_size, "allocator \"%.80s\": at most %u can be opened", spec, FUZZ_MAX_SUBJECTS);
    return NULL;
  }
  struct opened *into = &opened[opened_count];
  memset(into, 0, sizeof *into);
  memcpy(into->name, asked.name, sizeof into->name);
  into->subject.errno_location = own_errno;
  into->subject.abilities = FUZZ_SETS_ERRNO;
  bool good = asked.path[0] ? open_library(into, asked.path, asked.prefix, argv, why, why_size)
                            : open_named(into, argv, why, why_size);
  if (!good)
    return NULL;
  into->subject.alloc.name = into->name;
  opened_count++;
  return &into->subject;
}

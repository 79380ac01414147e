// witness.c: libheaparena-witness.so, preloaded before an allocator in a run that is not measured, to see
// whether a program's allocations go through `malloc` at all, and whose malloc that is.
//
// It leaves one file per executed program in the folder $HEAPARENA_WITNESS: the struct `testimony` below, kept
// up to date while the program runs, so that a crash loses nothing. A forked child counts into the file of
// its parent. A program without such a file ignored LD_PRELOAD; one that has a file with hardly any calls has
// an allocator of its own. scripts/cli/witness.py reads the files.
#include "workloads/early.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct testimony {
  char magic[8]; // "witness1"
  _Atomic uint64_t calls;
  _Atomic uint64_t bytes; // requested, over all calls
  char program[1024];     // the executable
  char first[1024]; // the object whose malloc the program calls: this library, unless the program has its own
  char next[1024];  // the object whose malloc is called from here
} testimony;
_Static_assert(sizeof(testimony) == 24 + 3 * 1024, "scripts/cli/witness.py unpacks this layout");

static testimony nowhere; // until the file is there, and if it cannot be made
static testimony *said = &nowhere;

static struct {
  void *(*malloc)(size_t);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void (*free)(void *);
  void *(*aligned_alloc)(size_t, size_t);
  int (*posix_memalign)(void **, size_t, size_t);
  void *(*memalign)(size_t, size_t);
} next;
static enum { UNRESOLVED, RESOLVING, RESOLVED } state;

static early_arena early; // until the next malloc is known

static void note_object(char *out, size_t size, const void *address) {
  Dl_info info;
  if (address && dladdr(address, &info) && info.dli_fname)
    snprintf(out, size, "%s", info.dli_fname);
}

// An address of this library, or of the program if that has a malloc. A program that is linked to a fixed place
// and takes malloc's address lends it one of its own, a jump to the true one: such a symbol is undefined there.
static const void *first_malloc(void) {
  const void *found = dlsym(RTLD_DEFAULT, "malloc");
  Dl_info info;
  const ElfW(Sym) *symbol = NULL;
  if (found && dladdr1(found, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
      symbol->st_shndx != SHN_UNDEF)
    return found;
  return &nowhere;
}

// Maps a fresh file in the witness's folder. Without one, counting goes on where nobody looks.
static void open_testimony(void) {
  const char *folder = getenv("HEAPARENA_WITNESS");
  int file = -1;
  for (int number = 0; folder && file < 0 && number < 1000; number++) {
    char path[1100];
    snprintf(path, sizeof path, "%.1024s/%d-%d", folder, (int)getpid(), number);
    file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 && errno != EEXIST)
      return;
  }
  if (file < 0)
    return;
  if (ftruncate(file, sizeof nowhere) == 0) {
    void *place = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place != MAP_FAILED)
      said = place;
  }
  close(file);
}

// ISO C has no conversion between object and function pointers; POSIX has, for dlsym.
#define FIND(name)                                                                                           \
  do {                                                                                                       \
    void *found_ = dlsym(RTLD_NEXT, #name);                                                                  \
    memcpy(&next.name, &found_, sizeof found_);                                                              \
  } while (0)

// Once per process, in its first thread.
static void resolve(void) {
  if (state != UNRESOLVED)
    return;
  state = RESOLVING;
  int error = errno;
  FIND(malloc);
  FIND(calloc);
  FIND(realloc);
  FIND(free);
  FIND(aligned_alloc);
  FIND(posix_memalign);
  FIND(memalign);
  open_testimony();
  memcpy(said->magic, "witness1", sizeof said->magic);
  ssize_t length = readlink("/proc/self/exe", said->program, sizeof said->program - 1);
  said->program[length > 0 ? length : 0] = '\0';
  note_object(said->first, sizeof said->first, first_malloc());
  note_object(said->next, sizeof said->next, dlsym(RTLD_NEXT, "malloc"));
  errno = error;
  state = RESOLVED;
}

static inline bool ready(void) {
  if (state == UNRESOLVED)
    resolve();
  return state == RESOLVED;
}

__attribute__((constructor)) static void constructor(void) {
  resolve();
}

static void count(size_t bytes) {
  atomic_fetch_add_explicit(&said->calls, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&said->bytes, bytes, memory_order_relaxed);
}

EXPORT void *malloc(size_t size) {
  if (!ready())
    return early_alloc(&early, size);
  count(size);
  return next.malloc(size);
}

EXPORT void *calloc(size_t nmemb, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(nmemb, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  if (!ready())
    return early_alloc(&early, bytes); // static memory: zero
  count(bytes);
  return next.calloc(nmemb, size);
}

EXPORT void *realloc(void *ptr, size_t size) {
  if (!ready())
    return early_alloc(&early, size);
  count(size);
  if (!early_has(&early, ptr))
    return next.realloc(ptr, size);
  void *moved = next.malloc(size);
  size_t room = early_room(&early, ptr);
  if (moved)
    memcpy(moved, ptr, size < room ? size : room);
  return moved;
}

EXPORT void free(void *ptr) {
  if (!early_has(&early, ptr) && ready())
    next.free(ptr);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  if (!ready())
    return NULL;
  count(size);
  return next.aligned_alloc(alignment, size);
}

EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size) {
  if (!ready())
    return ENOMEM;
  count(size);
  return next.posix_memalign(memptr, alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size) {
  if (!ready())
    return NULL;
  count(size);
  return next.memalign(alignment, size);
}

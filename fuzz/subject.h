// subject.h: the allocator under test, beside the harness's own heap.
//
// A subject is a vtable (adapters/alloc.h) whose heap belongs to nobody else: the harness, libFuzzer and the C
// library go on with their own malloc. So a fault of the subject cannot pull the harness down with it, and
// nothing but the program under test moves the subject's heap. It is named as everywhere in heaparena:
//
//   gomalloc             linked in (gm_*), instrumented in builds for fuzzing
//   null, template, ...  linked in
//   mimalloc, scudo, ... the library that the adapter finds, loaded by dlopen
//   NAME=/path/lib.so[:PREFIX]   any library with a malloc, or with a heaparena_adapter (adapters/plugin.h)
//   system               glibc's malloc in a second copy of the C library (dlmopen)
//
// Libraries are loaded with local scope and deep binding: their own calls of malloc reach themselves, nobody
// else's do. Some (Debian's jemalloc and scudo) want static thread-local storage that a running process has no
// room for: fuzz_subject_open then sets GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536 and executes the
// program anew. A sanitizer's build refuses deep binding, so there only linked subjects can be opened.
//
// The system below the subject (os_hook.h) can be made to fail, and its clock to jump: a linked gomalloc's and
// a library's calls of mmap, mprotect, sbrk, clock_gettime are led through the harness. For `system`, whose
// malloc calls the kernel without a name in between, address space is limited for the length of a call instead.
#ifndef HEAPARENA_FUZZ_SUBJECT_H
#define HEAPARENA_FUZZ_SUBJECT_H

#include "adapters/alloc.h"

// What the oracle may hold against a subject beyond alloc.h's contract, and what the harness can do to it.
enum {
  FUZZ_CAN_FAIL_MAPS = 1u << 0,   // system calls for memory can be made to fail, one by one
  FUZZ_CAN_LIMIT = 1u << 1,       // ... all of them during a call, by RLIMIT_AS
  FUZZ_CAN_SHIFT_CLOCK = 1u << 2, // its clock can jump
  FUZZ_ZEROES_USABLE = 1u << 3,   // promises that calloc clears the whole usable size (gomalloc)
  FUZZ_COUNTS_EXACTLY = 1u << 4,  // stats() is exact: mallocs - frees are the live blocks (gomalloc)
  FUZZ_FORGETS_THREADS = 1u << 6, // does not see the ends of threads and keeps what they had (`system`)
  FUZZ_SETS_ERRNO = 1u << 5,      // has an errno the harness can read
};

// How an allocator that promises to find every wrong call says so. Both NULL for others.
typedef struct fuzz_misuse_reports {
  int (*set_action)(int action); // what it does at one: FUZZ_MISUSE_ABORTS or FUZZ_MISUSE_COUNTS
  uint64_t (*count)(void);       // found so far
} fuzz_misuse_reports;
enum { FUZZ_MISUSE_ABORTS = 0, FUZZ_MISUSE_COUNTS = 1 };

typedef struct fuzz_subject {
  ha_alloc alloc;               // name, version and library as in alloc.h
  int *(*errno_location)(void); // of the C library that the subject calls: its own copy's for `system`
  uint32_t abilities;           // FUZZ_*
  void *handle;                 // of dlopen; NULL for linked subjects
  fuzz_misuse_reports misuse;
} fuzz_subject;

// Opens the subject `spec`. argv is the program's own, for executing it anew; it does not return then. The
// subject lives as long as the process; up to FUZZ_MAX_SUBJECTS of them can be open (for `differential`).
// NULL and one line in `why` on failure. Main thread, before others exist.
#define FUZZ_MAX_SUBJECTS 8u
const fuzz_subject *fuzz_subject_open(const char *spec, char *const argv[], char *why, size_t why_size);

// A subject made of a vtable that is linked in: wrappers with planted faults, textbook allocators, tests. The
// vtable is copied; abilities as above.
fuzz_subject fuzz_subject_of(const ha_alloc *alloc, uint32_t abilities);

// Memory for the harness: from its own mappings, never from a malloc, zeroed; ends the program when the system
// refuses. Freed by nobody: for tables that live as long as the process.
void *fuzz_arena(size_t bytes);

#endif

// permitted.c: see permitted.h. An entry is of one version of a library, whatever name it is given: another version gets
// no leave.
#include "fuzz/permitted.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define TOO_LARGE ((size_t)PTRDIFF_MAX) // what is larger is no object's size

static bool is_plain(fuzz_op_kind kind) {
  return kind == FUZZ_OP_MALLOC || kind == FUZZ_OP_CALLOC || kind == FUZZ_OP_REALLOC ||
         kind == FUZZ_OP_ALIGNED_ALLOC;
}

static bool mimalloc_errno(const fuzz_deed *deed) {
  return is_plain(deed->kind) && deed->requested > TOO_LARGE;
}

static bool mimalloc3_errno(const fuzz_deed *deed) {
  bool array = deed->kind == FUZZ_OP_REALLOCARRAY && deed->requested == SIZE_MAX && deed->error == EOVERFLOW;
  return array || mimalloc_errno(deed);
}

// Sizes from the alignment to 1024 bytes that are multiples of it.
static bool mimalloc_alignment(const fuzz_deed *deed) {
  return deed->alignment >= 256 && deed->alignment <= 1024 && deed->requested >= deed->alignment &&
         deed->requested <= 1024 && deed->requested % deed->alignment == 0;
}

static bool jemalloc_errno(const fuzz_deed *deed) {
  bool resizes = deed->kind == FUZZ_OP_REALLOC || deed->kind == FUZZ_OP_REALLOCARRAY;
  return resizes && deed->live && deed->requested > TOO_LARGE;
}

static bool tcmalloc_errno(const fuzz_deed *deed) {
  return deed->kind == FUZZ_OP_CALLOC && deed->requested == SIZE_MAX;
}

static bool tcmalloc_misfiles(const fuzz_deed *deed) {
  return deed->kind == FUZZ_OP_FREE_SIZED && deed->live;
}

static bool scudo_dies(const fuzz_deed *deed) {
  return deed->error == SIGABRT;
}

static const struct {
  const char *library, *version; // start of the file's name
  fuzz_oracle oracle;
  bool (*is)(const fuzz_deed *deed);
  const char *what;
} known[] = {
    {"libmimalloc.", "2.0.9", FUZZ_ORACLE_ERRNO, mimalloc_errno,
     "malloc, calloc, realloc and aligned_alloc of more than PTRDIFF_MAX bytes fail without ENOMEM"},
    {"libmimalloc.", "2.0.9", FUZZ_ORACLE_ALIGNMENT, mimalloc_alignment,
     "aligned_alloc and posix_memalign for 256, 512 and 1024 of multiples of these up to 1024 bytes miss the "
     "alignment"},
    {"libmimalloc.", "3.4.3", FUZZ_ORACLE_ERRNO, mimalloc3_errno,
     "malloc, calloc, realloc and aligned_alloc of more than PTRDIFF_MAX bytes fail without ENOMEM, an "
     "overflowing reallocarray with EOVERFLOW"},
    {"libjemalloc.", "5.3.0", FUZZ_ORACLE_ERRNO, jemalloc_errno,
     "realloc and reallocarray of a live block to more than PTRDIFF_MAX bytes fail without ENOMEM"},
    {"libtcmalloc", "2.10", FUZZ_ORACLE_ERRNO, tcmalloc_errno,
     "calloc whose product overflows fails without ENOMEM"},
    {"libtcmalloc", "2.10", FUZZ_ORACLE_ALIGNMENT, tcmalloc_misfiles,
     "free_sized of a block that realloc left in a larger class spoils the free lists: such blocks are freed "
     "by free"},
    {"libclang_rt.scudo", "LLVM 14.0.6", FUZZ_ORACLE_CRASH, scudo_dies,
     "it aborts when the system refuses it memory (internal map failure)"},
};

static bool is_of(size_t row, const fuzz_subject *subject) {
  const char *path = subject->alloc.library;
  const char *slash = path ? strrchr(path, '/') : NULL;
  return slash && strncmp(slash + 1, known[row].library, strlen(known[row].library)) == 0 &&
         strcmp(known[row].version, subject->alloc.version) == 0;
}

bool fuzz_permitted(const fuzz_subject *subject, const fuzz_deed *deed) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].oracle == deed->oracle && is_of(i, subject) && known[i].is(deed))
      return true;
  return false;
}

void fuzz_permitted_print(const fuzz_subject *subject, FILE *out) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (is_of(i, subject))
      fprintf(out, "heaparena-fuzz: %s %s: let pass (--oracles all reports it): %s\n", subject->alloc.name,
              known[i].version, known[i].what);
}

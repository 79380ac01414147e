// permitted.c: see permitted.h. An entry is of one version: another one gets no leave.
#include "fuzz/permitted.h"

#include <string.h>

static const struct {
  const char *allocator, *version;
  fuzz_oracle oracle;
  const char *what;
  bool failures; // only where the system refuses memory
} known[] = {
    {"mimalloc", "2.0.9", FUZZ_ORACLE_ERRNO, "a failed allocation leaves errno as it was", false},
    {"mimalloc", "2.0.9", FUZZ_ORACLE_ALIGNMENT,
     "aligned_alloc(256, 256), (512, 1024) and their like return blocks aligned to 128 only", false},
    {"jemalloc", "5.3.0", FUZZ_ORACLE_ERRNO, "a failed realloc of a live block leaves errno as it was",
     false},
    {"tcmalloc", "2.10", FUZZ_ORACLE_ERRNO, "calloc leaves errno as it was when the product overflows",
     false},
    {"scudo", "LLVM 14.0.6", FUZZ_ORACLE_CRASH,
     "it ends the program when the system refuses it memory (internal map failure)", true},
};

uint32_t fuzz_permitted(const fuzz_subject *subject, bool failures, FILE *out) {
  uint32_t set = 0;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if ((known[i].failures && !failures) || strcmp(known[i].allocator, subject->alloc.name) != 0 ||
        strcmp(known[i].version, subject->alloc.version) != 0)
      continue;
    set |= 1u << known[i].oracle;
    if (out)
      fprintf(out, "heaparena-fuzz: %s %s: %s: oracle \"%s\" is off (--oracles all puts it on)\n",
              known[i].allocator, known[i].version, known[i].what, fuzz_oracle_name(known[i].oracle));
  }
  return set;
}

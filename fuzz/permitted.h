// permitted.h: what released versions of other people's allocators are known to do against the rules, deed by deed: a
// campaign that stopped at it again and again would find nothing else. Anything beyond the deed is a finding, and
// --oracles lets nothing pass. A deed that only shows later (a free that spoils the heap) is not done. findings.md has
// the why of each.
#ifndef HEAPARENA_FUZZ_PERMITTED_H
#define HEAPARENA_FUZZ_PERMITTED_H

#include "fuzz/op_program.h"
#include "fuzz/shadow.h"

// What a call did that breaks a rule.
typedef struct fuzz_deed {
  fuzz_oracle oracle; // that would report it
  fuzz_op_kind kind;  // of the call
  size_t requested;   // bytes; SIZE_MAX: the product overflows
  size_t alignment;   // 1: the call has none
  bool live;          // it was to resize a live block; of free_sized: realloc gave the block
  int error;          // errno after it; the signal that it died of
} fuzz_deed;

// Whether this library, of this version, is known for exactly that.
bool fuzz_permitted(const fuzz_subject *subject, const fuzz_deed *deed);

// One line for each deed that is let pass for this subject.
void fuzz_permitted_print(const fuzz_subject *subject, FILE *out);

#endif

// permitted.h: what released versions of other people's allocators are known to do against the rules: the oracle
// that would stop at it again and again is off for that version, unless --oracles asks for it.
#ifndef HEAPARENA_FUZZ_PERMITTED_H
#define HEAPARENA_FUZZ_PERMITTED_H

#include "fuzz/shadow.h"

// The oracles (bits) to be left out for this subject; `failures`: the system refuses it memory. Each reason goes to `out`, one line, if that is not NULL.
uint32_t fuzz_permitted(const fuzz_subject *subject, bool failures, FILE *out);

#endif

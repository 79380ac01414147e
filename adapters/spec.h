// spec.h: the text that names an allocator, taken apart. registry.h has its grammar: NAME, NAME=/path/lib.so,
// NAME=/path/lib.so:PREFIX.
#ifndef HEAPARENA_ADAPTERS_SPEC_H
#define HEAPARENA_ADAPTERS_SPEC_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define HA_SPEC_NAME 64 // bytes, with the zero that ends it

typedef struct ha_spec {
  char name[HA_SPEC_NAME];
  char path[PATH_MAX]; // as it was given; "": an allocator that heaparena knows by its name
  const char *prefix;  // of the library's functions, part of the text that was parsed; NULL: none was given
} ha_spec;

// Takes `text` apart into `*out`, which refers to it. False and one line in `why`: there is no name, or no path where one
// must be, or one is too long. Whether there is such an allocator or file is not asked.
bool ha_spec_parse(const char *text, ha_spec *out, char *why, size_t why_size);

#endif

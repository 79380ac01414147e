// library.h: allocators that are shared libraries: finding the file, looking at it before it is loaded,
// taking its functions. Only registry.c and the adapters' extend() functions use it.
#ifndef HEAPARENA_ADAPTERS_LIBRARY_H
#define HEAPARENA_ADAPTERS_LIBRARY_H

#include "adapters/alloc.h"

// First existing file that matches one of the NULL-terminated glob `patterns`; those without a '/' are looked
// up in LD_LIBRARY_PATH's and the system's library directories. The path goes to `path`.
bool ha_library_find(const char *const *patterns, char *path, size_t path_size);

// Looks at the file without loading it: is it a shared library for this machine? One line in `why` if not.
bool ha_library_inspect(const char *path, char *why, size_t why_size);

// Handle of the library if the process has it already, else NULL.
void *ha_library_loaded(const char *path);

// Fills the malloc family of `out` from the library. prefix "" takes the standard names; NULL tries those and
// then the known prefixes. Returns false and one line in `why` if it has no malloc, free, calloc and realloc
// of its own.
bool ha_library_fill(ha_alloc *out, void *library, const char *path, const char *prefix, char *why,
                     size_t why_size);

// Lets the library's own `heaparena_adapter` (plugin.h) add to `out`. True if `out` then has malloc, free, calloc
// and realloc. False and one line in `why` if the object is for another heaparena, refuses, or leaves one of
// them out; false and `why` as it was if there is no such object and one of them is missing.
bool ha_library_plugin(ha_alloc *out, void *library, const char *path, char *why, size_t why_size);

// The version that the library's file name ends with ("/x/libfoo.so.2.1" -> "2.1"), links followed; else
// "unknown". Writes at most `size` bytes.
void ha_library_file_version(const char *path, char *out, size_t size);

#endif

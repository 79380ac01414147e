// registry.h: the allocators that heaparena knows by name, and how one becomes a vtable.
//
// An allocator is named by a spec:
//   NAME                  one of ha_registry(), e.g. "mimalloc"
//   NAME=/path/lib.so     any library with a malloc, entered as NAME
//   NAME=/path/lib.so:P   the same, its functions named with prefix P ("mi_": mi_malloc, mi_free, ...)
//
// A malloc-replacing library must be in the process from its start, so that its thread-local storage is
// static as in real use: ha_open() sets LD_PRELOAD and executes the program anew when it is not. Allocators
// linked into the program (null, bump, template) need no such thing.
#ifndef HEAPARENA_ADAPTERS_REGISTRY_H
#define HEAPARENA_ADAPTERS_REGISTRY_H

#include "adapters/alloc.h"

// One allocator as its file in adapters/ describes it.
typedef struct ha_adapter {
  const char *name;    // lower case, as used on the command line
  const char *summary; // one line for people
  // Where the library may lie: file-name patterns (glob), newest first, searched in the system's library
  // directories or, with a '/', taken as paths; NULL-terminated. NULL: the allocator is linked in.
  const char *const *libraries;
  const char *package;    // what to install when it is missing (Debian), NULL if nothing
  const ha_alloc *linked; // the vtable of an allocator that is linked in, else NULL
  // For libraries: called with a vtable filled from the malloc family. Adds what only this allocator has
  // (version, purge, statistics), finding symbols with ha_library_symbol(). Returns false if the library is
  // of another kind; `out` is then untouched. May be NULL.
  bool (*extend)(ha_alloc *out, void *library);
  // For libraries, both may be left out: "NAME=VALUE" words, NULL-terminated, that stand in the process's
  // environment before the library starts, and traits that its vtable gets.
  const char *const *environment;
  uint32_t traits;
  // For what is linked in and needs more than that: false, and a reason a person can act on in `why`, when it
  // cannot be had here. May be NULL.
  bool (*available)(char *why, size_t why_size);
} ha_adapter;

// All adapters, `*count` of them, in the order in which they are listed. Immutable.
const ha_adapter *const *ha_registry(size_t *count);

// The adapter with that name, or NULL.
const ha_adapter *ha_registry_find(const char *name);

// Path of the first library of `adapter` that exists on this machine, into `path` (bytes). Returns false and
// a reason a person can act on in `why` if there is none.
bool ha_adapter_library(const ha_adapter *adapter, char *path, size_t path_size, char *why, size_t why_size);

// Makes the allocator of `spec` ready in this process and returns its vtable, which lives as long as the
// process. argv is the program's own, for the case that it must be executed anew with LD_PRELOAD set; then
// the call does not return. NULL and one line in `why` on failure: no such allocator (with the nearest
// names), no such file, not a library, no malloc in it. Call once, from the main thread, before other threads
// exist.
const ha_alloc *ha_open(const char *spec, char *const argv[], char *why, size_t why_size);

// The address of prefix+name in the library opened by ha_open, or NULL; symbols that come from a library it
// merely depends on do not count. For `extend`.
void *ha_library_symbol(void *library, const char *prefix, const char *name);

#endif

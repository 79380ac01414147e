// plugin.h: what an allocator's library may tell heaparena about itself. Installed as <heaparena/plugin.h>, so that
// an allocator kept in a repository of its own needs no file in this one.
//
// Any library with a malloc takes part as NAME=/path/lib.so without this. A library that also exports one
// object called `heaparena_adapter` adds what symbols cannot say (version, statistics, a heap check, purge,
// traits), or gives functions whose names heaparena does not know:
//
//   static bool extend(ha_alloc *alloc) {
//     alloc->version = "1.2";
//     alloc->stats = my_stats;
//     return true;
//   }
//   HA_PLUGIN(extend);
//
// The library is preloaded as any other is (see registry.h). The object is only read: nothing runs in programs
// that use the allocator without heaparena.
//
// Idea: SQLite's loadable extensions (one well-known symbol, and a version that is checked first).
#ifndef HEAPARENA_ADAPTERS_PLUGIN_H
#define HEAPARENA_ADAPTERS_PLUGIN_H

#include "alloc.h" // as a neighbour, not "adapters/alloc.h": installed, both lie in include/heaparena

// Rises when ha_plugin or ha_alloc changes its layout or the meaning of a field; a library built for another
// number is refused with one line that says so.
#define HA_PLUGIN_ABI 1u

typedef struct ha_plugin {
  uint32_t abi;        // HA_PLUGIN_ABI of the header it was built with
  uint32_t alloc_size; // sizeof(ha_alloc) of that header, bytes
  // Called once, from the main thread before other threads exist, with a vtable that holds the library's name
  // and path and what was found by malloc's standard names or a known prefix (NULL where nothing was). Sets
  // what the library knows better, and may clear what should not be measured. Strings and functions must live
  // as long as the process. malloc, free, calloc and realloc must be set when it returns. May allocate.
  // Returns false, with a line on stderr, if the allocator cannot be used here.
  bool (*extend)(ha_alloc *alloc);
} ha_plugin;

#define HA_PLUGIN_SYMBOL "heaparena_adapter"

// Defines the object. One per library, at file scope, in C; visible whatever -fvisibility says.
#define HA_PLUGIN(function)                                                                                  \
  __attribute__((visibility("default"))) extern const ha_plugin heaparena_adapter;                           \
  const ha_plugin heaparena_adapter = {HA_PLUGIN_ABI, (uint32_t)sizeof(ha_alloc), (function)}

#endif

// plugin.c: reads the object that a library may export about itself. See plugin.h.
#include "adapters/plugin.h"

#include "adapters/library.h"
#include "adapters/registry.h"

#include <stdio.h>

bool ha_library_plugin(ha_alloc *out, void *library, const char *path, char *why, size_t why_size) {
  const ha_plugin *plugin = ha_library_symbol(library, "", HA_PLUGIN_SYMBOL);
  if (plugin && (plugin->abi != HA_PLUGIN_ABI || plugin->alloc_size != sizeof(ha_alloc))) {
    snprintf(why, why_size,
             "%s: its " HA_PLUGIN_SYMBOL " is of version %u (%u bytes), this heaparena reads version %u "
             "(%zu bytes); build it again with the <heaparena/plugin.h> that is installed",
             path, (unsigned)plugin->abi, (unsigned)plugin->alloc_size, HA_PLUGIN_ABI, sizeof(ha_alloc));
    return false;
  }
  if (plugin && (!plugin->extend || !plugin->extend(out))) {
    snprintf(why, why_size, "%s: its " HA_PLUGIN_SYMBOL " refuses to be used here", path);
    return false;
  }
  if (out->malloc && out->free && out->calloc && out->realloc)
    return true;
  if (plugin)
    snprintf(why, why_size, "%s: its " HA_PLUGIN_SYMBOL " leaves out one of malloc, free, calloc, realloc",
             path);
  return false;
}

// spec.c: see spec.h.
#include "adapters/spec.h"

#include <stdio.h>
#include <string.h>

bool ha_spec_parse(const char *text, ha_spec *out, char *why, size_t why_size) {
  const char *equals = strchr(text, '=');
  size_t length = equals ? (size_t)(equals - text) : strlen(text);
  if (length == 0 || length >= sizeof out->name) {
    snprintf(why, why_size, "allocator \"%.80s\": give a name of 1 to %d characters, or NAME=/path/lib.so",
             text, HA_SPEC_NAME - 1);
    return false;
  }
  *out = (ha_spec){.prefix = NULL};
  memcpy(out->name, text, length);
  if (!equals)
    return true;
  const char *colon = strrchr(equals + 1, ':');
  length = colon ? (size_t)(colon - equals - 1) : strlen(equals + 1);
  if (length == 0 || length >= sizeof out->path) {
    snprintf(why, why_size, "allocator \"%.80s\": give a path after the '='", text);
    return false;
  }
  memcpy(out->path, equals + 1, length);
  out->prefix = colon ? colon + 1 : NULL;
  return true;
}

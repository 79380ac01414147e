// trace_json.h: counts in JSON, for those who tell of traces.
#ifndef HEAPARENA_WORKLOADS_TRACE_JSON_H
#define HEAPARENA_WORKLOADS_TRACE_JSON_H

#include <jansson.h>
#include <stdint.h>

// A count under its name.
typedef struct ha_figure {
  const char *name;
  uint64_t value;
} ha_figure;

// A new reference, for the caller to place.
static inline json_t *ha_json_count(uint64_t value) {
  return json_integer((json_int_t)value);
}

// Sets each of `figures` in the object.
static inline void ha_json_figures(json_t *object, const ha_figure *figures, size_t count) {
  for (size_t i = 0; i < count; i++)
    json_object_set_new(object, figures[i].name, ha_json_count(figures[i].value));
}

#endif

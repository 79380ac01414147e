// listing.c: see listing.h. JSON by jansson.
#include "workloads/listing.h"

#include "adapters/registry.h"
#include "workloads/catalog.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

static json_t *traits_json(uint32_t traits) {
  static const struct {
    uint32_t bit;
    const char *name;
  } names[] = {
      {HA_TRAIT_NEVER_FREES, "never-frees"},
      {HA_TRAIT_SHARED_BLOCKS, "shared-blocks"},
      {HA_TRAIT_BOUND, "bound"},
      {HA_TRAIT_EXAMPLE, "example"},
      {HA_TRAIT_TRACE_ONLY, "trace-only"},
      {HA_TRAIT_COLLECTOR, "collector"},
  };
  json_t *list = json_array();
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (traits & names[i].bit)
      json_array_append_new(list, json_string(names[i].name));
  return list;
}

static json_t *adapter_json(const ha_adapter *adapter) {
  char path[PATH_MAX];
  char why[512];
  bool found = adapter->linked ? !adapter->available || adapter->available(why, sizeof why)
                               : ha_adapter_library(adapter, path, sizeof path, why, sizeof why);
  return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "name", adapter->name, "summary", adapter->summary,
                   "kind", adapter->linked ? "linked" : "library", "library",
                   text_or_null(adapter->linked || !found ? NULL : path), "package",
                   text_or_null(adapter->package), "why_not", text_or_null(found ? NULL : why), "traits",
                   traits_json(adapter->linked ? adapter->linked->traits : adapter->traits));
}

// The words, or the range of a number that need not be whole: its ends are no integers in JSON either.
static void add_allowed(json_t *parameter, const ha_allowed *allowed) {
  if (!allowed->words) {
    json_object_set_new(parameter, "least", json_real(allowed->least));
    json_object_set_new(parameter, "most", json_real(allowed->most));
    return;
  }
  json_t *words = json_array();
  for (const char *const *word = allowed->words; *word; word++)
    json_array_append_new(words, json_string(*word));
  json_object_set_new(parameter, "words", words);
}

static json_t *workload_json(const ha_workload *workload) {
  json_t *parameters = json_array();
  for (const ha_param *p = workload->params; p->key; p++) {
    json_t *one = json_pack("{s:s, s:s, s:s}", "name", p->key, "default", p->fallback ? p->fallback : "",
                            "help", p->help);
    if (p->least || p->most) {
      json_object_set_new(one, "least", json_integer((json_int_t)p->least));
      json_object_set_new(one, "most", json_integer((json_int_t)p->most));
    }
    if (p->allowed)
      add_allowed(one, p->allowed);
    json_array_append_new(parameters, one);
  }
  return json_pack("{s:s, s:s, s:s, s:b, s:b, s:o}", "name", workload->name, "summary", workload->summary,
                   "explain", workload->explain, "scales", workload->scales, "mutator", workload->mutator,
                   "parameters", parameters);
}

static bool print(FILE *out, json_t *root) {
  bool good = root && json_dumpf(root, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
  json_decref(root);
  return good;
}

bool ha_list_all(FILE *out) {
  json_t *allocators = json_array();
  json_t *workloads = json_array();
  size_t count;
  const ha_adapter *const *adapters = ha_registry(&count);
  for (size_t i = 0; i < count; i++)
    json_array_append_new(allocators, adapter_json(adapters[i]));
  const ha_workload *const *all = ha_catalog(&count);
  for (size_t i = 0; i < count; i++)
    json_array_append_new(workloads, workload_json(all[i]));
  return print(out, json_pack("{s:o, s:o}", "allocators", allocators, "workloads", workloads));
}

bool ha_list_workload(FILE *out, const char *name, ha_run *run) {
  size_t count;
  const ha_workload *const *all = ha_catalog(&count);
  for (size_t i = 0; i < count; i++)
    if (strcmp(all[i]->name, name) == 0)
      return print(out, workload_json(all[i])) || ha_fail(run, "stdout cannot be written");
  return ha_fail(run, "no workload is called \"%.80s\"; --list names them", name);
}

bool ha_list_probe(FILE *out, const ha_alloc *alloc) {
  ha_alloc_operation operations[32];
  size_t count = ha_alloc_operations(alloc, operations, sizeof operations / sizeof operations[0]);
  json_t *present = json_object();
  for (size_t i = 0; i < count; i++)
    json_object_set_new(present, operations[i].name, json_boolean(operations[i].present));
  return print(out, json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", alloc->name, "version", alloc->version,
                              "library", text_or_null(alloc->library), "traits", traits_json(alloc->traits),
                              "operations", present));
}

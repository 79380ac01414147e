// catalog.c: see catalog.h. A new workload is one line here and one in CMakeLists.txt.
#include "workloads/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const ha_workload ha_workload_churn, ha_workload_churn_even, ha_workload_churn_pareto,
    ha_workload_churn_measured;                        // churn.c
extern const ha_workload ha_workload_larson;           // larson.c
extern const ha_workload ha_workload_prodcons;         // prodcons.c
extern const ha_workload ha_workload_fastpath;         // fastpath.c
extern const ha_workload ha_workload_fastpath_deep;    // fastpath.c
extern const ha_workload ha_workload_fastpath_classes; // fastpath.c
extern const ha_workload ha_workload_batch;            // batch.c
extern const ha_workload ha_workload_batch_lifo;       // batch.c
extern const ha_workload ha_workload_batch_random;     // batch.c
extern const ha_workload ha_workload_realloc_grow;     // realloc.c
extern const ha_workload ha_workload_realloc_one;      // realloc.c
extern const ha_workload ha_workload_calloc;           // calls.c
extern const ha_workload ha_workload_aligned;          // calls.c
extern const ha_workload ha_workload_sizedfree;        // calls.c
extern const ha_workload ha_workload_stack;            // stack.c
extern const ha_workload ha_workload_tree;             // tree.c
extern const ha_workload ha_workload_strings;          // strings.c
extern const ha_workload ha_workload_hashmap; // hashmap.c
extern const ha_workload ha_workload_lru; // lru.c
extern const ha_workload ha_workload_interpreter; // interpreter.c
extern const ha_workload ha_workload_msgpass; // msgpass.c
extern const ha_workload ha_workload_sh6; // sh.c
extern const ha_workload ha_workload_sh8; // sh.c
extern const ha_workload ha_workload_threadchurn; // threadchurn.c
extern const ha_workload ha_workload_falseshare_active; // falseshare.c
extern const ha_workload ha_workload_falseshare_passive; // falseshare.c
extern const ha_workload ha_workload_oneclass; // oneclass.c
extern const ha_workload ha_workload_frag_robson; // frag_robson.c
extern const ha_workload ha_workload_frag_survivor; // frag_survivor.c
extern const ha_workload ha_workload_frag_sawtooth; // frag_waves.c
extern const ha_workload ha_workload_frag_phases; // frag_waves.c
extern const ha_workload ha_workload_blowup; // blowup.c
extern const ha_workload ha_workload_large; // large.c
extern const ha_workload ha_workload_huge; // large.c
extern const ha_workload ha_workload_spikes; // spikes.c
extern const ha_workload ha_workload_drain; // drain.c
extern const ha_workload ha_workload_trace;            // replay.c

static const ha_workload *const workloads[] = {
    &ha_workload_churn,          &ha_workload_churn_even,    &ha_workload_churn_pareto,
    &ha_workload_churn_measured, &ha_workload_larson,        &ha_workload_prodcons,
    &ha_workload_fastpath,       &ha_workload_fastpath_deep, &ha_workload_fastpath_classes,
    &ha_workload_batch,          &ha_workload_batch_lifo,    &ha_workload_batch_random,
    &ha_workload_realloc_grow,   &ha_workload_realloc_one,   &ha_workload_calloc,
    &ha_workload_aligned,        &ha_workload_sizedfree,     &ha_workload_stack,
    &ha_workload_tree,           &ha_workload_strings,       &ha_workload_hashmap,
    &ha_workload_lru,
    &ha_workload_interpreter,
    &ha_workload_msgpass,
    &ha_workload_sh6,
    &ha_workload_sh8,
    &ha_workload_threadchurn,
    &ha_workload_falseshare_active,
    &ha_workload_falseshare_passive,
    &ha_workload_oneclass,
    &ha_workload_frag_robson,
    &ha_workload_frag_survivor,
    &ha_workload_frag_sawtooth,
    &ha_workload_frag_phases,
    &ha_workload_blowup,
    &ha_workload_large,
    &ha_workload_huge,
    &ha_workload_spikes,
    &ha_workload_drain,
    &ha_workload_trace,
};

const ha_workload *const *ha_catalog(size_t *count) {
  *count = sizeof workloads / sizeof workloads[0];
  return workloads;
}

static const ha_workload *find(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++)
    if (strlen(workloads[i]->name) == length && memcmp(workloads[i]->name, name, length) == 0)
      return workloads[i];
  return NULL;
}

static size_t param_index(const ha_workload *workload, const char *key, size_t length) {
  size_t i = 0;
  while (workload->params[i].key &&
         (strlen(workload->params[i].key) != length || memcmp(workload->params[i].key, key, length) != 0))
    i++;
  return i;
}

static bool check_number(ha_run *run, const ha_param *param, const char *text) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value >= param->least &&
      value <= param->most)
    return true;
  return ha_fail(run, "%s: %s=%s: give a number from %llu to %llu (%s)", run->workload->name, param->key,
                 text, (unsigned long long)param->least, (unsigned long long)param->most, param->help);
}

static bool is_text(const ha_param *param) {
  return param->least == 0 && param->most == 0;
}

static bool set_param(ha_run *run, const char **values, char *pair) {
  char *equals = strchr(pair, '=');
  if (!equals || equals == pair)
    return ha_fail(run, "%s: \"%s\": parameters are written key=value", run->workload->name, pair);
  size_t index = param_index(run->workload, pair, (size_t)(equals - pair));
  const ha_param *param = &run->workload->params[index];
  if (!param->key) {
    char keys[256] = "";
    for (size_t i = 0; run->workload->params[i].key; i++) {
      strncat(keys, i ? ", " : "", sizeof keys - strlen(keys) - 1);
      strncat(keys, run->workload->params[i].key, sizeof keys - strlen(keys) - 1);
    }
    return ha_fail(run, "%s has no parameter \"%.*s\"; it has: %s", run->workload->name, (int)(equals - pair),
                   pair, *keys ? keys : "none");
  }
  values[index] = equals + 1;
  return is_text(param) || check_number(run, param, equals + 1);
}

// Start of the last ":key=value" of `text`, if it ends with one: a letter follows the colon, an '=' follows
// before any '/'. So file names may hold colons.
static char *last_parameter(char *text) {
  char *colon = strrchr(text, ':');
  if (!colon || colon[1] < 'a' || colon[1] > 'z')
    return NULL;
  char *equals = strchr(colon, '=');
  return equals && !memchr(colon, '/', (size_t)(equals - colon)) ? colon : NULL;
}

bool ha_catalog_parse(ha_run *run, const char *spec) {
  size_t length = strcspn(spec, ":");
  run->workload = find(spec, length);
  if (!run->workload)
    return ha_fail(run, "no workload is called \"%.*s\"; --list names them", (int)length, spec);
  // One block for the process's life: the values, then the text that they point into.
  const char *text = spec[length] ? spec + length + 1 : "";
  const char **values = calloc(1, HA_MAX_PARAMS * sizeof *values + strlen(text) + 1);
  if (!values)
    return ha_fail(run, "out of memory");
  char *rest = (char *)(values + HA_MAX_PARAMS);
  memcpy(rest, text, strlen(text) + 1);
  for (size_t i = 0; run->workload->params[i].key; i++)
    values[i] = run->workload->params[i].fallback;
  run->values = values;
  if (strcmp(run->workload->params[0].key ? run->workload->params[0].key : "", "file") == 0) {
    // trace:FILE: parameters are taken off the end, what remains is the file's name.
    for (char *pair; (pair = last_parameter(rest)); *pair = '\0')
      if (!set_param(run, values, pair + 1))
        return false;
    values[0] = rest;
    return *rest ? true : ha_fail(run, "%s: give a file: %s:FILE", run->workload->name, run->workload->name);
  }
  for (char *save = NULL, *pair = strtok_r(rest, ":", &save); pair; pair = strtok_r(NULL, ":", &save))
    if (!set_param(run, values, pair))
      return false;
  return true;
}

const char *ha_param_text(const ha_run *run, const char *key) {
  return run->values[param_index(run->workload, key, strlen(key))];
}

uint64_t ha_param_number(const ha_run *run, const char *key) {
  return strtoull(ha_param_text(run, key), NULL, 10);
}

// catalog.c: see catalog.h. A new workload is a word here, a line in CMakeLists.txt, a small spec in
// synthetic_test.c.
#include "workloads/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// In the order in which they are listed; the file's name is that of the workload unless it says otherwise.
// clang-format off
#define WORKLOADS(X)                                                                                         \
  /* micro */                                                                                                \
  X(fastpath) X(fastpath_deep) X(fastpath_classes) X(batch) X(batch_lifo) X(batch_random)                    \
  X(realloc_grow) X(realloc_one)                                            /* realloc.c */                  \
  X(calloc) X(aligned) X(sizedfree)                                         /* calls.c */                    \
  /* applications of one thread */                                                                           \
  X(churn) X(churn_even) X(churn_pareto) X(churn_measured)                                                   \
  X(stack) X(tree) X(strings) X(hashmap) X(lru) X(interpreter)                                               \
  /* threads */                                                                                              \
  X(larson) X(prodcons) X(msgpass) X(sh6) X(sh8) X(threadchurn)                                              \
  X(falseshare_active) X(falseshare_passive) X(oneclass)                                                     \
  /* memory */                                                                                               \
  X(frag_robson) X(frag_survivor) X(frag_sawtooth) X(frag_phases)           /* frag_waves.c: the last two */ \
  X(blowup) X(large) X(huge) X(spikes) X(drain)                                                              \
  /* servers: fleet10 is "fleet", all ten */                                                                 \
  X(fleet10) X(fleet0) X(fleet1) X(fleet2) X(fleet3) X(fleet4) X(fleet5) X(fleet6) X(fleet7) X(fleet8)       \
  X(fleet9)                                                                                                  \
  /* mutator programs, for collectors too: gc/workload.c */                                                  \
  X(gc_bench) X(gc_trees) X(gc_map) X(gc_lists) X(gc_lru) X(gc_frag)                                         \
  /* recorded programs */                                                                                    \
  X(trace) X(model)                                                         /* replay.c */
// clang-format on

#define DECLARE(name) extern const ha_workload ha_workload_##name;
WORKLOADS(DECLARE)

#define ADDRESS(name) &ha_workload_##name,
static const ha_workload *const workloads[] = {WORKLOADS(ADDRESS)};

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

static bool check_word(ha_run *run, const ha_param *param, const char *text) {
  char list[256] = "";
  for (const char *const *word = param->allowed->words; *word; word++) {
    if (strcmp(text, *word) == 0)
      return true;
    strncat(list, *list ? ", " : "", sizeof list - strlen(list) - 1);
    strncat(list, *word, sizeof list - strlen(list) - 1);
  }
  return ha_fail(run, "%s: %s=%s: choose one of %s", run->workload->name, param->key, text, list);
}

static bool check_fraction(ha_run *run, const ha_param *param, const char *text) {
  char *end;
  double value = strtod(text, &end), least = param->allowed->least, most = param->allowed->most;
  if (*text >= '0' && *text <= '9' && text[strspn(text, "0123456789.")] == '\0' && *end == '\0' &&
      value >= least && value <= most)
    return true;
  return ha_fail(run, "%s: %s=%s: give a number from %g to %g (%s)", run->workload->name, param->key, text,
                 least, most, param->help);
}

static bool check_value(ha_run *run, const ha_param *param, const char *text) {
  if (param->least || param->most)
    return check_number(run, param, text);
  if (!param->allowed)
    return true;
  return param->allowed->words ? check_word(run, param, text) : check_fraction(run, param, text);
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
  return check_value(run, param, equals + 1);
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

// A parsed spec: the values, and the text that they point into. Kept for the process's life, and reachable,
// so that leak checkers know it is not lost.
typedef struct parsed {
  struct parsed *before;
  const char *values[HA_MAX_PARAMS];
  char text[];
} parsed;

static parsed *kept;

bool ha_catalog_parse(ha_run *run, const char *spec) {
  size_t length = strcspn(spec, ":");
  run->workload = find(spec, length);
  if (!run->workload)
    return ha_fail(run, "no workload is called \"%.*s\"; --list names them", (int)length, spec);
  const char *text = spec[length] ? spec + length + 1 : "";
  parsed *p = calloc(1, sizeof *p + strlen(text) + 1);
  if (!p)
    return ha_fail(run, "out of memory");
  p->before = kept;
  kept = p;
  const char **values = p->values;
  char *rest = p->text;
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

unsigned ha_param_word(const ha_run *run, const char *key) {
  const ha_param *param = &run->workload->params[param_index(run->workload, key, strlen(key))];
  const char *text = ha_param_text(run, key);
  unsigned i = 0;
  while (strcmp(param->allowed->words[i], text) != 0)
    i++;
  return i;
}

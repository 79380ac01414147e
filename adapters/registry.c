// registry.c: the list of adapters, and how a spec becomes a vtable. See registry.h.
#include "adapters/registry.h"

#include "adapters/adapters.h"
#include "adapters/library.h"
#include "adapters/spec.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Set to the library's path when the program was executed anew for it, so that it is tried only once.
#define PRELOADED_VARIABLE "HEAPARENA_PRELOADED"

static const ha_adapter *const adapters[] = {
    &ha_adapter_system,
    &ha_adapter_gomalloc,
    &ha_adapter_gomalloc_linear,
    &ha_adapter_mimalloc,
    &ha_adapter_jemalloc,
    &ha_adapter_tcmalloc,
    &ha_adapter_scudo,
    &ha_adapter_tbb,
    &ha_adapter_null,
    &ha_adapter_bump,
    &ha_adapter_oracle,
    &ha_adapter_linear,
    &ha_adapter_firstfit,
    &ha_adapter_nextfit,
    &ha_adapter_bestfit,
    &ha_adapter_segfit,
    &ha_adapter_buddy,
    &ha_adapter_template,
    // collectors.c
    &ha_adapter_markcompact,
    &ha_adapter_copying,
    &ha_adapter_generational,
    &ha_adapter_marksweep,
    &ha_adapter_boehm,
    &ha_adapter_go,
};

const ha_adapter *const *ha_registry(size_t *count) {
  *count = sizeof adapters / sizeof adapters[0];
  return adapters;
}

const ha_adapter *ha_registry_find(const char *name) {
  for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
    if (strcmp(adapters[i]->name, name) == 0)
      return adapters[i];
  return NULL;
}

bool ha_adapter_library(const ha_adapter *adapter, char *path, size_t path_size, char *why, size_t why_size) {
  if (ha_library_find(adapter->libraries, path, path_size))
    return true;
  if (adapter->package)
    snprintf(why, why_size, "%s not found; install it with: apt-get install %s", adapter->libraries[0],
             adapter->package);
  else
    snprintf(why, why_size, "%s not found; build heaparena first", adapter->libraries[0]);
  return false;
}

// Storage of the one vtable that ha_open hands out, and of its strings.
static struct {
  ha_alloc vtable;
  char name[HA_SPEC_NAME];
  char library[PATH_MAX];
  char version[64];
} opened;

// Replaces this process by the same program with the library preloaded. Returns only on failure.
static void execute_preloaded(const char *path, char *const argv[], char *why, size_t why_size) {
  const char *before = getenv("LD_PRELOAD");
  char list[2 * PATH_MAX];
  int n = snprintf(list, sizeof list, "%s%s%s", path, before && *before ? ":" : "", before ? before : "");
  if (n < 0 || (size_t)n >= sizeof list) {
    snprintf(why, why_size, "LD_PRELOAD is too long; shorten it");
    return;
  }
  if (setenv("LD_PRELOAD", list, 1) == 0 && setenv(PRELOADED_VARIABLE, path, 1) == 0)
    execv("/proc/self/exe", argv);
  snprintf(why, why_size, "%s: cannot start the program anew with it preloaded: %s", path, strerror(errno));
}

// Puts the adapter's words into the environment; false when all were there already.
static bool change_environment(const ha_adapter *adapter) {
  bool changed = false;
  for (const char *const *word = adapter->environment; word && *word; word++) {
    char name[64];
    const char *value = strchr(*word, '=') + 1;
    snprintf(name, sizeof name, "%.*s", (int)(value - *word - 1), *word);
    const char *before = getenv(name);
    if (before && strcmp(before, value) == 0)
      continue;
    setenv(name, value, 1);
    changed = true;
  }
  return changed;
}

// A library by path may be one that we know: whichever adapter recognises its symbols adds version and
// extras.
static void extend_by_any(ha_alloc *out, void *library) {
  for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
    if (adapters[i]->extend && adapters[i]->extend(out, library))
      return;
}

static const ha_alloc *open_library(const char *path, const char *prefix, char *const argv[], char *why,
                                    size_t why_size) {
  if (!ha_library_inspect(path, why, why_size) || !realpath(path, opened.library))
    return NULL;
  void *library = ha_library_loaded(opened.library);
  if (!library) {
    const char *tried = getenv(PRELOADED_VARIABLE);
    if (!tried || strcmp(tried, opened.library) != 0)
      execute_preloaded(opened.library, argv, why, why_size);
    else
      snprintf(why, why_size, "%s: the dynamic loader would not preload it (its message is above)",
               opened.library);
    return NULL;
  }
  ha_alloc *out = &opened.vtable;
  ha_library_file_version(opened.library, opened.version, sizeof opened.version);
  out->version = opened.version;
  out->library = opened.library;
  if (ha_library_fill(out, library, opened.library, prefix, why, why_size))
    extend_by_any(out, library);
  return ha_library_plugin(out, library, opened.library, why, why_size) ? out : NULL;
}

// Length of the longest common subsequence of two short names: how alike they are.
static size_t likeness(const char *a, const char *b) {
  size_t row[64] = {0};
  size_t width = strlen(b) < 63 ? strlen(b) : 63;
  for (; *a; a++) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= width; j++) {
      size_t above = row[j];
      if (*a == b[j - 1])
        row[j] = diagonal + 1;
      else if (row[j - 1] > row[j])
        row[j] = row[j - 1];
      diagonal = above;
    }
  }
  return row[width];
}

static void say_unknown(const char *name, char *why, size_t why_size) {
  const ha_adapter *nearest = adapters[0];
  size_t best = 0;
  for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++) {
    size_t score = likeness(name, adapters[i]->name);
    if (score > best) {
      best = score;
      nearest = adapters[i];
    }
  }
  snprintf(why, why_size,
           "no allocator is called \"%.64s\"; did you mean \"%s\"? (a library: NAME=/path/lib.so)", name,
           nearest->name);
}

const ha_alloc *ha_open(const char *spec, char *const argv[], char *why, size_t why_size) {
  ha_spec asked;
  if (!ha_spec_parse(spec, &asked, why, why_size))
    return NULL;
  memset(&opened.vtable, 0, sizeof opened.vtable);
  memcpy(opened.name, asked.name, sizeof opened.name);
  const ha_alloc *result;
  if (asked.path[0]) {
    result = open_library(asked.path, asked.prefix, argv, why, why_size);
  } else {
    const ha_adapter *adapter = ha_registry_find(opened.name);
    if (!adapter) {
      say_unknown(opened.name, why, why_size);
      return NULL;
    }
    char path[PATH_MAX];
    if (adapter->available && !adapter->available(why, why_size))
      return NULL;
    if (adapter->linked) {
      opened.vtable = *adapter->linked;
      result = &opened.vtable;
    } else if (ha_adapter_library(adapter, path, sizeof path, why, why_size)) {
      if (change_environment(adapter) && ha_library_loaded(path)) // it started without: start it again
        execute_preloaded(path, argv, why, why_size);
      result = open_library(path, "", argv, why, why_size);
      if (result)
        opened.vtable.traits |= adapter->traits;
    } else {
      return NULL;
    }
  }
  if (result)
    opened.vtable.name = opened.name;
  return result;
}

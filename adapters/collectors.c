// collectors.c: see collectors.h. The entries of the registry for collectors; as allocators they serve
// nobody, and say so.
#include "adapters/collectors.h"
#include "adapters/adapters.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GO_PROGRAM "heaparena-gc-go"

static void *serves_nobody(void) {
  return ha_decline("a collector serves the gc-... workloads only\n");
}

static void *no_malloc(size_t size) {
  (void)size;
  return serves_nobody();
}

static void *no_calloc(size_t count, size_t size) {
  (void)count;
  (void)size;
  return serves_nobody();
}

static void *no_realloc(void *block, size_t size) {
  (void)block;
  (void)size;
  return serves_nobody();
}

static void no_free(void *block) {
  (void)block;
}

static bool go_available(char *why, size_t why_size);

// Says which version it is; false and a reason if it is not there.
static bool boehm_available(char *why, size_t why_size);

// The vtables are constant, but for the versions of what was found here.
static char go_version[32] = "unknown", boehm_version[32] = "unknown";

// NOLINTBEGIN(bugprone-macro-parentheses): names that are declared, and initialisers
#define COLLECTOR(identifier, word, number, what, with)                                                      \
  static const ha_alloc identifier##_vtable = {.name = word,                                                 \
                                               .version = number,                                            \
                                               .traits = HA_TRAIT_COLLECTOR,                                 \
                                               .malloc = no_malloc,                                          \
                                               .free = no_free,                                              \
                                               .calloc = no_calloc,                                          \
                                               .realloc = no_realloc};                                       \
  const ha_adapter ha_adapter_##identifier = {                                                               \
      .name = word, .summary = "collector: " what, .linked = &identifier##_vtable, .available = with}

// NOLINTEND(bugprone-macro-parentheses)

COLLECTOR(markcompact, "markcompact", "1", "linear space, live objects slid together in their order", NULL);
COLLECTOR(copying, "copying", "1", "two linear spaces, live objects copied from one to the other", NULL);
COLLECTOR(generational, "generational", "1", "a nursery copied into an old space, that collected by sliding",
          NULL);
COLLECTOR(marksweep, "marksweep", "1", "gomalloc's own, after Go's: mark and lazy sweep of spans", NULL);
COLLECTOR(boehm, "boehm", boehm_version, "Boehm's conservative mark-sweep (libgc)", boehm_available);
COLLECTOR(go, "go", go_version, "Go's runtime, the same programs written in Go", go_available);

const struct gc_collector *ha_gc_collector(const ha_alloc *alloc) {
  static const struct gc_collector *const collectors[] = {&gc_markcompact, &gc_copying, &gc_generational,
                                                          &gc_marksweep, &ha_gc_boehm};
  if ((alloc->traits & HA_TRAIT_COLLECTOR) == 0)
    return ha_gc_manual(alloc);
  for (size_t i = 0; i < sizeof collectors / sizeof collectors[0]; i++)
    if (strcmp(collectors[i]->name, alloc->name) == 0)
      return collectors[i];
  return NULL;
}

// The program in Go lies beside this one, if Go was there when heaparena was built.
static const char *go_path(void) {
  static char path[PATH_MAX + sizeof GO_PROGRAM];
  ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
  char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
  if (!slash)
    return NULL;
  memcpy(slash + 1, GO_PROGRAM, sizeof GO_PROGRAM);
  return access(path, X_OK) == 0 ? path : NULL;
}

static void take_go_version(const char *path) {
  char command[2 * PATH_MAX];
  snprintf(command, sizeof command, "'%s' version", path);
  FILE *answer = popen(command, "re");
  if (!answer)
    return;
  if (fgets(go_version, sizeof go_version, answer))
    go_version[strcspn(go_version, "\n")] = '\0';
  pclose(answer);
}

static bool go_available(char *why, size_t why_size) {
  const char *path = go_path();
  if (path)
    take_go_version(path);
  else
    snprintf(why, why_size,
             GO_PROGRAM " not built; install Go with: apt-get install golang-go, then build again");
  return path != NULL;
}

static bool boehm_available(char *why, size_t why_size) {
  const char *version = ha_gc_boehm_version(why, why_size);
  if (version)
    snprintf(boehm_version, sizeof boehm_version, "%s", version);
  return version != NULL;
}

const char *ha_gc_external(const ha_alloc *alloc) {
  return (alloc->traits & HA_TRAIT_COLLECTOR) && strcmp(alloc->name, "go") == 0 ? go_path() : NULL;
}

// scudo.c: LLVM's hardened allocator, the standalone library that comes with clang's runtime.
#include "adapters/adapters.h"
#include "adapters/library.h"

#include <stdio.h>
#include <string.h>

#define SCUDO_M_PURGE (-101) // bionic's mallopt option, which scudo understands

static int (*scudo_mallopt)(int option, int value);

static bool scudo_purge(void) {
  return scudo_mallopt(SCUDO_M_PURGE, 0) == 1;
}

// The library does not say its version; the folder of clang's runtime that it lies in does.
static void version_from_path(const char *path, char *out, size_t size) {
  const char *folder = path ? strstr(path, "/clang/") : NULL;
  if (folder)
    snprintf(out, size, "LLVM %.*s", (int)strcspn(folder + 7, "/"), folder + 7);
  else
    snprintf(out, size, "unknown");
}

static bool scudo_extend(ha_alloc *out, void *library) {
  static char version[48];
  void *mark = ha_library_symbol(library, "__scudo_", "print_stats");
  void *mallopt_symbol = ha_library_symbol(library, "", "mallopt");
  if (!mark || !mallopt_symbol)
    return false;
  memcpy(&scudo_mallopt, &mallopt_symbol, sizeof mallopt_symbol);
  version_from_path(out->library, version, sizeof version);
  out->version = version;
  out->purge = scudo_purge;
  return true;
}

static const char *const libraries[] = {
    "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-x86_64.so",
    "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-aarch64.so",
    NULL,
};

const ha_adapter ha_adapter_scudo = {
    .name = "scudo",
    .summary = "LLVM's Scudo, a hardened allocator (standalone)",
    .libraries = libraries,
    .package = "libclang-rt-14-dev",
    .extend = scudo_extend,
};

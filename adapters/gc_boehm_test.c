// gc_boehm_test.c: the conformance test of collectors over Boehm's. Skipped (77) where its library is
// missing.
#include "adapters/collectors.h"
#include "core/gc/conformance.h"

#include <stdio.h>

int main(void) {
  char why[256];
  if (!ha_gc_boehm_version(why, sizeof why)) {
    (void)fprintf(stderr, "%s\n", why);
    return 77;
  }
  return gc_conformance(&ha_gc_boehm);
}

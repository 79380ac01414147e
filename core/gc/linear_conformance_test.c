// The conformance test over the collectors on linear memory: `linear_conformance_test NAME`.
#include "core/gc/conformance.h"

#include <stdio.h>

int main(int argc, char *argv[]) {
  static const struct gc_collector *const collectors[] = {&gc_markcompact, &gc_copying, &gc_generational};
  for (size_t i = 0; argc == 2 && i < sizeof collectors / sizeof collectors[0]; i++)
    if (strcmp(argv[1], collectors[i]->name) == 0)
      return gc_conformance(collectors[i]);
  (void)fprintf(stderr, "usage: linear_conformance_test markcompact|copying|generational\n");
  return 2;
}

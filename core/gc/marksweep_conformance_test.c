// The conformance test over marksweep.
#include "core/gc/conformance.h"

int main(void) {
  return gc_conformance(&gc_marksweep);
}

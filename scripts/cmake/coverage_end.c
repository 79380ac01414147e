// coverage_end.c: linked into the programs of coverage builds. A process that ends by _exit or abort, as the children
// of many tests do, leaves its counters as well.
#include <stdlib.h>
#include <unistd.h>

// gcc's libgcov; the linker's --wrap leads the calls here.
// NOLINTBEGIN(bugprone-reserved-identifier)
void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
void __real_abort(void) __attribute__((noreturn));
void __wrap_abort(void) __attribute__((noreturn));

void __wrap__exit(int status) {
  __gcov_dump();
  __real__exit(status);
}

void __wrap_abort(void) {
  __gcov_dump();
  __real_abort();
}
// NOLINTEND(bugprone-reserved-identifier)

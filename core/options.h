// gomalloc's options: one table of names, ranges and defaults, filled from the environment and by
// gm_set_option.
//
//   environment variable   gm_set_option name  value                                default
//   GOMALLOC_ON_ERROR      on_error            abort | report                       abort
//   GOMALLOC_STATS         stats               0 | 1                                0
//   GOMALLOC_SIGNALS       signals             0 | 1                                1
//   GOMALLOC_LAYOUT        layout              sparse | linear                      sparse
//   GOMALLOC_MEMLIMIT      memlimit            bytes, or none; at least 1MiB        none
//   GOMALLOC_RETAIN        retain              percent, 0 to 1000                   10
//   GOMALLOC_RETAIN_MIN    retain_min          bytes, 0 to 1TiB                     8MiB
//   GOMALLOC_DECAY         decay               milliseconds, 0 to 3600000; or none  500
//   GOMALLOC_HUGE_PAGES    huge_pages          bytes, 0 to 1TiB; or none            16MiB
//
// Bytes are a decimal number, alone or with B, KiB, MiB, GiB or TiB behind it, no space between: 512MiB. The
// environment is read once, before the first page is taken from the system, and never in programs that run
// with more rights than their user has (AT_SECURE: set-user-ID, set-group-ID, file capabilities). A GOMALLOC_
// name that is not in the table and a value that is out of range are named in one line on stderr and ignored:
// a typing error must not stop a program.
//
// Threads: any; each value is one atomic, read with relaxed loads wherever it matters. Errors: see
// gm_set_option in gomalloc.h. Nothing here allocates or uses stdio.
//
// Origin: the options of Go's runtime/extern.go (GOGC, GOMEMLIMIT) that make sense without a collector.
#ifndef GOMALLOC_OPTIONS_H
#define GOMALLOC_OPTIONS_H

#include "core/base.h"

#include <stdatomic.h>

enum gm_layout { GM_LAYOUT_SPARSE, GM_LAYOUT_LINEAR }; // see heap_arena.h

#define GM_NO_LIMIT      UINT64_MAX
#define GM_NO_DECAY      UINT64_MAX
#define GM_NO_HUGE_PAGES UINT64_MAX

// What happens on misuse is errors.h's own value (errors_action).
struct gm_options {
  _Atomic uint64_t stats;     // 1: statistics as JSON on stderr at exit
  _Atomic uint64_t signals;   // 1: handlers that are installed from now on may allocate (signal_guard.h)
  _Atomic uint64_t layout;    // enum gm_layout
  _Atomic bool layout_chosen; // the first arena is reserved: the layout cannot change any more
  // Soft limit on what the system gave for the heap and was not given back, in bytes, or GM_NO_LIMIT: above
  // it free pages go back at once. Live blocks may exceed it: no allocation fails because of it.
  _Atomic uint64_t mem_limit;
  _Atomic uint64_t retain_percent; // free memory to keep for reuse, as percent of the bytes in spans
  _Atomic uint64_t retain_min;     // free memory that is kept in any case until it decays, in bytes
  // Bytes in spans from which on the heap grows by huge pages where the system gives them on request;
  // GM_NO_HUGE_PAGES: never (huge_pages.h).
  _Atomic uint64_t huge_pages;
  _Atomic uint64_t
      decay_ms; // free pages that nobody took for so long go back; GM_NO_DECAY: they stay within the goal
};

extern struct gm_options gm_options;

// An option's value now; options may change while the program runs.
GM_INLINE uint64_t gm_option_get(const _Atomic uint64_t *value) {
  return atomic_load_explicit(value, memory_order_relaxed);
}

// Reads the environment, the first time it is called. Safe at any moment, also before libc is ready (then it
// does nothing and the next call tries again). Callers: the first reservation of an arena, and the library's
// constructor.
void options_load(void);

// Reads the GOMALLOC_ variables of `environment` as options_load does: for tests.
void options_load_from(char *const *environment);

// Writes the current value of option number `index` (0, 1, ...) as an unsigned number. False past the last
// one.
bool options_describe(unsigned index, const char **name, uint64_t *value);

#endif

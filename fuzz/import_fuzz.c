// import_fuzz.c: libFuzzer target for the importers, built once for each form (IMPORT_FORM): any bytes give
// operations that keep the rules of a trace, or one line of reason.
#include "workloads/import.h"
#include "workloads/trace_codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "import_fuzz: %s\n", what);
    abort();
  }
}

static bool take_thread(void *to, const ha_trace_thread *thread, const char **why) {
  *why = ha_trace_state_add_thread(to, thread);
  return *why == NULL;
}

static bool take_operation(void *to, const ha_op *op, const char **why) {
  *why = ha_trace_state_apply(to, op);
  return *why == NULL;
}

static bool take_meta(void *to, const char *text, const char **why) {
  (void)to;
  (void)why;
  size_t length = strlen(text);
  require(length > 1 && strchr(text, '\n') == text + length - 1, "META that is not one line");
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static importer im;
  ha_trace_state state = {0};
  import_sink sink = {.to = &state, .thread = take_thread, .operation = take_operation, .meta = take_meta};
  char empty = 0;
  // The stream only reads.
  FILE *in = size == 0 ? fmemopen(&empty, 1, "r") : fmemopen((void *)(uintptr_t)data, size, "r");
  require(in != NULL, "no memory for the input");
  im = (importer){.sink = &sink, .in = in};
  bool good = import_all(&im, IMPORT_FORM);
  require(good == (im.why[0] == 0), "an end without a reason, or a reason without an end");
  require(strchr(im.why, '\n') == NULL, "a reason of more than one line");
  require(!good || state.totals.operations != 0, "a trace without an operation");
  import_clear(&im);
  ha_trace_state_clear(&state);
  fclose(in);
  return 0;
}

// What happens once per process: options from the environment, fork handlers, statistics at exit. Nothing
// else depends on it: malloc works before the constructor ran.
#include "core/startup.h"

#include "core/errors.h"
#include "core/fork.h"
#include "core/gomalloc.h"

#include <stdlib.h>
#include <string.h>

// secure_getenv answers NULL in set-user-ID programs.
static void read_options(void) {
  const char *on_error = secure_getenv("GOMALLOC_ON_ERROR");
  if (on_error == NULL || strcmp(on_error, "abort") == 0)
    return;
  if (strcmp(on_error, "report") == 0) {
    errors_set_action(ERROR_REPORT);
    return;
  }
  char line[] = "gomalloc: GOMALLOC_ON_ERROR must be abort or report\n";
  struct text_buffer text = {line, sizeof line - 1, sizeof line - 1};
  text_write_stderr(&text);
}

static bool wants_stats(void) {
  const char *value = secure_getenv("GOMALLOC_STATS");
  return value != NULL && strcmp(value, "1") == 0;
}

void startup_process(void) {
  read_options();
  fork_install_handlers();
}

__attribute__((destructor)) static void finish(void) {
  if (!wants_stats())
    return;
  static char line[8192];
  size_t length = gm_stats_json(line, sizeof line - 1);
  length = length < sizeof line - 2 ? length : sizeof line - 2;
  line[length] = '\n';
  struct text_buffer text = {line, length + 1, length + 1};
  text_write_stderr(&text);
}

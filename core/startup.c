// What happens once per process: options from the environment, fork handlers, statistics at exit. Nothing
// else depends on it: malloc works before the constructor ran.
#include "core/startup.h"

#include "core/errors.h"
#include "core/fork.h"
#include "core/gomalloc.h"
#include "core/options.h"

void startup_process(void) {
  options_load();
  fork_install_handlers();
}

// A static buffer: the program's own destructors may have left any heap behind. A child that a fork left runs
// this too when it calls exit.
__attribute__((destructor)) static void finish(void) {
  if (gm_option_get(&gm_options.stats) == 0)
    return;
  static char line[16384] GM_TABLE;
  size_t length = gm_stats_json(line, sizeof line - 1);
  length = length < sizeof line - 2 ? length : sizeof line - 2;
  line[length] = '\n';
  struct text_buffer text = {line, length + 1, length + 1};
  text_write_stderr(&text);
}

// options_fuzz.c: libFuzzer target for gomalloc's options: any text as an environment, then as gm_set_option's
// arguments (run it with -close_fd_mask=2: gomalloc names each wrong one on stderr). Whatever it says, values stay in their ranges, what is refused changes nothing, and the heap works.
#include "core/gomalloc.h"
#include "core/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES   16u
#define SETTINGS 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
  if (!holds) {
    printf("options_fuzz: %s\n", what);
    fflush(stdout);
    abort();
  }
}

static unsigned all_values(uint64_t values[VALUES]) {
  const char *name;
  unsigned count = 0;
  while (count < VALUES && options_describe(count, &name, &values[count]))
    count++;
  return count;
}

static void check_ranges(void) {
  require(gm_option_get(&gm_options.stats) <= 1, "stats beyond 1");
  require(gm_option_get(&gm_options.signals) <= 1, "signals beyond 1");
  require(gm_option_get(&gm_options.layout) <= GM_LAYOUT_LINEAR, "a layout that there is not");
  require(gm_option_get(&gm_options.mem_limit) >= (uint64_t)1 << 20, "a limit below 1 MiB");
  require(gm_option_get(&gm_options.retain_percent) <= 1000, "retain beyond 1000");
  require(gm_option_get(&gm_options.retain_min) <= (uint64_t)1 << 40, "retain_min beyond 1 TiB");
  uint64_t decay = gm_option_get(&gm_options.decay_ms);
  require(decay <= 3600000 || decay == GM_NO_DECAY, "decay beyond an hour");
}

// "name=value" as the arguments of gm_set_option.
static void set_one(char *text) {
  char *value = strchr(text, '=');
  uint64_t before[VALUES], after[VALUES];
  if (value == NULL)
    return;
  *value++ = '\0';
  unsigned count = all_values(before);
  errno = 0;
  if (gm_set_option(text, value) != 0) {
    require(errno == EINVAL || errno == EBUSY, "a refusal without its error");
    require(all_values(after) == count && memcmp(before, after, count * sizeof *before) == 0,
            "a refused option changed a value");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char text[4096];
  size_t length = size < sizeof text - 1 ? size : sizeof text - 1;
  memcpy(text, data, length);
  text[length] = '\0';
  char *lines[SETTINGS + 1];
  unsigned count = 0;
  for (char *rest = text, *line; count < SETTINGS && (line = strsep(&rest, "\n")) != NULL;)
    lines[count++] = line;
  lines[count] = NULL;
  options_load_from(lines);
  check_ranges();
  for (unsigned i = 0; i < count; i++)
    set_one(strncmp(lines[i], "GOMALLOC_", 9) == 0 ? lines[i] + 9 : lines[i]);
  check_ranges();
  void *block = gm_malloc(100000 + length);
  require(block != NULL, "an option made malloc fail");
  gm_free(block);
  return 0;
}

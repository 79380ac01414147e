// core_fuzz.c: libFuzzer target for the parts of gomalloc's core, white box. The first byte of an input names the
// component; each has a file of its own. See core_fuzz.h and core_fuzz_world.h.
#include "fuzz/core_fuzz.h"

#include "fuzz/core_fuzz_world.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

uint32_t core_below(core_input *input, uint32_t limit) {
  uint32_t value = core_byte(input);
  unsigned bytes = limit <= 1U << 8 ? 1 : limit <= 1U << 16 ? 2 : 4;
  for (unsigned i = 1; i < bytes; i++)
    value |= (uint32_t)core_byte(input) << (8 * i);
  return value % limit;
}

uint64_t core_word(core_input *input) {
  uint64_t value = 0;
  for (unsigned i = 0; i < 8; i++)
    value |= (uint64_t)core_byte(input) << (8 * i);
  return value;
}

// On stdout: with -close_fd_mask=2 stderr says nothing.
void core_wrong(const char *file, int line, const char *condition, const char *what) {
  printf("ERROR: core: %s: not true: %s (%s:%d)\n", what, condition, file, line);
  fflush(stdout);
  abort();
}

static const struct {
  char letter; // what an input begins with
  void (*run)(core_input *input);
} components[] = {
    {'b', core_fuzz_bits},   {'p', core_fuzz_pages},  {'s', core_fuzz_spans}, {'c', core_fuzz_classes},
    {'a', core_fuzz_arenas}, {'m', core_fuzz_states}, {'f', core_fuzz_fixed}, {'h', core_fuzz_heap},
};

enum { COMPONENTS = sizeof components / sizeof components[0] };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  core_input input = {data + 1, data + size};
  unsigned chosen = data[0] % COMPONENTS;
  for (unsigned i = 0; i < COMPONENTS; i++)
    if ((char)data[0] == components[i].letter)
      chosen = i;
  core_world_begin();
  components[chosen].run(&input);
  core_world_end();
  return 0;
}

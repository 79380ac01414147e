// One hot path, a given number of times: what instructions_test.sh counts instructions of.
// Usage: instructions PATH COUNT
#include "core/gomalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000 };

static void *blocks[BATCH];

// Keeps the compiler from leaving out a pair, and costs nothing.
static void use(void *block) {
  __asm__ volatile("" : : "r"(block) : "memory");
}

static void pairs(long count, size_t size) {
  for (long i = 0; i < count; i++) {
    void *block = gm_malloc(size);
    use(block);
    gm_free(block);
  }
}

static void calloc_pairs(long count, size_t size) {
  for (long i = 0; i < count; i++) {
    void *block = gm_calloc(1, size);
    use(block);
    gm_free(block);
  }
}

// Many blocks and then none: past the stacks of freed objects, through spans and the page cache.
static void batches(long count, size_t size) {
  for (long i = 0; i < count; i += BATCH) {
    for (int n = 0; n < BATCH; n++)
      blocks[n] = gm_malloc(size);
    for (int n = 0; n < BATCH; n++)
      gm_free(blocks[n]);
  }
}

static void loop_alone(long count, size_t size) {
  for (long i = 0; i < count; i++)
    use((void *)size);
}

int main(int argc, char **argv) {
  gm_free(gm_malloc(1)); // the thread gets its mcache
  static const struct {
    const char *name;
    void (*run)(long count, size_t size);
    size_t size;
  } paths[] = {
      {"loop", loop_alone, 0},         {"pair-64", pairs, 64},    {"pair-2048", pairs, 2048},
      {"pair-100000", pairs, 100000},  {"batch-64", batches, 64}, {"batch-1024", batches, 1024},
      {"calloc-64", calloc_pairs, 64},
  };
  for (size_t i = 0; argc == 3 && i < sizeof paths / sizeof *paths; i++)
    if (strcmp(argv[1], paths[i].name) == 0) {
      paths[i].run(atol(argv[2]), paths[i].size);
      return 0;
    }
  (void)fputs("usage: instructions PATH COUNT\n", stderr);
  return 2;
}

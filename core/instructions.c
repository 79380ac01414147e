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

static uint64_t random_state = 0x9e3779b97f4a7c15;

// In [0, bound); the bound is far below 2^32.
static size_t random_below(size_t bound) {
  random_state = random_state * 6364136223846793005 + 1442695040888963407;
  return (size_t)((random_state >> 32) * bound >> 32);
}

// Random replacement among `live` blocks of least to 2 * least bytes. The filling is in the few and in the many, so it
// does not count. What is left to time, such as the thread that gives memory back, stays out of it.
static void replace(long count, size_t live, size_t least) {
  if (gm_set_option("decay", "none") != 0 || gm_set_option("retain", "1000") != 0 ||
      gm_set_option("huge_pages", "none") != 0)
    abort();
  void **kept = gm_calloc(live, sizeof *kept);
  for (size_t i = 0; i < live; i++)
    kept[i] = gm_malloc(least + random_below(least + 1));
  for (long i = 0; i < count; i++) {
    size_t place = random_below(live);
    gm_free(kept[place]);
    kept[place] = gm_malloc(least + random_below(least + 1));
  }
}

static void small_among(long count, size_t live) {
  replace(count, live, 32);
}

// Runs of 8 to 16 pages; nothing is written to them.
static void pages_among(long count, size_t live) {
  replace(count, live, (size_t)64 << 10);
}

static void loop_alone(long count, size_t size) {
  for (long i = 0; i < count; i++)
    use((void *)size);
}

int main(int argc, char **argv) {
  gm_free(gm_malloc(1)); // the thread gets its mcache
  static const struct {
    const char *name;
    void (*run)(long count, size_t number);
    size_t number; // bytes of a block, or live blocks
  } paths[] = {
      {"loop", loop_alone, 0},
      {"pair-64", pairs, 64},
      {"pair-2048", pairs, 2048},
      {"pair-100000", pairs, 100000},
      {"batch-64", batches, 64},
      {"batch-1024", batches, 1024},
      {"calloc-64", calloc_pairs, 64},
      {"small-among-10000", small_among, 10000},
      {"small-among-1000000", small_among, 1000000},
      {"pages-among-1000", pages_among, 1000},
      {"pages-among-30000", pages_among, 30000},
  };
  for (size_t i = 0; argc == 3 && i < sizeof paths / sizeof *paths; i++)
    if (strcmp(argv[1], paths[i].name) == 0) {
      paths[i].run(atol(argv[2]), paths[i].number);
      return 0;
    }
  (void)fputs("usage: instructions PATH COUNT\n", stderr);
  return 2;
}

// A program that uses an installed gomalloc. Says in its exit status whether malloc is gomalloc's as its
// first argument expects, "replaced" or "kept"; the second is the version that the package claims.
#include <gomalloc.h>

#include <stdlib.h>
#include <string.h>

static uint64_t mallocs(void) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  return stats.Mallocs;
}

int main(int argc, char **argv) {
  if (argc != 3 || strcmp(gm_version(), argv[2]) != 0)
    return 2;
  void *own = gm_malloc(100);
  if (gm_usable_size(own) < 100)
    return 3;
  gm_free(own);
  uint64_t before = mallocs();
  void *block = malloc(200);
  int replaced = mallocs() == before + 1;
  free(block);
  if (gm_check_heap() != 0)
    return 4;
  return replaced == (strcmp(argv[1], "replaced") == 0) ? 0 : 1;
}

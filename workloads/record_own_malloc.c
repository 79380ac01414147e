// record_own_malloc.c: a program with a malloc of its own, for record_test.c: the recorder's, though preloaded,
// is hidden by it. What it gives is never taken back.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) unsigned char memory[1 << 20];
static size_t used;

static void *take(size_t size) {
  size_t bytes = (size + 31) & ~(size_t)15; // its size stands before each block
  if (bytes < size || bytes > sizeof memory - used)
    return NULL;
  unsigned char *block = memory + used + 16;
  memcpy(block - 16, &size, sizeof size);
  used += bytes;
  return block;
}

void *malloc(size_t size) {
  return take(size);
}

void free(void *ptr) {
  (void)ptr;
}

void *calloc(size_t nmemb, size_t size) {
  return nmemb != 0 && size > sizeof memory / nmemb ? NULL : take(nmemb * size);
}

void *realloc(void *ptr, size_t size) {
  void *moved = take(size);
  size_t before = 0;
  if (ptr != NULL)
    memcpy(&before, (unsigned char *)ptr - 16, sizeof before);
  if (moved != NULL && ptr != NULL)
    memcpy(moved, ptr, before < size ? before : size);
  return moved;
}

int main(void) {
  static char *text;
  text = strdup("own\n");
  bool said = text != NULL && write(STDOUT_FILENO, text, 4) == 4;
  free(text);
  return !said;
}

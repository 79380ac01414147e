// A module for dlopen_test: allocates and frees when it comes, when it goes, and when a thread that used it
// ends.
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN __attribute__((visibility("default")))

SHOWN char *module_make(size_t size);
SHOWN void module_leave_in_thread(void);

static char *blocks[64];
static pthread_key_t key;
static __thread char local[200];

__attribute__((constructor)) static void come(void) {
  for (size_t i = 0; i < 64; i++)
    blocks[i] = calloc(1, i * 700 + 1);
  if (pthread_key_create(&key, free) != 0)
    abort();
}

__attribute__((destructor)) static void go(void) {
  for (size_t i = 0; i < 64; i++)
    free(blocks[i]);
  free(malloc(100));
  (void)pthread_key_delete(key);
}

char *module_make(size_t size) {
  char *block = malloc(size);
  if (block != NULL)
    memset(block, 'm', size);
  local[0] = 'm'; // dynamic thread-local memory comes from malloc
  return block;
}

// The key is deleted with the module; the value is left to it.
void module_leave_in_thread(void) {
  (void)pthread_setspecific(key, NULL);
  free(malloc(4000));
}

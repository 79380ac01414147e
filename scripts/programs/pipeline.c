// A multi-threaded program for the profile `programs`: readers make messages, workers pass them on changed, and a
// writer frees them, so that most blocks are freed by another thread than allocated them. Prints one line that
// is the same everywhere.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 3, LANES = 2, MESSAGES = 300000, ROOM = 256 };

typedef struct message {
  uint32_t number;
  uint32_t length;
  unsigned char *text;
} message;

typedef struct queue {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  message *slots[ROOM];
  unsigned begin, end;
} queue;

static queue queues[LANES][STAGES - 1];
static uint64_t sums[LANES];

static void put(queue *to, message *one) {
  pthread_mutex_lock(&to->lock);
  while (to->end - to->begin == ROOM)
    pthread_cond_wait(&to->changed, &to->lock);
  to->slots[to->end++ % ROOM] = one;
  pthread_cond_broadcast(&to->changed);
  pthread_mutex_unlock(&to->lock);
}

static message *take(queue *from) {
  pthread_mutex_lock(&from->lock);
  while (from->end == from->begin)
    pthread_cond_wait(&from->changed, &from->lock);
  message *one = from->slots[from->begin++ % ROOM];
  pthread_cond_broadcast(&from->changed);
  pthread_mutex_unlock(&from->lock);
  return one;
}

static void *need(void *block) {
  if (!block) {
    fputs("out of memory\n", stderr);
    abort();
  }
  return block;
}

static void *reader(void *argument) {
  size_t lane = (size_t)argument;
  uint32_t seed = 2026 + (uint32_t)lane;
  for (uint32_t i = 0; i < MESSAGES; i++) {
    seed = seed * 1664525u + 1013904223u;
    message *one = need(malloc(sizeof *one));
    *one = (message){.number = i, .length = 16 + (seed >> 8) % (i % 64 ? 500 : 20000)};
    one->text = need(malloc(one->length));
    memset(one->text, (int)(seed >> 24), one->length);
    put(&queues[lane][0], one);
  }
  put(&queues[lane][0], NULL);
  return NULL;
}

static void *worker(void *argument) {
  size_t lane = (size_t)argument;
  for (message *one = take(&queues[lane][0]); one; one = take(&queues[lane][0])) {
    message *next = need(malloc(sizeof *next));
    *next = (message){.number = one->number, .length = one->length * 2};
    next->text = need(calloc(next->length, 1));
    memcpy(next->text + one->length / 2, one->text, one->length);
    free(one->text);
    free(one);
    put(&queues[lane][1], next);
  }
  put(&queues[lane][1], NULL);
  return NULL;
}

static void *writer(void *argument) {
  size_t lane = (size_t)argument;
  for (message *one = take(&queues[lane][1]); one; one = take(&queues[lane][1])) {
    for (uint32_t i = 0; i < one->length; i += 7)
      sums[lane] = sums[lane] * 31 + one->text[i];
    free(one->text);
    free(one);
  }
  return NULL;
}

int main(void) {
  static void *(*const stages[STAGES])(void *) = {reader, worker, writer};
  pthread_t threads[LANES][STAGES];
  for (size_t lane = 0; lane < LANES; lane++) {
    for (int i = 0; i < STAGES - 1; i++) {
      pthread_mutex_init(&queues[lane][i].lock, NULL);
      pthread_cond_init(&queues[lane][i].changed, NULL);
    }
    for (int i = 0; i < STAGES; i++)
      if (pthread_create(&threads[lane][i], NULL, stages[i], (void *)lane) != 0)
        return 1;
  }
  for (int lane = 0; lane < LANES; lane++)
    for (int i = 0; i < STAGES; i++)
      pthread_join(threads[lane][i], NULL);
  printf("%016llx %016llx\n", (unsigned long long)sums[0], (unsigned long long)sums[1]);
  return 0;
}

// record_fixture.c: a program to be recorded by record_test.c. It does what its argument names and prints the
// numbers of its own allocations, reallocs and frees. Its sizes all leave 777 when divided by 1000, so that
// the test can tell its blocks from those of the C library. No stdio: nothing else should allocate.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#define THREADS 4
#define BLOCKS  500

static size_t own_size(size_t i) {
  return (i % 20) * 1000 + 777;
}

static void report(unsigned allocations, unsigned reallocs, unsigned frees) {
  char line[128];
  int length = snprintf(line, sizeof line, "%u %u %u\n", allocations, reallocs, frees);
  if (write(STDOUT_FILENO, line, (size_t)length) != length)
    _exit(3);
}

static char *blocks[THREADS][BLOCKS];
static pthread_barrier_t filled;

// Fills its own row, frees the next thread's.
static void *exchange(void *argument) {
  unsigned self = (unsigned)(uintptr_t)argument;
  for (size_t i = 0; i < BLOCKS; i++)
    blocks[self][i] = malloc(own_size(i));
  pthread_barrier_wait(&filled);
  for (size_t i = 0; i < BLOCKS; i++)
    free(blocks[(self + 1) % THREADS][i]);
  return NULL;
}

static void run_threads(void *(*routine)(void *)) {
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, routine, (void *)i);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

static int do_threads(void) {
  pthread_barrier_init(&filled, NULL, THREADS);
  run_threads(exchange);
  report(THREADS * BLOCKS, 0, THREADS * BLOCKS);
  return 0;
}

// Hands one block round and round: malloc here, realloc there, free elsewhere.
static char *_Atomic baton;
static void *resize(void *argument) {
  uintptr_t self = (uintptr_t)argument;
  for (size_t i = 0; i < BLOCKS; i++) {
    char *mine = __atomic_exchange_n((char **)&baton, NULL, __ATOMIC_ACQ_REL);
    mine = realloc(mine, own_size(i + self));
    mine[0] = 1;
    char *other = __atomic_exchange_n((char **)&baton, mine, __ATOMIC_ACQ_REL);
    free(other);
  }
  return NULL;
}
static int do_resize(void) {
  run_threads(resize);
  free((char *)baton);
  return 0; // numbers vary: the test looks at the balance
}

static int do_storm(void) {
  char *block = NULL;
  for (size_t i = 0; i < BLOCKS; i++) {
    block = realloc(block, i * 1000 + 777);
    block[i] = 1;
  }
  char *other = reallocarray(NULL, 1777, 1);
  other = reallocarray(other, 2777, 1);
  void *aligned = NULL;
  if (posix_memalign(&aligned, 64, 777) != 0 || realloc(aligned, SIZE_MAX / 2 - 1000) != NULL)
    return 3;
  free(aligned);
  free(aligned_alloc(4096, 3777));
  free(calloc(7, 111));
  free(block);
  free(other);
  report(5, BLOCKS - 1 + 1, 5);
  return 0;
}

static void allocate_and_free(unsigned count) {
  for (size_t i = 0; i < count; i++)
    free(malloc(own_size(i)));
}

static int do_fork(void) {
  char *inherited = malloc(777);
  allocate_and_free(100);
  pid_t child = fork();
  if (child == 0) {
    free(inherited); // the parent's in the trace's eyes
    allocate_and_free(50);
    char *left = malloc(1777);
    left[0] = 1;
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  allocate_and_free(10);
  free(inherited);
  report(1 + 100 + 50 + 1 + 10, 0, 1 + 100 + 50 + 1 + 10); // what the child left is freed at its end
  return status;
}

static int do_exec(const char *self) {
  allocate_and_free(100);
  pid_t child = fork();
  if (child == 0) {
    allocate_and_free(20);
    execl(self, self, "plain", (char *)NULL);
    _exit(3);
  }
  int status;
  waitpid(child, &status, 0);
  report(100 + 20 + 30, 0, 100 + 20 + 30);
  return status;
}

// Starts the program at `path` by exec after a fork, and by posix_spawn.
static int do_start(char *path) {
  char *arguments[] = {path, NULL};
  allocate_and_free(10);
  pid_t children[2];
  if ((children[0] = fork()) == 0) {
    execv(path, arguments);
    _exit(3);
  }
  int status = 0, both = 0;
  if (posix_spawn(&children[1], path, NULL, NULL, arguments, environ) != 0)
    return 3;
  for (unsigned i = 0; i < 2; i++) {
    waitpid(children[i], &status, 0);
    both |= status;
  }
  return both != 0;
}

static int do_kill(void) {
  allocate_and_free(60000); // more than one chunk
  report(60000, 0, 60000);
  kill(getpid(), SIGKILL);
  return 3;
}

static void *leave(void *argument) {
  (void)argument;
  for (size_t i = 0; i < BLOCKS; i++) {
    char *left = malloc(own_size(i));
    left[0] = 1;
  }
  return NULL;
}
static int do_leave(void) {
  run_threads(leave);
  report(THREADS * BLOCKS, 0, 0);
  return 0;
}

static int do_join(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, leave, NULL);
  pthread_join(thread, NULL);
  report(BLOCKS, 0, 0);
  return 0;
}

// C11's threads, and the other ways to join; ends by quick_exit.
static int c11_exchange(void *argument) {
  exchange(argument);
  return 0;
}
static int do_c11(void) {
  thrd_t c11[2];
  pthread_t posix[2];
  const struct timespec late = {.tv_sec = INT32_MAX};
  pthread_barrier_init(&filled, NULL, THREADS);
  for (uintptr_t i = 0; i < 2; i++) {
    thrd_create(&c11[i], c11_exchange, (void *)i);
    pthread_create(&posix[i], NULL, exchange, (void *)(i + 2));
  }
  thrd_join(c11[0], NULL);
  thrd_join(c11[1], NULL);
  pthread_timedjoin_np(posix[0], NULL, &late);
  while (pthread_tryjoin_np(posix[1], NULL) == EBUSY)
    usleep(1000);
  report(THREADS * BLOCKS, 0, THREADS * BLOCKS);
  quick_exit(0);
}

int main(int count, char **values) {
  const char *what = count > 1 ? values[1] : "plain";
  if (strcmp(what, "threads") == 0)
    return do_threads();
  if (strcmp(what, "c11") == 0)
    return do_c11();
  if (strcmp(what, "resize") == 0)
    return do_resize();
  if (strcmp(what, "storm") == 0)
    return do_storm();
  if (strcmp(what, "fork") == 0)
    return do_fork();
  if (strcmp(what, "exec") == 0)
    return do_exec(values[0]);
  if (strcmp(what, "start") == 0 && count > 2)
    return do_start(values[2]);
  if (strcmp(what, "kill") == 0)
    return do_kill();
  if (strcmp(what, "leave") == 0)
    return do_leave();
  if (strcmp(what, "join") == 0)
    return do_join();
  if (strcmp(what, "plain") != 0)
    return 2;
  allocate_and_free(30);
  return 0;
}

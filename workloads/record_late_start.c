// record_late_start.c: a library that record_test preloads behind the recorder. It plays a machine too
// busy to let a new thread begin: the one thread of the program is held, before the recorder's first step in
// it, until whoever joins it has waited for more rounds than a recorder that gives up early would, or is in
// pthread_join already. No clock decides: what is recorded is the same on every machine.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define ROUNDS 1000 // that the joiner has waited for when the thread may begin

static sem_t may_begin, has_begun;
static _Atomic unsigned rounds;
static _Thread_local bool is_held;
static struct {
  void *(*routine)(void *);
  void *argument;
} held;

// The next function of this name, behind this library.
#define NEXT(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

static void *begin_late(void *unused) {
  (void)unused;
  is_held = true;
  sem_wait(&may_begin);
  return held.routine(held.argument);
}

EXPORT int pthread_create(pthread_t *newthread, const pthread_attr_t *attr, void *(*start_routine)(void *),
                          void *arg) {
  sem_init(&may_begin, 0, 0);
  sem_init(&has_begun, 0, 0);
  held.routine = start_routine;
  held.argument = arg;
  return NEXT(pthread_create)(newthread, attr, begin_late, NULL);
}

// The recorder's last step before the thread's own routine: by now the thread has its number.
EXPORT int pthread_setspecific(pthread_key_t key, const void *pointer) {
  int error = NEXT(pthread_setspecific)(key, pointer);
  if (is_held)
    sem_post(&has_begun);
  return error;
}

// One round of waiting, of no duration.
static int wait_a_round(void) {
  if (atomic_fetch_add(&rounds, 1) + 1 == ROUNDS) {
    sem_post(&may_begin);
    sem_wait(&has_begun);
  }
  return 0;
}

EXPORT int sched_yield(void) {
  return wait_a_round();
}

EXPORT int nanosleep(const struct timespec *requested_time, struct timespec *remaining) {
  (void)requested_time;
  (void)remaining;
  return wait_a_round();
}

EXPORT int pthread_join(pthread_t th, void **thread_return) {
  sem_post(&may_begin); // a recorder that gave up: the program must end, so that its trace can be looked at
  return NEXT(pthread_join)(th, thread_return);
}

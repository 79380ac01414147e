// execute_threads.c: real threads of which exactly one runs at a time. The executor's own thread hands a record
// to the thread it names and sleeps until that is done: so a program's order is that of its records, however
// the system schedules.
#include "fuzz/execute_call.h"
#include "fuzz/schedule.h"
#include "fuzz/token.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IDLE, WORK, END };

static struct worker {
  pthread_t thread;
  _Atomic uint32_t order; // IDLE, WORK or END: what the worker is to do
  _Atomic uint32_t done;  // counts up when the worker has done it
  bool running;
  executor *x;
  uint32_t op;
  bool (*step)(executor *x, uint32_t op);
  bool result;
} workers[FUZZ_THREADS];

static void *work(void *argument) {
  struct worker *self = argument;
  const ha_alloc *alloc = &self->x->subject->alloc;
  if (alloc->thread_start)
    alloc->thread_start();
  for (;;) {
    fuzz_token_wait_while(&self->order, IDLE);
    uint32_t order = atomic_load_explicit(&self->order, memory_order_acquire);
    if (order == END)
      break;
    self->result = self->step(self->x, self->op);
    atomic_store_explicit(&self->order, IDLE, memory_order_relaxed);
    fuzz_token_set(&self->done, atomic_load_explicit(&self->done, memory_order_relaxed) + 1);
  }
  if (alloc->thread_exit)
    alloc->thread_exit();
  return NULL;
}

bool fuzz_threads_running(unsigned thread) {
  return thread == 0 || workers[thread].running;
}

bool fuzz_threads_any(void) {
  for (unsigned thread = 1; thread < FUZZ_THREADS; thread++)
    if (workers[thread].running)
      return true;
  return fuzz_schedule_others();
}

static void start(executor *x, struct worker *worker) {
  worker->x = x;
  atomic_store_explicit(&worker->order, IDLE, memory_order_relaxed);
  int error = pthread_create(&worker->thread, NULL, work, worker);
  if (error != 0) {
    fprintf(stderr, "heaparena-fuzz: no thread for the program (error %d)\n", error);
    exit(70);
  }
  worker->running = true;
}

bool fuzz_threads_run(executor *x, unsigned thread, uint32_t op, bool (*step)(executor *x, uint32_t op)) {
  if (thread == 0)
    return step(x, op);
  struct worker *worker = &workers[thread];
  if (!worker->running)
    start(x, worker);
  uint32_t before = atomic_load_explicit(&worker->done, memory_order_relaxed);
  worker->op = op;
  worker->step = step;
  fuzz_token_set(&worker->order, WORK);
  fuzz_token_wait_while(&worker->done, before);
  return worker->result;
}

void fuzz_threads_end(unsigned thread) {
  struct worker *worker = &workers[thread];
  if (thread == 0 || !worker->running)
    return;
  fuzz_token_set(&worker->order, END);
  pthread_join(worker->thread, NULL);
  worker->running = false;
}

void fuzz_threads_end_all(void) {
  for (unsigned thread = 1; thread < FUZZ_THREADS; thread++)
    fuzz_threads_end(thread);
}

void fuzz_threads_forget(void) {
  for (unsigned thread = 1; thread < FUZZ_THREADS; thread++)
    workers[thread].running = false;
}

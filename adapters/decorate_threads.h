// decorate_threads.h: a record for each thread that calls a decorator. A thread takes one with its first call
// and gives it back when it ends, contents kept, to the next thread that comes: so there are as many as
// threads at one time, and their sum is that over all threads that ever were.
#ifndef HEAPARENA_ADAPTERS_DECORATE_THREADS_H
#define HEAPARENA_ADAPTERS_DECORATE_THREADS_H

#include "adapters/decorate.h"

#include <pthread.h>

typedef struct ha_records {
  pthread_mutex_t lock;
  pthread_key_t key; // its destructor gives the record back
  unsigned char *base;
  size_t size;   // of one record, bytes
  unsigned used; // records that were ever taken
  unsigned free_count;
  uint16_t free[HA_DECORATED_THREADS]; // taken before and given back since
  struct ha_records *next;             // of all that were started: fork() must find their locks free
} ha_records;

// A thread's own record: thread-local, zero at first.
typedef struct ha_own_record {
  ha_records *records;
  void *record;
  bool none; // too many threads have one
} ha_own_record;

// Memory at `base` holds HA_DECORATED_THREADS records of `size` bytes. A second call starts anew; the calling
// thread has no record then, and no other thread may have one. False if the system has no key left.
bool ha_records_start(ha_records *records, void *base, size_t size, ha_own_record *own);

// Takes a record for the calling thread, whose `own` is empty; own->none when too many threads have one.
void ha_records_take(ha_records *records, ha_own_record *own);

// The calling thread's record; NULL when too many threads have one.
static inline void *ha_records_own(ha_records *records, ha_own_record *own) {
  if (__builtin_expect(!own->record && !own->none, 0))
    ha_records_take(records, own);
  return own->record;
}

#endif

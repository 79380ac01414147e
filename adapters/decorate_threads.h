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
} ha_records;

// Memory at `base` holds HA_DECORATED_THREADS records of `size` bytes. ended(record) is called by a thread
// that ends and must call ha_records_give(); lock() and unlock() are those of records->lock, for fork(). A
// second call starts anew. False if the system has no key left.
bool ha_records_start(ha_records *records, void *base, size_t size, void (*ended)(void *record),
                      void (*lock)(void), void (*unlock)(void));

// A record for the calling thread; NULL when too many threads have one.
void *ha_records_take(ha_records *records);
void ha_records_give(ha_records *records, void *record);

#endif

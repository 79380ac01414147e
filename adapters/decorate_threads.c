// decorate_threads.c: see decorate_threads.h.
#include "adapters/decorate_threads.h"

#include <assert.h>

static_assert(HA_DECORATED_THREADS <= UINT16_MAX, "record numbers are kept in 16 bits");

bool ha_records_start(ha_records *records, void *base, size_t size, void (*ended)(void *record),
                      void (*lock)(void), void (*unlock)(void)) {
  if (!records->base) {
    pthread_mutex_init(&records->lock, NULL);
    if (pthread_key_create(&records->key, ended) != 0 || pthread_atfork(lock, unlock, unlock) != 0)
      return false;
  }
  records->base = base;
  records->size = size;
  records->used = 0;
  records->free_count = 0;
  return true;
}

void *ha_records_take(ha_records *records) {
  unsigned number = HA_DECORATED_THREADS;
  pthread_mutex_lock(&records->lock);
  if (records->free_count > 0)
    number = records->free[--records->free_count];
  else if (records->used < HA_DECORATED_THREADS)
    number = records->used++;
  pthread_mutex_unlock(&records->lock);
  if (number == HA_DECORATED_THREADS)
    return NULL;
  void *record = records->base + number * records->size;
  pthread_setspecific(records->key, record);
  return record;
}

void ha_records_give(ha_records *records, void *record) {
  size_t number = (size_t)((unsigned char *)record - records->base) / records->size;
  pthread_mutex_lock(&records->lock);
  records->free[records->free_count++] = (uint16_t)number;
  pthread_mutex_unlock(&records->lock);
}

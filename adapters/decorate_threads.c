// decorate_threads.c: see decorate_threads.h.
#include "adapters/decorate_threads.h"

#include <assert.h>

static_assert(HA_DECORATED_THREADS <= UINT16_MAX, "record numbers are kept in 16 bits");

static ha_records *started; // grows before threads exist

// A forked child must find the locks free.
static void lock_all(void) {
  for (ha_records *records = started; records; records = records->next)
    pthread_mutex_lock(&records->lock);
}

static void unlock_all(void) {
  for (ha_records *records = started; records; records = records->next)
    pthread_mutex_unlock(&records->lock);
}

static void thread_ended(void *ending) {
  ha_own_record *own = ending;
  ha_records *records = own->records;
  size_t number = (size_t)((unsigned char *)own->record - records->base) / records->size;
  own->record = NULL;
  pthread_mutex_lock(&records->lock);
  records->free[records->free_count++] = (uint16_t)number;
  pthread_mutex_unlock(&records->lock);
}

bool ha_records_start(ha_records *records, void *base, size_t size, ha_own_record *own) {
  if (!records->base) {
    pthread_mutex_init(&records->lock, NULL);
    if (pthread_key_create(&records->key, thread_ended) != 0 ||
        (!started && pthread_atfork(lock_all, unlock_all, unlock_all) != 0))
      return false;
    records->next = started;
    started = records;
  }
  records->base = base;
  records->size = size;
  records->used = 0;
  records->free_count = 0;
  *own = (ha_own_record){0};
  return true;
}

void ha_records_take(ha_records *records, ha_own_record *own) {
  unsigned number = HA_DECORATED_THREADS;
  pthread_mutex_lock(&records->lock);
  if (records->free_count > 0)
    number = records->free[--records->free_count];
  else if (records->used < HA_DECORATED_THREADS)
    number = records->used++;
  pthread_mutex_unlock(&records->lock);
  own->records = records;
  own->none = number == HA_DECORATED_THREADS;
  if (own->none)
    return;
  own->record = records->base + number * records->size;
  pthread_setspecific(records->key, own);
}

// services.c: what workload.h offers to every workload: memory of the harness, failure, live bytes, block
// marks.
#include "workloads/workload.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

void *ha_map(ha_run *run, size_t bytes) {
  size_t length = (bytes + 4095) & ~(size_t)4095;
  void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (p == MAP_FAILED) {
    ha_fail(run, "the harness cannot get %zu MiB for its tables; choose smaller parameters", length >> 20);
    return NULL;
  }
  run->harness_bytes += length;
  return p;
}

bool ha_fail(ha_run *run, const char *format, ...) {
  if (run->why[0] == '\0') {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->why, sizeof run->why, format, arguments);
    va_end(arguments);
  }
  return false;
}

void ha_count(ha_run *run, const char *name, double value) {
  if (run->counter_count == HA_MOST_COUNTERS)
    return;
  run->counters[run->counter_count].name = name;
  run->counters[run->counter_count++].value = value;
}

void ha_live_flush(ha_live *live) {
  int64_t before = atomic_fetch_add_explicit(&live->run->live_bytes, live->change, memory_order_relaxed);
  int64_t high = before + live->high;
  int64_t peak = atomic_load_explicit(&live->run->live_peak, memory_order_relaxed);
  while (high > peak && !atomic_compare_exchange_weak_explicit(&live->run->live_peak, &peak, high,
                                                               memory_order_relaxed, memory_order_relaxed)) {
  }
  live->change = 0;
  live->high = 0;
  live->steps = 0;
}

// The pattern depends on tag and position, so that neither a shifted nor another block's contents pass.
static unsigned char pattern_at(uint64_t tag, size_t i) {
  return (unsigned char)(tag * 131 + i * 7 + (i >> 8));
}

void ha_block_mark_whole(void *block, size_t size, uint64_t tag) {
  unsigned char *bytes = block;
  for (size_t i = 0; i < size; i++)
    bytes[i] = pattern_at(tag, i);
}

bool ha_block_check_whole(const void *block, size_t size, uint64_t tag) {
  const unsigned char *bytes = block;
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != pattern_at(tag, i))
      return false;
  return true;
}

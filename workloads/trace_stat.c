// trace_stat.c: gathers what trace_stat.h names, in one reading.
#include "workloads/trace_stat.h"
#include "workloads/trace_codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The operations at which blocks of one size class were freed and not yet reused, the newest last.
typedef struct free_stack {
  uint64_t *at;
  size_t count, capacity;
} free_stack;

typedef struct gatherer {
  ha_trace_stat *stat;
  ha_trace_map live;  // object -> size, value: operation of its birth, thread
  ha_trace_map times; // object -> value: time of its birth
  free_stack stacks[HA_BUCKETS];
  uint64_t number;
} gatherer;

// ---- Laws ----

static void count(ha_stat_law *law, uint64_t value) {
  if (law->count++ == 0 || value < law->least)
    law->least = value;
  if (value > law->most)
    law->most = value;
  law->buckets[ha_bucket(value)]++;
  law->sum += (double)value;
}

double ha_stat_quantile(const ha_stat_law *law, double share) {
  double wanted = share * (double)law->count, below = 0;
  for (unsigned i = 0; i < HA_BUCKETS; i++) {
    double here = (double)law->buckets[i];
    if (here == 0 || below + here < wanted) {
      below += here;
      continue;
    }
    double width = i < 4 ? 0 : ha_bucket_start(i + 1) - ha_bucket_start(i);
    double value = ha_bucket_start(i) + width * (wanted - below) / here;
    return fmin(fmax(value, (double)law->least), (double)law->most);
  }
  return (double)law->most;
}

// ---- Reuse ----

static bool was_freed(gatherer *g, uint64_t size) {
  free_stack *stack = &g->stacks[ha_bucket(size)];
  if (stack->count == stack->capacity) {
    size_t capacity = stack->capacity == 0 ? 1024 : stack->capacity * 2;
    uint64_t *grown = realloc(stack->at, capacity * sizeof *grown);
    if (grown == NULL)
      return false;
    stack->at = grown;
    stack->capacity = capacity;
  }
  stack->at[stack->count++] = g->number;
  return true;
}

static void is_needed(gatherer *g, uint64_t size) {
  free_stack *stack = &g->stacks[ha_bucket(size)];
  if (stack->count == 0)
    g->stat->fresh++;
  else
    count(&g->stat->reuse, g->number - stack->at[--stack->count]);
}

// ---- Operations ----

static bool allocated(gatherer *g, const ha_op *op) {
  ha_trace_entry *entry = ha_trace_map_add(&g->live, op->object);
  ha_trace_entry *time = ha_trace_map_add(&g->times, op->object);
  if (entry == NULL || time == NULL)
    return false;
  *entry = (ha_trace_entry){
      .tagged_key = entry->tagged_key, .size = op->size, .value = g->number, .thread = op->thread};
  time->value = op->time_ns;
  g->stat->threads[op->thread].allocations++;
  count(&g->stat->sizes, op->size);
  is_needed(g, op->size);
  return true;
}

static bool resized(gatherer *g, const ha_op *op, ha_trace_entry *entry) {
  g->stat->resizes++;
  g->stat->threads[op->thread].reallocs++;
  count(&g->stat->sizes, op->size);
  // Within its class a block can stay where it is.
  bool good = true;
  if (ha_bucket(op->size) != ha_bucket(entry->size)) {
    is_needed(g, op->size);
    good = was_freed(g, entry->size);
  }
  entry->size = op->size;
  return good;
}

static bool freed(gatherer *g, const ha_op *op, ha_trace_entry *entry) {
  ha_trace_entry *time = ha_trace_map_find(&g->times, op->object);
  g->stat->threads[op->thread].frees++;
  count(&g->stat->lifetimes, g->number - entry->value);
  count(&g->stat->lifetimes_ns, op->time_ns - time->value);
  bool good = was_freed(g, entry->size);
  ha_trace_map_remove(&g->live, entry);
  ha_trace_map_remove(&g->times, time);
  return good;
}

static bool gather_object(gatherer *g, const ha_op *op) {
  ha_stat_thread *own = &g->stat->threads[op->thread];
  if (ha_kind_allocates(op->kind)) {
    own->requested_bytes += op->size;
    own->live_bytes += op->size;
    own->live_peak = own->live_bytes > own->live_peak ? own->live_bytes : own->live_peak;
    return allocated(g, op);
  }
  ha_trace_entry *entry = ha_trace_map_find(&g->live, op->object);
  ha_stat_thread *owner = &g->stat->threads[entry->thread];
  own->remote_frees += entry->thread != op->thread;
  g->stat->refers++;
  owner->live_bytes -= entry->size;
  if (op->kind != HA_OP_REALLOC)
    return freed(g, op, entry);
  own->requested_bytes += op->size;
  owner->live_bytes += op->size;
  owner->live_peak = owner->live_bytes > owner->live_peak ? owner->live_bytes : owner->live_peak;
  return resized(g, op, entry);
}

static bool know_threads(ha_trace_stat *stat, const ha_trace_reader *reader) {
  size_t known;
  const ha_trace_thread *names = ha_trace_threads(reader, &known);
  if (known == stat->thread_count)
    return true;
  ha_stat_thread *threads = realloc(stat->threads, known * sizeof *threads);
  stat->threads = threads == NULL ? stat->threads : threads;
  ha_trace_thread *copies = realloc(stat->names, known * sizeof *copies);
  stat->names = copies == NULL ? stat->names : copies;
  if (threads == NULL || copies == NULL)
    return false;
  memset(threads + stat->thread_count, 0, (known - stat->thread_count) * sizeof *threads);
  memcpy(copies, names, known * sizeof *copies);
  stat->thread_count = known;
  return true;
}

static bool gather(gatherer *g, const ha_trace_reader *reader, const ha_op *op) {
  if (!know_threads(g->stat, reader))
    return false;
  ha_stat_thread *own = &g->stat->threads[op->thread];
  if (own->operations++ == 0)
    own->first_ns = op->time_ns;
  own->last_ns = op->time_ns;
  bool object = ha_kind_allocates(op->kind) || ha_kind_refers(op->kind);
  return !object || (op->flags & HA_OP_FAILED) != 0 || gather_object(g, op);
}

bool ha_trace_stat_read(const char *path, ha_trace_stat *stat, char *why, size_t why_size) {
  *stat = (ha_trace_stat){0};
  ha_trace_reader *reader = ha_trace_open(path, why, why_size);
  gatherer *g = calloc(1, sizeof *g);
  if (reader == NULL || g == NULL) {
    if (reader != NULL)
      snprintf(why, why_size, "not enough memory");
    ha_trace_close(reader);
    free(g);
    return false;
  }
  g->stat = stat;
  ha_op op;
  int got = 0;
  bool whole = true;
  for (; whole && (got = ha_trace_next(reader, &op)) > 0; g->number++)
    whole = gather(g, reader, &op);
  if (whole && got == 0) {
    stat->totals = *ha_trace_get_totals(reader);
    stat->never_freed = g->live.count;
  } else {
    snprintf(why, why_size, "%s", whole ? ha_trace_error(reader) : "not enough memory");
  }
  ha_trace_map_clear(&g->live);
  ha_trace_map_clear(&g->times);
  for (unsigned i = 0; i < HA_BUCKETS; i++)
    free(g->stacks[i].at);
  free(g);
  ha_trace_close(reader);
  if (!whole || got != 0)
    ha_trace_stat_free(stat);
  return whole && got == 0;
}

void ha_trace_stat_free(ha_trace_stat *stat) {
  free(stat->threads);
  free(stat->names);
  *stat = (ha_trace_stat){0};
}

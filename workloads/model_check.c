// model_check.c: holds what a model makes against the trace it was fitted to.
#include "workloads/model_fit.h"
#include "workloads/trace_codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// One side's distributions.
typedef struct side {
  ha_trace_map births; // object -> value: operation
  uint64_t lifetimes[HA_BUCKETS];
  uint64_t operation, size_total;
  uint64_t resizes; // reallocs that succeeded
} side;

// Counts of one size on both sides.
typedef struct pair {
  uint64_t size, counts[2];
} pair;

typedef struct checking {
  side sides[2];
  ha_trace_map sizes; // size -> value: the trace's count, size: the model's
} checking;

static bool count_op(checking *c, unsigned which, const ha_op *op) {
  side *s = &c->sides[which];
  uint64_t number = s->operation++;
  if (op->flags & HA_OP_FAILED)
    return true;
  s->resizes += op->kind == HA_OP_REALLOC;
  if (op->kind == HA_OP_FREE || op->kind == HA_OP_FREE_SIZED) {
    ha_trace_entry *birth = ha_trace_map_find(&s->births, op->object);
    s->lifetimes[ha_bucket(number - birth->value)]++;
    ha_trace_map_remove(&s->births, birth);
    return true;
  }
  if (ha_kind_allocates(op->kind)) {
    ha_trace_entry *birth = ha_trace_map_add(&s->births, op->object);
    if (birth == NULL)
      return false;
    birth->value = number;
  } else if (op->kind != HA_OP_REALLOC) {
    return true;
  }
  ha_trace_entry *size = ha_trace_map_find(&c->sizes, op->size);
  if (size == NULL)
    size = ha_trace_map_add(&c->sizes, op->size);
  if (size == NULL)
    return false;
  *(which == 0 ? &size->value : &size->size) += 1;
  s->size_total++;
  return true;
}

static void take_totals(ha_model_fidelity *f, unsigned which, const ha_trace_totals *totals, const side *s) {
  f->operations[which] = totals->operations;
  f->objects[which] = totals->objects;
  f->live_peak[which] = totals->live_bytes_peak;
  f->remote[which] = totals->remote_frees;
  f->threads[which] = totals->threads;
  f->reallocs[which] = s->resizes;
  f->refers[which] = s->resizes + totals->by_kind[HA_OP_FREE] + totals->by_kind[HA_OP_FREE_SIZED];
}

static bool read_trace(checking *c, const char *trace, ha_model_fidelity *f, char *why, size_t why_size) {
  ha_trace_reader *reader = ha_trace_open(trace, why, why_size);
  if (reader == NULL)
    return false;
  ha_op op;
  int got;
  bool good = true;
  while (good && (got = ha_trace_next(reader, &op)) > 0)
    good = count_op(c, 0, &op);
  if (!good)
    snprintf(why, why_size, "not enough memory to check the model");
  else if (got < 0)
    snprintf(why, why_size, "%s", ha_trace_error(reader));
  good = good && got == 0;
  if (good)
    take_totals(f, 0, ha_trace_get_totals(reader), &c->sides[0]);
  ha_trace_close(reader);
  return good;
}

// The state checks that what is made keeps the rules of a trace.
static bool make_operations(checking *c, const ha_model *model, uint64_t seed, ha_model_fidelity *f,
                            char *why, size_t why_size) {
  ha_trace_state state = {0};
  ha_model_maker *maker = ha_model_make(model, seed);
  const char *wrong = maker == NULL ? "not enough memory" : NULL;
  for (uint32_t i = 0; wrong == NULL && i < model->thread_count; i++)
    wrong = ha_trace_state_add_thread(&state,
                                      &(ha_trace_thread){.thread = i, .parent = model->threads[i].parent});
  ha_op op;
  int got = 0;
  while (wrong == NULL && (got = ha_model_next(maker, &op)) > 0) {
    wrong = ha_trace_state_apply(&state, &op);
    if (wrong == NULL && !count_op(c, 1, &op))
      wrong = "not enough memory";
  }
  if (wrong == NULL && got < 0)
    wrong = "not enough memory";
  if (wrong != NULL)
    snprintf(why, why_size, "the model's operation %llu: %s", (unsigned long long)state.totals.operations,
             wrong);
  else
    take_totals(f, 1, &state.totals, &c->sides[1]);
  ha_model_unmake(maker);
  ha_trace_state_clear(&state);
  return wrong == NULL;
}

static int by_size(const void *left, const void *right) {
  const pair *a = left, *b = right;
  return (a->size > b->size) - (a->size < b->size);
}

// Largest distance between two cumulative distributions, given their counts in order.
static double distance(const pair *pairs, size_t count) {
  double totals[2] = {0, 0}, sums[2] = {0, 0}, most = 0;
  for (size_t i = 0; i < count; i++)
    for (unsigned k = 0; k < 2; k++)
      totals[k] += (double)pairs[i].counts[k];
  if (totals[0] == 0 || totals[1] == 0)
    return totals[0] == totals[1] ? 0 : 1;
  for (size_t i = 0; i < count; i++) {
    for (unsigned k = 0; k < 2; k++)
      sums[k] += (double)pairs[i].counts[k];
    most = fmax(most, fabs(sums[0] / totals[0] - sums[1] / totals[1]));
  }
  return most;
}

static bool compare(const checking *c, ha_model_fidelity *f) {
  pair lives[HA_BUCKETS];
  for (unsigned b = 0; b < HA_BUCKETS; b++)
    lives[b] = (pair){.size = b, .counts = {c->sides[0].lifetimes[b], c->sides[1].lifetimes[b]}};
  f->ks_lifetimes = distance(lives, HA_BUCKETS);
  pair *pairs = malloc((c->sizes.count + 1) * sizeof *pairs);
  if (pairs == NULL)
    return false;
  size_t count = 0;
  uint64_t at = 0;
  for (const ha_trace_entry *entry; (entry = ha_trace_map_walk(&c->sizes, &at)) != NULL;)
    pairs[count++] = (pair){.size = entry->tagged_key - 1, .counts = {entry->value, entry->size}};
  qsort(pairs, count, sizeof *pairs, by_size);
  f->ks_sizes = distance(pairs, count);
  free(pairs);
  return true;
}

bool ha_model_check(const ha_model *model, const char *trace, uint64_t seed, ha_model_fidelity *fidelity,
                    char *why, size_t why_size) {
  *fidelity = (ha_model_fidelity){0};
  checking *c = calloc(1, sizeof *c);
  if (c == NULL) {
    snprintf(why, why_size, "not enough memory to check the model");
    return false;
  }
  bool good = read_trace(c, trace, fidelity, why, why_size) &&
              make_operations(c, model, seed, fidelity, why, why_size);
  if (good && !compare(c, fidelity)) {
    snprintf(why, why_size, "not enough memory to check the model");
    good = false;
  }
  ha_trace_map_clear(&c->sizes);
  ha_trace_map_clear(&c->sides[0].births);
  ha_trace_map_clear(&c->sides[1].births);
  free(c);
  return good;
}

static double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : (double)part / (double)whole;
}

// One line of the table. A limit of 0: the figure is told, not judged.
typedef struct row {
  const char *name, *unit;
  double trace, model, difference, limit;
} row;

#define ROWS 7

static void fill_rows(const ha_model_fidelity *f, row rows[ROWS]) {
  double remote[2] = {100 * share(f->remote[0], f->refers[0]), 100 * share(f->remote[1], f->refers[1])};
  double peak = 100 * (share(f->live_peak[1], f->live_peak[0]) - 1);
  rows[0] = (row){"sizes", "KS distance", 0, 0, f->ks_sizes, 0.02};
  rows[1] = (row){"live bytes, peak", "%", (double)f->live_peak[0], (double)f->live_peak[1], peak, 5};
  rows[2] = (row){"by another thread, %", "points", remote[0], remote[1], remote[1] - remote[0], 2};
  rows[3] = (row){"lifetimes", "KS distance", 0, 0, f->ks_lifetimes, 0};
  rows[4] = (row){"operations",
                  "%",
                  (double)f->operations[0],
                  (double)f->operations[1],
                  100 * (share(f->operations[1], f->operations[0]) - 1),
                  0};
  rows[5] = (row){"objects",
                  "%",
                  (double)f->objects[0],
                  (double)f->objects[1],
                  100 * (share(f->objects[1], f->objects[0]) - 1),
                  0};
  rows[6] = (row){"reallocs",
                  "%",
                  (double)f->reallocs[0],
                  (double)f->reallocs[1],
                  f->reallocs[0] == 0 ? 0 : 100 * (share(f->reallocs[1], f->reallocs[0]) - 1),
                  0};
}

bool ha_model_faithful(const ha_model_fidelity *f) {
  row rows[ROWS];
  fill_rows(f, rows);
  for (size_t i = 0; i < ROWS; i++)
    if (rows[i].limit != 0 && fabs(rows[i].difference) > rows[i].limit)
      return false;
  return true;
}

static void print_row(const row *r, bool within) {
  printf("%-22s", r->name);
  if (r->trace != 0 || r->model != 0)
    printf(" %16.10g %16.10g", r->trace, r->model);
  else
    printf(" %16s %16s", "", "");
  printf(" %12.4f %-12s", r->difference, r->unit);
  if (r->limit != 0)
    printf(" %8g %s", r->limit, within ? "ok" : "MISSED");
  putchar('\n');
}

bool ha_model_fidelity_print(const ha_model_fidelity *f, bool json) {
  row rows[ROWS];
  fill_rows(f, rows);
  bool good = ha_model_faithful(f);
  printf(json ? "{\"faithful\": %s, \"rows\": [" : "model is %s\n",
         json ? (good ? "true" : "false") : (good ? "faithful" : "NOT FAITHFUL"));
  if (!json)
    printf("%-22s %16s %16s %12s %-12s %8s\n", "", "trace", "model", "difference", "", "at most");
  for (size_t i = 0; i < ROWS; i++) {
    const row *r = &rows[i];
    bool within = r->limit == 0 || fabs(r->difference) <= r->limit;
    if (json)
      printf(
          "%s{\"name\": \"%s\", \"trace\": %.17g, \"model\": %.17g, \"difference\": %.6g, \"unit\": \"%s\", "
          "\"limit\": %g, \"within\": %s}",
          i == 0 ? "" : ", ", r->name, r->trace, r->model, r->difference, r->unit, r->limit,
          within ? "true" : "false");
    else
      print_row(r, within);
  }
  if (json)
    puts("]}");
  return good;
}

// model_survey.c: see model_fit.h.
#include "workloads/model_fit.h"
#include "workloads/trace_codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVEN_PHASES 16
#define TURN_SHARE  200  // a turn of live bytes is worth a phase if it is one in so many of the peak's bytes
#define ATOM_SHARE  256  // a size with one in so many requests is a class of its own
#define RANGE_SHARE 100  // a class of rare sizes has at most one in so many requests
#define LARGE_SHARE 1024 // a block of one in so many of the peak's bytes is listed by itself
#define LARGE_CHAIN 64   // unless it was resized more often

static bool no_memory(char *why, size_t why_size) {
  snprintf(why, why_size, "not enough memory to fit a model");
  return false;
}

// ---- Reading ----

static bool keep_candidate(model_survey *s, uint64_t object, const ha_trace_entry *entry) {
  if (entry->value < MODEL_LARGE_LEAST)
    return true;
  if (s->candidate_count == s->candidate_capacity) {
    size_t capacity = s->candidate_capacity == 0 ? 1024 : s->candidate_capacity * 2;
    model_candidate *grown = realloc(s->candidates, capacity * sizeof *grown);
    if (grown == NULL)
      return false;
    s->candidates = grown;
    s->candidate_capacity = capacity;
  }
  s->candidates[s->candidate_count++] =
      (model_candidate){.object = object, .most = entry->value, .steps = entry->extra};
  return true;
}

static bool count_size(model_survey *s, uint64_t size) {
  ha_trace_entry *entry = ha_trace_map_find(&s->sizes, size);
  if (entry == NULL)
    entry = ha_trace_map_add(&s->sizes, size);
  if (entry == NULL)
    return false;
  entry->value++;
  s->size_total++;
  return true;
}

static bool survey_object(model_survey *s, const ha_op *op) {
  ha_trace_entry *entry;
  if (ha_kind_allocates(op->kind)) {
    entry = ha_trace_map_add(&s->objects, op->object);
    if (entry == NULL)
      return false;
  } else {
    entry = ha_trace_map_find(&s->objects, op->object);
  }
  s->live += op->size - entry->size;
  entry->extra++;
  if (op->kind == HA_OP_FREE || op->kind == HA_OP_FREE_SIZED) {
    s->live -= op->size; // a sized free names it
    bool kept = keep_candidate(s, op->object, entry);
    ha_trace_map_remove(&s->objects, entry);
    return kept;
  }
  entry->size = op->size;
  if (op->size > entry->value)
    entry->value = op->size;
  if (s->live > s->peak) {
    s->peak = s->live;
    s->peak_at = s->operations + 1;
  }
  return count_size(s, op->size);
}

static bool survey_thread(model_survey *s, const ha_trace_reader *reader, uint32_t thread) {
  size_t count;
  const ha_trace_thread *threads = ha_trace_threads(reader, &count);
  if (count > s->thread_count) {
    uint64_t *first = realloc(s->first, count * sizeof *first);
    s->first = first == NULL ? s->first : first;
    uint64_t *last = realloc(s->last, count * sizeof *last);
    s->last = last == NULL ? s->last : last;
    uint32_t *parent = realloc(s->parent, count * sizeof *parent);
    s->parent = parent == NULL ? s->parent : parent;
    if (first == NULL || last == NULL || parent == NULL)
      return false;
    for (size_t i = s->thread_count; i < count; i++) {
      first[i] = UINT64_MAX;
      parent[i] = threads[i].parent;
    }
    s->thread_count = count;
  }
  if (s->first[thread] == UINT64_MAX)
    s->first[thread] = s->operations;
  s->last[thread] = s->operations;
  return true;
}

// Keeps a curve of at most MODEL_CURVE points, whatever the trace's length: full, it drops every second one.
static void extend_curve(model_survey *s) {
  if (s->curve_step == 0)
    s->curve_step = 1;
  if (s->operations % s->curve_step != 0)
    return;
  if (s->curve_points == MODEL_CURVE) {
    for (size_t i = 0; i < MODEL_CURVE / 2; i++)
      s->curve[i] = s->curve[2 * i];
    s->curve_points /= 2;
    s->curve_step *= 2;
  }
  s->curve[s->curve_points++] = s->live;
}

static bool read_through(model_survey *s, const char *trace, char *why, size_t why_size) {
  ha_trace_reader *reader = ha_trace_open(trace, why, why_size);
  if (reader == NULL)
    return false;
  ha_op op;
  int got;
  bool good = true;
  for (; good && (got = ha_trace_next(reader, &op)) > 0; s->operations++) {
    extend_curve(s);
    good = survey_thread(s, reader, op.thread) &&
           ((op.flags & HA_OP_FAILED) != 0 || (!ha_kind_allocates(op.kind) && !ha_kind_refers(op.kind)) ||
            survey_object(s, &op));
  }
  if (!good)
    no_memory(why, why_size);
  else if (got < 0)
    good = snprintf(why, why_size, "%s", ha_trace_error(reader)) < 0;
  uint64_t at = 0;
  for (const ha_trace_entry *entry; good && (entry = ha_trace_map_walk(&s->objects, &at)) != NULL;)
    if (!keep_candidate(s, entry->tagged_key - 1, entry))
      good = no_memory(why, why_size);
  ha_trace_close(reader);
  return good;
}

// ---- Size classes ----

typedef struct counted {
  uint64_t size, count;
} counted;

static int by_size(const void *left, const void *right) {
  const counted *a = left, *b = right;
  return (a->size > b->size) - (a->size < b->size);
}

// Cuts the sorted sizes into classes; returns their number. `classes` may be NULL: only counts.
static uint32_t cut_classes(const counted *sizes, size_t count, uint64_t atom, uint64_t range,
                            ha_model_size *classes) {
  uint32_t made = 0;
  uint64_t mass = 0;
  bool open = false;
  for (size_t i = 0; i < count; i++) {
    bool alone = sizes[i].count >= atom;
    // Half an octave at most.
    bool near = open && i > 0 && ha_bucket(sizes[i].size) / 2 == ha_bucket(sizes[i - 1].size) / 2;
    if (!open || alone || !near || mass + sizes[i].count > range) {
      if (classes != NULL)
        classes[made].from = sizes[i].size;
      made++;
      mass = 0;
    }
    if (classes != NULL)
      classes[made - 1].to = sizes[i].size;
    mass += sizes[i].count;
    open = !alone;
  }
  return made;
}

static bool make_classes(model_survey *s, ha_model *model) {
  size_t count = 0;
  counted *sizes = malloc((s->sizes.count + 1) * sizeof *sizes);
  if (sizes == NULL)
    return false;
  uint64_t at = 0;
  for (const ha_trace_entry *entry; (entry = ha_trace_map_walk(&s->sizes, &at)) != NULL;)
    sizes[count++] = (counted){.size = entry->tagged_key - 1, .count = entry->value};
  qsort(sizes, count, sizeof *sizes, by_size);
  uint64_t atom = s->size_total / ATOM_SHARE + 1, range = s->size_total / RANGE_SHARE + 1;
  while (cut_classes(sizes, count, atom, range, NULL) > HA_MODEL_SIZES) {
    atom += atom / 4 + 1;
    range += range / 4 + 1;
  }
  model->size_count = cut_classes(sizes, count, atom, range, NULL);
  model->sizes = ha_model_memory(model, model->size_count + 1u, sizeof *model->sizes);
  if (model->sizes != NULL)
    cut_classes(sizes, count, atom, range, model->sizes);
  free(sizes);
  return model->sizes != NULL;
}

uint32_t model_class(const ha_model *model, uint64_t size) {
  uint32_t low = 0, high = model->size_count;
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (model->sizes[middle].from <= size)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// ---- Phases, threads, large blocks ----

static uint64_t curve_at(const model_survey *s, uint64_t operation) {
  size_t at = (size_t)(operation / s->curve_step);
  return operation == s->peak_at ? s->peak : s->curve[at < s->curve_points ? at : s->curve_points - 1];
}

// Where the curve between two operations is farthest from a straight line, and how far.
static double farthest(const model_survey *s, uint64_t from, uint64_t to, uint64_t *place) {
  double most = 0, start = (double)curve_at(s, from), end = (double)curve_at(s, to);
  for (uint64_t at = (from / s->curve_step + 1) * s->curve_step; at < to; at += s->curve_step) {
    double line = start + (end - start) * (double)(at - from) / (double)(to - from);
    double off = fabs((double)curve_at(s, at) - line);
    if (off > most) {
      most = off;
      *place = at;
    }
  }
  return most;
}

static uint32_t add_cut(uint64_t *cuts, uint32_t count, uint64_t cut) {
  uint32_t at = count;
  for (; at > 0 && cuts[at - 1] > cut; at--) {
  }
  if (at > 0 && cuts[at - 1] == cut)
    return count;
  memmove(&cuts[at + 1], &cuts[at], (count - at) * sizeof *cuts);
  cuts[at] = cut;
  return count + 1;
}

// Some phases of equal length, one at the peak, and then one by one where live bytes turn most (as Douglas
// and Peucker simplify a line): within a phase what is made goes nearly straight.
static uint32_t choose_cuts(const model_survey *s, uint64_t *cuts) {
  uint32_t count = add_cut(cuts, 0, 0);
  for (uint64_t i = 1; i < EVEN_PHASES; i++)
    count = add_cut(cuts, count, s->operations * i / EVEN_PHASES);
  if (s->peak_at < s->operations)
    count = add_cut(cuts, count, s->peak_at);
  while (count < HA_MODEL_PHASES) {
    double most = (double)s->peak / TURN_SHARE;
    uint64_t cut = 0, place = 0;
    for (uint32_t i = 0; i < count; i++) {
      double off = farthest(s, cuts[i], i + 1 < count ? cuts[i + 1] : s->operations, &place);
      if (off > most) {
        most = off;
        cut = place;
      }
    }
    if (cut == 0)
      break;
    count = add_cut(cuts, count, cut);
  }
  return count;
}

static bool make_phases(const model_survey *s, ha_model *model) {
  uint64_t cuts[HA_MODEL_PHASES + 1] = {0};
  model->phases = ha_model_memory(model, HA_MODEL_PHASES, sizeof *model->phases);
  if (model->phases == NULL)
    return false;
  model->operations = s->operations;
  model->phase_count = choose_cuts(s, cuts);
  for (uint32_t p = 0; p < model->phase_count; p++) {
    model->phases[p].from = cuts[p];
    if ((model->phases[p].fresh = ha_model_memory(model, model->thread_count, sizeof(uint64_t))) == NULL)
      return false;
  }
  return true;
}

// Gives recorded threads lanes, in the order in which they begin: each its own if there are few, else one for
// several that never ran together, else any.
static bool make_threads(model_survey *s, ha_model *model) {
  size_t busy = 0;
  uint32_t *order = malloc((s->thread_count + 1) * sizeof *order);
  s->lane = malloc((s->thread_count + 1) * sizeof *s->lane);
  model->threads = ha_model_memory(model, HA_MODEL_THREADS, sizeof *model->threads);
  if (order == NULL || s->lane == NULL || model->threads == NULL) {
    free(order);
    return false;
  }
  for (uint32_t i = 0; i < s->thread_count; i++) {
    s->lane[i] = 0;
    if (s->first[i] == UINT64_MAX)
      continue;
    size_t at = busy++;
    for (; at > 0 && s->first[order[at - 1]] > s->first[i]; at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
  for (size_t i = 0; i < busy; i++) {
    uint32_t thread = order[i], lane = model->thread_count;
    if (busy > HA_MODEL_THREADS)
      for (lane = 0; lane < model->thread_count && model->threads[lane].last >= s->first[thread]; lane++) {
      }
    if (lane >= HA_MODEL_THREADS)
      lane = (uint32_t)(i % HA_MODEL_THREADS);
    s->lane[thread] = lane;
    ha_model_thread *one = &model->threads[lane];
    if (lane == model->thread_count) {
      model->thread_count++;
      uint32_t parent = s->lane[s->parent[thread]];
      *one = (ha_model_thread){.first = s->first[thread], .parent = parent < lane ? parent : 0};
    }
    one->last = one->last > s->last[thread] ? one->last : s->last[thread];
  }
  free(order);
  for (uint32_t i = 0; i < model->thread_count; i++)
    if ((model->threads[i].ends = ha_model_memory(model, model->thread_count, sizeof(uint64_t))) == NULL)
      return false;
  return true;
}

static int by_object(const void *left, const void *right) {
  const model_candidate *a = left, *b = right;
  return (a->object > b->object) - (a->object < b->object);
}

static bool make_large(model_survey *s, ha_model *model) {
  uint64_t least = s->peak / LARGE_SHARE > MODEL_LARGE_LEAST ? s->peak / LARGE_SHARE : MODEL_LARGE_LEAST;
  uint64_t steps;
  do {
    steps = 0;
    for (size_t i = 0; i < s->candidate_count; i++)
      if (s->candidates[i].most >= least && s->candidates[i].steps <= LARGE_CHAIN)
        steps += s->candidates[i].steps;
    least += steps > HA_MODEL_STEPS ? least / 16 : 0;
  } while (steps > HA_MODEL_STEPS && least < s->peak);
  size_t kept = 0;
  for (size_t i = 0; i < s->candidate_count && steps <= HA_MODEL_STEPS; i++)
    if (s->candidates[i].most >= least && s->candidates[i].steps <= LARGE_CHAIN)
      s->candidates[kept++] = s->candidates[i];
  s->candidate_count = kept;
  if (kept != 0)
    qsort(s->candidates, kept, sizeof *s->candidates, by_object);
  model->large = ha_model_memory(model, kept + 1, sizeof *model->large);
  model->large_count = (uint32_t)kept;
  for (size_t i = 0; model->large != NULL && i < kept; i++) {
    model->large[i].steps = ha_model_memory(model, s->candidates[i].steps, sizeof(ha_model_step));
    if (model->large[i].steps == NULL)
      return false;
  }
  return model->large != NULL;
}

bool model_survey_trace(const char *trace, model_survey *survey, ha_model *model, char *why,
                        size_t why_size) {
  *survey = (model_survey){0};
  if (!read_through(survey, trace, why, why_size))
    return false;
  if (survey->size_total == 0) {
    snprintf(why, why_size, "%s: the trace has no allocation to fit a model to", trace);
    return false;
  }
  return (make_classes(survey, model) && make_threads(survey, model) && make_phases(survey, model) &&
          make_large(survey, model)) ||
         no_memory(why, why_size);
}

void model_survey_clear(model_survey *survey) {
  ha_trace_map_clear(&survey->sizes);
  ha_trace_map_clear(&survey->objects);
  free(survey->candidates);
  free(survey->first);
  free(survey->last);
  free(survey->parent);
  free(survey->lane);
  *survey = (model_survey){0};
}

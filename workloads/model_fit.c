// model_fit.c: fits a model to a trace (model.h says what it holds): the survey has decided classes, phases,
// threads and large blocks, a second reading counts what falls where.
#include "workloads/model_fit.h"
#include "workloads/trace_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Counts by phase and class, dense while they are made.
typedef struct fitting {
  ha_model *model;
  model_survey *survey;
  ha_trace_map
      live; // object -> value: operation at which its segment began, thread, extra: class | phase << 16
  ha_trace_map large;                // object -> value: index
  uint64_t *fresh, *grown;           // [phase][class]
  uint64_t *ends;                    // [phase][class][end phase][2]
  uint64_t (*lifetimes)[HA_BUCKETS]; // [class]
  uint64_t (*alignments)[64];        // [class]
  double *bytes;                     // [class], summed
  uint64_t *segments;                // [class]
  uint64_t operation, live_bytes;
  uint32_t phase;
} fitting;

static size_t cell_of(const fitting *f, uint32_t phase, uint32_t class) {
  return (size_t)phase * f->model->size_count + class;
}

static bool get_tables(fitting *f) {
  size_t classes = f->model->size_count, phases = f->model->phase_count;
  f->fresh = calloc(classes * phases, sizeof *f->fresh);
  f->grown = calloc(classes * phases, sizeof *f->grown);
  f->ends = calloc(classes * phases * phases * 2, sizeof *f->ends);
  f->lifetimes = calloc(classes, sizeof *f->lifetimes);
  f->alignments = calloc(classes, sizeof *f->alignments);
  f->bytes = calloc(classes, sizeof *f->bytes);
  f->segments = calloc(classes, sizeof *f->segments);
  if (f->fresh == NULL || f->grown == NULL || f->ends == NULL || f->lifetimes == NULL ||
      f->alignments == NULL || f->bytes == NULL || f->segments == NULL)
    return false;
  for (size_t i = 0; i < f->survey->candidate_count; i++) {
    ha_trace_entry *entry = ha_trace_map_add(&f->large, f->survey->candidates[i].object);
    if (entry == NULL)
      return false;
    entry->value = i;
  }
  return true;
}

static void drop_tables(fitting *f) {
  free(f->fresh);
  free(f->grown);
  free(f->ends);
  free(f->lifetimes);
  free(f->alignments);
  free(f->bytes);
  free(f->segments);
  ha_trace_map_clear(&f->live);
  ha_trace_map_clear(&f->large);
}

// ---- Counting ----

static uint32_t model_kind(unsigned kind) {
  return kind == HA_OP_CALLOC           ? HA_MODEL_CALLOC
         : kind == HA_OP_ALIGNED_ALLOC  ? HA_MODEL_ALIGNED
         : kind == HA_OP_POSIX_MEMALIGN ? HA_MODEL_POSIX
                                        : HA_MODEL_MALLOC;
}

static void begin_segment(fitting *f, ha_trace_entry *entry, const ha_op *op) {
  uint32_t class = model_class(f->model, op->size);
  entry->value = f->operation;
  entry->extra = class | f->phase << 16;
  f->bytes[class] += (double)op->size;
  f->segments[class]++;
  if (op->kind == HA_OP_REALLOC)
    f->grown[cell_of(f, f->phase, class)]++;
  else
    f->fresh[cell_of(f, f->phase, class)]++;
}

static void end_segment(fitting *f, const ha_trace_entry *entry, bool grown) {
  uint32_t class = entry->extra & 0xffff, phase = entry->extra >> 16;
  f->ends[(cell_of(f, phase, class) * f->model->phase_count + f->phase) * 2 + grown]++;
  if (phase == f->phase)
    f->lifetimes[class][ha_bucket(f->operation - entry->value)]++;
}

static bool count_allocation(fitting *f, const ha_op *op) {
  ha_trace_entry *entry = ha_trace_map_add(&f->live, op->object);
  if (entry == NULL)
    return false;
  uint32_t lane = f->survey->lane[op->thread];
  entry->thread = lane;
  entry->size = op->size;
  f->live_bytes += op->size;
  const ha_trace_entry *listed = ha_trace_map_find(&f->large, op->object);
  if (listed != NULL) {
    ha_model_large *large = &f->model->large[listed->value];
    *large = (ha_model_large){.thread = lane,
                              .kind = model_kind(op->kind),
                              .alignment_log2 = op->alignment_log2,
                              .steps = large->steps,
                              .step_count = 1};
    large->steps[0] = (ha_model_step){.at = f->operation, .size = op->size};
    return true;
  }
  begin_segment(f, entry, op);
  uint32_t class = entry->extra & 0xffff;
  f->model->phases[f->phase].fresh[lane]++;
  f->model->sizes[class].kinds[model_kind(op->kind)]++;
  if (model_kind(op->kind) >= HA_MODEL_ALIGNED)
    f->alignments[class][op->alignment_log2]++;
  return true;
}

static void count_reference(fitting *f, const ha_op *op) {
  ha_trace_entry *entry = ha_trace_map_find(&f->live, op->object);
  bool resizes = op->kind == HA_OP_REALLOC;
  f->model->threads[entry->thread].ends[f->survey->lane[op->thread]]++;
  f->model->sized_frees += op->kind == HA_OP_FREE_SIZED;
  f->live_bytes += (resizes ? op->size : 0) - entry->size;
  entry->size = op->size;
  const ha_trace_entry *listed = ha_trace_map_find(&f->large, op->object);
  if (listed != NULL) {
    ha_model_large *large = &f->model->large[listed->value];
    large->steps[large->step_count++] =
        (ha_model_step){.at = f->operation, .size = resizes ? op->size : 0, .end = !resizes};
  } else {
    end_segment(f, entry, resizes);
    if (resizes)
      begin_segment(f, entry, op);
  }
  if (!resizes)
    ha_trace_map_remove(&f->live, entry);
}

static bool count_all(fitting *f, const char *trace, char *why, size_t why_size) {
  ha_trace_reader *reader = ha_trace_open(trace, why, why_size);
  if (reader == NULL)
    return false;
  ha_op op;
  bool good = true;
  for (; good && f->operation < f->model->operations; f->operation++) {
    if (ha_trace_next(reader, &op) <= 0) {
      snprintf(why, why_size, "%s: the file changed while it was read", trace);
      good = false;
      break;
    }
    while (f->phase + 1 < f->model->phase_count && f->operation >= f->model->phases[f->phase + 1].from)
      f->model->phases[++f->phase].most = f->live_bytes;
    if (op.flags & HA_OP_FAILED)
      continue;
    if (ha_kind_allocates(op.kind) && !count_allocation(f, &op)) {
      snprintf(why, why_size, "not enough memory to fit a model");
      good = false;
    } else if (ha_kind_refers(op.kind)) {
      count_reference(f, &op);
    }
    uint64_t *most = &f->model->phases[f->phase].most;
    *most = f->live_bytes > *most ? f->live_bytes : *most;
  }
  ha_trace_close(reader);
  return good;
}

// ---- Into the model ----

static void fill_quantiles(const uint64_t buckets[HA_BUCKETS], double *quantiles) {
  uint64_t total = 0, below = 0;
  for (unsigned b = 0; b < HA_BUCKETS; b++)
    total += buckets[b];
  unsigned at = 0;
  for (unsigned b = 0; b + 1 < HA_BUCKETS && total != 0; b++) {
    if (buckets[b] == 0)
      continue;
    double start = ha_bucket_start(b), width = ha_bucket_start(b + 1) - start;
    for (; at < HA_MODEL_QUANTILES; at++) {
      double wanted = (double)total * at / (HA_MODEL_QUANTILES - 1) - (double)below;
      if (wanted > (double)buckets[b])
        break;
      // Up to 4 a bucket is one value.
      quantiles[at] = b < 4 ? start : start + width * wanted / (double)buckets[b];
    }
    below += buckets[b];
  }
}

static void fill_sizes(fitting *f) {
  for (uint32_t i = 0; i < f->model->size_count; i++) {
    ha_model_size *size = &f->model->sizes[i];
    size->mean = f->segments[i] == 0 ? 0.5 * ((double)size->from + (double)size->to)
                                     : f->bytes[i] / (double)f->segments[i];
    for (unsigned k = 0; k < 64; k++)
      if (f->alignments[i][k] > f->alignments[i][size->alignment_log2])
        size->alignment_log2 = k;
    fill_quantiles(f->lifetimes[i], size->lifetimes);
  }
}

static bool fill_cell(fitting *f, uint32_t phase, uint32_t class, ha_model_cell *cell) {
  uint32_t phases = f->model->phase_count;
  const uint64_t *ends = &f->ends[cell_of(f, phase, class) * phases * 2];
  *cell = (ha_model_cell){.size = class,
                          .fresh = f->fresh[cell_of(f, phase, class)],
                          .grown = f->grown[cell_of(f, phase, class)]};
  cell->ends = ha_model_memory(f->model, phases, sizeof *cell->ends);
  if (cell->ends == NULL)
    return false;
  for (uint32_t q = phase; q < phases; q++)
    if (ends[2 * (size_t)q] + ends[2 * (size_t)q + 1] != 0)
      cell->ends[cell->end_count++] =
          (ha_model_end){.phase = q, .freed = ends[2 * (size_t)q], .grown = ends[2 * (size_t)q + 1]};
  return true;
}

static bool fill_phases(fitting *f) {
  for (uint32_t p = 0; p < f->model->phase_count; p++) {
    ha_model_phase *phase = &f->model->phases[p];
    phase->cells = ha_model_memory(f->model, f->model->size_count, sizeof *phase->cells);
    if (phase->cells == NULL)
      return false;
    for (uint32_t i = 0; i < f->model->size_count; i++)
      if (f->fresh[cell_of(f, p, i)] + f->grown[cell_of(f, p, i)] != 0 &&
          !fill_cell(f, p, i, &phase->cells[phase->cell_count++]))
        return false;
  }
  return true;
}

bool ha_model_fit(const char *trace, ha_model *model, char *why, size_t why_size) {
  model_survey survey;
  *model = (ha_model){0};
  fitting f = {.model = model, .survey = &survey};
  bool good = model_survey_trace(trace, &survey, model, why, why_size);
  if (good && !get_tables(&f)) {
    snprintf(why, why_size, "not enough memory to fit a model");
    good = false;
  }
  good = good && count_all(&f, trace, why, why_size);
  if (good) {
    fill_sizes(&f);
    good = fill_phases(&f) || snprintf(why, why_size, "not enough memory to fit a model") < 0;
  }
  drop_tables(&f);
  model_survey_clear(&survey);
  if (!good)
    ha_model_clear(model);
  return good;
}

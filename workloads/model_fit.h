// model_fit.h: what the two halves of fitting share: the survey that decides classes, phases, lanes and large
// blocks (model_survey.c), and the counting that fills them (model_fit.c). Uses the process's malloc.
#ifndef HEAPARENA_WORKLOADS_MODEL_FIT_H
#define HEAPARENA_WORKLOADS_MODEL_FIT_H

#include "workloads/model.h"
#include "workloads/trace_bucket.h"
#include "workloads/trace_map.h"

// A block that may be listed by itself: it was once at least MODEL_LARGE_LEAST bytes.
typedef struct model_candidate {
  uint64_t object, most;
  uint32_t steps; // its allocation, reallocs and free
} model_candidate;

#define MODEL_LARGE_LEAST 4096

#define MODEL_CURVE 8192

typedef struct model_survey {
  uint64_t curve[MODEL_CURVE]; // live bytes after each `curve_step` operations
  uint64_t curve_step;
  size_t curve_points;
  ha_trace_map sizes;   // requested size -> value: how often
  uint64_t size_total;  // sum of the values
  ha_trace_map objects; // live: size, value = most it had, extra = steps
  model_candidate *candidates;
  size_t candidate_count, candidate_capacity;
  uint64_t *first, *last; // operations, by recorded thread; first is UINT64_MAX for one without any
  uint32_t *parent, *lane;
  size_t thread_count;
  uint64_t operations, live, peak, peak_at; // peak_at: operations done when live bytes peaked
} model_survey;

// Reads the trace and decides all that the counting needs: the model's size classes (bounds only), phases'
// starts, threads, and large blocks (their number and room for their steps).
bool model_survey_trace(const char *trace, model_survey *survey, ha_model *model, char *why, size_t why_size);
void model_survey_clear(model_survey *survey);

// The class that a size is in; the model has one for every size that was surveyed.
uint32_t model_class(const ha_model *model, uint64_t size);

#endif

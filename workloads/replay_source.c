// replay_source.c: where the replayer's operations come from: a trace file, or a model that makes them. Both
// are gone through twice by replay_compile.c, and give the same operations each time.
#include "workloads/replay.h"

#include <stdio.h>

bool replay_source_open(replay_source *source, const replay_program *program) {
  *source = (replay_source){.program = program};
  if (program->model == NULL) {
    char why[1024];
    source->reader = ha_trace_open(program->file, why, sizeof why);
    return source->reader != NULL || ha_fail(program->run, "%s", why);
  }
  source->maker = ha_model_make(program->model, program->run->seed);
  const char *wrong = source->maker == NULL ? "not enough memory" : NULL;
  for (uint32_t i = 0; wrong == NULL && i < program->model->thread_count; i++)
    wrong = ha_trace_state_add_thread(
        &source->state, &(ha_trace_thread){.thread = i, .parent = program->model->threads[i].parent});
  return wrong == NULL || ha_fail(program->run, "%s: %s", program->file, wrong);
}

int replay_source_next(replay_source *source, ha_op *op) {
  if (source->reader != NULL)
    return ha_trace_next(source->reader, op);
  int got = ha_model_next(source->maker, op);
  source->wrong = got < 0 ? "not enough memory" : got == 0 ? NULL : ha_trace_state_apply(&source->state, op);
  return source->wrong == NULL ? got : -1;
}

bool replay_source_fail(const replay_source *source) {
  if (source->reader != NULL)
    return ha_fail(source->program->run, "%s", ha_trace_error(source->reader));
  return ha_fail(source->program->run, "%s: operation %llu made from it: %s", source->program->file,
                 (unsigned long long)source->state.totals.operations, source->wrong);
}

size_t replay_source_threads(const replay_source *source) {
  size_t count = source->state.thread_count;
  if (source->reader != NULL)
    ha_trace_threads(source->reader, &count);
  return count;
}

const ha_trace_totals *replay_source_totals(const replay_source *source) {
  return source->reader != NULL ? ha_trace_get_totals(source->reader) : &source->state.totals;
}

void replay_source_close(replay_source *source) {
  ha_trace_close(source->reader);
  ha_model_unmake(source->maker);
  ha_trace_state_clear(&source->state);
  *source = (replay_source){0};
}

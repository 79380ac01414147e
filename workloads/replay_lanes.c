// replay_lanes.c: which real thread (lane) replays which recorded ones: each its own, or where there were very
// many, all those in turn that never overlapped in time.
#include "workloads/replay.h"
#include "workloads/trace_map.h"

#include <string.h>

#define ONE_LANE_EACH_UP_TO 256 // recorded threads

// Gives each recorded thread a lane (a real thread). `last_of` holds, per lane, the last operation's number
// so far.
static void choose_lanes(replay_program *program, const uint32_t *by_start, uint64_t *last_of) {
  for (uint32_t i = 0; i < program->thread_count; i++) {
    replay_thread *thread = &program->threads[by_start[i]];
    uint32_t lane = program->lane_count;
    if (program->thread_count > ONE_LANE_EACH_UP_TO)
      for (lane = 0; lane < program->lane_count && last_of[lane] >= thread->first; lane++) {
      }
    if (lane == program->lane_count)
      program->lane_count++;
    last_of[lane] = thread->last;
    thread->lane = lane;
  }
}

static void list_lanes(replay_program *program, const uint32_t *by_start) {
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->lane_starts[program->threads[i].lane + 1]++;
  for (uint32_t lane = 0; lane < program->lane_count; lane++)
    program->lane_starts[lane + 1] += program->lane_starts[lane];
  for (uint32_t i = 0; i < program->thread_count; i++)
    program->lane_threads[program->lane_starts[program->threads[by_start[i]].lane]++] = by_start[i];
  // Each start has moved to the next lane's: back by one.
  memmove(program->lane_starts + 1, program->lane_starts, program->lane_count * sizeof *program->lane_starts);
  program->lane_starts[0] = 0;
}

// Recorded threads are numbered by appearance, but a SPAWN names one before it runs: sort by first operation.
static void sort_by_start(const replay_program *program, uint32_t *by_start) {
  for (uint32_t i = 0; i < program->thread_count; i++) {
    uint32_t at = i;
    for (; at > 0 && program->threads[by_start[at - 1]].first > program->threads[i].first; at--)
      by_start[at] = by_start[at - 1];
    by_start[at] = i;
  }
}

bool replay_make_lanes(replay_program *program) {
  size_t count = program->thread_count;
  program->lane_threads = ha_map(program->run, count * sizeof *program->lane_threads);
  program->lane_starts = ha_map(program->run, (count + 2) * sizeof *program->lane_starts);
  if (program->lane_threads == NULL || program->lane_starts == NULL)
    return false;
  uint32_t *by_start = ha_trace_pages(count * sizeof *by_start);
  uint64_t *last_of = ha_trace_pages(count * sizeof *last_of);
  bool whole = by_start != NULL && last_of != NULL;
  if (whole) {
    sort_by_start(program, by_start);
    choose_lanes(program, by_start, last_of);
    list_lanes(program, by_start);
  }
  ha_trace_pages_free(by_start, count * sizeof *by_start);
  ha_trace_pages_free(last_of, count * sizeof *last_of);
  return whole || ha_fail(program->run, "%s: not enough memory to prepare the replay", program->file);
}

// trace_edit.h: traces made of traces: a part of one, several as one, one without what gives its owner away.
// Every function reads its input to the end, so that a damaged file is refused whatever part was asked for;
// false comes with one line in `why`, and then no output is left behind.
#ifndef HEAPARENA_WORKLOADS_TRACE_EDIT_H
#define HEAPARENA_WORKLOADS_TRACE_EDIT_H

#include "workloads/trace.h"

// The operations from `from` up to, not including, `to`: numbers, or ns since the trace's start. Objects that
// are live at the start become allocations there; what the part does not free stays live.
typedef struct ha_trace_window {
  bool by_time;
  uint64_t from, to;
} ha_trace_window;

// Writes the part of `input` that lies in the window; *totals are those of the part.
bool ha_trace_cut(const char *input, const char *output, const ha_trace_window *window,
                  ha_trace_totals *totals, char *why, size_t why_size);

#define HA_MERGE_MAX 64 // files

// Several traces as one, interleaved by time: each from its own start, or with `by_clock` as their clocks
// stood to each other. Their processes stay apart, or with `one_process` are one with many threads.
bool ha_trace_merge(const char *const *inputs, unsigned count, bool by_clock, bool one_process,
                    const char *output, ha_trace_totals *totals, char *why, size_t why_size);

typedef enum ha_trace_rounding { HA_ROUND_NOT, HA_ROUND_CLASS, HA_ROUND_POW2 } ha_trace_rounding;

// Drops META, names, thread ids and the clock; rounds sizes up (to powers of two, or to four classes between
// two of them, 16 bytes apart below 128) and times down to multiples of `time_step_ns` (0, 1: exact).
bool ha_trace_anonymize(const char *input, const char *output, ha_trace_rounding sizes, uint64_t time_step_ns,
                        ha_trace_totals *totals, char *why, size_t why_size);

// One size as ha_trace_anonymize rounds it.
uint64_t ha_trace_round_size(uint64_t size, ha_trace_rounding rounding);

#endif

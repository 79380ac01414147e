// trace_edit.c: see trace_edit.h. All three editors number threads, processes and objects anew, in the order
// in which their output mentions them.
#include "workloads/trace_edit.h"
#include "workloads/trace_codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Where one input's numbers went. Maps hold the new number in `value`.
typedef struct source {
  ha_trace_reader *reader;
  ha_trace_map objects; // old object -> new; size, thread (old) and extra (kind | alignment << 8) for cut
  ha_trace_map threads; // old thread -> new
  ha_trace_map processes;
  ha_op op; // merge: the next operation
  uint64_t shift_ns;
  int got; // of ha_trace_next
} source;

typedef struct edit {
  ha_trace_writer *writer;
  uint64_t next_object;
  uint32_t threads, processes;
  bool nameless, one_process;
  bool part; // threads may be missing
  uint32_t flags;
  const char *failure; // NULL, or why this cannot go on: not the reader's nor the writer's doing
  char *why;
  size_t why_size;
} edit;

static bool no_memory(edit *e) {
  e->failure = "not enough memory";
  return false;
}

static bool open_source(edit *e, source *s, const char *path) {
  s->reader = ha_trace_open(path, e->why, e->why_size);
  return s->reader != NULL;
}

static void close_source(source *s) {
  ha_trace_close(s->reader);
  ha_trace_map_clear(&s->objects);
  ha_trace_map_clear(&s->threads);
  ha_trace_map_clear(&s->processes);
}

// ---- Numbers ----

static bool number_process(edit *e, source *s, uint32_t process, uint32_t *out) {
  *out = 0;
  if (e->one_process)
    return true;
  ha_trace_entry *entry = ha_trace_map_find(&s->processes, process);
  if (entry == NULL) {
    entry = ha_trace_map_add(&s->processes, process);
    if (entry == NULL)
      return no_memory(e);
    entry->value = e->processes++;
  }
  *out = (uint32_t)entry->value;
  return true;
}

// The new number of a thread, announced to the writer when it is first mentioned.
static bool number_thread(edit *e, source *s, uint32_t thread, uint32_t *out) {
  ha_trace_entry *entry = ha_trace_map_find(&s->threads, thread);
  if (entry != NULL) {
    *out = (uint32_t)entry->value;
    return true;
  }
  size_t count;
  ha_trace_thread told = ha_trace_threads(s->reader, &count)[thread];
  const ha_trace_entry *parent = ha_trace_map_find(&s->threads, told.parent);
  told.thread = e->threads++;
  told.parent = parent == NULL ? told.thread : (uint32_t)parent->value;
  if (e->nameless) {
    told.system_id = 0;
    memset(told.name, 0, sizeof told.name);
    snprintf(told.name, sizeof told.name, "thread %u", told.thread);
  }
  if (!number_process(e, s, told.process, &told.process))
    return false;
  entry = ha_trace_map_add(&s->threads, thread);
  if (entry == NULL)
    return no_memory(e);
  entry->value = *out = told.thread;
  return ha_trace_add_thread(e->writer, &told);
}

static bool number_object(edit *e, source *s, ha_op *op) {
  if (ha_kind_allocates(op->kind)) {
    uint64_t number = e->next_object++;
    if ((op->flags & HA_OP_FAILED) == 0) {
      ha_trace_entry *entry = ha_trace_map_add(&s->objects, op->object);
      if (entry == NULL)
        return no_memory(e);
      entry->value = number;
    }
    op->object = number;
  } else if (ha_kind_refers(op->kind)) {
    ha_trace_entry *entry = ha_trace_map_find(&s->objects, op->object);
    op->object = entry->value;
    if (op->kind != HA_OP_REALLOC)
      ha_trace_map_remove(&s->objects, entry);
  }
  return true;
}

// Writes an operation of `s` under its new numbers; its time is the caller's business.
static bool pass_on(edit *e, source *s, ha_op op) {
  uint32_t other = 0;
  if (e->part && op.kind == HA_OP_JOIN && ha_trace_map_find(&s->threads, op.size) == NULL)
    return true; // of a thread that has no operation here
  if (!number_thread(e, s, op.thread, &op.thread))
    return false;
  if (op.kind == HA_OP_SPAWN || op.kind == HA_OP_JOIN) {
    if (!number_thread(e, s, (uint32_t)op.size, &other))
      return false;
    op.size = other;
  }
  return number_object(e, s, &op) && ha_trace_write(e->writer, &op);
}

// Closes everything. `good`: nothing went wrong so far.
static bool conclude(edit *e, source *sources, unsigned count, bool good, ha_trace_totals *totals) {
  for (unsigned i = 0; i < count && good; i++) {
    good = sources[i].got >= 0;
    if (!good)
      snprintf(e->why, e->why_size, "%s", ha_trace_error(sources[i].reader));
    else
      e->flags |= ha_trace_get_totals(sources[i].reader)->flags;
  }
  if (e->failure != NULL)
    snprintf(e->why, e->why_size, "%s", e->failure);
  if (e->writer != NULL) {
    // A writer that refused or could not write says why when it is finished.
    bool whole = good && e->failure == NULL;
    bool refused = !good && e->failure == NULL && e->why[0] == 0;
    if (whole || refused)
      good = ha_trace_finish(e->writer, e->flags, totals, e->why, e->why_size) && whole;
    else
      ha_trace_abandon(e->writer);
  }
  for (unsigned i = 0; i < count; i++)
    close_source(&sources[i]);
  return good && e->failure == NULL;
}

// ---- Cut ----

typedef struct cutter {
  const ha_trace_window *window;
  ha_trace_map ended; // threads that ended before the window
  bool begun;
  uint64_t start_ns, carried, number;
} cutter;

// Before the window: keeps the table of live objects and of ended threads.
static bool look_on(edit *e, source *s, cutter *c, const ha_op *op) {
  if (op->kind == HA_OP_THREAD_EXIT || op->kind == HA_OP_JOIN) {
    uint64_t thread = op->kind == HA_OP_JOIN ? op->size : op->thread;
    return ha_trace_map_find(&c->ended, thread) != NULL || ha_trace_map_add(&c->ended, thread) != NULL ||
           no_memory(e);
  }
  if (op->flags & HA_OP_FAILED)
    return true;
  if (ha_kind_allocates(op->kind)) {
    ha_trace_entry *entry = ha_trace_map_add(&s->objects, op->object);
    if (entry == NULL)
      return no_memory(e);
    entry->size = op->size;
    entry->thread = op->thread;
    entry->extra = op->kind | (uint32_t)op->alignment_log2 << 8;
  } else if (op->kind == HA_OP_REALLOC) {
    ha_trace_map_find(&s->objects, op->object)->size = op->size;
  } else if (ha_kind_refers(op->kind)) {
    ha_trace_map_remove(&s->objects, ha_trace_map_find(&s->objects, op->object));
  }
  return true;
}

// Makes the objects that are live allocations, in the order in which they were first allocated; those of
// threads that ended go to the thread that has the first operation of the window.
static bool carry_over(edit *e, source *s, cutter *c, const ha_op *first) {
  c->begun = true;
  c->start_ns = first->time_ns;
  c->carried = s->objects.count;
  uint64_t *old = ha_trace_pages((c->carried + 1) * sizeof *old), at = 0, count = 0, newest = 0;
  if (old == NULL)
    return no_memory(e);
  // The walk meets objects in any order: sort by counting which numbers are there.
  for (const ha_trace_entry *entry; (entry = ha_trace_map_walk(&s->objects, &at)) != NULL;)
    newest = entry->tagged_key > newest ? entry->tagged_key : newest;
  for (uint64_t object = 0; object < newest; object++)
    if (ha_trace_map_find(&s->objects, object) != NULL)
      old[count++] = object;
  bool good = true;
  for (uint64_t i = 0; good && i < count; i++) {
    ha_trace_entry *entry = ha_trace_map_find(&s->objects, old[i]);
    ha_op op = {.kind = (uint8_t)entry->extra,
                .alignment_log2 = (uint8_t)(entry->extra >> 8),
                .object = e->next_object++,
                .size = entry->size};
    uint32_t thread = ha_trace_map_find(&c->ended, entry->thread) == NULL ? entry->thread : first->thread;
    entry->value = op.object;
    good = number_thread(e, s, thread, &op.thread) && ha_trace_write(e->writer, &op);
  }
  ha_trace_pages_free(old, (c->carried + 1) * sizeof *old);
  return good;
}

static bool cut_operation(edit *e, source *s, cutter *c, ha_op op) {
  uint64_t place = c->window->by_time ? op.time_ns : c->number;
  c->number++;
  if (place < c->window->from)
    return look_on(e, s, c, &op);
  if (place >= c->window->to)
    return true;
  if (!c->begun && !carry_over(e, s, c, &op))
    return false;
  op.time_ns -= c->start_ns;
  return pass_on(e, s, op);
}

static bool describe_cut(edit *e, const source *s, const cutter *c) {
  char text[256];
  int used = snprintf(text, sizeof text, "cut: %s %" PRIu64 " to %" PRIu64 " of a longer trace\n",
                      c->window->by_time ? "nanoseconds" : "operations", c->window->from, c->window->to);
  if (c->carried != 0) {
    e->flags |= HA_TRACE_ADJUSTED;
    snprintf(text + used, sizeof text - (size_t)used,
             "remark: %" PRIu64 " objects live at the cut's start: allocated there\n", c->carried);
  }
  return ha_trace_add_meta(e->writer, ha_trace_meta(s->reader)) && ha_trace_add_meta(e->writer, text);
}

bool ha_trace_cut(const char *input, const char *output, const ha_trace_window *window,
                  ha_trace_totals *totals, char *why, size_t why_size) {
  edit e = {.part = true, .why = why, .why_size = why_size};
  source s = {0};
  cutter c = {.window = window};
  why[0] = 0;
  if (!open_source(&e, &s, input))
    return false;
  uint64_t start = ha_trace_clock_start(s.reader) + (window->by_time ? window->from : 0);
  e.writer = ha_trace_create(output, start, "", why, why_size);
  bool good = e.writer != NULL;
  ha_op op;
  while (good && (s.got = ha_trace_next(s.reader, &op)) > 0)
    good = cut_operation(&e, &s, &c, op);
  if (good && s.got == 0 && !c.begun) {
    snprintf(why, why_size, "%s: no operation in that window: the trace has %" PRIu64 " in %.6f s", input,
             c.number, (double)ha_trace_get_totals(s.reader)->duration_ns * 1e-9);
    good = false;
  }
  good = good && (s.got < 0 || describe_cut(&e, &s, &c));
  ha_trace_map_clear(&c.ended);
  return conclude(&e, &s, 1, good, totals);
}

// ---- Merge ----

static uint64_t due(const source *s) {
  return s->op.time_ns + s->shift_ns;
}

static bool interleave(edit *e, source *sources, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    sources[i].got = ha_trace_next(sources[i].reader, &sources[i].op);
  for (;;) {
    source *next = NULL;
    for (unsigned i = 0; i < count; i++) {
      if (sources[i].got < 0)
        return true; // conclude() says why
      if (sources[i].got > 0 && (next == NULL || due(&sources[i]) < due(next)))
        next = &sources[i];
    }
    if (next == NULL)
      return true;
    ha_op op = next->op;
    op.time_ns = due(next);
    if (!pass_on(e, next, op))
      return false;
    next->got = ha_trace_next(next->reader, &next->op);
  }
}

static bool describe_merge(edit *e, const source *sources, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char text[64];
    snprintf(text, sizeof text, "merged: part %u of %u\n", i + 1, count);
    if (!ha_trace_add_meta(e->writer, text) ||
        !ha_trace_add_meta(e->writer, ha_trace_meta(sources[i].reader)))
      return false;
  }
  return true;
}

bool ha_trace_merge(const char *const *inputs, unsigned count, bool by_clock, bool one_process,
                    const char *output, ha_trace_totals *totals, char *why, size_t why_size) {
  edit e = {.one_process = one_process, .why = why, .why_size = why_size};
  static source sources[HA_MERGE_MAX];
  memset(sources, 0, sizeof sources);
  why[0] = 0;
  bool good = true;
  uint64_t start = UINT64_MAX;
  for (unsigned i = 0; good && i < count; i++) {
    good = open_source(&e, &sources[i], inputs[i]);
    if (good && ha_trace_clock_start(sources[i].reader) < start)
      start = ha_trace_clock_start(sources[i].reader);
  }
  for (unsigned i = 0; good && by_clock && i < count; i++)
    sources[i].shift_ns = ha_trace_clock_start(sources[i].reader) - start;
  if (good)
    e.writer = ha_trace_create(output, start, "", why, why_size);
  good = good && e.writer != NULL && interleave(&e, sources, count) && describe_merge(&e, sources, count);
  return conclude(&e, sources, count, good, totals);
}

// ---- Anonymize ----

uint64_t ha_trace_round_size(uint64_t size, ha_trace_rounding rounding) {
  // Sizes that only a failed call can ask for stay as they are.
  if (rounding == HA_ROUND_NOT || size <= 1 || size > UINT64_C(1) << 62)
    return size;
  if (rounding == HA_ROUND_CLASS && size <= 128)
    return (size + 15) & ~UINT64_C(15);
  unsigned top = 63 - (unsigned)__builtin_clzll(size - 1);
  uint64_t step = rounding == HA_ROUND_POW2 ? UINT64_C(2) << top : UINT64_C(1) << (top - 2);
  return (size + step - 1) & ~(step - 1);
}

bool ha_trace_anonymize(const char *input, const char *output, ha_trace_rounding sizes, uint64_t time_step_ns,
                        ha_trace_totals *totals, char *why, size_t why_size) {
  static const char *const told[] = {"exact", "rounded up to classes", "rounded up to powers of two"};
  edit e = {.nameless = true, .why = why, .why_size = why_size};
  source s = {0};
  why[0] = 0;
  if (!open_source(&e, &s, input))
    return false;
  char text[128];
  snprintf(text, sizeof text, "anonymized: sizes %s, times to %" PRIu64 " ns\n", told[sizes],
           time_step_ns < 2 ? 1 : time_step_ns);
  e.writer = ha_trace_create(output, 0, text, why, why_size);
  bool good = e.writer != NULL;
  ha_op op;
  while (good && (s.got = ha_trace_next(s.reader, &op)) > 0) {
    if (ha_kind_has_size(op.kind) && op.kind != HA_OP_SPAWN && op.kind != HA_OP_JOIN)
      op.size = ha_trace_round_size(op.size, sizes);
    if (time_step_ns > 1)
      op.time_ns -= op.time_ns % time_step_ns;
    good = pass_on(&e, &s, op);
  }
  return conclude(&e, &s, 1, good, totals);
}

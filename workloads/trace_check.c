// trace_check.c: the rules that a sequence of operations keeps, and its totals. The writer refuses what
// breaks a rule, the reader reports it, and both count alike, so that the DONE block can be held against what
// was read.
#include "workloads/trace_codec.h"

enum {
  THREAD_SEEN = 1u << 0,    // has had an operation
  THREAD_SPAWNED = 1u << 1, // was named by a SPAWN
  THREAD_ENDED = 1u << 2,   // had its THREAD_EXIT, or was joined
  THREAD_JOINED = 1u << 3,
};

static bool grow_threads(ha_trace_state *state) {
  if (state->thread_count < state->thread_capacity)
    return true;
  size_t old = state->thread_capacity, new = old == 0 ? 64 : old * 2;
  ha_trace_thread *threads =
      ha_trace_pages_grow(state->threads, old * sizeof *threads, new * sizeof *threads);
  if (threads == NULL)
    return false;
  state->threads = threads;
  uint8_t *marks = ha_trace_pages_grow(state->thread_marks, old, new);
  if (marks == NULL)
    return false;
  state->thread_marks = marks;
  state->thread_capacity = new;
  return true;
}

const char *ha_trace_state_add_thread(ha_trace_state *state, const ha_trace_thread *thread) {
  if (thread->thread != state->thread_count)
    return "thread numbers have a gap";
  if (thread->parent > thread->thread)
    return "a thread's parent comes after it";
  if (thread->process > state->totals.processes)
    return "process numbers have a gap";
  if (state->thread_count == HA_THREADS_MAX)
    return "more than 1048576 threads";
  if (!grow_threads(state))
    return "not enough memory for the thread table";
  state->threads[state->thread_count] = *thread;
  state->threads[state->thread_count].name[sizeof thread->name - 1] = 0;
  state->thread_marks[state->thread_count] = 0;
  state->thread_count++;
  state->totals.threads = state->thread_count;
  if (thread->process == state->totals.processes)
    state->totals.processes++;
  return NULL;
}

static const char *add_live(ha_trace_state *state, uint64_t size) {
  if (size > (uint64_t)INT64_MAX - state->live_bytes)
    return "more live bytes than an address space holds";
  state->live_bytes += size;
  uint64_t *requested = &state->totals.requested_bytes;
  *requested = size > UINT64_MAX - *requested ? UINT64_MAX : *requested + size;
  if (state->live_bytes > state->totals.live_bytes_peak)
    state->totals.live_bytes_peak = state->live_bytes;
  return NULL;
}

static const char *apply_allocation(ha_trace_state *state, const ha_op *op) {
  if (op->object != state->next_object)
    return "an allocation whose object is not the next number";
  if (op->flags & HA_OP_FAILED) {
    state->next_object++;
    return NULL;
  }
  const char *wrong = add_live(state, op->size);
  if (wrong != NULL)
    return wrong;
  ha_trace_entry *entry = ha_trace_map_add(&state->live, op->object);
  if (entry == NULL)
    return "not enough memory for the table of live objects";
  entry->size = op->size;
  entry->thread = op->thread;
  state->next_object++;
  state->totals.objects++;
  if (state->live.count > state->totals.live_objects_peak)
    state->totals.live_objects_peak = state->live.count;
  return NULL;
}

static const char *apply_reference(ha_trace_state *state, const ha_op *op) {
  ha_trace_entry *entry = ha_trace_map_find(&state->live, op->object);
  if (entry == NULL)
    return op->object < state->next_object
               ? "an operation on an object that was freed before (frees do not match)"
               : "an operation on an object that was never allocated";
  if (op->flags & HA_OP_FAILED)
    return op->kind == HA_OP_REALLOC ? NULL : "a free marked as failed";
  if (entry->thread != op->thread)
    state->totals.remote_frees++;
  state->live_bytes -= entry->size;
  if (op->kind != HA_OP_REALLOC) {
    ha_trace_map_remove(&state->live, entry);
    return NULL;
  }
  entry->size = op->size;
  return add_live(state, op->size);
}

static const char *apply_thread_op(ha_trace_state *state, const ha_op *op) {
  uint8_t *own = &state->thread_marks[op->thread];
  if (op->kind == HA_OP_THREAD_EXIT) {
    *own |= THREAD_ENDED;
    return NULL;
  }
  if (op->size >= state->thread_count || op->size == op->thread)
    return "start or end of a thread that is not known";
  uint8_t *other = &state->thread_marks[op->size];
  if (op->kind == HA_OP_SPAWN) {
    if (*other != 0)
      return "a thread started that had already begun";
    *other = THREAD_SPAWNED;
  } else {
    if (*other & THREAD_JOINED)
      return "a thread joined twice";
    *other |= THREAD_JOINED | THREAD_ENDED;
  }
  return NULL;
}

// Fields that have no meaning for the kind must be 0, so that every trace has one encoding.
static const char *check_fields(const ha_trace_state *state, const ha_op *op) {
  if (op->kind >= HA_OP_KINDS)
    return "unknown kind of operation";
  if (op->thread >= state->thread_count)
    return "operation of a thread that was not announced";
  if (state->thread_marks[op->thread] & THREAD_ENDED)
    return "operation of a thread after its end";
  if (op->time_ns < state->last_time)
    return "time goes backwards";
  if ((op->flags & ~(unsigned)HA_OP_FAILED) != 0 || op->reserved != 0)
    return "unknown flags";
  if (op->flags != 0 && !ha_kind_allocates(op->kind) && op->kind != HA_OP_REALLOC)
    return "an operation marked as failed that cannot fail";
  if (op->alignment_log2 > 63 || (op->alignment_log2 != 0 && !ha_kind_has_alignment(op->kind)))
    return "alignment out of range";
  if ((op->size != 0 && !ha_kind_has_size(op->kind)) ||
      (op->object != 0 && !ha_kind_allocates(op->kind) && !ha_kind_refers(op->kind)))
    return "size or object where none belongs";
  return NULL;
}

static void count(ha_trace_state *state, const ha_op *op) {
  ha_trace_totals *totals = &state->totals;
  totals->operations++;
  totals->by_kind[op->kind]++;
  totals->duration_ns = op->time_ns;
  totals->live_bytes_end = state->live_bytes;
  totals->checksum = ha_trace_checksum(totals->checksum, op);
  if (totals->curve_step == 0)
    totals->curve_step = 1;
  if ((totals->operations & (totals->curve_step - 1)) != 0)
    return;
  if (totals->curve_points == HA_TRACE_CURVE_POINTS) {
    // Full: every second point goes, and the step (always a power of two) doubles.
    for (unsigned i = 0; i < HA_TRACE_CURVE_POINTS; i++)
      totals->curve[i] = i < HA_TRACE_CURVE_POINTS / 2 ? totals->curve[2 * i + 1] : 0;
    totals->curve_points = HA_TRACE_CURVE_POINTS / 2;
    totals->curve_step *= 2;
    return; // this operation is an odd multiple of the old step
  }
  totals->curve[totals->curve_points++] = state->live_bytes;
}

const char *ha_trace_state_apply(ha_trace_state *state, const ha_op *op) {
  const char *wrong = check_fields(state, op);
  if (wrong != NULL)
    return wrong;
  state->thread_marks[op->thread] |= THREAD_SEEN;
  if (ha_kind_allocates(op->kind))
    wrong = apply_allocation(state, op);
  else if (ha_kind_refers(op->kind))
    wrong = apply_reference(state, op);
  else if (op->kind != HA_OP_PURGE)
    wrong = apply_thread_op(state, op);
  if (wrong != NULL)
    return wrong;
  state->last_time = op->time_ns;
  count(state, op);
  return NULL;
}

void ha_trace_state_clear(ha_trace_state *state) {
  ha_trace_map_clear(&state->live);
  ha_trace_pages_free(state->threads, state->thread_capacity * sizeof *state->threads);
  ha_trace_pages_free(state->thread_marks, state->thread_capacity);
  *state = (ha_trace_state){0};
}

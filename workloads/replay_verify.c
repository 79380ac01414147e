// replay_verify.c: executes the compiled program slowly, on one thread in the trace's order, believing
// nothing: each block is filled whole and read back before it is freed or resized, each operation is rebuilt
// from what was issued and counted anew, and totals, curve and checksum must come out as recorded.
#include "workloads/replay.h"
#include "workloads/trace_codec.h"

#include <stdio.h>
#include <string.h>

// What the verifier knows of the block in a slot.
typedef struct shadow {
  uint64_t object, size;
} shadow;

typedef struct verifier {
  replay_program *program;
  ha_trace_state state; // counts what is issued
  shadow **local;       // per thread, per slot
  shadow *shared;
  uint64_t *positions; // per thread: next step
  uint64_t *checksums; // per thread
  bool contents;       // blocks keep what is written to them
} verifier;

static const char *check(const verifier *v, const void *block, const shadow *known, uint64_t size) {
  if (v->contents && block != NULL && !ha_block_check(block, size, known->object, true))
    return "a block's contents changed while it was live";
  return NULL;
}

static void fill(const verifier *v, void *block, const shadow *known) {
  if (v->contents && block != NULL)
    ha_block_mark(block, known->size, known->object, true);
}

static const char *check_zero(const verifier *v, const unsigned char *block, uint64_t size) {
  for (uint64_t i = 0; v->contents && block != NULL && i < size; i++)
    if (block[i] != 0)
      return "calloc returned memory that is not zero";
  return NULL;
}

static const char *allocate(verifier *v, const replay_step *step, void **slot, shadow *known) {
  const ha_alloc *alloc = v->program->run->alloc;
  unsigned kind = step_kind(step);
  void *block = NULL;
  if (kind == HA_OP_MALLOC)
    block = alloc->malloc(step->size);
  else if (kind == HA_OP_CALLOC)
    block = alloc->calloc(1, step->size);
  else
    block = replay_aligned(alloc, kind, step_alignment(step), step->size);
  if (step->meta & STEP_FAILED) {
    if (block != NULL)
      alloc->free(block);
    return NULL;
  }
  *slot = block;
  *known = (shadow){.object = v->state.next_object, .size = step->size};
  if (block == NULL)
    return step->size == 0 || alloc->traits & HA_TRAIT_BOUND ? NULL
                                                             : "NULL where the recorded program got memory";
  if (v->contents && ((uintptr_t)block & (step_alignment(step) - 1)) != 0)
    return "a block without the alignment that was asked for";
  const char *wrong = kind == HA_OP_CALLOC ? check_zero(v, block, step->size) : NULL;
  fill(v, block, known);
  return wrong;
}

static const char *resize(verifier *v, const replay_step *step, void **slot, shadow *known) {
  const ha_alloc *alloc = v->program->run->alloc;
  const char *wrong = check(v, *slot, known, known->size);
  if (wrong != NULL)
    return wrong;
  void *block = alloc->realloc(*slot, step->size);
  if (block == NULL) {
    if (step->meta & STEP_FAILED)
      return check(v, *slot, known, known->size);
    if (step->size != 0 && !(alloc->traits & HA_TRAIT_BOUND))
      return "NULL where the recorded program got memory";
  }
  *slot = block;
  wrong = check(v, block, known, known->size < step->size ? known->size : step->size);
  if (!(step->meta & STEP_FAILED))
    known->size = step->size;
  fill(v, block, known);
  return wrong;
}

static const char *release(verifier *v, const replay_step *step, void **slot, const shadow *known) {
  const ha_alloc *alloc = v->program->run->alloc;
  const char *wrong = check(v, *slot, known, known->size);
  if (wrong != NULL)
    return wrong;
  if (step_kind(step) == HA_OP_FREE)
    alloc->free(*slot);
  else
    replay_free_sized(alloc, *slot, step_alignment(step), step->size);
  *slot = NULL;
  return NULL;
}

// Issues the step and rebuilds the operation that it was, from the slot's shadow and not from the file.
static const char *verify_step(verifier *v, uint32_t thread_number, const replay_step *step, ha_op *op) {
  replay_thread *thread = &v->program->threads[thread_number];
  bool shared = (step->meta & STEP_SHARED) != 0;
  unsigned kind = step_kind(step);
  *op = (ha_op){.size = step->size,
                .thread = thread_number,
                .kind = (uint8_t)kind,
                .flags = step->meta & STEP_FAILED ? HA_OP_FAILED : 0,
                .alignment_log2 = (uint8_t)(step->meta >> STEP_ALIGN_SHIFT & 63)};
  if (kind >= HA_OP_PURGE) {
    if (kind == HA_OP_PURGE && v->program->run->alloc->purge != NULL)
      v->program->run->alloc->purge();
    return NULL;
  }
  if (ha_kind_allocates(kind) && step->meta & STEP_FAILED) {
    op->object = v->state.next_object;
    return allocate(v, step, NULL, NULL);
  }
  void **slot = shared ? &v->program->shared[step->slot].block : &thread->slots[step->slot];
  shadow *known = shared ? &v->shared[step->slot] : &v->local[thread_number][step->slot];
  if (ha_kind_allocates(kind)) {
    op->object = v->state.next_object;
    return allocate(v, step, slot, known);
  }
  op->object = known->object;
  return kind == HA_OP_REALLOC ? resize(v, step, slot, known) : release(v, step, slot, known);
}

static const char *stop(verifier *v, const char *wrong) {
  atomic_store(&v->program->stop, 1);
  ha_fail(v->program->run, "%s: operation %llu: %s", v->program->file,
          (unsigned long long)v->state.totals.operations, wrong);
  return "the verification found a fault";
}

static const char *verify_turns(verifier *v, ha_tally *tally) {
  for (uint64_t i = 0; i < v->program->turn_count; i++) {
    uint32_t thread = v->program->turns[i].thread;
    replay_follow(v->program, thread, false);
    for (uint32_t k = 0; k < v->program->turns[i].steps; k++) {
      const replay_step *step = &v->program->threads[thread].steps[v->positions[thread]++];
      ha_op op;
      const char *wrong = verify_step(v, thread, step, &op);
      if (wrong == NULL)
        wrong = ha_trace_state_apply(&v->state, &op);
      if (wrong != NULL)
        return stop(v, wrong);
      v->checksums[thread] = ha_trace_checksum(v->checksums[thread], &op);
      tally->operations += op.kind <= HA_OP_FREE_SIZED;
    }
    replay_leave(v->program, thread);
  }
  return NULL;
}

// All segments, or the one that there is.
static const char *verify_all(verifier *v, ha_tally *tally) {
  for (;;) {
    const char *wrong = verify_turns(v, tally);
    int more = wrong == NULL && v->program->streamed ? replay_next_segment(v->program) : 0;
    if (more < 0)
      atomic_store(&v->program->stop, 1); // said already
    if (more <= 0)
      return wrong != NULL ? wrong : more < 0 ? "the trace could not be read to its end" : NULL;
    memset(v->positions, 0, v->program->thread_count * sizeof *v->positions);
  }
}

static const char *compare(verifier *v, ha_tally *tally) {
  replay_program *program = v->program;
  ha_trace_totals *counted = &v->state.totals;
  // The replay is not in recorded time, and processes are no matter of operations.
  counted->duration_ns = program->totals.duration_ns;
  counted->processes = program->totals.processes;
  counted->flags = program->totals.flags;
  program->verified = *counted;
  for (uint32_t i = 0; i < program->thread_count; i++)
    tally->checksum ^= v->checksums[i];
  bool curve = counted->curve_points == program->totals.curve_points &&
               counted->curve_step == program->totals.curve_step &&
               memcmp(counted->curve, program->totals.curve, sizeof counted->curve) == 0;
  program->curve = curve ? "match" : "mismatch";
  if (!curve)
    return stop(v, "the live-bytes curve differs from the recorded one");
  if (counted->checksum != program->totals.checksum)
    return stop(v, "the operations issued differ from those recorded");
  if (memcmp(counted, &program->totals, sizeof *counted) != 0)
    return stop(v, "the totals differ from those recorded");
  return NULL;
}

static bool make_tables(verifier *v) {
  replay_program *program = v->program;
  ha_run *run = program->run;
  v->local = ha_map(run, program->thread_count * sizeof(void *));
  v->positions = ha_map(run, program->thread_count * sizeof *v->positions);
  v->checksums = ha_map(run, program->thread_count * sizeof *v->checksums);
  v->shared = ha_map(run, ((size_t)program->shared_count + 1) * sizeof *v->shared);
  if (v->local == NULL || v->positions == NULL || v->checksums == NULL || v->shared == NULL)
    return false;
  for (uint32_t i = 0; i < program->thread_count; i++) {
    v->local[i] = ha_map(run, ((size_t)program->threads[i].slot_count + 1) * sizeof *v->local[i]);
    ha_trace_thread thread = {.thread = i};
    if (v->local[i] == NULL || ha_trace_state_add_thread(&v->state, &thread) != NULL)
      return false;
  }
  return true;
}

const char *replay_verify(replay_program *program, ha_tally *tally) {
  verifier v = {.program = program, .contents = (program->run->alloc->traits & HA_TRAIT_SHARED_BLOCKS) == 0};
  const char *wrong = NULL;
  if (!make_tables(&v))
    wrong = stop(&v, "not enough memory to verify");
  if (wrong == NULL)
    wrong = verify_all(&v, tally);
  if (wrong == NULL)
    wrong = compare(&v, tally);
  ha_trace_state_clear(&v.state);
  return wrong;
}

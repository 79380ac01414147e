// model_make.c: makes a model's operations, in order, one at a time. Its clock counts operations of the
// trace: births are spread evenly over their phase, ends follow from their laws, and a queue hands out what
// is due. Counts are drawn without replacement, so that what a phase holds is exact and only its order is
// chance.
#include "workloads/model.h"
#include "workloads/trace_map.h"
#include "workloads/workload.h"

#include <math.h>
#include <string.h>

#define NOBODY UINT32_MAX
#define TRIES  8  // sizes that are drawn for a block before another is freed for it
#define SOON   64 // places of the queue that are looked at for one

enum { DUE_BIRTH, DUE_END, DUE_LARGE };
enum { END_FREED, END_GROWN };

// What is due at a time: a birth (of `size` class), the end of a live segment, the next step of a large
// block.
typedef struct due {
  double time;
  uint64_t object;
  uint32_t size;   // class
  uint32_t thread; // that allocated it
  uint32_t by;     // that ends it
  uint32_t step;   // of a large block
  uint32_t large;
  uint64_t bytes; // requested
  uint8_t what, how, alignment_log2;
} due;

struct ha_model_maker {
  const ha_model *model;
  uint64_t random, next_object, made, live_bytes;
  uint32_t phase;
  double phase_end, now;
  due *queue; // a heap, the earliest first
  size_t queued, capacity;
  // What is left of the phase at hand, by class, and of the ends of its segments.
  uint64_t *fresh_left, *grown_left;
  uint64_t *births_left;       // by thread
  uint64_t *kinds_left;        // of the whole run: class * HA_MODEL_KINDS + kind
  uint64_t *ends_left;         // of the whole run: thread * threads + thread
  double sized_share;          // of frees that name the size
  const ha_model_cell **cells; // per class, for the phase at hand
  uint64_t **cell_ends;        // per class: the counts of its cell's ends, two each, then those never freed
  uint64_t *cell_counts;
  size_t cell_capacity;
  uint32_t spawned; // threads announced by a SPAWN so far, the first one included
};

// ---- The queue ----

static bool push(ha_model_maker *m, const due *one) {
  if (m->queued == m->capacity) {
    size_t capacity = m->capacity == 0 ? 1024 : m->capacity * 2;
    due *grown = ha_trace_pages_grow(m->queue, m->capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL)
      return false;
    m->queue = grown;
    m->capacity = capacity;
  }
  size_t at = m->queued++;
  for (; at > 0 && m->queue[(at - 1) / 2].time > one->time; at = (at - 1) / 2)
    m->queue[at] = m->queue[(at - 1) / 2];
  m->queue[at] = *one;
  return true;
}

// Takes the one at `at` off the queue.
static due take_at(ha_model_maker *m, size_t at) {
  due taken = m->queue[at], last = m->queue[--m->queued];
  for (; at > 0 && m->queue[(at - 1) / 2].time > last.time; at = (at - 1) / 2)
    m->queue[at] = m->queue[(at - 1) / 2];
  for (size_t child; (child = 2 * at + 1) < m->queued; at = child) {
    if (child + 1 < m->queued && m->queue[child + 1].time < m->queue[child].time)
      child++;
    if (m->queue[child].time >= last.time)
      break;
    m->queue[at] = m->queue[child];
  }
  m->queue[at] = last;
  return taken;
}

// ---- Chance ----

static double even(ha_model_maker *m) { // in [0, 1)
  return (double)(ha_random(&m->random) >> 11) * 0x1p-53;
}

// Draws one of `count` kinds in proportion to what is left of each and takes it off; `count` if nothing is.
static uint32_t draw(ha_model_maker *m, uint64_t *left, uint32_t count) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += left[i];
  if (sum == 0)
    return count;
  uint64_t at = ha_random_below(&m->random, sum);
  for (uint32_t i = 0; i < count; i++) {
    if (at < left[i]) {
      left[i]--;
      return i;
    }
    at -= left[i];
  }
  return count;
}

// A size of the class: even below the mean and above it, the two parts weighed so that the mean comes out.
static uint64_t draw_size(ha_model_maker *m, uint32_t class) {
  const ha_model_size *size = &m->model->sizes[class];
  if (size->from == size->to)
    return size->from;
  double low = (double)size->from, high = (double)size->to;
  bool below = even(m) < (high - size->mean) / (high - low);
  double from = below ? low : size->mean, to = below ? size->mean : high;
  uint64_t bytes = (uint64_t)(from + even(m) * (to - from) + 0.5);
  return bytes < size->from ? size->from : bytes > size->to ? size->to : bytes;
}

static double draw_lifetime(ha_model_maker *m, uint32_t class) {
  const double *quantiles = m->model->sizes[class].lifetimes;
  double place = even(m) * (HA_MODEL_QUANTILES - 1);
  unsigned below = (unsigned)place;
  // Between two quantiles in proportion: tails are long.
  double low = fmax(quantiles[below], 0.5), high = fmax(quantiles[below + 1], 0.5);
  return low * pow(high / low, place - below);
}

// ---- Phases ----

static double phase_start(const ha_model *model, uint32_t phase) {
  return (double)(phase < model->phase_count ? model->phases[phase].from : model->operations);
}

// Lays out the counts of the phase's cells: per class, freed and grown for each end, then the rest.
static bool open_cells(ha_model_maker *m, const ha_model_phase *phase) {
  size_t words = 0;
  for (uint32_t i = 0; i < phase->cell_count; i++)
    words += 2 * (size_t)phase->cells[i].end_count + 1;
  if (words > m->cell_capacity) {
    uint64_t *grown = ha_trace_pages_grow(m->cell_counts, m->cell_capacity * 8, words * 8);
    if (grown == NULL)
      return false;
    m->cell_counts = grown;
    m->cell_capacity = words;
  }
  memset(m->fresh_left, 0, m->model->size_count * sizeof *m->fresh_left);
  uint64_t *at = m->cell_counts;
  for (uint32_t i = 0; i < phase->cell_count; i++) {
    const ha_model_cell *cell = &phase->cells[i];
    uint64_t never = cell->fresh + cell->grown;
    m->fresh_left[cell->size] = cell->fresh;
    m->grown_left[cell->size] = cell->grown;
    m->cells[cell->size] = cell;
    m->cell_ends[cell->size] = at;
    for (uint32_t k = 0; k < cell->end_count; k++) {
      *at++ = cell->ends[k].freed;
      *at++ = cell->ends[k].grown;
      never -= cell->ends[k].freed + cell->ends[k].grown;
    }
    *at++ = never;
  }
  return true;
}

// Spreads each thread's births evenly over what it sees of the phase. Their sizes are drawn when they are
// due.
static bool open_phase(ha_model_maker *m) {
  const ha_model_phase *phase = &m->model->phases[m->phase];
  double start = phase_start(m->model, m->phase);
  m->phase_end = phase_start(m->model, m->phase + 1);
  if (!open_cells(m, phase))
    return false;
  for (uint32_t t = 0; t < m->model->thread_count; t++) {
    const ha_model_thread *thread = &m->model->threads[t];
    double from = start > (double)thread->first ? start : (double)thread->first;
    double to = m->phase_end < (double)thread->last ? m->phase_end : (double)thread->last;
    if (from >= to) {
      from = start;
      to = m->phase_end;
    }
    m->births_left[t] = phase->fresh[t];
    for (uint64_t i = 0; i < phase->fresh[t]; i++) {
      due one = {.what = DUE_BIRTH, .thread = t};
      one.time = from + (to - from) * ((double)i + even(m)) / (double)phase->fresh[t];
      if (!push(m, &one))
        return false;
    }
  }
  return true;
}

// What realloc would have begun but nothing led to begins fresh, at the phase's end.
static bool close_phase(ha_model_maker *m) {
  for (uint32_t i = 0; i < m->model->size_count; i++) {
    for (; m->grown_left[i] > 0; m->grown_left[i]--) {
      m->fresh_left[i]++;
      due late = {.what = DUE_BIRTH, .time = m->phase_end - 0.25};
      if (!push(m, &late))
        return false;
    }
  }
  return true;
}

// ---- Segments ----

// Draws how and when a segment that begins now ends. False: never.
static bool draw_end(ha_model_maker *m, due *segment) {
  const ha_model_cell *cell = m->cells[segment->size];
  uint32_t end = draw(m, m->cell_ends[segment->size], 2 * cell->end_count + 1);
  if (end >= 2 * cell->end_count)
    return false;
  uint32_t in = cell->ends[end / 2].phase;
  segment->what = DUE_END;
  segment->how = end % 2 == 0 ? END_FREED : END_GROWN;
  if (in == m->phase) {
    // A block freed by the very next operation is due now: others of that time come after it.
    segment->time = m->now + fmax(draw_lifetime(m, segment->size) - 1, 0);
    if (segment->time >= m->phase_end) // what does not fit ends somewhere in what is left
      segment->time = m->now + (m->phase_end - m->now) * even(m);
  } else {
    double from = phase_start(m->model, in), to = phase_start(m->model, in + 1);
    segment->time = from + (to - from) * even(m);
  }
  return true;
}

static bool runs(const ha_model_maker *m, uint32_t thread, double time) {
  const ha_model_thread *one = &m->model->threads[thread];
  return (double)one->first <= time && time <= (double)one->last + 1;
}

// The thread that ends a block of `owner` at that time, taken off the table; NOBODY if the table has none
// that runs then. What the owner can end itself it mostly does, so that others are left for what outlives it.
static uint32_t take_ender(ha_model_maker *m, uint32_t owner, double time) {
  const uint32_t threads = m->model->thread_count;
  uint64_t *row = &m->ends_left[(size_t)owner * threads];
  uint64_t own = runs(m, owner, time) ? row[owner] : 0, others = 0;
  for (uint32_t i = 0; i < threads; i++)
    others += i != owner && row[i] != 0 && runs(m, i, time) ? row[i] : 0;
  if (own + others == 0)
    return NOBODY;
  if (others == 0 || even(m) * 2 * (double)(own + others) < (double)(own + own + others)) {
    if (own != 0) {
      row[owner]--;
      return owner;
    }
  }
  uint64_t at = ha_random_below(&m->random, others);
  for (uint32_t i = 0; i < threads; i++) {
    uint64_t part = i != owner && row[i] != 0 && runs(m, i, time) ? row[i] : 0;
    if (at < part) {
      row[i]--;
      return i;
    }
    at -= part;
  }
  return NOBODY;
}

// The same, with somebody at last: the owner, or the first thread.
static uint32_t ender(ha_model_maker *m, uint32_t owner, double time) {
  uint32_t by = take_ender(m, owner, time);
  return by != NOBODY ? by : runs(m, owner, time) ? owner : 0;
}

// Who allocates a block that ends then: the thread whose turn it is, or another that has births left in this
// phase and for whose blocks the table has such an end.
static void choose_threads(ha_model_maker *m, due *segment, bool ends) {
  const uint32_t threads = m->model->thread_count;
  uint32_t first = segment->thread;
  for (uint32_t i = 0; i < threads; i++) {
    uint32_t thread = (first + i) % threads;
    if (m->births_left[thread] == 0 || (i != 0 && !runs(m, thread, m->now)))
      continue;
    segment->by = ends ? take_ender(m, thread, segment->time) : 0;
    if (segment->by != NOBODY) {
      segment->thread = thread;
      m->births_left[thread]--;
      return;
    }
  }
  for (uint32_t i = 0; i < threads && m->births_left[segment->thread] == 0; i++)
    segment->thread = (first + i) % threads;
  if (m->births_left[segment->thread] != 0)
    m->births_left[segment->thread]--;
  segment->by = ends ? ender(m, segment->thread, segment->time) : 0;
}

static unsigned kind_of(unsigned model_kind) {
  static const uint8_t kinds[HA_MODEL_KINDS] = {HA_OP_MALLOC, HA_OP_CALLOC, HA_OP_ALIGNED_ALLOC,
                                                HA_OP_POSIX_MEMALIGN};
  return kinds[model_kind % HA_MODEL_KINDS];
}

// The size of the block that is due: any of what is left of the phase, but none with which more would be live
// than ever was in it. The number of classes if none is left or, as the draws go, none fits.
static uint32_t draw_class(ha_model_maker *m, uint64_t *bytes) {
  const uint32_t count = m->model->size_count;
  uint64_t most = m->model->phases[m->phase].most;
  most += most < UINT64_MAX / 2 ? most / 32 : 0; // sizes within classes are chance, and so is their sum
  for (unsigned tries = 0; tries < TRIES; tries++) {
    uint32_t class = draw(m, m->fresh_left, count);
    if (class == count)
      return count;
    *bytes = draw_size(m, class);
    if (*bytes <= most && m->live_bytes <= most - *bytes)
      return class;
    m->fresh_left[class]++;
  }
  return count;
}

static void free_block(ha_model_maker *m, const due *one, ha_op *op) {
  m->live_bytes -= one->bytes;
  *op = (ha_op){.kind = HA_OP_FREE, .thread = one->by, .object = one->object};
  if (m->sized_share > 0 && even(m) < m->sized_share) {
    op->kind = HA_OP_FREE_SIZED;
    op->size = one->bytes;
    op->alignment_log2 = one->alignment_log2;
  }
}

// Frees now the largest of the blocks that are to be freed soon and in this phase, to make room. False: none.
static bool end_early(ha_model_maker *m, ha_op *op) {
  size_t found = m->queued;
  for (size_t i = 0; i < m->queued && i < SOON; i++) {
    const due *one = &m->queue[i];
    if (one->what == DUE_END && one->how == END_FREED && one->time < m->phase_end &&
        (found == m->queued || one->bytes > m->queue[found].bytes))
      found = i;
  }
  if (found == m->queued)
    return false;
  due one = take_at(m, found);
  free_block(m, &one, op);
  return true;
}

static bool birth(ha_model_maker *m, const due *one, ha_op *op) {
  uint64_t bytes = 0;
  uint32_t class = draw_class(m, &bytes);
  if (class == m->model->size_count) {
    if (end_early(m, op))
      return push(m, one); // tried again right after
    class = draw(m, m->fresh_left, m->model->size_count);
    if (class == m->model->size_count)
      return true;
    bytes = draw_size(m, class);
  }
  uint32_t kind = draw(m, &m->kinds_left[(size_t) class * HA_MODEL_KINDS], HA_MODEL_KINDS);
  due segment = {.object = m->next_object++, .size = class, .thread = one->thread};
  bool ends = draw_end(m, &segment);
  choose_threads(m, &segment, ends);
  segment.bytes = bytes;
  m->live_bytes += bytes;
  *op = (ha_op){.kind = (uint8_t)kind_of(kind),
                .thread = segment.thread,
                .size = segment.bytes,
                .object = segment.object};
  if (op->kind == HA_OP_ALIGNED_ALLOC || op->kind == HA_OP_POSIX_MEMALIGN)
    op->alignment_log2 = segment.alignment_log2 = (uint8_t)m->model->sizes[class].alignment_log2;
  return !ends || push(m, &segment);
}

static bool end_segment(ha_model_maker *m, const due *one, ha_op *op) {
  if (one->how == END_GROWN) {
    // The next size up that realloc still has to give in this phase, else the next one down.
    uint32_t class = one->size;
    while (class < m->model->size_count && m->grown_left[class] == 0)
      class ++;
    if (class == m->model->size_count)
      for (class = one->size; class > 0 && m->grown_left[class] == 0; class --) {
      }
    if (m->grown_left[class] != 0) {
      m->grown_left[class]--;
      *op = (ha_op){
          .kind = HA_OP_REALLOC, .thread = one->by, .object = one->object, .size = draw_size(m, class)};
      due segment = {.object = one->object, .size = class, .thread = one->thread, .bytes = op->size};
      m->live_bytes += segment.bytes - one->bytes;
      if (!draw_end(m, &segment))
        return true;
      segment.by = ender(m, segment.thread, segment.time);
      return push(m, &segment);
    }
  }
  free_block(m, one, op);
  return true;
}

static bool push_large(ha_model_maker *m, due one) {
  const ha_model_large *large = &m->model->large[one.large];
  if (one.step == large->step_count)
    return true;
  one.time = (double)large->steps[one.step].at;
  return push(m, &one);
}

static bool large_step(ha_model_maker *m, due one, ha_op *op) {
  const ha_model_large *large = &m->model->large[one.large];
  const ha_model_step *step = &large->steps[one.step];
  if (one.step != 0)
    one.by = ender(m, one.thread, one.time);
  else
    m->live_bytes += step->size;
  if (one.step == 0) {
    *op = (ha_op){.kind = (uint8_t)kind_of(large->kind), .thread = large->thread, .size = step->size};
    if (large->kind >= HA_MODEL_ALIGNED)
      op->alignment_log2 = one.alignment_log2 = (uint8_t)large->alignment_log2;
    op->object = one.object = m->next_object++;
  } else if (step->end) {
    free_block(m, &one, op);
  } else {
    *op = (ha_op){.kind = HA_OP_REALLOC, .thread = one.by, .object = one.object, .size = step->size};
    m->live_bytes += step->size - one.bytes;
    one.alignment_log2 = 0;
  }
  one.bytes = step->size;
  one.step++;
  return push_large(m, one);
}

// ---- Public functions ----

static double sized_share(const ha_model *model) {
  uint64_t frees = 0;
  for (uint32_t p = 0; model->sized_frees != 0 && p < model->phase_count; p++)
    for (uint32_t i = 0; i < model->phases[p].cell_count; i++)
      for (uint32_t k = 0; k < model->phases[p].cells[i].end_count; k++)
        frees += model->phases[p].cells[i].ends[k].freed;
  return frees == 0 ? 0 : (double)model->sized_frees / (double)frees;
}

static bool start(ha_model_maker *m) {
  const ha_model *model = m->model;
  size_t sizes = model->size_count, threads = model->thread_count;
  m->fresh_left = ha_trace_pages((sizes + 1) * 8);
  m->grown_left = ha_trace_pages((sizes + 1) * 8);
  m->kinds_left = ha_trace_pages((sizes + 1) * HA_MODEL_KINDS * 8);
  m->cells = ha_trace_pages((sizes + 1) * sizeof(void *));
  m->cell_ends = ha_trace_pages((sizes + 1) * sizeof(void *));
  m->ends_left = ha_trace_pages(threads * threads * 8);
  m->births_left = ha_trace_pages(threads * 8);
  if (m->fresh_left == NULL || m->grown_left == NULL || m->kinds_left == NULL || m->cells == NULL ||
      m->cell_ends == NULL || m->ends_left == NULL || m->births_left == NULL)
    return false;
  for (size_t i = 0; i < sizes; i++)
    memcpy(&m->kinds_left[i * HA_MODEL_KINDS], model->sizes[i].kinds, sizeof model->sizes[i].kinds);
  for (size_t t = 0; t < threads; t++)
    memcpy(&m->ends_left[t * threads], model->threads[t].ends, threads * 8);
  m->spawned = 1;
  m->sized_share = sized_share(model);
  for (uint32_t i = 0; i < model->large_count; i++)
    if (!push_large(m, (due){.what = DUE_LARGE, .large = i, .thread = model->large[i].thread}))
      return false;
  return open_phase(m);
}

ha_model_maker *ha_model_make(const ha_model *model, uint64_t seed) {
  ha_model_maker *maker = ha_trace_pages(sizeof *maker);
  if (maker == NULL)
    return NULL;
  maker->model = model;
  maker->random = seed;
  if (start(maker))
    return maker;
  ha_model_unmake(maker);
  return NULL;
}

// The next thing that is due, opening phases on the way. 0: nothing is left; -1: not enough memory.
static int next_due(ha_model_maker *m, due *one) {
  for (;;) {
    if (m->queued != 0 && m->queue[0].time < m->phase_end) {
      *one = take_at(m, 0);
      return 1;
    }
    size_t waiting = m->queued;
    if (!close_phase(m))
      return -1;
    if (m->queued != waiting)
      continue; // late births, still of this phase
    if (m->phase + 1 == m->model->phase_count)
      return 0;
    m->phase++;
    if (!open_phase(m))
      return -1;
  }
}

// Whether a thread is to be started before anything else that is due: each by its parent's hand, in time.
static bool spawn_due(const ha_model_maker *m) {
  return m->spawned < m->model->thread_count &&
         (m->queued == 0 || m->queue[0].time >= (double)m->model->threads[m->spawned].first);
}

int ha_model_next(ha_model_maker *m, ha_op *op) {
  int got = 1;
  if (spawn_due(m)) {
    *op = (ha_op){.kind = HA_OP_SPAWN, .thread = m->model->threads[m->spawned].parent, .size = m->spawned};
    m->spawned++;
  } else {
    due one;
    *op = (ha_op){.kind = HA_OP_KINDS};
    while (op->kind == HA_OP_KINDS && (got = next_due(m, &one)) > 0) {
      if (one.time > m->now)
        m->now = one.time;
      bool good = one.what == DUE_BIRTH ? birth(m, &one, op)
                  : one.what == DUE_END ? end_segment(m, &one, op)
                                        : large_step(m, one, op);
      if (!good)
        return -1;
    }
    // Rounding can place a thread's first operation just before its start.
    if (op->thread >= m->spawned)
      op->thread = 0;
  }
  op->time_ns = m->made++;
  return got;
}

void ha_model_unmake(ha_model_maker *m) {
  if (m == NULL)
    return;
  size_t sizes = (size_t)m->model->size_count + 1, threads = m->model->thread_count;
  ha_trace_pages_free(m->fresh_left, sizes * 8);
  ha_trace_pages_free(m->grown_left, sizes * 8);
  ha_trace_pages_free(m->kinds_left, sizes * HA_MODEL_KINDS * 8);
  ha_trace_pages_free(m->cells, sizes * sizeof(void *));
  ha_trace_pages_free(m->cell_ends, sizes * sizeof(void *));
  ha_trace_pages_free(m->ends_left, threads * threads * 8);
  ha_trace_pages_free(m->births_left, threads * 8);
  ha_trace_pages_free(m->cell_counts, m->cell_capacity * 8);
  ha_trace_pages_free(m->queue, m->capacity * sizeof *m->queue);
  ha_trace_pages_free(m, sizeof *m);
}

// program_trace.c: programs as traces and traces as programs (op_program.h). A trace has objects that are never
// reused and threads that begin once: a slot's block and a thread's life each get a number of their own.
#include "fuzz/op_program.h"

#include "workloads/trace.h"

#include <stdlib.h>
#include <string.h>

#define META_KEY      "fuzz-program: "
#define META_LINE     64u                // records in one META line
#define MOST_RECORDED ((size_t)64 << 20) // a larger request is written as one that failed
#define NO_OBJECT     UINT64_MAX

typedef struct writing {
  ha_trace_writer *writer;
  uint64_t object[FUZZ_SLOTS]; // live object of each slot
  size_t size[FUZZ_SLOTS];
  uint64_t next_object, time;
  uint32_t thread[FUZZ_THREADS]; // trace's number of the thread that runs under each number
  bool running[FUZZ_THREADS];
  uint32_t next_thread;
  bool good;
} writing;

static void put(writing *w, unsigned thread, uint8_t kind, uint64_t object, uint64_t size, unsigned alignment,
                bool failed) {
  ha_op op = {.time_ns = w->time++,
              .object = object,
              .size = size,
              .thread = w->thread[thread],
              .kind = kind,
              .flags = failed ? HA_OP_FAILED : 0,
              .alignment_log2 = (uint8_t)alignment};
  w->good = w->good && ha_trace_write(w->writer, &op);
}

static void start_thread(writing *w, unsigned thread) {
  if (w->running[thread])
    return;
  ha_trace_thread facts = {.thread = w->next_thread, .parent = 0};
  snprintf(facts.name, sizeof facts.name, "thread %u", thread);
  w->good = w->good && ha_trace_add_thread(w->writer, &facts);
  w->thread[thread] = w->next_thread++;
  w->running[thread] = true;
  if (thread != 0)
    put(w, 0, HA_OP_SPAWN, 0, w->thread[thread], 0, false);
}

static void end_thread(writing *w, unsigned thread) {
  if (thread == 0 || !w->running[thread])
    return;
  put(w, thread, HA_OP_THREAD_EXIT, 0, 0, 0, false);
  put(w, 0, HA_OP_JOIN, 0, w->thread[thread], 0, false);
  w->running[thread] = false;
}

static void free_slot(writing *w, unsigned thread, unsigned slot, uint8_t kind) {
  if (w->object[slot] == NO_OBJECT)
    return;
  put(w, thread, kind, w->object[slot], kind == HA_OP_FREE_SIZED ? w->size[slot] : 0, 0, false);
  w->object[slot] = NO_OBJECT;
}

static void allocate(writing *w, unsigned thread, unsigned slot, uint8_t kind, size_t size,
                     size_t alignment) {
  bool failed = size > MOST_RECORDED;
  unsigned log2 = alignment > 1 ? (unsigned)__builtin_ctzll(alignment) : 0;
  free_slot(w, thread, slot, HA_OP_FREE);
  put(w, thread, kind, w->next_object, failed && size > PTRDIFF_MAX ? PTRDIFF_MAX : size, log2, failed);
  if (!failed) {
    w->object[slot] = w->next_object;
    w->size[slot] = size;
  }
  w->next_object++;
}

static void put_allocation(writing *w, const fuzz_op *op, unsigned thread, fuzz_op_kind kind) {
  unsigned slot = op->slot;
  bool live = w->object[slot] != NO_OBJECT;
  size_t size = fuzz_op_size(op, live ? w->size[slot] : 0);
  bool resizes = live && (kind == FUZZ_OP_REALLOC || kind == FUZZ_OP_REALLOCARRAY);
  if (resizes && size == 0) {
    free_slot(w, thread, slot, HA_OP_FREE);
  } else if (resizes) {
    bool failed = size > MOST_RECORDED;
    put(w, thread, HA_OP_REALLOC, w->object[slot], size > PTRDIFF_MAX ? PTRDIFF_MAX : size, 0, failed);
    if (!failed)
      w->size[slot] = size;
  } else if (kind == FUZZ_OP_CALLOC) {
    allocate(w, thread, slot, HA_OP_CALLOC, size, 1);
  } else if (kind == FUZZ_OP_ALIGNED_ALLOC || kind == FUZZ_OP_POSIX_MEMALIGN) {
    size_t alignment = fuzz_op_alignment(op);
    if (alignment != 0 && (alignment & (alignment - 1)) == 0 && alignment <= MOST_RECORDED)
      allocate(w, thread, slot, kind == FUZZ_OP_ALIGNED_ALLOC ? HA_OP_ALIGNED_ALLOC : HA_OP_POSIX_MEMALIGN,
               size, alignment);
  } else {
    allocate(w, thread, slot, HA_OP_MALLOC, size, 1);
  }
}

static void put_record(writing *w, const fuzz_op *op) {
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  unsigned thread = fuzz_op_thread(op);
  if (kind == FUZZ_OP_THREAD_EXIT) {
    end_thread(w, thread);
    return;
  }
  start_thread(w, thread);
  if (fuzz_op_allocates(kind))
    put_allocation(w, op, thread, kind);
  else if (kind == FUZZ_OP_FREE)
    free_slot(w, thread, op->slot, HA_OP_FREE);
  else if (kind == FUZZ_OP_FREE_SIZED || kind == FUZZ_OP_FREE_ALIGNED_SIZED)
    free_slot(w, thread, op->slot, HA_OP_FREE_SIZED);
  else if (kind == FUZZ_OP_MISUSE && fuzz_op_misuse(op) != FUZZ_MISUSE_FREE_LATER &&
           fuzz_op_misuse(op) != FUZZ_MISUSE_FREE_INTERIOR && fuzz_op_misuse(op) != FUZZ_MISUSE_FREE_FOREIGN)
    free_slot(w, thread, op->slot, HA_OP_FREE); // the right half of it
  else if (kind == FUZZ_OP_PURGE)
    put(w, thread, HA_OP_PURGE, 0, 0, 0, false);
  else if (kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_FREE_ALL)
    for (unsigned i = 0; i < (kind == FUZZ_OP_FREE_ALL ? FUZZ_SLOTS : fuzz_op_repeats(op)); i++)
      free_slot(w, thread, (op->slot + i) % FUZZ_SLOTS, HA_OP_FREE);
  else if (kind == FUZZ_OP_FILL_RUN)
    for (unsigned i = 0; i < fuzz_op_repeats(op); i++) {
      if (w->object[(op->slot + i) % FUZZ_SLOTS] == NO_OBJECT)
        allocate(w, thread, (op->slot + i) % FUZZ_SLOTS, HA_OP_MALLOC, fuzz_op_size(op, 0), 1);
    }
  else if (kind == FUZZ_OP_PAIRS)
    for (unsigned i = 0; i < fuzz_op_repeats(op); i++) {
      put(w, thread, HA_OP_MALLOC, w->next_object, fuzz_op_size(op, 0) % MOST_RECORDED, 0, false);
      put(w, thread, HA_OP_FREE, w->next_object++, 0, 0, false);
    }
}

// The exact records as hexadecimal META lines.
static bool put_exact(ha_trace_writer *writer, fuzz_program program) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < program.count; i += META_LINE) {
    char line[sizeof META_KEY + META_LINE * FUZZ_RECORD_BYTES * 2 + 2] = META_KEY;
    char *at = line + sizeof META_KEY - 1;
    size_t bytes = (program.count - i < META_LINE ? program.count - i : META_LINE) * FUZZ_RECORD_BYTES;
    const uint8_t *data = (const uint8_t *)&program.ops[i];
    for (size_t b = 0; b < bytes; b++) {
      *at++ = digits[data[b] >> 4];
      *at++ = digits[data[b] & 15];
    }
    *at++ = '\n';
    *at = '\0';
    if (!ha_trace_add_meta(writer, line))
      return false;
  }
  return true;
}

bool fuzz_program_to_trace(fuzz_program program, const char *path, const char *remark, char *why,
                           size_t why_size) {
  static writing w;
  memset(&w, 0, sizeof w);
  for (unsigned i = 0; i < FUZZ_SLOTS; i++)
    w.object[i] = NO_OBJECT;
  char meta[512];
  snprintf(meta, sizeof meta, "fuzz: %.480s\n", remark);
  for (char *c = meta; c[1] != '\0'; c++)
    if (*c == '\n')
      *c = ' ';
  w.writer = ha_trace_create(path, 0, meta, why, why_size);
  if (w.writer == NULL)
    return false;
  w.good = put_exact(w.writer, program);
  start_thread(&w, 0);
  for (size_t i = 0; i < program.count && w.good; i++)
    put_record(&w, &program.ops[i]);
  for (unsigned thread = 1; thread < FUZZ_THREADS; thread++)
    end_thread(&w, thread);
  for (unsigned slot = 0; slot < FUZZ_SLOTS; slot++)
    free_slot(&w, 0, slot, HA_OP_FREE);
  if (!w.good) {
    snprintf(why, why_size, "%s: the program breaks the rules of a trace", path);
    ha_trace_abandon(w.writer);
    return false;
  }
  ha_trace_totals totals;
  return ha_trace_finish(w.writer, 0, &totals, why, why_size);
}

// ---- From traces ----

static int digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t exact_of(const char *meta, fuzz_op *ops, size_t capacity) {
  uint8_t *out = (uint8_t *)ops;
  size_t bytes = 0;
  for (const char *line = strstr(meta, META_KEY); line != NULL; line = strstr(line, META_KEY)) {
    line += sizeof META_KEY - 1;
    for (; digit(line[0]) >= 0 && digit(line[1]) >= 0 && bytes < capacity * FUZZ_RECORD_BYTES; line += 2)
      out[bytes++] = (uint8_t)(digit(line[0]) << 4 | digit(line[1]));
  }
  return bytes / FUZZ_RECORD_BYTES;
}

// Which object lies in each slot: objects take the first free slot.
typedef struct placing {
  uint64_t object[FUZZ_SLOTS];
} placing;

static int slot_of(const placing *p, uint64_t object) {
  for (unsigned i = 0; i < FUZZ_SLOTS; i++)
    if (p->object[i] == object)
      return (int)i;
  return -1;
}

static bool record_of(placing *p, const ha_op *from, fuzz_op *op) {
  static const int8_t kinds[HA_OP_KINDS] = {
      [HA_OP_MALLOC] = FUZZ_OP_MALLOC,
      [HA_OP_CALLOC] = FUZZ_OP_CALLOC,
      [HA_OP_REALLOC] = FUZZ_OP_REALLOC,
      [HA_OP_FREE] = FUZZ_OP_FREE,
      [HA_OP_ALIGNED_ALLOC] = FUZZ_OP_ALIGNED_ALLOC,
      [HA_OP_POSIX_MEMALIGN] = FUZZ_OP_POSIX_MEMALIGN,
      [HA_OP_FREE_SIZED] = FUZZ_OP_FREE_SIZED,
      [HA_OP_PURGE] = FUZZ_OP_PURGE,
      [HA_OP_SPAWN] = -1,
      [HA_OP_JOIN] = -1,
      [HA_OP_THREAD_EXIT] = FUZZ_OP_THREAD_EXIT,
  };
  if (kinds[from->kind] < 0 || from->flags & HA_OP_FAILED)
    return false;
  *op = (fuzz_op){.kind = (uint8_t)kinds[from->kind],
                  .thread = (uint8_t)(from->thread % FUZZ_THREADS),
                  .alignment = from->alignment_log2,
                  .fill = (uint8_t)(from->object & 127)};
  bool allocates = fuzz_op_allocates((fuzz_op_kind)op->kind) && op->kind != FUZZ_OP_REALLOC;
  bool refers = from->kind == HA_OP_FREE || from->kind == HA_OP_FREE_SIZED || from->kind == HA_OP_REALLOC;
  int slot = allocates ? slot_of(p, NO_OBJECT) : refers ? slot_of(p, from->object) : 0;
  if (slot < 0)
    return false;
  op->slot = (uint8_t)slot;
  if (op->kind == FUZZ_OP_CALLOC)
    op->alignment = 0; // one element
  if (fuzz_op_uses_size((fuzz_op_kind)op->kind))
    fuzz_op_set_size(op, from->size);
  if (allocates)
    p->object[slot] = from->object;
  else if (refers && from->kind != HA_OP_REALLOC)
    p->object[slot] = NO_OBJECT;
  *op = fuzz_op_normal(*op);
  return true;
}

size_t fuzz_program_from_trace(const char *path, uint64_t first, fuzz_op *ops, size_t capacity, char *why,
                               size_t why_size) {
  ha_trace_reader *reader = ha_trace_open(path, why, why_size);
  if (reader == NULL)
    return 0;
  placing p;
  for (unsigned i = 0; i < FUZZ_SLOTS; i++)
    p.object[i] = NO_OBJECT;
  size_t count = 0;
  ha_op op;
  int got = 1;
  for (uint64_t i = 0; count < capacity && (got = ha_trace_next(reader, &op)) > 0; i++) {
    if (i == 0 && strstr(ha_trace_meta(reader), META_KEY) != NULL) {
      count = exact_of(ha_trace_meta(reader), ops, capacity);
      break;
    }
    if (i >= first)
      count += record_of(&p, &op, &ops[count]);
  }
  if (got < 0)
    snprintf(why, why_size, "%s", ha_trace_error(reader));
  else if (count == 0)
    snprintf(why, why_size, "%s: no operation from number %llu on", path, (unsigned long long)first);
  ha_trace_close(reader);
  return got < 0 ? 0 : count;
}

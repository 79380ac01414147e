// import_text.c: the text form that import.h describes.
#include "workloads/import.h"

#include <string.h>

#define ID_MAX     (UINT64_MAX - 1)
#define THREAD_MAX UINT32_MAX

// What follows an operation's name.
typedef enum operands {
  ID_ONLY,
  ID_SIZE,
  ID_ALIGNMENT_SIZE,
  ID_SIZE_MORE,
  NOTHING,
  THREAD,
  TIME,
  FAILED
} operands;

static const struct {
  const char *name;
  uint8_t kind;
  operands takes;
  uint8_t least, most; // words behind the name
} verbs[] = {
    {"malloc", HA_OP_MALLOC, ID_SIZE, 2, 2},
    {"calloc", HA_OP_CALLOC, ID_SIZE, 2, 2},
    {"realloc", HA_OP_REALLOC, ID_SIZE_MORE, 2, 3},
    {"free", HA_OP_FREE, ID_ONLY, 1, 1},
    {"aligned_alloc", HA_OP_ALIGNED_ALLOC, ID_ALIGNMENT_SIZE, 3, 3},
    {"posix_memalign", HA_OP_POSIX_MEMALIGN, ID_ALIGNMENT_SIZE, 3, 3},
    {"free_sized", HA_OP_FREE_SIZED, ID_SIZE_MORE, 2, 3},
    {"purge", HA_OP_PURGE, NOTHING, 0, 0},
    {"exit", HA_OP_THREAD_EXIT, NOTHING, 0, 0},
    {"spawn", HA_OP_SPAWN, THREAD, 1, 1},
    {"join", HA_OP_JOIN, THREAD, 1, 1},
    {"thread", HA_OP_KINDS, THREAD, 1, 2},
    {"time", HA_OP_KINDS, TIME, 1, 1},
    {"failed", HA_OP_KINDS, FAILED, 2, 3},
};

static bool alignment(importer *im, const char *word, unsigned *log2) {
  uint64_t value;
  if (!import_number(im, "the alignment", word, UINT64_C(1) << 40, &value))
    return false;
  if (value == 0 || (value & (value - 1)) != 0)
    return import_fail(im, "the alignment %s is not a power of two", word);
  *log2 = (unsigned)__builtin_ctzll(value);
  return true;
}

// The trace's number of thread N, announced if it is new. `parent`: of the trace.
static bool find_thread(importer *im, uint64_t n, uint32_t parent, const char *name, uint32_t *out) {
  ha_trace_entry *entry = ha_trace_map_find(&im->threads, n);
  if (entry == NULL) {
    const char *why = NULL;
    ha_trace_thread thread = {.thread = im->thread_count, .parent = parent};
    snprintf(thread.name, sizeof thread.name, "%.31s", name == NULL ? "thread" : name);
    entry = ha_trace_map_add(&im->threads, n);
    if (entry == NULL)
      return import_fail(im, "not enough memory");
    entry->value = im->thread_count;
    if (!im->sink->thread(im->sink->to, &thread, &why))
      return import_fail(im, "%s", why == NULL ? "" : why);
    im->thread_count++;
  }
  *out = (uint32_t)entry->value;
  return true;
}

static bool thread_verb(importer *im, unsigned kind) {
  uint64_t n;
  uint32_t other = 0;
  if (!import_number(im, "the thread", im->words[1], THREAD_MAX, &n))
    return false;
  if (kind == HA_OP_JOIN && ha_trace_map_find(&im->threads, n) == NULL)
    return import_fail(im, "thread %s was not seen before", im->words[1]);
  if (!find_thread(im, n, im->thread, im->word_count > 2 ? im->words[2] : NULL, &other))
    return false;
  if (kind != HA_OP_KINDS)
    return import_emit(im, (ha_op){.kind = (uint8_t)kind, .size = other});
  im->thread = other;
  return true;
}

static bool time_verb(importer *im) {
  uint64_t time;
  if (!import_number(im, "the time", im->words[1], UINT64_MAX, &time))
    return false;
  if (time < im->time_ns)
    return import_fail(im, "time goes backwards");
  im->time_ns = time;
  return true;
}

static ha_trace_entry *find_block(importer *im, const char *word) {
  uint64_t id;
  if (!import_number(im, "the block", word, ID_MAX, &id))
    return NULL;
  ha_trace_entry *entry = ha_trace_map_find(&im->live, id);
  if (entry == NULL)
    import_fail(im, "block %.40s is not live: never allocated, or freed before", word);
  return entry;
}

static bool failed_verb(importer *im) {
  uint64_t size;
  const char *what = im->words[1], *last = im->words[im->word_count - 1];
  if (!import_number(im, "the size", last, UINT64_MAX, &size))
    return false;
  ha_op op = {.flags = HA_OP_FAILED, .size = size};
  if (strcmp(what, "realloc") == 0 && im->word_count == 4) {
    const ha_trace_entry *entry = find_block(im, im->words[2]);
    if (entry == NULL)
      return false;
    op.kind = HA_OP_REALLOC;
    op.object = entry->value;
  } else if ((strcmp(what, "malloc") == 0 || strcmp(what, "calloc") == 0) && im->word_count == 3) {
    op.kind = strcmp(what, "malloc") == 0 ? HA_OP_MALLOC : HA_OP_CALLOC;
    op.object = im->next_object++;
  } else {
    return import_fail(im, "failed takes: malloc SIZE, calloc SIZE, or realloc ID SIZE");
  }
  return import_emit(im, op);
}

static bool allocation_verb(importer *im, unsigned kind, const char *align, const char *bytes) {
  uint64_t id, size;
  unsigned log2 = 0;
  if (!import_number(im, "the block", im->words[1], ID_MAX, &id) ||
      !import_number(im, "the size", bytes, UINT64_MAX, &size) ||
      (align != NULL && !alignment(im, align, &log2)))
    return false;
  if (ha_trace_map_find(&im->live, id) != NULL)
    return import_fail(im, "block %s is live already: its free is missing", im->words[1]);
  return import_allocate(im, kind, id, log2, size);
}

// realloc ID SIZE [NEW-ID]
static bool resize_verb(importer *im) {
  uint64_t size, id;
  ha_trace_entry *entry = find_block(im, im->words[1]);
  if (entry == NULL || !import_number(im, "the size", im->words[2], UINT64_MAX, &size))
    return false;
  uint64_t object = entry->value;
  if (im->word_count == 4) {
    if (!import_number(im, "the new block", im->words[3], ID_MAX, &id))
      return false;
    ha_trace_map_remove(&im->live, entry);
    if (ha_trace_map_find(&im->live, id) != NULL)
      return import_fail(im, "block %s is live already: its free is missing", im->words[3]);
    entry = ha_trace_map_add(&im->live, id);
    if (entry == NULL)
      return import_fail(im, "not enough memory for the live blocks");
    entry->value = object;
  }
  return import_emit(im, (ha_op){.kind = HA_OP_REALLOC, .object = object, .size = size});
}

static bool free_verb(importer *im, unsigned kind) {
  uint64_t size = 0;
  unsigned log2 = 0;
  ha_trace_entry *entry = find_block(im, im->words[1]);
  if (entry == NULL ||
      (im->word_count > 2 && !import_number(im, "the size", im->words[2], UINT64_MAX, &size)) ||
      (im->word_count > 3 && !alignment(im, im->words[3], &log2)))
    return false;
  return import_free(im, kind, entry, log2, size);
}

bool import_text_line(importer *im) {
  size_t at = 0;
  while (at < sizeof verbs / sizeof *verbs && strcmp(verbs[at].name, im->words[0]) != 0)
    at++;
  if (at == sizeof verbs / sizeof *verbs)
    return import_fail(im, "unknown operation \"%.40s\"", im->words[0]);
  unsigned operand_count = im->word_count - 1, kind = verbs[at].kind;
  if (operand_count < verbs[at].least || operand_count > verbs[at].most)
    return import_fail(im, "%s takes %u%s words, not %u", verbs[at].name, verbs[at].least,
                       verbs[at].most > verbs[at].least ? " or more" : "", operand_count);
  switch (verbs[at].takes) {
  case NOTHING:
    return import_emit(im, (ha_op){.kind = (uint8_t)kind});
  case THREAD:
    return thread_verb(im, kind);
  case TIME:
    return time_verb(im);
  case FAILED:
    return failed_verb(im);
  case ID_SIZE:
    return allocation_verb(im, kind, NULL, im->words[2]);
  case ID_ALIGNMENT_SIZE:
    return allocation_verb(im, kind, im->words[2], im->words[3]);
  case ID_SIZE_MORE:
    return kind == HA_OP_REALLOC ? resize_verb(im) : free_verb(im, kind);
  default: // ID_ONLY
    return free_verb(im, kind);
  }
}

// model_file.c: models as JSON files: one line for each size class, thread, cell and large block, so that
// people can read and compare them. The reader takes nothing on trust and no memory from malloc: it also runs
// in the worker, whose malloc is under test.
#include "workloads/model.h"
#include "workloads/trace_map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT      "heaparena-model"
#define FILE_MAX    ((off_t)256 << 20)
#define BYTES_MAX   (UINT64_C(1) << 46) // of one block
#define CHUNK_LEAST ((size_t)1 << 20)

static const char *const kind_names[HA_MODEL_KINDS] = {"malloc", "calloc", "aligned_alloc", "posix_memalign"};

// ---- Memory ----

typedef struct chunk {
  struct chunk *before;
  size_t bytes, used;
} chunk;

void *ha_model_memory(ha_model *model, uint64_t count, size_t bytes) {
  chunk *last = model->memory;
  if (count > (SIZE_MAX / 2 - sizeof(chunk)) / bytes)
    return NULL;
  size_t need = ((size_t)count * bytes + 15) & ~(size_t)15, head = (sizeof(chunk) + 15) & ~(size_t)15;
  if (last == NULL || need > last->bytes - last->used) {
    size_t whole = need + head > CHUNK_LEAST ? need + head : CHUNK_LEAST;
    chunk *fresh = ha_trace_pages(whole);
    if (fresh == NULL)
      return NULL;
    *fresh = (chunk){.before = last, .bytes = whole, .used = head};
    model->memory = last = fresh;
  }
  void *at = (char *)last + last->used;
  last->used += need;
  return at;
}

void ha_model_clear(ha_model *model) {
  for (chunk *last = model->memory; last != NULL;) {
    chunk *before = last->before;
    ha_trace_pages_free(last, last->bytes);
    last = before;
  }
  *model = (ha_model){0};
}

// ---- Writing ----

static void put_counts(FILE *out, const uint64_t *counts, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    fprintf(out, "%s%" PRIu64, i == 0 ? "[" : ",", counts[i]);
  fputs("]", out);
}

static void put_sizes(FILE *out, const ha_model *model) {
  fputs("\"sizes\": [", out);
  for (uint32_t i = 0; i < model->size_count; i++) {
    const ha_model_size *size = &model->sizes[i];
    fprintf(out, "%s\n {\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"mean\":%.6g,\"kinds\":", i == 0 ? "" : ",",
            size->from, size->to,
            size->from == size->to ? (double)size->from
                                   : fmin(fmax(size->mean, (double)size->from), (double)size->to));
    put_counts(out, size->kinds, HA_MODEL_KINDS);
    fprintf(out, ",\"alignment_log2\":%u,\"lifetimes\":", size->alignment_log2);
    for (unsigned q = 0; q < HA_MODEL_QUANTILES; q++)
      fprintf(out, "%s%.4g", q == 0 ? "[" : ",", size->lifetimes[q]);
    fputs("]}", out);
  }
  fputs("],\n", out);
}

static void put_phases(FILE *out, const ha_model *model) {
  fputs("\"phases\": [", out);
  for (uint32_t p = 0; p < model->phase_count; p++) {
    const ha_model_phase *phase = &model->phases[p];
    fprintf(out, "%s\n {\"from\":%" PRIu64 ",", p == 0 ? "" : ",", phase->from);
    if (phase->most != UINT64_MAX)
      fprintf(out, "\"most\":%" PRIu64 ",", phase->most);
    fputs("\"fresh\":", out);
    put_counts(out, phase->fresh, model->thread_count);
    fputs(",\"cells\":[", out);
    for (uint32_t i = 0; i < phase->cell_count; i++) {
      const ha_model_cell *cell = &phase->cells[i];
      fprintf(out, "%s\n  [%u,%" PRIu64 ",%" PRIu64, i == 0 ? "" : ",", cell->size, cell->fresh, cell->grown);
      for (uint32_t k = 0; k < cell->end_count; k++)
        fprintf(out, ",%u,%" PRIu64 ",%" PRIu64, cell->ends[k].phase, cell->ends[k].freed,
                cell->ends[k].grown);
      fputs("]", out);
    }
    fputs("]}", out);
  }
  fputs("],\n", out);
}

static void put_large(FILE *out, const ha_model *model) {
  fputs("\"large\": [", out);
  for (uint32_t i = 0; i < model->large_count; i++) {
    const ha_model_large *large = &model->large[i];
    fprintf(out, "%s\n {\"thread\":%u,\"kind\":\"%s\",\"alignment_log2\":%u,\"steps\":[", i == 0 ? "" : ",",
            large->thread, kind_names[large->kind], large->alignment_log2);
    for (uint32_t k = 0; k < large->step_count; k++) {
      const ha_model_step *step = &large->steps[k];
      fprintf(out, "%s[%" PRIu64, k == 0 ? "" : ",", step->at);
      if (!step->end)
        fprintf(out, ",%" PRIu64, step->size);
      fputs("]", out);
    }
    fputs("]}", out);
  }
  fputs("]\n", out);
}

static void put_model(FILE *out, const ha_model *model) {
  fprintf(out,
          "{\n\"format\": \"" FORMAT "\",\n\"version\": %d,\n\"operations\": %" PRIu64
          ",\n\"sized_frees\": %" PRIu64 ",\n",
          HA_MODEL_VERSION, model->operations, model->sized_frees);
  put_sizes(out, model);
  fputs("\"threads\": [", out);
  for (uint32_t i = 0; i < model->thread_count; i++) {
    const ha_model_thread *thread = &model->threads[i];
    fprintf(out,
            "%s\n {\"parent\":%u,\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"ends\":", i == 0 ? "" : ",",
            thread->parent, thread->first, thread->last);
    put_counts(out, thread->ends, model->thread_count);
    fputs("}", out);
  }
  fputs("],\n", out);
  put_phases(out, model);
  put_large(out, model);
  fputs("}\n", out);
}

bool ha_model_save(const ha_model *model, const char *path, char *why, size_t why_size) {
  char unfinished[4096 + 32];
  snprintf(unfinished, sizeof unfinished, "%.4095s.%ld.part", path, (long)getpid());
  FILE *out = fopen(unfinished, "we");
  if (out == NULL) {
    snprintf(why, why_size, "%s: cannot be written: %s", path, strerror(errno));
    return false;
  }
  put_model(out, model);
  bool whole = ferror(out) == 0;
  whole = fclose(out) == 0 && whole && rename(unfinished, path) == 0;
  if (!whole) {
    snprintf(why, why_size, "%s: cannot be written: %s", path, strerror(errno));
    unlink(unfinished);
  }
  return whole;
}

// ---- Reading ----

typedef struct loader {
  ha_model *model;
  const char *path;
  char where[96]; // what is being read: "phases[2].cells[7]"
  char *why;
  size_t why_size;
} loader;

static bool refuse(loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool refuse(loader *l, const char *format, ...) {
  char what[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  snprintf(l->why, l->why_size, "%s: %s%s%s; fit the model anew", l->path, l->where,
           l->where[0] == 0 ? "" : ": ", what);
  return false;
}

static bool number(loader *l, const char *name, const json_t *value, uint64_t most, uint64_t *out) {
  if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > most)
    return refuse(l, "%s is not a whole number up to %" PRIu64, name, most);
  *out = (uint64_t)json_integer_value(value);
  return true;
}

static bool small(loader *l, const char *name, const json_t *value, uint32_t most, uint32_t *out) {
  uint64_t wide = 0;
  bool good = number(l, name, value, most, &wide);
  *out = (uint32_t)wide;
  return good;
}

// An array of `count` numbers, into memory of the model.
static bool counts(loader *l, const char *name, const json_t *list, size_t count, uint64_t *out) {
  if (!json_is_array(list) || json_array_size(list) != count)
    return refuse(l, "%s is not a list of %zu numbers", name, count);
  for (size_t i = 0; i < count; i++)
    if (!number(l, name, json_array_get(list, i), HA_MODEL_COUNT_MAX, &out[i]))
      return false;
  return true;
}

// The array under `key`, of `least` to `most` members, and room for them.
static const json_t *members(loader *l, const json_t *object, const char *key, size_t least, size_t most,
                             size_t bytes, void **out) {
  const json_t *list = json_object_get(object, key);
  if (!json_is_array(list) || json_array_size(list) < least || json_array_size(list) > most) {
    refuse(l, "\"%s\" is not a list of %zu to %zu members", key, least, most);
    return NULL;
  }
  *out = ha_model_memory(l->model, json_array_size(list) + 1, bytes);
  if (*out == NULL)
    refuse(l, "not enough memory");
  return *out == NULL ? NULL : list;
}

static bool load_size(loader *l, const json_t *one, uint64_t least, ha_model_size *size) {
  const json_t *lifetimes = json_object_get(one, "lifetimes");
  if (!number(l, "from", json_object_get(one, "from"), BYTES_MAX, &size->from) ||
      !number(l, "to", json_object_get(one, "to"), BYTES_MAX, &size->to) ||
      !counts(l, "kinds", json_object_get(one, "kinds"), HA_MODEL_KINDS, size->kinds) ||
      !small(l, "alignment_log2", json_object_get(one, "alignment_log2"), 40, &size->alignment_log2))
    return false;
  size->mean = json_number_value(json_object_get(one, "mean"));
  if (size->from < least || size->to < size->from)
    return refuse(l, "sizes are not in order");
  // Six digits are written: the mean may be a little off.
  if (!(size->mean >= (double)size->from * 0.99999 && size->mean <= (double)size->to * 1.00001))
    return refuse(l, "the mean is not between \"from\" and \"to\"");
  size->mean = fmin(fmax(size->mean, (double)size->from), (double)size->to);
  if (!json_is_array(lifetimes) || json_array_size(lifetimes) != HA_MODEL_QUANTILES)
    return refuse(l, "lifetimes is not a list of %d numbers", HA_MODEL_QUANTILES);
  for (size_t i = 0; i < HA_MODEL_QUANTILES; i++) {
    size->lifetimes[i] = json_number_value(json_array_get(lifetimes, i));
    if (!(size->lifetimes[i] >= (i == 0 ? 0 : size->lifetimes[i - 1]) && size->lifetimes[i] <= 1e15))
      return refuse(l, "lifetimes do not rise");
  }
  return true;
}

static bool load_sizes(loader *l, const json_t *root) {
  ha_model *m = l->model;
  const json_t *list = members(l, root, "sizes", 1, HA_MODEL_SIZES, sizeof *m->sizes, (void **)&m->sizes);
  if (list == NULL)
    return false;
  m->size_count = (uint32_t)json_array_size(list);
  for (uint32_t i = 0; i < m->size_count; i++) {
    snprintf(l->where, sizeof l->where, "sizes[%u]", i);
    if (!load_size(l, json_array_get(list, i), i == 0 ? 0 : m->sizes[i - 1].to + 1, &m->sizes[i]))
      return false;
  }
  l->where[0] = 0;
  return true;
}

static bool load_threads(loader *l, const json_t *root) {
  ha_model *m = l->model;
  const json_t *list =
      members(l, root, "threads", 1, HA_MODEL_THREADS, sizeof *m->threads, (void **)&m->threads);
  if (list == NULL)
    return false;
  m->thread_count = (uint32_t)json_array_size(list);
  for (uint32_t i = 0; i < m->thread_count; i++) {
    ha_model_thread *thread = &m->threads[i];
    const json_t *one = json_array_get(list, i);
    snprintf(l->where, sizeof l->where, "threads[%u]", i);
    thread->ends = ha_model_memory(m, m->thread_count, sizeof(uint64_t));
    if (thread->ends == NULL)
      return refuse(l, "not enough memory");
    if (!small(l, "parent", json_object_get(one, "parent"), i == 0 ? 0 : i - 1, &thread->parent) ||
        !number(l, "first", json_object_get(one, "first"), m->operations, &thread->first) ||
        !number(l, "last", json_object_get(one, "last"), m->operations, &thread->last) ||
        !counts(l, "ends", json_object_get(one, "ends"), m->thread_count, thread->ends))
      return false;
    if (thread->last < thread->first || (i > 0 && thread->first < m->threads[i - 1].first))
      return refuse(l, "threads are not in order of time");
  }
  l->where[0] = 0;
  return true;
}

static bool load_cell(loader *l, const json_t *list, uint32_t phase, int64_t class, ha_model_cell *cell) {
  const size_t words = json_is_array(list) ? json_array_size(list) : 0;
  if (words < 3 || words % 3 != 0 || words > 3 + 3 * HA_MODEL_PHASES)
    return refuse(l, "not a list of class, fresh, grown, and three numbers for each phase of ends");
  if (!small(l, "class", json_array_get(list, 0), l->model->size_count - 1, &cell->size) ||
      !number(l, "fresh", json_array_get(list, 1), HA_MODEL_COUNT_MAX, &cell->fresh) ||
      !number(l, "grown", json_array_get(list, 2), HA_MODEL_COUNT_MAX, &cell->grown))
    return false;
  if ((int64_t)cell->size <= class)
    return refuse(l, "cells are not in order of class");
  cell->end_count = (uint32_t)(words / 3 - 1);
  cell->ends = ha_model_memory(l->model, cell->end_count + 1u, sizeof *cell->ends);
  if (cell->ends == NULL)
    return refuse(l, "not enough memory");
  uint64_t ended = 0;
  for (uint32_t k = 0; k < cell->end_count; k++) {
    ha_model_end *end = &cell->ends[k];
    const size_t at = 3 + 3 * (size_t)k;
    if (!small(l, "phase", json_array_get(list, at), l->model->phase_count - 1, &end->phase) ||
        !number(l, "freed", json_array_get(list, at + 1), HA_MODEL_COUNT_MAX, &end->freed) ||
        !number(l, "grown", json_array_get(list, at + 2), HA_MODEL_COUNT_MAX, &end->grown))
      return false;
    if (end->phase < phase || (k > 0 && end->phase <= cell->ends[k - 1].phase))
      return refuse(l, "ends are not in order of phase");
    ended += end->freed + end->grown;
  }
  return ended <= cell->fresh + cell->grown || refuse(l, "more segments end than begin");
}

static bool load_phase(loader *l, const json_t *one, uint32_t index) {
  ha_model *m = l->model;
  ha_model_phase *phase = &m->phases[index];
  phase->fresh = ha_model_memory(m, m->thread_count, sizeof(uint64_t));
  if (phase->fresh == NULL)
    return refuse(l, "not enough memory");
  if (!number(l, "from", json_object_get(one, "from"), m->operations - 1, &phase->from) ||
      !counts(l, "fresh", json_object_get(one, "fresh"), m->thread_count, phase->fresh))
    return false;
  const json_t *most = json_object_get(one, "most");
  phase->most = UINT64_MAX;
  if (most != NULL && !number(l, "most", most, INT64_MAX, &phase->most))
    return false;
  if (index == 0 ? phase->from != 0 : phase->from <= m->phases[index - 1].from)
    return refuse(l, "phases are not in order");
  const json_t *cells =
      members(l, one, "cells", 0, m->size_count, sizeof *phase->cells, (void **)&phase->cells);
  if (cells == NULL)
    return false;
  phase->cell_count = (uint32_t)json_array_size(cells);
  uint64_t by_thread = 0, by_size = 0;
  for (uint32_t i = 0; i < phase->cell_count; i++) {
    snprintf(l->where, sizeof l->where, "phases[%u].cells[%u]", index, i);
    if (!load_cell(l, json_array_get(cells, i), index, i == 0 ? -1 : (int64_t)phase->cells[i - 1].size,
                   &phase->cells[i]))
      return false;
    by_size += phase->cells[i].fresh;
  }
  for (uint32_t t = 0; t < m->thread_count; t++)
    by_thread += phase->fresh[t];
  snprintf(l->where, sizeof l->where, "phases[%u]", index);
  return by_thread == by_size || refuse(l, "blocks by thread and blocks by size differ");
}

static bool load_phases(loader *l, const json_t *root) {
  ha_model *m = l->model;
  const json_t *list = members(l, root, "phases", 1, HA_MODEL_PHASES, sizeof *m->phases, (void **)&m->phases);
  if (list == NULL)
    return false;
  m->phase_count = (uint32_t)json_array_size(list);
  for (uint32_t i = 0; i < m->phase_count; i++) {
    snprintf(l->where, sizeof l->where, "phases[%u]", i);
    if (!load_phase(l, json_array_get(list, i), i))
      return false;
  }
  l->where[0] = 0;
  return true;
}

static bool load_step(loader *l, const json_t *pair, const ha_model_step *before, bool last,
                      ha_model_step *step) {
  size_t words = json_is_array(pair) ? json_array_size(pair) : 0;
  step->end = words == 1;
  if (words < 1 || words > 2 || (step->end && (before == NULL || !last)))
    return refuse(l, "a step is [operation, size], the last may be [operation]");
  if (!number(l, "operation", json_array_get(pair, 0), l->model->operations - 1, &step->at) ||
      (!step->end && !number(l, "size", json_array_get(pair, 1), BYTES_MAX, &step->size)))
    return false;
  return before == NULL || step->at > before->at || refuse(l, "steps are not in order");
}

static bool load_large_one(loader *l, const json_t *one, ha_model_large *large) {
  const char *kind = json_string_value(json_object_get(one, "kind"));
  for (large->kind = 0; kind != NULL && large->kind < HA_MODEL_KINDS; large->kind++)
    if (strcmp(kind, kind_names[large->kind]) == 0)
      break;
  if (kind == NULL || large->kind == HA_MODEL_KINDS)
    return refuse(l, "kind is none of malloc, calloc, aligned_alloc, posix_memalign");
  if (!small(l, "thread", json_object_get(one, "thread"), l->model->thread_count - 1, &large->thread) ||
      !small(l, "alignment_log2", json_object_get(one, "alignment_log2"), 40, &large->alignment_log2))
    return false;
  const json_t *steps =
      members(l, one, "steps", 1, HA_MODEL_STEPS, sizeof *large->steps, (void **)&large->steps);
  if (steps == NULL)
    return false;
  large->step_count = (uint32_t)json_array_size(steps);
  for (uint32_t i = 0; i < large->step_count; i++)
    if (!load_step(l, json_array_get(steps, i), i == 0 ? NULL : &large->steps[i - 1],
                   i + 1 == large->step_count, &large->steps[i]))
      return false;
  return true;
}

static bool load_large(loader *l, const json_t *root) {
  ha_model *m = l->model;
  const json_t *list = members(l, root, "large", 0, HA_MODEL_STEPS, sizeof *m->large, (void **)&m->large);
  if (list == NULL)
    return false;
  m->large_count = (uint32_t)json_array_size(list);
  for (uint32_t i = 0; i < m->large_count; i++) {
    snprintf(l->where, sizeof l->where, "large[%u]", i);
    if (!load_large_one(l, json_array_get(list, i), &m->large[i]))
      return false;
  }
  l->where[0] = 0;
  return true;
}

static bool load_root(loader *l, const json_t *root) {
  const char *format = json_string_value(json_object_get(root, "format"));
  uint64_t version;
  if (format == NULL || strcmp(format, FORMAT) != 0)
    return refuse(l, "not a model (no \"format\": \"" FORMAT "\")");
  if (!number(l, "version", json_object_get(root, "version"), HA_MODEL_VERSION, &version) ||
      !number(l, "operations", json_object_get(root, "operations"), HA_MODEL_COUNT_MAX,
              &l->model->operations) ||
      !number(l, "sized_frees", json_object_get(root, "sized_frees"), HA_MODEL_COUNT_MAX,
              &l->model->sized_frees))
    return false;
  if (l->model->operations == 0)
    return refuse(l, "operations is 0");
  return load_sizes(l, root) && load_threads(l, root) && load_phases(l, root) && load_large(l, root);
}

static bool read_file(loader *l, char **text, size_t *bytes) {
  int fd = open(l->path, O_RDONLY | O_CLOEXEC);
  struct stat facts;
  *bytes = 0;
  *text = NULL;
  if (fd < 0 || fstat(fd, &facts) != 0) {
    snprintf(l->why, l->why_size, "%s: cannot open the model: %s", l->path, strerrordesc_np(errno));
    if (fd >= 0)
      close(fd);
    return false;
  }
  bool good = S_ISREG(facts.st_mode) && facts.st_size <= FILE_MAX;
  *text = good ? ha_model_memory(l->model, (uint64_t)facts.st_size + 1, 1) : NULL;
  for (ssize_t got = 1; *text != NULL && got > 0 && *bytes < (size_t)facts.st_size;) {
    got = read(fd, *text + *bytes, (size_t)facts.st_size - *bytes);
    *bytes += got > 0 ? (size_t)got : 0;
  }
  close(fd);
  return *text != NULL || refuse(l, good ? "not enough memory" : "not a file of at most 256 MiB");
}

// What jansson allocates while a model is read; given back at once when that is done.
static ha_model scratch;

static void *scratch_malloc(size_t bytes) {
  return ha_model_memory(&scratch, bytes, 1);
}
static void scratch_free(void *block) {
  (void)block;
}

bool ha_model_load(const char *path, ha_model *model, char *why, size_t why_size) {
  *model = (ha_model){0};
  loader l = {.model = model, .path = path, .why = why, .why_size = why_size};
  char *text;
  size_t bytes;
  if (!read_file(&l, &text, &bytes)) {
    ha_model_clear(model);
    return false;
  }
  json_malloc_t malloc_before;
  json_free_t free_before;
  json_get_alloc_funcs(&malloc_before, &free_before);
  json_set_alloc_funcs(scratch_malloc, scratch_free);
  json_error_t error;
  json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
  bool good = root != NULL && load_root(&l, root);
  if (root == NULL)
    snprintf(why, why_size,
             "%s: line %d, column %d: not a model: %.100s; make one with `heaparena trace fit`", path,
             error.line, error.column, error.text);
  json_set_alloc_funcs(malloc_before, free_before);
  ha_model_clear(&scratch);
  if (!good)
    ha_model_clear(model);
  return good;
}

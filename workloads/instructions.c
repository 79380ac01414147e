// instructions.c: see instructions.h. The format, as far as it matters here (valgrind's manual, "Callgrind
// Format Specification"):
//
//   ob=(1) /path/of/the/object     the lines below belong to a function of this object; the name is written
//   fn=(2) malloc                  with an id's first use only
//   81 12                          12 instructions of the function itself, at source line 81
//   cob=(3)                        calls: the object called, if it is another one,
//   cfn=(4) mmap                   the function,
//   calls=2 150                    how often,
//   82 420                         and what the calls cost, callees of callees included
//   totals: 432
#include "workloads/instructions.h"

#include <stdlib.h>
#include <string.h>

// What a name stands for, by its id.
typedef struct table {
  unsigned char *kinds;
  size_t capacity;
} table;

enum { OTHER, PROGRAM, ALLOCATOR, UNKNOWN };

typedef struct reader {
  const char *program;
  const ha_alloc *alloc;
  table objects, functions;
  unsigned char object, function; // kinds of the function whose costs are read
  unsigned char called_object, called_function;
  bool cost_of_calls; // the next line of figures is not the function's own
  bool ended;
  ha_instructions *out;
} reader;

static bool starts_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

static unsigned char object_kind(const reader *r, const char *name) {
  if (r->alloc->library && strcmp(name, r->alloc->library) == 0)
    return ALLOCATOR;
  if (strcmp(name, "???") == 0) // code in sections of another name than .text, as gperftools' malloc
    return UNKNOWN;
  return strcmp(name, r->program) == 0 ? PROGRAM : OTHER;
}

// Whether a function is named like one of the allocator's. A linked allocator's are named after it.
static unsigned char function_kind(const reader *r, const char *name) {
  size_t length = strlen(r->alloc->name);
  if (!r->alloc->library)
    return strncmp(name, r->alloc->name, length) == 0 && name[length] == '_' ? ALLOCATOR : OTHER;
  return strstr(name, "alloc") || strstr(name, "free") || strstr(name, "memalign") ? ALLOCATOR : OTHER;
}

static bool remember(table *t, size_t id, unsigned char kind) {
  if (id >= t->capacity) {
    size_t capacity = id * 2 + 64;
    unsigned char *larger = realloc(t->kinds, capacity);
    if (!larger)
      return false;
    memset(larger + t->capacity, OTHER, capacity - t->capacity);
    t->kinds = larger;
    t->capacity = capacity;
  }
  t->kinds[id] = kind;
  return true;
}

// "(12) name" or "(12)": the kind of the thing named.
static unsigned char look_up(const reader *r, table *t, const char *text,
                             unsigned char (*kind_of)(const reader *, const char *)) {
  char *end;
  if (*text != '(')
    return kind_of(r, text);
  size_t id = strtoul(text + 1, &end, 10);
  if (id > 1u << 24 || *end != ')')
    return OTHER;
  if (end[1] == ' ' && !remember(t, id, kind_of(r, end + 2)))
    return OTHER;
  return id < t->capacity ? t->kinds[id] : OTHER;
}

// Whatever the program calls in the allocator's library is the allocator, unless that is the C library.
static bool is_allocator(const reader *r, unsigned char object, unsigned char function) {
  const char *library = r->alloc->library;
  if (!library)
    return object == PROGRAM && function == ALLOCATOR;
  if (object == ALLOCATOR && !strstr(library, "/libc.so"))
    return true;
  return (object == ALLOCATOR || object == UNKNOWN) && function == ALLOCATOR;
}

static void read_cost(reader *r, const char *line) {
  if (!r->cost_of_calls)
    return;
  const char *cost = strchr(line, ' '); // after the source line
  bool from_program = r->object == PROGRAM && !is_allocator(r, r->object, r->function);
  if (cost && from_program && is_allocator(r, r->called_object, r->called_function))
    r->out->allocator += strtoull(cost, NULL, 10);
  r->cost_of_calls = false;
  r->called_object = r->object;
}

static void read_calls(reader *r, const char *count) {
  r->cost_of_calls = true;
  if (r->object == PROGRAM && !is_allocator(r, r->object, r->function) &&
      is_allocator(r, r->called_object, r->called_function))
    r->out->calls += strtoull(count, NULL, 10);
}

static void read_line(reader *r, const char *line) {
  if ((*line >= '0' && *line <= '9') || *line == '+' || *line == '-' || *line == '*')
    read_cost(r, line);
  else if (starts_with(line, "fn="))
    r->function = look_up(r, &r->functions, line + 3, function_kind);
  else if (starts_with(line, "cfn="))
    r->called_function = look_up(r, &r->functions, line + 4, function_kind);
  else if (starts_with(line, "ob="))
    r->object = r->called_object = look_up(r, &r->objects, line + 3, object_kind);
  else if (starts_with(line, "cob="))
    r->called_object = look_up(r, &r->objects, line + 4, object_kind);
  else if (starts_with(line, "calls="))
    read_calls(r, line + 6);
  else if (starts_with(line, "totals: ")) {
    r->out->total = strtoull(line + 8, NULL, 10);
    r->ended = true;
  }
}

bool ha_instructions_read(FILE *in, const char *program, const ha_alloc *alloc, ha_instructions *out) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  memset(out, 0, sizeof *out);
  reader r = {.program = program, .alloc = alloc, .out = out};
  bool good = getline(&line, &capacity, in) > 0 && starts_with(line, "# callgrind format");
  while (good && !r.ended && (length = getline(&line, &capacity, in)) > 0) {
    if (line[length - 1] == '\n')
      line[length - 1] = '\0';
    read_line(&r, line);
  }
  free(line);
  free(r.objects.kinds);
  free(r.functions.kinds);
  return good && r.ended;
}

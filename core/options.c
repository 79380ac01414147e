// Options: the table, the parser, the environment. See options.h.
#include "core/options.h"

#include "core/errors.h"
#include "core/gomalloc.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

struct gm_options gm_options = {
    .signals = 1,
    .layout = GM_LAYOUT_SPARSE,
    .mem_limit = GM_NO_LIMIT,
    .retain_percent = 10,
    .retain_min = (uint64_t)8 << 20,
    .decay_ms = 500,
    .huge_pages = (uint64_t)16 << 20,
};

enum option_kind {
  OPTION_NUMBER, // decimal, from low to high
  OPTION_BYTES,  // the same with a unit
  OPTION_WORDS,  // words[n] stands for n
};

struct option {
  const char *name; // of gm_set_option; the environment's is GOMALLOC_ and this in upper case
  _Atomic uint64_t *value;
  enum option_kind kind;
  uint64_t low;
  uint64_t high;
  const char *words[2];
  const char *none;    // a word that stands for UINT64_MAX, or NULL
  const char *allowed; // for the message
};

static const struct option table[] = {
    {"on_error", &errors_action, OPTION_WORDS, 0, 1, {"abort", "report"}, NULL, "abort or report"},
    {"signals", &gm_options.signals, OPTION_NUMBER, 0, 1, {NULL, NULL}, NULL, "0 or 1"},
    {"stats", &gm_options.stats, OPTION_NUMBER, 0, 1, {NULL, NULL}, NULL, "0 or 1"},
    {"layout", &gm_options.layout, OPTION_WORDS, 0, 1, {"sparse", "linear"}, NULL, "sparse or linear"},
    {"memlimit",
     &gm_options.mem_limit,
     OPTION_BYTES,
     (uint64_t)1 << 20,
     (uint64_t)1 << GM_ADDR_BITS,
     {NULL, NULL},
     "none",
     "none, or bytes from 1MiB to 256TiB, as in 512MiB"},
    {"retain",
     &gm_options.retain_percent,
     OPTION_NUMBER,
     0,
     1000,
     {NULL, NULL},
     NULL,
     "a percentage from 0 to 1000"},
    {"retain_min",
     &gm_options.retain_min,
     OPTION_BYTES,
     0,
     (uint64_t)1 << 40,
     {NULL, NULL},
     NULL,
     "bytes from 0 to 1TiB, as in 8MiB"},
    {"decay",
     &gm_options.decay_ms,
     OPTION_NUMBER,
     0,
     3600000,
     {NULL, NULL},
     "none",
     "none, or milliseconds from 0 to 3600000"},
    {"huge_pages",
     &gm_options.huge_pages,
     OPTION_BYTES,
     0,
     (uint64_t)1 << 40,
     {NULL, NULL},
     "none",
     "none, or bytes from 0 to 1TiB, as in 16MiB"},
};

enum { OPTION_COUNT = sizeof table / sizeof *table };

static const char prefix[] = "GOMALLOC_";
enum { PREFIX_LENGTH = sizeof prefix - 1 };

static bool parse_unit(const char *unit, uint64_t *factor) {
  static const struct {
    const char *name;
    unsigned shift;
  } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (strcmp(unit, units[i].name) == 0) {
      *factor = (uint64_t)1 << units[i].shift;
      return true;
    }
  return false;
}

// Digits only, no sign, no space; the rest of the text is the unit.
static bool parse_number(const char *text, bool with_unit, uint64_t *result) {
  uint64_t value = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++)
    if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
      return false;
  uint64_t factor = 1;
  if (at == text || (with_unit ? !parse_unit(at, &factor) : *at != '\0'))
    return false;
  return !__builtin_mul_overflow(value, factor, result);
}

static bool parse_value(const struct option *option, const char *text, uint64_t *value) {
  if (option->none != NULL && strcmp(text, option->none) == 0) {
    *value = UINT64_MAX;
    return true;
  }
  if (option->kind != OPTION_WORDS)
    return parse_number(text, option->kind == OPTION_BYTES, value) && *value >= option->low &&
           *value <= option->high;
  for (uint64_t i = 0; i <= option->high; i++)
    if (strcmp(text, option->words[i]) == 0) {
      *value = i;
      return true;
    }
  return false;
}

static int set(const struct option *option, const char *text) {
  uint64_t value = 0;
  if (!parse_value(option, text, &value))
    return EINVAL;
  if (option->value == &gm_options.layout &&
      atomic_load_explicit(&gm_options.layout_chosen, memory_order_acquire) &&
      value != gm_option_get(&gm_options.layout))
    return EBUSY;
  atomic_store_explicit(option->value, value, memory_order_relaxed);
  return 0;
}

GM_EXPORT int gm_set_option(const char *name, const char *value) {
  int error = EINVAL;
  for (size_t i = 0; i < OPTION_COUNT && name != NULL && value != NULL; i++)
    if (strcmp(name, table[i].name) == 0)
      error = set(&table[i], value);
  if (error == 0)
    return 0;
  errno = error;
  return -1;
}

bool options_describe(unsigned index, const char **name, uint64_t *value) {
  if (index >= OPTION_COUNT)
    return false;
  *name = table[index].name;
  *value = gm_option_get(table[index].value);
  return true;
}

// The length of the variable's name when it is this option's, else 0.
static size_t matches(const struct option *option, const char *variable) {
  const char *at = variable + PREFIX_LENGTH;
  for (const char *name = option->name; *name != '\0'; name++, at++)
    if (*at != (*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name))
      return 0;
  return *at == '=' ? (size_t)(at - variable) : 0;
}

static GM_COLD void complain(const char *variable, size_t name_length, const char *what,
                             const char *allowed) {
  char line[256];
  char name[64];
  size_t length = name_length < sizeof name - 1 ? name_length : sizeof name - 1;
  memcpy(name, variable, length);
  name[length] = '\0';
  struct text_buffer text = {line, sizeof line, 0};
  text_append(&text, "gomalloc: ");
  text_append(&text, name);
  text_append(&text, what);
  text_append(&text, allowed);
  text_append(&text, "; ignored\n");
  text_write_stderr(&text);
}

static void read_variable(const char *variable) {
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    size_t length = matches(&table[i], variable);
    if (length == 0)
      continue;
    int error = set(&table[i], variable + length + 1);
    if (error == EBUSY)
      complain(variable, length, " cannot change any more", "");
    else if (error != 0)
      complain(variable, length, " must be ", table[i].allowed);
    return;
  }
  const char *end = strchr(variable, '=');
  complain(variable, end != NULL ? (size_t)(end - variable) : strlen(variable),
           " is not an option of gomalloc", "");
}

void options_load_from(char *const *environment) {
  for (char *const *at = environment; *at != NULL; at++)
    if (strncmp(*at, prefix, PREFIX_LENGTH) == 0)
      read_variable(*at);
}

void options_load(void) {
  static atomic_flag loaded = ATOMIC_FLAG_INIT;
  if (environ == NULL || atomic_flag_test_and_set_explicit(&loaded, memory_order_acq_rel))
    return;
  if (getauxval(AT_SECURE) == 0)
    options_load_from(environ);
}

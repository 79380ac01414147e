// misuse.c: heaparena-misuse, the program behind `heaparena misuse`: the trials of one allocator, or a search.
//
//   heaparena-misuse --list
//   heaparena-misuse --allocator SPEC [--cases A,...] [--sizes N,...] [--by owner,other] [--trials N]
//                    [--aftermath N] [--seed N]
//   heaparena-misuse --allocator SPEC --search CLASS [--seconds N] [--seed N]
//
// Answers in JSON lines on stdout: first a line on the allocator, then one per cell (case, size, thread) with its
// verdicts, or one per finding. Exit status: 0 it ran, whatever it saw; 2 bad usage, with one line on stderr.
#include "fuzz/misuse.h"
#include "adapters/registry.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIZES 64

typedef struct request {
  const char *allocator, *cases;
  size_t sizes[MOST_SIZES];
  unsigned size_count, trials, aftermath;
  bool by[2]; // owner, other
  misuse_search search;
} request;

static const char *const by_names[2] = {"owner", "other"};

__attribute__((noreturn)) static void refuse(const char *what, const char *value) {
  fprintf(stderr, "heaparena-misuse: %s: '%s'; see `heaparena misuse --help`\n", what, value);
  exit(2);
}

static unsigned long number(const char *text, unsigned long least, unsigned long most, const char *what) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < least || value > most)
    refuse(what, text);
  return value;
}

// Whether `name` is a word of the comma-separated list; NULL holds every name.
static bool listed(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
      return true;
  return !list;
}

static void check_cases(const char *list) {
  size_t count;
  const misuse_case *cases = misuse_cases(&count);
  char copy[2048];
  snprintf(copy, sizeof copy, "%s", list);
  char *rest = NULL;
  for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    size_t i = 0;
    while (i < count && strcmp(cases[i].name, word) != 0)
      i++;
    if (i == count)
      refuse("no such case", word);
  }
}

static void read_sizes(request *r, const char *list) {
  char copy[1024];
  snprintf(copy, sizeof copy, "%s", list);
  r->size_count = 0;
  char *rest = NULL;
  for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    if (r->size_count == MOST_SIZES)
      refuse("too many sizes", list);
    r->sizes[r->size_count++] = number(word, 1, 1ul << 20, "a size is 1 to 1048576 bytes");
  }
}

static void check_class(const char *name) {
  for (const char *const *class = misuse_search_classes(); *class; class ++)
    if (strcmp(*class, name) == 0)
      return;
  refuse("no such class of misuse", name);
}

static void list_all(void) {
  size_t count;
  const misuse_case *cases = misuse_cases(&count);
  char text[512];
  misuse_say("{\"cases\": [");
  for (size_t i = 0; i < count; i++)
    misuse_say("%s{\"name\": \"%s\", \"summary\": %s, \"least\": %zu, \"most\": %zu}", i ? ", " : "",
               cases[i].name, misuse_quote(cases[i].summary, text, sizeof text), cases[i].least,
               cases[i].most);
  misuse_say("], \"search\": [");
  const char *const *class = misuse_search_classes();
  for (size_t i = 0; class[i]; i++)
    misuse_say("%s\"%s\"", i ? ", " : "", class[i]);
  misuse_say("]}\n");
  exit(0);
}

static request read_arguments(int argc, char **argv) {
  static const struct option options[] = {
      {"list", no_argument, NULL, 'l'},
      {"allocator", required_argument, NULL, 'a'},
      {"cases", required_argument, NULL, 'c'},
      {"sizes", required_argument, NULL, 's'},
      {"by", required_argument, NULL, 'b'},
      {"trials", required_argument, NULL, 't'},
      {"seed", required_argument, NULL, 'r'},
      {"aftermath", required_argument, NULL, 'm'},
      {"search", required_argument, NULL, 'f'},
      {"seconds", required_argument, NULL, 'n'},
      {NULL, 0, NULL, 0},
  };
  request r = {.sizes = {8, 64, 1024, 4096, 65536, 262144, 1048576},
               .size_count = 7,
               .trials = 20,
               .aftermath = 2000,
               .by = {true, true},
               .search = {.seconds = 10, .seed = 1}};
  for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (letter) {
    case 'l':
      list_all();
      break;
    case 'a':
      r.allocator = optarg;
      break;
    case 'c':
      check_cases(r.cases = optarg);
      break;
    case 's':
      read_sizes(&r, optarg);
      break;
    case 'b':
      for (unsigned i = 0; i < 2; i++)
        r.by[i] = listed(optarg, by_names[i]);
      break;
    case 't':
      r.trials = (unsigned)number(optarg, 1, 1000000, "trials are 1 to 1000000");
      break;
    case 'm':
      r.aftermath = (unsigned)number(optarg, 2, 1000000, "an aftermath has 2 to 1000000 operations");
      break;
    case 'r':
      r.search.seed = number(optarg, 0, 1ul << 62, "a seed is a whole number");
      break;
    case 'f':
      check_class(r.search.misuse = optarg);
      break;
    case 'n':
      r.search.seconds = (double)number(optarg, 1, 1000000, "seconds are 1 to 1000000");
      break;
    default:
      exit(2); // getopt said why
    }
  }
  if (!r.allocator)
    refuse("an allocator is needed", "--allocator");
  return r;
}

// The trials of one cell, as one line.
static void run_cell(const ha_alloc *alloc, const request *r, const misuse_case *what, size_t size,
                     unsigned by) {
  unsigned counts[MISUSE_VERDICTS] = {0};
  misuse_result first[MISUSE_VERDICTS];
  misuse_trial trial = {
      .alloc = alloc, .what = what, .size = size, .other = by == 1, .aftermath = r->aftermath};
  for (unsigned i = 0; i < r->trials; i++) {
    trial.random = r->search.seed * 1000003 + i;
    misuse_result result = misuse_try(&trial);
    if (counts[result.verdict]++ == 0)
      first[result.verdict] = result;
  }
  misuse_say("{\"case\": \"%s\", \"size\": %zu, \"by\": \"%s\", \"trials\": %u, \"verdicts\": {", what->name,
             size, by_names[by], r->trials);
  const char *comma = "";
  for (unsigned v = 0; v < MISUSE_VERDICTS; v++) {
    if (!counts[v])
      continue;
    char how[64];
    char text[2 * MISUSE_TEXT];
    misuse_say("%s\"%s\": {\"count\": %u, \"how\": %s, \"example\": %s}", comma, misuse_verdict_name(v),
               counts[v], misuse_quote(first[v].how, how, sizeof how),
               misuse_quote(first[v].text, text, sizeof text));
    comma = ", ";
  }
  misuse_say("}}\n");
}

int main(int argc, char **argv) {
  request r = read_arguments(argc, argv);
  char why[256];
  const ha_alloc *alloc = ha_open(r.allocator, argv, why, sizeof why);
  if (!alloc) {
    fprintf(stderr, "heaparena-misuse: %s\n", why);
    return 2;
  }
  char version[128];
  char library[4096];
  misuse_say("{\"allocator\": \"%s\", \"version\": %s, \"library\": %s}\n", alloc->name,
             misuse_quote(alloc->version, version, sizeof version),
             alloc->library ? misuse_quote(alloc->library, library, sizeof library) : "null");
  if (r.search.misuse) {
    misuse_search_run(alloc, &r.search);
    return 0;
  }
  size_t count;
  const misuse_case *cases = misuse_cases(&count);
  for (size_t i = 0; i < count; i++)
    for (unsigned s = 0; s < r.size_count && listed(r.cases, cases[i].name); s++)
      for (unsigned by = 0; by < 2; by++)
        if (r.by[by] && r.sizes[s] >= cases[i].least && r.sizes[s] <= cases[i].most)
          run_cell(alloc, &r, &cases[i], r.sizes[s], by);
  return 0;
}

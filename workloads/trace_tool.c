// trace_tool.c: the program heaparena-trace: makes traces and models, and tells what traces hold.
// Exit status: 0 done, 1 a model misses its aim (fit --check), 2 wrong usage or input that cannot be used
// (one line on stderr says why).
#include "workloads/import.h"
#include "workloads/model.h"
#include "workloads/trace_collect.h"
#include "workloads/trace_edit.h"
#include "workloads/trace_info.h"
#include "workloads/trace_json.h"
#include "workloads/trace_stat.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: heaparena-trace COMMAND FILE... [OPTION]...\n"
    "\n"
    "  collect SPOOLDIR -o FILE    merges what the recorder left in SPOOLDIR into one trace. To record: an "
    "empty\n"
    "                              SPOOLDIR, HEAPARENA_SPOOL=/absolute/SPOOLDIR\n"
    "                              LD_PRELOAD=/path/libheaparena-record.so COMMAND\n"
    "  import LOG -o FILE          makes a trace of another program's log; --from says of which form it is\n"
    "  info FILE                   totals, threads, sizes and lifetimes; FILE may be - for standard input\n"
    "  stat FILE                   distributions, live bytes over time, reuse distance, each thread's part\n"
    "  cut FILE -o FILE            a part of a trace: --operations or --seconds; what is live at its start\n"
    "                              becomes allocations there\n"
    "  merge FILE... -o FILE       several traces as one, interleaved by time\n"
    "  anonymize FILE -o FILE      without its command, remarks, names, ids and clock\n"
    "  fit FILE -o MODEL           a small statistical model, for the workload model:MODEL; --check "
    "compares\n"
    "                              what it makes with the trace (with -m MODEL: of a model that is there)\n"
    "\n"
    "  -o FILE                     where the result goes\n"
    "  --json                      print JSON for programs\n"
    "  --meta KEY: VALUE           collect: a line to keep with the trace; may be repeated\n"
    "  --from mtrace|text          import: glibc's MALLOC_TRACE, or the text form (workloads/import.h)\n"
    "  --operations FROM:TO        cut: numbers of operations, TO not included; either may be left out\n"
    "  --seconds FROM:TO           cut: time since the trace's start\n"
    "  --by-clock                  merge: as the traces' clocks stood to each other, not all from one start\n"
    "  --one-process               merge: all threads are one process's\n"
    "  --round-sizes class|pow2    anonymize: round sizes up, to four classes an octave or to powers of two\n"
    "  --round-times NS            anonymize: round times down to multiples\n"
    "  --check                     fit: print the fidelity table; exit status 1 if the model misses its aim\n"
    "  -m MODEL                    fit --check: a model made before\n"
    "  --seed N                    fit --check: of what the model makes (default 1)\n"
    "  --help                      print this\n";

static int complain(const char *what) {
  fprintf(stderr, "heaparena-trace: %s\n", what);
  return 2;
}

typedef struct arguments {
  const char *output; // NULL: none, as are those below
  const char *model, *from, *round_sizes;
  char *meta; // lines, from malloc
  size_t meta_bytes;
  bool json, help, by_clock, one_process, check, windowed;
  ha_trace_window window;
  uint64_t round_times, seed;
  char **files;
  unsigned file_count;
} arguments;

// ---- The command line ----

static bool add_meta(arguments *parsed, const char *line) {
  size_t length = strlen(line);
  const char *colon = strchr(line, ':');
  if (colon == NULL || colon == line) {
    complain("--meta takes a line \"key: value\"");
    return false;
  }
  char *grown = realloc(parsed->meta, parsed->meta_bytes + length + 2);
  if (grown == NULL) {
    complain("not enough memory");
    return false;
  }
  snprintf(grown + parsed->meta_bytes, length + 2, "%s\n", line);
  // A command can span lines; a line of META cannot.
  for (size_t i = 0; i < length; i++)
    if (line[i] > 0 && line[i] < ' ')
      grown[parsed->meta_bytes + i] = ' ';
  parsed->meta = grown;
  parsed->meta_bytes += length + 1;
  return true;
}

// One end of a window: operations, or seconds with a fraction. An empty text leaves *out as it is.
static bool parse_end(const char *text, size_t length, bool by_time, uint64_t *out) {
  char copy[64], *end;
  if (length == 0)
    return true;
  if (length >= sizeof copy || *text < '0' || *text > '9')
    return false;
  memcpy(copy, text, length);
  copy[length] = 0;
  errno = 0;
  if (by_time) {
    double seconds = strtod(copy, &end);
    if (!(seconds <= 1e9))
      return false;
    *out = (uint64_t)(seconds * 1e9 + 0.5);
  } else {
    *out = strtoull(copy, &end, 10);
  }
  return *end == 0 && errno == 0;
}

static bool parse_window(arguments *parsed, const char *text, bool by_time) {
  const char *colon = strchr(text, ':');
  ha_trace_window window = {.by_time = by_time, .to = UINT64_MAX};
  if (parsed->windowed) {
    complain("give one window: --operations or --seconds");
    return false;
  }
  if (colon == NULL || !parse_end(text, (size_t)(colon - text), by_time, &window.from) ||
      !parse_end(colon + 1, strlen(colon + 1), by_time, &window.to) || window.from >= window.to) {
    complain(by_time ? "--seconds takes FROM:TO, FROM below TO, such as 1.5:3"
                     : "--operations takes FROM:TO, FROM below TO, such as 1000:2000");
    return false;
  }
  parsed->window = window;
  parsed->windowed = true;
  return true;
}

static bool parse_count(const char *text, const char *option, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  *out = value;
  if (*text >= '0' && *text <= '9' && *end == 0 && errno == 0)
    return true;
  fprintf(stderr, "heaparena-trace: %s takes a whole number, not \"%.60s\"\n", option, text);
  return false;
}

static bool take_option(arguments *parsed, int option) {
  switch (option) {
  case 'o':
    parsed->output = optarg;
    return true;
  case 'm':
    parsed->model = optarg;
    return true;
  case 'f':
    parsed->from = optarg;
    return true;
  case 'R':
    parsed->round_sizes = optarg;
    return true;
  case 'j':
    return parsed->json = true;
  case 'h':
    return parsed->help = true;
  case 'b':
    return parsed->by_clock = true;
  case 'p':
    return parsed->one_process = true;
  case 'c':
    return parsed->check = true;
  case 'M':
    return add_meta(parsed, optarg);
  case 'n':
  case 's':
    return parse_window(parsed, optarg, option == 's');
  case 'T':
    return parse_count(optarg, "--round-times", &parsed->round_times);
  case 'S':
    return parse_count(optarg, "--seed", &parsed->seed);
  default:
    return false; // getopt has said what is wrong
  }
}

static bool parse(int count, char **values, arguments *parsed) {
  static const struct option options[] = {
      {"output", required_argument, NULL, 'o'},
      {"model", required_argument, NULL, 'm'},
      {"meta", required_argument, NULL, 'M'},
      {"from", required_argument, NULL, 'f'},
      {"operations", required_argument, NULL, 'n'},
      {"seconds", required_argument, NULL, 's'},
      {"by-clock", no_argument, NULL, 'b'},
      {"one-process", no_argument, NULL, 'p'},
      {"round-sizes", required_argument, NULL, 'R'},
      {"round-times", required_argument, NULL, 'T'},
      {"check", no_argument, NULL, 'c'},
      {"seed", required_argument, NULL, 'S'},
      {"json", no_argument, NULL, 'j'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  int option;
  while ((option = getopt_long(count, values, "o:m:h", options, NULL)) != -1)
    if (!take_option(parsed, option))
      return false;
  parsed->files = values + optind;
  parsed->file_count = (unsigned)(count - optind);
  return true;
}

// ---- Commands ----

static void print_collected(const arguments *parsed, const ha_trace_totals *totals,
                            const ha_collect_remarks *remarks) {
  if (!parsed->json) {
    printf("%s: %llu operations of %llu threads in %llu processes, peak %llu live bytes%s\n", parsed->output,
           (unsigned long long)totals->operations, (unsigned long long)totals->threads,
           (unsigned long long)totals->processes, (unsigned long long)totals->live_bytes_peak,
           totals->flags & HA_TRACE_INCOMPLETE ? ", INCOMPLETE (see its remarks: heaparena-trace info)" : "");
    return;
  }
  const ha_figure rows[] = {
      {"operations", totals->operations},
      {"objects", totals->objects},
      {"threads", totals->threads},
      {"processes", totals->processes},
      {"live_bytes_peak", totals->live_bytes_peak},
      {"remote_frees", totals->remote_frees},
      {"duration_ns", totals->duration_ns},
      {"bytes", ha_trace_file_bytes(parsed->output)},
      {"unknown_frees", remarks->unknown_frees},
      {"late_frees", remarks->late_frees},
      {"exit_frees", remarks->exit_frees},
      {"killed_processes", remarks->killed},
      {"stopped_processes", remarks->stopped},
      {"lost_events", remarks->lost},
      {"damaged_files", remarks->damaged},
  };
  json_t *object = json_object();
  json_object_set_new(object, "file", json_string(parsed->output));
  ha_json_figures(object, rows, sizeof rows / sizeof *rows);
  json_object_set_new(object, "bytes_per_operation",
                      json_real((double)ha_trace_file_bytes(parsed->output) / (double)totals->operations));
  json_object_set_new(object, "complete", json_boolean((totals->flags & HA_TRACE_INCOMPLETE) == 0));
  json_object_set_new(object, "adjusted", json_boolean((totals->flags & HA_TRACE_ADJUSTED) != 0));
  json_object_set_new(object, "remarks", ha_trace_remarks_json(remarks->text));
  json_dumpf(object, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(object);
}

static int collect(const arguments *parsed) {
  char why[1024];
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  if (!ha_collect(parsed->files[0], parsed->output, parsed->meta == NULL ? "" : parsed->meta, &totals,
                  &remarks, why, sizeof why))
    return complain(why);
  print_collected(parsed, &totals, &remarks);
  return 0;
}

// A trace was written: says what it holds.
static int made(const arguments *parsed, const ha_trace_totals *totals) {
  if (parsed->json)
    printf("{\"operations\": %" PRIu64 ", \"objects\": %" PRIu64 ", \"threads\": %" PRIu64
           ", \"processes\": %" PRIu64 ", \"live_bytes_peak\": %" PRIu64 ", \"complete\": %s}\n",
           totals->operations, totals->objects, totals->threads, totals->processes, totals->live_bytes_peak,
           totals->flags & HA_TRACE_INCOMPLETE ? "false" : "true");
  else
    printf("%s: %" PRIu64 " operations of %" PRIu64 " threads in %" PRIu64 " processes, peak %" PRIu64
           " live bytes%s\n",
           parsed->output, totals->operations, totals->threads, totals->processes, totals->live_bytes_peak,
           totals->flags & HA_TRACE_INCOMPLETE ? ", INCOMPLETE" : "");
  return 0;
}

static int import(const arguments *parsed) {
  char why[1024];
  ha_trace_totals totals;
  bool mtrace = parsed->from != NULL && strcmp(parsed->from, "mtrace") == 0;
  if (!mtrace && (parsed->from == NULL || strcmp(parsed->from, "text") != 0))
    return complain("import: --from says what the log is: mtrace or text");
  if (!ha_import(mtrace ? HA_IMPORT_MTRACE : HA_IMPORT_TEXT, parsed->files[0], parsed->output, &totals, why,
                 sizeof why))
    return complain(why);
  return made(parsed, &totals);
}

static int info(const arguments *parsed) {
  char why[1024];
  ha_trace_info gathered;
  if (!ha_trace_info_read(parsed->files[0], &gathered, why, sizeof why))
    return complain(why);
  bool printed = true;
  if (parsed->json)
    printed = ha_trace_info_print_json(parsed->files[0], &gathered);
  else
    ha_trace_info_print(parsed->files[0], &gathered);
  ha_trace_info_free(&gathered);
  return printed ? 0 : complain("cannot write to standard output");
}

static int stat_command(const arguments *parsed) {
  char why[1024];
  static ha_trace_stat gathered;
  if (!ha_trace_stat_read(parsed->files[0], &gathered, why, sizeof why))
    return complain(why);
  bool printed = parsed->json ? ha_trace_stat_print_json(parsed->files[0], &gathered)
                              : ha_trace_stat_print(parsed->files[0], &gathered);
  ha_trace_stat_free(&gathered);
  return printed ? 0 : complain("cannot write to standard output");
}

static int cut(const arguments *parsed) {
  char why[1024];
  ha_trace_totals totals;
  if (!parsed->windowed)
    return complain("cut: say which part: --operations FROM:TO or --seconds FROM:TO");
  if (!ha_trace_cut(parsed->files[0], parsed->output, &parsed->window, &totals, why, sizeof why))
    return complain(why);
  return made(parsed, &totals);
}

static int merge(const arguments *parsed) {
  char why[1024];
  ha_trace_totals totals;
  if (!ha_trace_merge((const char *const *)parsed->files, parsed->file_count, parsed->by_clock,
                      parsed->one_process, parsed->output, &totals, why, sizeof why))
    return complain(why);
  return made(parsed, &totals);
}

static int anonymize(const arguments *parsed) {
  char why[1024];
  ha_trace_totals totals;
  ha_trace_rounding rounding = HA_ROUND_NOT;
  if (parsed->round_sizes != NULL && strcmp(parsed->round_sizes, "class") == 0)
    rounding = HA_ROUND_CLASS;
  else if (parsed->round_sizes != NULL && strcmp(parsed->round_sizes, "pow2") == 0)
    rounding = HA_ROUND_POW2;
  else if (parsed->round_sizes != NULL)
    return complain("anonymize: --round-sizes takes class or pow2");
  if (!ha_trace_anonymize(parsed->files[0], parsed->output, rounding, parsed->round_times, &totals, why,
                          sizeof why))
    return complain(why);
  return made(parsed, &totals);
}

static int fit(const arguments *parsed) {
  char why[1024];
  ha_model model;
  if (parsed->output == NULL && parsed->model == NULL)
    return complain("fit: give the model's file with -o FILE (or -m MODEL and --check)");
  if (parsed->output != NULL && parsed->model != NULL)
    return complain("fit: -m names a model made before, -o one to make: give one of them");
  if (parsed->model != NULL && !parsed->check)
    return complain("fit: -m goes with --check");
  if (parsed->output != NULL) {
    if (!ha_model_fit(parsed->files[0], &model, why, sizeof why))
      return complain(why);
    bool saved = ha_model_save(&model, parsed->output, why, sizeof why);
    ha_model_clear(&model);
    if (!saved)
      return complain(why);
  }
  // What is checked is what others will read: the file.
  const char *path = parsed->output != NULL ? parsed->output : parsed->model;
  if (!ha_model_load(path, &model, why, sizeof why))
    return complain(why);
  int status = 0;
  if (!parsed->check) {
    printf("%s: %u size classes, %u phases, %u threads, %u large blocks, %" PRIu64 " bytes\n", path,
           model.size_count, model.phase_count, model.thread_count, model.large_count,
           ha_trace_file_bytes(path));
  } else {
    ha_model_fidelity fidelity;
    if (ha_model_check(&model, parsed->files[0], parsed->seed, &fidelity, why, sizeof why))
      status = ha_model_fidelity_print(&fidelity, parsed->json) ? 0 : 1;
    else
      status = complain(why);
  }
  ha_model_clear(&model);
  return status;
}

int main(int count, char **values) {
  static const struct {
    const char *name;
    int (*run)(const arguments *);
    bool writes; // needs -o
    unsigned most_files;
  } commands[] = {
      {"collect", collect, true, 1},     {"import", import, true, 1}, {"info", info, false, 1},
      {"stat", stat_command, false, 1},  {"cut", cut, true, 1},       {"merge", merge, true, HA_MERGE_MAX},
      {"anonymize", anonymize, true, 1}, {"fit", fit, false, 1},
  };
  if (count >= 2 && (strcmp(values[1], "--help") == 0 || strcmp(values[1], "-h") == 0)) {
    fputs(usage, stdout);
    return 0;
  }
  for (size_t i = 0; count >= 2 && i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(values[1], commands[i].name) != 0)
      continue;
    arguments parsed = {.seed = 1};
    int status = 2;
    if (!parse(count - 1, values + 1, &parsed))
      status = 2;
    else if (parsed.help)
      status = fputs(usage, stdout) < 0;
    else if (parsed.file_count == 0)
      status = complain("a file or folder is missing; see --help");
    else if (parsed.file_count > commands[i].most_files)
      status = complain("too many arguments; see --help");
    else if (commands[i].writes && parsed.output == NULL)
      status = complain("give the result's file with -o FILE");
    else
      status = commands[i].run(&parsed);
    free(parsed.meta);
    return status;
  }
  return complain(
      count < 2 ? "give a command: collect, import, info, stat, cut, merge, anonymize or fit; see --help"
                : "unknown command; see --help");
}

// trace_tool.c: the program heaparena-trace: makes traces of recordings and tells what traces hold.
// Exit status: 0 done, 2 wrong usage or input that cannot be used (one line on stderr says why).
#include "workloads/trace_collect.h"
#include "workloads/trace_info.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: heaparena-trace collect SPOOLDIR -o FILE [--meta \"key: value\"]... [--json]\n"
    "       heaparena-trace info FILE [--json]\n"
    "\n"
    "collect  merges what the recorder left in SPOOLDIR into one trace. To record: an empty SPOOLDIR,\n"
    "         HEAPARENA_SPOOL=/absolute/SPOOLDIR LD_PRELOAD=/path/libheaparena-record.so COMMAND\n"
    "info     tells a trace's totals, threads, sizes and lifetimes; FILE may be - for standard input.\n"
    "\n"
    "  -o FILE            where the trace goes\n"
    "  --meta KEY: VALUE  a line to keep with the trace, such as its command; may be repeated\n"
    "  --json             print JSON for programs\n"
    "  --help             print this\n";

static int complain(const char *what) {
  fprintf(stderr, "heaparena-trace: %s\n", what);
  return 2;
}

typedef struct arguments {
  const char *output; // NULL: none
  char *meta;         // lines, from malloc
  size_t meta_bytes;
  bool json, help;
  const char *file; // the one positional argument
} arguments;

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

static bool parse(int count, char **values, arguments *parsed) {
  static const struct option options[] = {
      {"output", required_argument, NULL, 'o'},
      {"meta", required_argument, NULL, 'm'},
      {"json", no_argument, NULL, 'j'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  int option;
  while ((option = getopt_long(count, values, "o:h", options, NULL)) != -1) {
    if (option == 'o')
      parsed->output = optarg;
    else if (option == 'j')
      parsed->json = true;
    else if (option == 'h')
      parsed->help = true;
    else if (option != 'm' || !add_meta(parsed, optarg))
      return false; // getopt has said what is wrong
  }
  if (parsed->help)
    return true;
  if (count - optind != 1) {
    complain(count == optind ? "a file or folder is missing; see --help" : "too many arguments; see --help");
    return false;
  }
  parsed->file = values[optind];
  return true;
}

static void print_collected(const arguments *parsed, const ha_trace_totals *totals,
                            const ha_collect_remarks *remarks) {
  if (!parsed->json) {
    printf("%s: %llu operations of %llu threads in %llu processes, peak %llu live bytes%s\n", parsed->output,
           (unsigned long long)totals->operations, (unsigned long long)totals->threads,
           (unsigned long long)totals->processes, (unsigned long long)totals->live_bytes_peak,
           totals->flags & HA_TRACE_INCOMPLETE ? ", INCOMPLETE (see its remarks: heaparena-trace info)" : "");
    return;
  }
  const struct {
    const char *name;
    uint64_t value;
  } rows[] = {
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
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    json_object_set_new(object, rows[i].name, json_integer((json_int_t)rows[i].value));
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
  if (parsed->output == NULL)
    return complain("collect: give the trace's file with -o FILE");
  char why[1024];
  ha_trace_totals totals;
  ha_collect_remarks remarks;
  if (!ha_collect(parsed->file, parsed->output, parsed->meta == NULL ? "" : parsed->meta, &totals, &remarks,
                  why, sizeof why))
    return complain(why);
  print_collected(parsed, &totals, &remarks);
  return 0;
}

static int info(const arguments *parsed) {
  char why[1024];
  ha_trace_info gathered;
  if (!ha_trace_info_read(parsed->file, &gathered, why, sizeof why))
    return complain(why);
  bool printed = true;
  if (parsed->json)
    printed = ha_trace_info_print_json(parsed->file, &gathered);
  else
    ha_trace_info_print(parsed->file, &gathered);
  ha_trace_info_free(&gathered);
  return printed ? 0 : complain("cannot write to standard output");
}

int main(int count, char **values) {
  static const struct {
    const char *name;
    int (*run)(const arguments *);
  } commands[] = {{"collect", collect}, {"info", info}};
  if (count >= 2 && (strcmp(values[1], "--help") == 0 || strcmp(values[1], "-h") == 0)) {
    fputs(usage, stdout);
    return 0;
  }
  for (size_t i = 0; count >= 2 && i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(values[1], commands[i].name) != 0)
      continue;
    arguments parsed = {0};
    int status = 2;
    if (parse(count - 1, values + 1, &parsed)) {
      status = parsed.help ? 0 : commands[i].run(&parsed);
      if (parsed.help)
        fputs(usage, stdout);
    }
    free(parsed.meta);
    return status;
  }
  return complain(count < 2 ? "give a command: collect or info; see --help"
                            : "unknown command: there are collect and info; see --help");
}

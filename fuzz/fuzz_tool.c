// fuzz_tool.c: heaparena-fuzz, the program behind `heaparena fuzz`: campaigns (libFuzzer's driver), replays,
// minimising, and programs to and from traces.
#include "fuzz/bench.h"
#include "fuzz/mutate.h"
#include "fuzz/permitted.h"
#include "fuzz/reproducer.h"
#include "fuzz/schedule.h"
#include "fuzz/schedule_sweep.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

#define LOG_EVENTS ((size_t)1 << 16) // of a replay, for the switches among them

enum { STATUS_GOOD = 0, STATUS_FOUND = 1, STATUS_USAGE = 2 };

static const char usage[] =
    "usage: heaparena-fuzz run      [OPTION...] -- LIBFUZZER-ARGUMENT...   fuzzes until told otherwise\n"
    "       heaparena-fuzz replay   [OPTION...] FILE...   runs programs (.fuzz, or .hat traces); exit status "
    "1 "
    "if one fails\n"
    "       heaparena-fuzz minimize [OPTION...] --out BASE [FILE]   the shortest program that fails as FILE, "
    "or "
    "as\n"
    "                               the journal's last input, does: BASE.fuzz .c .hat .txt .json\n"
    "       heaparena-fuzz seeds    [OPTION...] DIRECTORY [TRACE...]   programs to begin with\n"
    "       heaparena-fuzz print FILE     a program in words      heaparena-fuzz journal FILE   what a "
    "process "
    "left\n"
    "       heaparena-fuzz targets        the targets as JSON     heaparena-fuzz bench FILE...  executions a "
    "second\n"
    "options: --target NAME (ops)  --allocator SPEC (gomalloc)  --against SPEC,... (for differential)\n"
    "         --oracles LIST (all; -NAME takes one away)  --journal FILE  --blind  --seconds N (60)\n"
    "         --sweep N (replay, target schedule: each change point at every place from 1 to N as well)\n";

typedef struct settings {
  fuzz_campaign campaign;
  const char *journal, *out;
  unsigned seconds;
  unsigned sweep; // replay: change points are tried at 1 .. so many; 0: where they are
} settings;

__attribute__((noreturn)) static void refuse(const char *what) {
  fprintf(stderr, "heaparena-fuzz: %s\n", what);
  exit(STATUS_USAGE);
}

static void open_subjects(settings *s, const char *first, const char *against, char **argv) {
  char why[512] = "";
  char list[4096];
  snprintf(list, sizeof list, "%s,%s", first, against ? against : "");
  for (char *rest = list, *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
    if (*word == '\0')
      continue;
    const fuzz_subject *subject = s->campaign.target->schedule
                                      ? fuzz_schedule_open(word, argv, why, sizeof why)
                                      : fuzz_subject_open(word, argv, why, sizeof why);
    if (subject == NULL)
      refuse(why);
    s->campaign.subjects[s->campaign.subject_count++] = subject;
  }
  if (s->campaign.target->against && s->campaign.subject_count < 2)
    refuse("differential needs a second allocator: --against system, for example");
}

static int parse(settings *s, int argc, char **argv) {
  static const struct option options[] = {
      {"target", required_argument, NULL, 't'},  {"allocator", required_argument, NULL, 'a'},
      {"against", required_argument, NULL, 'g'}, {"oracles", required_argument, NULL, 'o'},
      {"journal", required_argument, NULL, 'j'}, {"blind", no_argument, NULL, 'b'},
      {"seconds", required_argument, NULL, 's'}, {"out", required_argument, NULL, 'O'},
      {"sweep", required_argument, NULL, 'w'},   {NULL, 0, NULL, 0},
  };
  const char *allocator = "gomalloc", *against = NULL;
  uint32_t oracles = FUZZ_ALL_ORACLES;
  bool chosen = false;
  char why[128];
  s->campaign.target = fuzz_target_find("ops");
  s->seconds = 60;
  optind = 2;
  for (int c; (c = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
    switch (c) {
    case 't':
      s->campaign.target = fuzz_target_find(optarg);
      if (s->campaign.target == NULL)
        refuse("no such target; `heaparena-fuzz targets` names them");
      break;
    case 'a':
      allocator = optarg;
      break;
    case 'g':
      against = optarg;
      break;
    case 'o':
      if (!fuzz_oracles_parse(optarg, &oracles, why, sizeof why))
        refuse(why);
      chosen = true;
      break;
    case 'j':
      s->journal = optarg;
      break;
    case 'b':
      s->campaign.blind = true;
      break;
    case 's':
      s->seconds = (unsigned)strtoul(optarg, NULL, 10);
      break;
    case 'O':
      s->out = optarg;
      break;
    case 'w':
      s->sweep = (unsigned)strtoul(optarg, NULL, 10);
      if (s->sweep == 0 || s->sweep > UINT16_MAX || !s->campaign.target->schedule)
        refuse("--sweep goes behind --target schedule and takes a number of yield points, 1 to 65535");
      break;
    default:
      exit(STATUS_USAGE);
    }
  }
  open_subjects(s, allocator, against, argv);
  for (unsigned i = 0; !chosen && i < s->campaign.subject_count; i++)
    fuzz_permitted_print(s->campaign.subjects[i], stderr);
  s->campaign.options = fuzz_target_options(s->campaign.target, oracles);
  s->campaign.options.permits = !chosen;
  return optind;
}

static fuzz_program load(const char *path) {
  size_t length = strlen(path);
  char why[512] = "";
  if (length > 4 && strcmp(path + length - 4, ".hat") == 0) {
    fuzz_op *ops = fuzz_arena((size_t)1 << 27);
    size_t count =
        fuzz_program_from_trace(path, 0, ops, ((size_t)1 << 27) / FUZZ_RECORD_BYTES, why, sizeof why);
    if (count == 0)
      refuse(why);
    return (fuzz_program){ops, count};
  }
  FILE *in = fopen(path, "rb");
  struct stat facts;
  if (in == NULL || fstat(fileno(in), &facts) != 0) {
    snprintf(why, sizeof why, "%s: %s", path, strerror(errno));
    refuse(why);
  }
  size_t size = (size_t)facts.st_size;
  uint8_t *data = fuzz_arena(size + 1);
  size = fread(data, 1, size, in);
  fclose(in);
  return fuzz_program_decode(data, size);
}

static char *own_command(int words, char **argv) {
  char *line = NULL;
  size_t size = 0;
  char self[4096] = "";
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  FILE *out = open_memstream(&line, &size);
  if (out == NULL)
    refuse("no memory for the command");
  fputs(length > 0 ? self : argv[0], out);
  for (int i = 1; i < words; i++)
    fprintf(out, " '%s'", argv[i]);
  fclose(out);
  return line; // as long as the process
}

static int run(int argc, char **argv) {
  settings s = {0};
  int first = parse(&s, argc, argv);
  char why[256];
  s.campaign.journal = fuzz_journal_create(s.journal, why, sizeof why);
  if (s.campaign.journal == NULL)
    refuse(why);
  fuzz_campaign_begin(&s.campaign);
  // libFuzzer's arguments follow; its own signal handlers would only stand between the signal and the journal.
  static const char *const own[] = {
      "-handle_segv=0", "-handle_bus=0", "-handle_abrt=0", "-handle_ill=0", "-handle_fpe=0", "-handle_int=1",
      "-print_final_stats=0", "-use_value_profile=0",
      // The list of rare features is searched for each feature of each input: with
      // the default, 255, that is half of all instructions. archive.h minds the rare.
      "-entropic_feature_frequency_threshold=64"};
  enum { OWN = sizeof own / sizeof own[0] };
  char **list = fuzz_arena(((size_t)argc + OWN + 2) * sizeof *list);
  int count = 0;
  // libFuzzer starts itself anew (to merge, for its own jobs) by a shell line that begins with the first word:
  // so this word is the whole command.
  list[count++] = own_command(argc < first ? argc : first, argv);
  for (size_t i = 0; i < OWN; i++)
    memcpy(&list[count++], &own[i], sizeof own[i]);
  for (int i = first; i < argc; i++)
    list[count++] = argv[i];
  return LLVMFuzzerRunDriver(&count, &list, fuzz_campaign_input);
}

static void show_schedule(const settings *s, fuzz_program program) {
  static fuzz_event *events;
  if (events == NULL)
    events = fuzz_arena(LOG_EVENTS * sizeof *events);
  fuzz_log log = {.events = events, .capacity = LOG_EVENTS};
  fuzz_verdict verdict;
  (void)fuzz_trial(&s->campaign, program, &verdict, &log);
  fuzz_schedule_explain(stdout, s->campaign.subjects[0], log.events, log.count);
}

// The program with its change points at every place; *program becomes the one that fails.
static bool sweep(const settings *s, const char *path, fuzz_program *program, fuzz_verdict *verdict) {
  unsigned tried;
  bool good = fuzz_schedule_sweep(&s->campaign, *program, s->sweep, &tried, program, verdict);
  if (good)
    printf("%s: nothing found in %u schedules\n", path, tried);
  else
    fuzz_program_print(stdout, *program);
  return good;
}

static int replay(int argc, char **argv) {
  settings s = {0};
  int first = parse(&s, argc, argv);
  int status = STATUS_GOOD;
  if (first == argc)
    refuse("replay: no program given");
  for (int i = first; i < argc; i++) {
    fuzz_verdict verdict;
    fuzz_program program = load(argv[i]);
    bool good = s.sweep != 0 ? sweep(&s, argv[i], &program, &verdict)
                             : fuzz_trial(&s.campaign, program, &verdict, NULL);
    if (!good || s.sweep == 0)
      printf("%s: %s%s%s\n", argv[i], good ? "nothing found" : fuzz_oracle_name(verdict.oracle),
             good ? "" : ": ", good ? "" : verdict.text);
    if (s.campaign.target->schedule && (!good || (argc == first + 1 && s.sweep == 0)))
      show_schedule(&s, program);
    if (!good)
      status = STATUS_FOUND;
  }
  return status;
}

static void write_file(const char *path, const void *bytes, size_t size) {
  FILE *out = fopen(path, "wb");
  bool good = out != NULL && fwrite(bytes, 1, size, out) == size;
  if (out != NULL)
    good = fclose(out) == 0 && good;
  if (!good) {
    char why[512];
    snprintf(why, sizeof why, "%.400s: %s", path, strerror(errno));
    refuse(why);
  }
}

static void json_text(FILE *out, const char *text) {
  putc('"', out);
  for (; *text; text++)
    fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", (unsigned char)*text < 32 ? ' ' : *text);
  putc('"', out);
}

static void write_all(const settings *s, const fuzz_reduced *reduced, bool needed_history) {
  char path[1024], why[512] = "";
  fuzz_program program = {reduced->ops, reduced->count};
  snprintf(path, sizeof path, "%s.fuzz", s->out);
  write_file(path, reduced->ops, reduced->count * FUZZ_RECORD_BYTES);
  snprintf(path, sizeof path, "%s.hat", s->out);
  if (!fuzz_program_to_trace(program, path, reduced->verdict.text, why, sizeof why))
    refuse(why);
  snprintf(path, sizeof path, "%s.c", s->out);
  if (!fuzz_write_c(&s->campaign, reduced, path, why, sizeof why))
    refuse(why);
  snprintf(path, sizeof path, "%s.txt", s->out);
  FILE *out = fopen(path, "w");
  if (out != NULL) {
    fuzz_explain(out, &s->campaign, reduced, s->out);
    fclose(out);
  }
  snprintf(path, sizeof path, "%s.json", s->out);
  out = fopen(path, "w");
  if (out == NULL)
    refuse("the findings' folder cannot be written");
  fprintf(out, "{\"oracle\": \"%s\", \"record\": %u, \"signal\": %d, \"records\": %zu, \"trials\": %u, ",
          fuzz_oracle_name(reduced->verdict.oracle), reduced->verdict.op, reduced->verdict.signal,
          reduced->count, reduced->trials);
  fprintf(out, "\"repeats\": %u, \"history\": %s, \"text\": ", reduced->repeats,
          needed_history ? "true" : "false");
  json_text(out, reduced->verdict.text);
  fprintf(out, "}\n");
  fclose(out);
}

static int minimize(int argc, char **argv) {
  settings s = {0};
  int first = parse(&s, argc, argv);
  char why[256];
  fuzz_reduced reduced = {0};
  bool history = false;
  if (s.out == NULL || (first == argc) == (s.journal == NULL))
    refuse("minimize: give --out BASE and a FILE or --journal FILE");
  if (first < argc) {
    if (!fuzz_minimize(&s.campaign, load(argv[first]), s.seconds, &reduced)) {
      printf("%s: nothing found in a fresh process\n", argv[first]);
      return STATUS_GOOD;
    }
  } else {
    fuzz_journal *journal = fuzz_journal_open(s.journal, why, sizeof why);
    if (journal == NULL)
      refuse(why);
    if (!fuzz_minimize(&s.campaign, fuzz_journal_last(journal), s.seconds, &reduced)) {
      bool complete;
      history = true;
      fuzz_program all = fuzz_journal_history(journal, &complete);
      if (!fuzz_minimize_history(&s.campaign, fuzz_journal_last(journal), all, s.seconds, &reduced)) {
        printf("not reproduced from the %s\n",
               complete ? "whole history" : "part of the history that is kept");
        return STATUS_GOOD;
      }
    }
  }
  write_all(&s, &reduced, history);
  printf("%s: %s in %zu records: %s\n", s.out, fuzz_oracle_name(reduced.verdict.oracle), reduced.count,
         reduced.verdict.text);
  return STATUS_FOUND;
}

static int seeds(int argc, char **argv) {
  settings s = {0};
  int first = parse(&s, argc, argv);
  if (first == argc)
    refuse("seeds: no directory given");
  static uint8_t bytes[64 * FUZZ_RECORD_BYTES];
  char path[1024], why[512];
  unsigned written = 0;
  fuzz_mutate_kinds(s.campaign.target->kinds, s.campaign.target->threads);
  if (!s.campaign.target->schedule)
    fuzz_mutate_learn(s.campaign.subjects[0]);
  for (unsigned i = 0; i < 8; i++) {
    size_t size = fuzz_random_program(bytes, 8 + 8 * i, i + 1);
    snprintf(path, sizeof path, "%s/seed-%u", argv[first], i);
    write_file(path, bytes, size);
  }
  for (int i = first + 1; i < argc; i++) {
    for (unsigned part = 0; part < 8; part++) {
      size_t count = fuzz_program_from_trace(argv[i], (uint64_t)part * part * 1000, (fuzz_op *)bytes, 64, why,
                                             sizeof why);
      if (count == 0)
        break;
      snprintf(path, sizeof path, "%s/trace-%u", argv[first], written++);
      write_file(path, bytes, count * FUZZ_RECORD_BYTES);
    }
  }
  return STATUS_GOOD;
}

static int show_journal(const char *path) {
  char why[256];
  fuzz_journal *journal = fuzz_journal_open(path, why, sizeof why);
  if (journal == NULL)
    refuse(why);
  const fuzz_state *state = fuzz_journal_state(journal);
  printf("{\"programs\": %llu, \"failed\": %s, \"oracle\": \"%s\", \"text\": ",
         (unsigned long long)state->programs, state->verdict.failed ? "true" : "false",
         state->verdict.failed ? fuzz_oracle_name(state->verdict.oracle) : "");
  json_text(stdout, state->verdict.text);
  printf(", \"operations\": {");
  for (unsigned kind = 0; kind < FUZZ_OP_KINDS; kind++)
    printf("%s\"%s\": %llu", kind == 0 ? "" : ", ", fuzz_op_name(kind),
           (unsigned long long)state->histogram[kind]);
  printf("}}\n");
  return STATUS_GOOD;
}

static int show_targets(void) {
  size_t count;
  const fuzz_target *targets = fuzz_targets(&count);
  printf("[");
  for (size_t i = 0; i < count; i++)
    printf("%s{\"name\": \"%s\", \"summary\": \"%s\", \"against\": %s}", i == 0 ? "" : ", ", targets[i].name,
           targets[i].summary, targets[i].against ? "true" : "false");
  printf("]\n");
  return STATUS_GOOD;
}

// Runs the programs over and over, without libFuzzer: what an execution itself costs.
static int bench(int argc, char **argv) {
  settings s = {0};
  int first = parse(&s, argc, argv);
  static fuzz_state state;
  fuzz_bench result;
  size_t count = (size_t)(argc - first);
  if (count == 0)
    refuse("bench: no program given");
  fuzz_program *programs = fuzz_arena(count * sizeof *programs);
  fuzz_bench_program *each = fuzz_arena(count * sizeof *each);
  for (size_t i = 0; i < count; i++)
    programs[i] = load(argv[first + (int)i]);
  if (!fuzz_bench_run(&s.campaign, programs, count, s.seconds, &state, each, &result)) {
    printf("found: %s: %s\n", fuzz_oracle_name(state.verdict.oracle), state.verdict.text);
    return STATUS_FOUND;
  }
  fuzz_bench_print(stdout, each, count, &result);
  return STATUS_GOOD;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "run") == 0)
    return run(argc, argv);
  if (strcmp(what, "replay") == 0)
    return replay(argc, argv);
  if (strcmp(what, "minimize") == 0)
    return minimize(argc, argv);
  if (strcmp(what, "seeds") == 0)
    return seeds(argc, argv);
  if (strcmp(what, "bench") == 0)
    return bench(argc, argv);
  if (strcmp(what, "targets") == 0)
    return show_targets();
  if (strcmp(what, "print") == 0 && argc == 3) {
    fuzz_program_print(stdout, load(argv[2]));
    return STATUS_GOOD;
  }
  if (strcmp(what, "journal") == 0 && argc == 3)
    return show_journal(argv[2]);
  fputs(usage, stderr);
  return STATUS_USAGE;
}

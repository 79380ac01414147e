// external.c: see external.h. The program's words and answers are described in go/main.go.
#include "workloads/gc/external.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WORDS 32
#define WORD_BYTES 64

// The program's command line.
typedef struct command {
  char text[MOST_WORDS][WORD_BYTES];
  char *words[MOST_WORDS + 2];
  size_t count;
} command;

static void add_word(command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_word(command *c, const char *format, ...) {
  if (c->count == MOST_WORDS)
    return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(c->text[c->count], WORD_BYTES, format, arguments);
  va_end(arguments);
  c->words[c->count] = c->text[c->count];
  c->words[++c->count] = NULL;
}

static void make_command(const ha_run *run, command *c) {
  c->count = 0;
  add_word(c, "heaparena-gc-go");
  add_word(c, "%s", run->workload->name + strlen("gc-"));
  add_word(c, "%" PRIu64, run->seed);
  add_word(c, "%.17g", run->scale);
  for (const ha_param *p = run->workload->params; p->key; p++)
    add_word(c, "%s=%s", p->key, ha_param_text(run, p->key));
}

// Its environment: ours, and what Go's runtime is told.
static bool prepare_environment(const ha_run *run) {
  char goal[32], limit[32];
  snprintf(goal, sizeof goal, "%" PRIu64, ha_param_number(run, "goal"));
  snprintf(limit, sizeof limit, "%" PRIu64 "MiB", ha_param_number(run, "limit"));
  return setenv("GOMAXPROCS", "1", 1) == 0 && setenv("GOGC", goal, 1) == 0 &&
         (ha_param_number(run, "limit") == 0 || setenv("GOMEMLIMIT", limit, 1) == 0);
}

// Starts the program with its stdout at *answer.
static bool start(ha_run *run, const char *path, pid_t *child, int *answer) {
  command c;
  int ends[2];
  posix_spawn_file_actions_t actions;
  make_command(run, &c);
  if (!prepare_environment(run) || pipe(ends) != 0)
    return ha_fail(run, "%s: cannot be started: %s", path, strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  int wrong = posix_spawn(child, path, &actions, NULL, c.words, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  *answer = ends[0];
  if (wrong == 0)
    return true;
  close(ends[0]);
  return ha_fail(run, "%s: cannot be started: %s", path, strerror(wrong));
}

static bool has_succeeded(ha_run *run, const char *path, pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return true;
  return ha_fail(run, "%s ended with %s %d", path, WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

// The answer: "name value" lines.
static double number(const char *answer, const char *name) {
  size_t length = strlen(name);
  for (const char *line = answer; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, name, length) == 0 && line[length] == ' ')
      return strtod(line + length, NULL);
  }
  return 0;
}

static uint64_t whole_number(const char *answer, const char *name) {
  const char *line = strstr(answer, name);
  return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

static void take_answer(ha_run *run, const char *answer, ha_measurement *m) {
  *m = (ha_measurement){
      .wall_seconds = number(answer, "wall_seconds"),
      .user_seconds = number(answer, "user_seconds"),
      .system_seconds = number(answer, "system_seconds"),
      .cpu_seconds = number(answer, "user_seconds") + number(answer, "system_seconds"),
      .start_rss_bytes = (uint64_t)number(answer, "start_rss_bytes"),
      .peak_rss_bytes = (uint64_t)number(answer, "peak_rss_bytes"),
      .minor_faults = (uint64_t)number(answer, "minor_faults"),
      .major_faults = (uint64_t)number(answer, "major_faults"),
  };
  ha_count(run, "gc_collections", number(answer, "collections"));
  ha_count(run, "gc_pause_total_seconds", number(answer, "pause_total_seconds"));
  ha_count(run, "gc_pause_p50_seconds", number(answer, "pause_p50_seconds"));
  ha_count(run, "gc_pause_p99_seconds", number(answer, "pause_p99_seconds"));
  ha_count(run, "gc_pause_max_seconds", number(answer, "pause_max_seconds"));
  ha_count(run, "gc_utilisation", 1 - number(answer, "collector_share"));
  ha_count(run, "gc_allocated_bytes", number(answer, "allocated_bytes"));
  ha_count(run, "gc_live_bytes", number(answer, "live_bytes"));
  ha_count(run, "gc_heap_peak_bytes", number(answer, "heap_peak_bytes"));
  ha_count(run, "gc_moved_bytes", 0);
}

bool gc_external_run(ha_run *run, const char *path, ha_measurement *measured, uint64_t *checksum,
                     uint64_t *objects) {
  char answer[4096];
  size_t length = 0;
  pid_t child = -1;
  int file = -1;
  if (!start(run, path, &child, &file))
    return false;
  for (ssize_t got; length < sizeof answer - 1;) {
    got = read(file, answer + length, sizeof answer - 1 - length);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    length += (size_t)got;
  }
  answer[length] = '\0';
  close(file);
  if (!has_succeeded(run, path, child))
    return false;
  take_answer(run, answer, measured);
  *checksum = whole_number(answer, "checksum ");
  *objects = whole_number(answer, "objects ");
  return measured->wall_seconds > 0 || ha_fail(run, "%s gave no figures: %.200s", path, answer);
}

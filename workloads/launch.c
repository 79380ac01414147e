// launch.c: heaparena-launch, the small process between heaparena and a real program that is measured.
//
// It starts the program with a library preloaded, waits for it, and writes down what the kernel counted. It is a
// process of its own because the kernel's peak resident size of a process includes what stood in its place
// before the exec: a child of a large interpreter would never show less than that interpreter. And the
// preloaded library must act on the program alone, not on who measures it.
//
//   heaparena-launch --result FILE [--timeout SECONDS] [--interval MILLISECONDS] [--input FILE] [--output FILE]
//       [--errors FILE] [--preload LIST] [--set NAME=VALUE]... -- CMD ARG...
//
// The result is one JSON object; "status" is the exit status or minus the signal. SIGTERM, SIGINT and SIGHUP go on
// to the program, which is killed if it is still there 10 s later. Nothing the program started stays behind:
// what it leaves running, daemons included, is killed and counted. Exit status: 0 result written, 2 wrong usage
// or a file that cannot be opened.
#include "workloads/launch_curve.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_SECONDS = 10, MOST_SETTINGS = 256, ROUNDS_OF_KILLING = 1000 };

typedef struct options {
  const char *result, *input, *output, *errors, *preload;
  char *settings[MOST_SETTINGS];
  int setting_count;
  double timeout;  // seconds; 0: none
  double interval; // seconds between two looks at the resident size; 0: none
  char **command;
} options;

// What became of the program.
typedef struct ending {
  int start_error; // errno of exec, or 0
  int status;      // as wait gives it
  bool timed_out;
  double seconds;
  struct rusage usage;
  int left_behind; // processes that outlived it
} ending;

static _Noreturn void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("heaparena-launch: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  exit(2);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double seconds_of(const char *text, const char *option, double unit) {
  char *end;
  double value = strtod(text, &end) * unit;
  if (end == text || *end != '\0' || !(value >= 0 && value < 1e9))
    fail("%s %s: not a number from 0 on", option, text);
  return value;
}

static options parse(int argc, char *argv[]) {
  static const struct option known[] = {
      {"result", required_argument, NULL, 'r'},
      {"timeout", required_argument, NULL, 't'},
      {"interval", required_argument, NULL, 'i'},
      {"input", required_argument, NULL, 'n'},
      {"output", required_argument, NULL, 'o'},
      {"errors", required_argument, NULL, 'e'},
      {"preload", required_argument, NULL, 'p'},
      {"set", required_argument, NULL, 's'},
      {NULL, 0, NULL, 0},
  };
  options found = {.input = "/dev/null", .output = "/dev/null", .errors = "/dev/null"};
  int option;
  while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1) {
    switch (option) {
    case 'r':
      found.result = optarg;
      break;
    case 't':
      found.timeout = seconds_of(optarg, "--timeout", 1);
      break;
    case 'i':
      found.interval = seconds_of(optarg, "--interval", 1e-3);
      break;
    case 'n':
      found.input = optarg;
      break;
    case 'o':
      found.output = optarg;
      break;
    case 'e':
      found.errors = optarg;
      break;
    case 'p':
      found.preload = optarg;
      break;
    case 's':
      if (!strchr(optarg, '=') || found.setting_count == MOST_SETTINGS)
        fail("--set %s: not NAME=VALUE, or more than %d of them", optarg, MOST_SETTINGS);
      found.settings[found.setting_count++] = optarg;
      break;
    default:
      exit(2);
    }
  }
  found.command = argv + optind;
  if (!found.result || !found.command[0])
    fail("usage: heaparena-launch --result FILE [OPTION...] -- CMD ARG...");
  return found;
}

static int opened(const char *path, int flags) {
  int file = open(path, flags | O_CLOEXEC, 0600);
  if (file < 0)
    fail("%s: cannot be opened: %s", path, strerror(errno));
  return file;
}

// In the child: becomes the program. Returns only if that fails.
static void become(const options *asked, const int files[3], const sigset_t *mask) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int i = 0; i < 3; i++)
    if (dup2(files[i], i) < 0)
      return;
  for (int i = 0; i < asked->setting_count; i++)
    if (putenv(asked->settings[i]) != 0)
      return;
  if (asked->preload && setenv("LD_PRELOAD", asked->preload, 1) != 0)
    return;
  sigprocmask(SIG_SETMASK, mask, NULL);
  execvp(asked->command[0], asked->command);
}

// Starts the program; returns its process id. *start_error is the errno of an exec that failed, or 0.
static pid_t start(const options *asked, const sigset_t *mask, int *start_error) {
  int files[3] = {opened(asked->input, O_RDONLY), opened(asked->output, O_WRONLY | O_CREAT | O_TRUNC),
                  opened(asked->errors, O_WRONLY | O_CREAT | O_TRUNC)};
  int answer[2];
  if (pipe2(answer, O_CLOEXEC) != 0)
    fail("no pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0)
    fail("no process: %s", strerror(errno));
  if (child == 0) {
    become(asked, files, mask);
    int error = errno;
    ssize_t written = write(answer[1], &error, sizeof error);
    _exit(written == sizeof error ? 127 : 126);
  }
  close(answer[1]);
  if (read(answer[0], start_error, sizeof *start_error) != (ssize_t)sizeof *start_error)
    *start_error = 0; // the exec closed the pipe
  close(answer[0]);
  for (int i = 0; i < 3; i++)
    close(files[i]);
  return child;
}

// Waits until the program has ended: passes signals on, ends it when its time is over, looks at its size.
static void watch(const options *asked, pid_t child, int signals, double begin, launch_curve *curve,
                  ending *end) {
  int handle = (int)syscall(SYS_pidfd_open, child, 0);
  if (handle < 0)
    fail("pidfd_open: %s", strerror(errno));
  struct pollfd polled[] = {{.fd = handle, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  double kill_at = asked->timeout > 0 ? begin + asked->timeout : 0;
  bool stopping = false;
  double look_at = asked->interval > 0 ? begin : 0;
  for (;;) {
    double next = kill_at > 0 && (look_at <= 0 || kill_at < look_at) ? kill_at : look_at;
    double wait = next > 0 ? next - now() : 0;
    struct timespec left = {.tv_sec = (time_t)(wait > 0 ? wait : 0)};
    left.tv_nsec = wait > 0 ? (long)((wait - (double)left.tv_sec) * 1e9) : 0;
    if (ppoll(polled, 2, next > 0 ? &left : NULL, NULL) < 0 && errno != EINTR)
      fail("ppoll: %s", strerror(errno));
    double time = now();
    if (polled[0].revents) {
      end->seconds = time - begin;
      break;
    }
    struct signalfd_siginfo signal;
    if (polled[1].revents && read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal) {
      kill(child, (int)signal.ssi_signo);
      kill_at = time + GRACE_SECONDS;
      stopping = true;
    }
    if (kill_at > 0 && time >= kill_at) {
      end->timed_out = !stopping;
      kill(child, SIGKILL);
      kill_at = 0;
    }
    if (look_at > 0 && time >= look_at) {
      launch_curve_add(curve, time - begin, launch_tree_rss(child));
      look_at = now() + asked->interval * curve->stride;
    }
  }
  close(handle);
}

// Kills what the program left running. Orphans have become our children, for this process is a subreaper.
static int kill_the_rest(void) {
  int killed = 0;
  for (int round = 0; round < ROUNDS_OF_KILLING; round++) {
    pid_t children[64];
    int count = launch_children(getpid(), children, 64);
    for (int i = 0; i < count; i++)
      kill(children[i], SIGKILL);
    if (count == 0)
      break;
    int status;
    for (pid_t ended = waitpid(-1, &status, 0); ended > 0; ended = waitpid(-1, &status, WNOHANG))
      killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  return killed;
}

static double of_timeval(struct timeval time) {
  return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static void write_result(const char *path, const ending *end, const launch_curve *curve) {
  FILE *file = fopen(path, "we");
  if (!file)
    fail("%s: cannot be written: %s", path, strerror(errno));
  int status = WIFSIGNALED(end->status) ? -WTERMSIG(end->status) : WEXITSTATUS(end->status);
  fprintf(file, "{\"start_error\": %d, \"status\": %d, \"timed_out\": %s, \"left_behind\": %d,\n",
          end->start_error, status, end->timed_out ? "true" : "false", end->left_behind);
  fprintf(file, " \"wall_seconds\": %.9f, \"user_seconds\": %.6f, \"system_seconds\": %.6f,\n", end->seconds,
          of_timeval(end->usage.ru_utime), of_timeval(end->usage.ru_stime));
  fprintf(file, " \"peak_rss_bytes\": %ld, \"minor_faults\": %ld, \"major_faults\": %ld,\n",
          end->usage.ru_maxrss * 1024, end->usage.ru_minflt, end->usage.ru_majflt);
  fprintf(file, " \"voluntary_switches\": %ld, \"involuntary_switches\": %ld,\n \"points\": [",
          end->usage.ru_nvcsw, end->usage.ru_nivcsw);
  for (int i = 0; i < curve->count; i++)
    fprintf(file, "%s[%.3f, %zu]", i ? ", " : "", curve->points[i].seconds * 1e3, curve->points[i].rss);
  fprintf(file, "]}\n");
  if (ferror(file) | fclose(file))
    fail("%s: cannot be written: %s", path, strerror(errno));
}

int main(int argc, char *argv[]) {
  options asked = parse(argc, argv);
  static launch_curve curve = {.stride = 1};
  ending end = {0};
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t passed_on, before;
  sigemptyset(&passed_on);
  sigaddset(&passed_on, SIGTERM);
  sigaddset(&passed_on, SIGINT);
  sigaddset(&passed_on, SIGHUP);
  sigprocmask(SIG_BLOCK, &passed_on, &before);
  int signals = signalfd(-1, &passed_on, SFD_CLOEXEC);
  if (signals < 0)
    fail("signalfd: %s", strerror(errno));
  double begin = now();
  pid_t child = start(&asked, &before, &end.start_error);
  watch(&asked, child, signals, begin, &curve, &end);
  while (wait4(child, &end.status, 0, &end.usage) < 0 && errno == EINTR)
    ;
  end.left_behind = kill_the_rest();
  write_result(asked.result, &end, &curve);
  return 0;
}

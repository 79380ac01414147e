// pass_instructions.c: counts instructions while the body runs. Callgrind (valgrind) simulates the processor,
// some fifty times slower than it is, and hence counts the same every time: clocks cannot do that. The worker
// executes itself anew under it, with the preloaded allocator in place; it counts nothing before the body and
// nothing after it. Callgrind replaces no malloc, so the allocator is the real one.
//
// What still differs between runs: several threads, which valgrind runs one at a time but in an order that
// the kernel has a say in; an allocator that looks at clocks, random numbers or addresses. Addresses are made
// the same as far as the kernel lets us.
#include "workloads/pass.h"

#include "workloads/instructions.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define CAN_COUNT true
#else
#define CAN_COUNT                       false
#define RUNNING_ON_VALGRIND             0
#define CALLGRIND_START_INSTRUMENTATION (void)0
#define CALLGRIND_STOP_INSTRUMENTATION  (void)0
#define CALLGRIND_DUMP_STATS_AT(at)     (void)0
#endif

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) ||       \
    HAS_FEATURE(thread_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif

// The number of the file descriptor that callgrind writes to: the program's, for its other self.
#define DUMP_VARIABLE  "HEAPARENA_CALLGRIND_FD"
#define MOST_ARGUMENTS 64

static ha_instructions counted;
static uint64_t operations;

static bool own_path(char *path, size_t size) {
  ssize_t length = readlink("/proc/self/exe", path, size - 1);
  if (length <= 0)
    return false;
  path[length] = '\0';
  return true;
}

// Replaces this process by itself under callgrind. Returns only on failure.
static void execute_simulated(char *const argv[], char *why, size_t why_size) {
  static char program[PATH_MAX], number[16], out_file[64];
  int fd = memfd_create("heaparena-callgrind", 0); // callgrind opens it anew, by this name
  snprintf(number, sizeof number, "%d", fd);
  snprintf(out_file, sizeof out_file, "--callgrind-out-file=/proc/self/fd/%d", fd);
  char *command[MOST_ARGUMENTS] = {(char[]){"valgrind"},
                                   (char[]){"--quiet"},
                                   (char[]){"--tool=callgrind"},
                                   (char[]){"--instr-atstart=no"},
                                   (char[]){"--fair-sched=try"},
                                   (char[]){"--combine-dumps=yes"},
                                   out_file,
                                   program};
  size_t count = 8;
  for (size_t i = 1; argv[0] && argv[i] && count < MOST_ARGUMENTS - 1; i++)
    command[count++] = argv[i];
  if (fd < 0 || !own_path(program, sizeof program) || setenv(DUMP_VARIABLE, number, 1) != 0) {
    snprintf(why, why_size, "cannot prepare to run under valgrind: %s", strerror(errno));
    return;
  }
  // The same addresses every time: no randomisation, and an environment of the same size.
  personality(ADDR_NO_RANDOMIZE);
  unsetenv("HEAPARENA_PADDING");
  execvp("valgrind", command);
  if (errno == ENOENT)
    snprintf(why, why_size, "valgrind not found; install it with: apt-get install valgrind");
  else
    snprintf(why, why_size, "valgrind cannot be started: %s", strerror(errno));
}

static bool prepare(char *const argv[], char *why, size_t why_size) {
  if (!CAN_COUNT) {
    snprintf(why, why_size,
             "built without valgrind's headers; install them with: apt-get install valgrind, "
             "and build again");
    return false;
  }
  if (SANITIZED) {
    snprintf(why, why_size, "instructions cannot be counted in a build with sanitizers; use a release build");
    return false;
  }
  if (RUNNING_ON_VALGRIND && getenv(DUMP_VARIABLE))
    return true;
  if (RUNNING_ON_VALGRIND)
    snprintf(why, why_size, "runs under valgrind already; start it without, it finds valgrind itself");
  else
    execute_simulated(argv, why, why_size);
  return false;
}

static void starts(void *argument) {
  (void)argument;
  CALLGRIND_START_INSTRUMENTATION;
}

static void ended(void *argument) {
  (void)argument;
  CALLGRIND_STOP_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS_AT("body");
}

static bool read_dump(const ha_alloc *alloc) {
  char program[PATH_MAX], path[64];
  const char *number = getenv(DUMP_VARIABLE);
  snprintf(path, sizeof path, "/proc/self/fd/%s", number ? number : "");
  // Opened anew: callgrind opens the same name again when the process ends.
  FILE *in = own_path(program, sizeof program) ? fopen(path, "re") : NULL;
  if (!in)
    return false;
  bool good = ha_instructions_read(in, program, alloc, &counted);
  fclose(in);
  return good;
}

static bool measure(ha_run *run, const ha_pass_options *options, ha_measurement *out, hg_sample *sample) {
  (void)options;
  if (!ha_run_observed(run, out, &(ha_observer){.starts = starts, .ended = ended}))
    return false;
  if (!read_dump(run->alloc))
    return ha_fail(run, "callgrind left no figures");
  operations = out->operations;
  hg_count(sample, "instructions_total", (double)counted.total);
  if (operations) {
    hg_count(sample, "instructions_per_operation", (double)counted.total / (double)operations);
    hg_count(sample, "instructions_allocator_per_operation", (double)counted.allocator / (double)operations);
  }
  return true;
}

static void detail(FILE *out) {
  fprintf(out, "{\"instructions\":{\"total\":%llu,\"allocator\":%llu,\"calls\":%llu,\"operations\":%llu}}\n",
          (unsigned long long)counted.total, (unsigned long long)counted.allocator,
          (unsigned long long)counted.calls, (unsigned long long)operations);
}

const ha_pass ha_pass_instructions = {
    .name = "instructions",
    .prepare = prepare,
    .measure = measure,
    .detail = detail,
};

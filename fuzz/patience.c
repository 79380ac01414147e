// patience.c: see patience.h.
#include "fuzz/patience.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS      50 // between two looks at a child
#define ASLEEP_LOOKS 40 // in a row

pid_t fuzz_fork(void) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) // it ended before that
      _exit(1);
  }
  return child;
}

// ---- A child ----

// The beginning of a file of a thread of the child; false if there is no such file, or nothing in it.
static bool read_of_thread(pid_t child, const char *thread, const char *name, char *text, size_t size) {
  char path[80];
  snprintf(path, sizeof path, "/proc/%d/task/%.20s/%s", (int)child, thread, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, text, size - 1);
  if (file >= 0)
    close(file);
  text[length > 0 ? length : 0] = '\0';
  return length > 0;
}

// One that waits for a child of its own, as a program does that forks, does not: it judges that child itself.
static bool thread_sleeps(pid_t child, const char *thread) {
  char text[160];
  if (!read_of_thread(child, thread, "stat", text, sizeof text))
    return false;
  const char *state = strrchr(text, ')'); // behind the name
  return state != NULL && state[1] == ' ' && state[2] == 'S' &&
         !read_of_thread(child, thread, "children", text, sizeof text);
}

// Whether every thread of it sleeps. One that would run, if it were given a processor, does not.
static bool sleeps(pid_t child) {
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/task", (int)child);
  DIR *threads = opendir(path);
  bool all = threads != NULL;
  for (const struct dirent *thread; all && (thread = readdir(threads)) != NULL;)
    all = thread->d_name[0] == '.' || thread_sleeps(child, thread->d_name);
  if (threads != NULL)
    closedir(threads);
  return all;
}

static bool has_used(pid_t child, unsigned seconds) {
  clockid_t clock;
  struct timespec used;
  return clock_getcpuclockid(child, &clock) == 0 && clock_gettime(clock, &used) == 0 &&
         used.tv_sec >= (time_t)seconds;
}

// Until the child ends or it is time for a look; without pidfd (before Linux 5.3, some sandboxes) for the latter.
static void wait_a_moment(int ends) {
  struct pollfd end = {.fd = ends, .events = POLLIN};
  (void)poll(&end, 1, LOOK_MS); // which passes over a negative descriptor
}

bool fuzz_await(pid_t child, unsigned seconds, int *status) {
  int ends = pidfd_open(child, 0);
  bool hangs = false;
  unsigned asleep = 0;
  for (;;) {
    wait_a_moment(ends);
    pid_t ended = waitpid(child, status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR))
      break;
    asleep = sleeps(child) ? asleep + 1 : 0;
    if (asleep == ASLEEP_LOOKS || has_used(child, seconds)) {
      hangs = true;
      kill(child, SIGKILL);
      while (waitpid(child, status, 0) < 0 && errno == EINTR)
        continue;
      break;
    }
  }
  if (ends >= 0)
    close(ends);
  return !hangs;
}

// ---- This process ----

static struct {
  void (*hung)(void);
  atomic_uint work; // its number, odd while it is under way
  unsigned seen;    // by the handler
} watched;

static void look(int signal) {
  (void)signal;
  unsigned work = atomic_load_explicit(&watched.work, memory_order_relaxed);
  if (work % 2 == 1 && work == watched.seen)
    watched.hung();
  watched.seen = work;
}

void fuzz_watch(unsigned seconds, void (*hung)(void)) {
  watched.hung = hung;
  struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
  sigaction(SIGPROF, &action, NULL);
  struct timeval every = {.tv_sec = (time_t)seconds};
  setitimer(ITIMER_PROF, &(struct itimerval){every, every}, NULL);
}

void fuzz_watch_begin(void) {
  atomic_fetch_add_explicit(&watched.work, 1, memory_order_relaxed);
}

void fuzz_watch_end(void) {
  atomic_fetch_add_explicit(&watched.work, 1, memory_order_relaxed);
}

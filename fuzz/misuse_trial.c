// misuse_trial.c: a trial in a forked child, and its verdict. See misuse.h.
#include "fuzz/misuse.h"

#include "fuzz/patience.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE 1u // seconds of processor time until a trial counts as hung

const char *misuse_verdict_name(misuse_verdict verdict) {
  static const char *const names[MISUSE_VERDICTS] = {"detected", "faulted",           "neutralised", "late",
                                                     "silent",   "silent corruption", "skipped",     "error"};
  return names[verdict];
}

// What parent and child share; made once.
static struct {
  misuse_note *note;
  int said; // a memory file: the child's stderr
} shared;

static void make_shared(void) {
  if (shared.note)
    return;
  shared.note = mmap(NULL, sizeof *shared.note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared.said = memfd_create("stderr", MFD_CLOEXEC);
  if (shared.note == MAP_FAILED || shared.said < 0) {
    perror("heaparena-misuse: memory for trials");
    _exit(2);
  }
}

static void become_child(void) {
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  dup2(shared.said, STDERR_FILENO);
}

static void first_line(char *out, size_t size) {
  ssize_t n = pread(shared.said, out, size - 1, 0);
  out[n > 0 ? n : 0] = '\0';
  out[strcspn(out, "\n")] = '\0';
}

misuse_ending misuse_fork(misuse_body *body, void *context) {
  make_shared();
  memset(shared.note, 0, sizeof *shared.note);
  if (ftruncate(shared.said, 0) || lseek(shared.said, 0, SEEK_SET))
    perror("heaparena-misuse: the file for stderr");
  pid_t child = fuzz_fork();
  if (child == 0) {
    become_child();
    body(context, shared.note);
    _exit(0);
  }
  misuse_ending ending = {.note.outcome = MISUSE_ERROR};
  if (child < 0) {
    perror("heaparena-misuse: fork");
    return ending;
  }
  int status = 0;
  ending.hung = !fuzz_await(child, PATIENCE, &status);
  ending.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  ending.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  ending.note = *shared.note;
  first_line(ending.said, sizeof ending.said);
  return ending;
}

// ---- the child ----

static long said_so_far(void) {
  struct stat facts;
  return fstat(STDERR_FILENO, &facts) ? 0 : (long)facts.st_size;
}

// Correct work by chance, so that the heap is another one in each trial.
static void warm_up(misuse_trial *trial) {
  void *held[48] = {NULL};
  unsigned most = trial->size > 65536 ? 6 : 48;
  for (uint64_t n = misuse_random(trial, trial->size > 65536 ? 24 : 400); n > 0; n--) {
    void **slot = &held[misuse_random(trial, most)];
    trial->alloc->free(*slot);
    *slot = trial->alloc->malloc(misuse_random(trial, 3) ? trial->size
                                                         : 1 + misuse_random(trial, 2 * trial->size));
  }
  for (unsigned i = 0; i < most; i++)
    if (misuse_random(trial, 4))
      trial->alloc->free(held[i]);
}

static void add_neighbours(misuse_trial *trial, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    void *block = trial->alloc->malloc(trial->size);
    if (block)
      misuse_own(trial, block, trial->size, "a neighbour", true);
  }
}

// The victim among live blocks of its size; in half of the trials some of them are free again.
static void lay_out(misuse_trial *trial) {
  unsigned side = trial->size > 65536 ? 3 : 4 + (unsigned)misuse_random(trial, 16);
  add_neighbours(trial, side);
  trial->victim = trial->alloc->malloc(trial->size);
  if (!trial->victim)
    misuse_end(trial, MISUSE_SKIPPED, "malloc(%zu) failed", trial->size);
  misuse_own(trial, trial->victim, trial->size, "the victim", true);
  add_neighbours(trial, side);
  if (misuse_random(trial, 2))
    return;
  for (unsigned i = 0; i < trial->count; i++)
    if (trial->blocks[i].at != trial->victim && misuse_random(trial, 3) == 0) {
      void *at = trial->blocks[i].at;
      misuse_disown(trial, &trial->blocks[i]);
      trial->alloc->free(at);
    }
}

static void do_wrong(misuse_trial *trial) {
  long before = said_so_far();
  trial->note->phase = MISUSE_WRONG;
  trial->what->wrong(trial);
  trial->note->phase = MISUSE_AFTERMATH;
  trial->note->spoke = said_so_far() - before;
  misuse_verify_all(trial, "when the wrong operation had returned");
  misuse_go_on(trial, trial->aftermath / 2);
}

static sem_t turn; // of the other thread

static void *in_thread(void *trial) {
  while (sem_wait(&turn))
    ;
  do_wrong(trial);
  return NULL;
}

// Whether the whole was without effect: only if something shows it.
static void conclude(misuse_trial *trial) {
  misuse_note *note = trial->note;
  if (trial->clean_text[0])
    misuse_end(trial, trial->clean, "%s", trial->clean_text);
  if (note->spoke > 0)
    misuse_end(trial, MISUSE_NEUTRALISED,
               "it was reported and ignored, and nothing went wrong in %u operations", trial->aftermath);
  if (trial->freed && trial->handed_out > 0)
    misuse_end(trial, MISUSE_NEUTRALISED,
               "the block was handed out %u times in %u operations, to one owner at a time",
               trial->handed_out, trial->aftermath);
  misuse_end(trial, MISUSE_SILENT, "nothing went wrong in %u operations", trial->aftermath);
}

static void run_trial(void *context, misuse_note *note) {
  misuse_trial *trial = context;
  unsigned char stack[MISUSE_REGION];
  trial->note = note;
  trial->stack = stack;
  trial->also = trial->size >= 64 && misuse_random(trial, 2) ? trial->size / 2 : trial->size * 2;
  note->outcome = MISUSE_ERROR;
  warm_up(trial);
  lay_out(trial);
  // It begins before anything is freed: the C library allocates for a new thread, and what was freed would be that.
  pthread_t thread = 0;
  if (trial->other && (sem_init(&turn, 0, 0) || pthread_create(&thread, NULL, in_thread, trial)))
    misuse_end(trial, MISUSE_ERROR, "no thread");
  if (trial->what->prepare)
    trial->what->prepare(trial);
  if (trial->other) {
    sem_post(&turn);
    pthread_join(thread, NULL);
  } else {
    do_wrong(trial);
  }
  misuse_go_on(trial, trial->aftermath / 2);
  misuse_free_all(trial);
  conclude(trial);
}

// ---- the verdict ----

static misuse_verdict judge(const misuse_ending *ending) {
  const misuse_note *note = &ending->note;
  bool ran = ending->signal == 0 && !ending->hung && ending->status == 0;
  if (note->phase == MISUSE_DONE && ran)
    return note->outcome;
  if (note->phase == MISUSE_PREPARING || (ran && note->phase != MISUSE_DONE))
    return MISUSE_ERROR;
  if (note->phase != MISUSE_WRONG)
    return MISUSE_LATE;
  bool fault = ending->signal == SIGSEGV || ending->signal == SIGBUS;
  return ending->hung || (fault && !ending->said[0]) ? MISUSE_FAULTED : MISUSE_DETECTED;
}

misuse_result misuse_try(const misuse_trial *trial) {
  misuse_trial own = *trial; // the child's copy is the child's
  misuse_ending ending = misuse_fork(run_trial, &own);
  misuse_result result = {.verdict = judge(&ending)};
  if (ending.hung)
    snprintf(result.how, sizeof result.how, "hung");
  else if (ending.signal)
    snprintf(result.how, sizeof result.how, "SIG%s", sigabbrev_np(ending.signal));
  else if (ending.status)
    snprintf(result.how, sizeof result.how, "exit status %d", ending.status);
  else
    snprintf(result.how, sizeof result.how, "ran to its end");
  bool ran = ending.note.phase == MISUSE_DONE && !ending.signal && !ending.hung && !ending.status;
  snprintf(result.text, sizeof result.text, "%s",
           ran && ending.note.text[0] ? ending.note.text : ending.said);
  return result;
}

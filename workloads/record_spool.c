// record_spool.c: the recorder's slow path: process files, chunks, forks, ends. Runs once per chunk of
// records.
#include "workloads/trace_record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define FIRST_CHUNK_BYTES ((size_t)64 << 10) // most threads and many processes are short
#define CHUNK_BYTES       ((size_t)1 << 20)

__thread record_thread record_tls;
uint32_t record_alive[1024] __attribute__((aligned(4096)));
uint32_t record_clock;
bool record_threaded;

static char folder[512]; // "": not recording
static ha_spool_process *process;
static uint64_t process_start; // process->start_ns; a forked child still sees its parent's
static uint32_t process_id;
static _Atomic uint32_t next_token;
static atomic_flag starting = ATOMIC_FLAG_INIT;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Creates a file of that size in the spool and maps it; NULL if that cannot be. Blocks are reserved at once,
// so that a full disk is an error here and not a SIGBUS in the program.
static void *map_file(const char *name, size_t bytes) {
  char path[sizeof folder + 80];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return NULL;
  void *at = MAP_FAILED;
  if (posix_fallocate(fd, 0, (off_t)bytes) == 0)
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) {
    unlink(path);
    return NULL;
  }
  madvise(at, bytes, MADV_DONTFORK);
  // All its page faults at once (Linux 5.14; MAP_POPULATE would only read). Without it they come one by one.
  madvise(at, bytes, MADV_POPULATE_WRITE);
  return at;
}

// ---- Processes ----

// The counter may stand for time if it runs evenly and the kernel itself trusts it across processors.
static uint32_t choose_clock(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || (d & 1u << 8) == 0)
    return HA_CLOCK_MONOTONIC;
  if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || (d & 1u << 27) == 0) // rdtscp
    return HA_CLOCK_MONOTONIC;
  char source[8] = "";
  int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return HA_CLOCK_MONOTONIC;
  ssize_t got = read(fd, source, sizeof source - 1);
  close(fd);
  return got >= 3 && memcmp(source, "tsc", 3) == 0 ? HA_CLOCK_TSC : HA_CLOCK_MONOTONIC;
#else
  return HA_CLOCK_MONOTONIC;
#endif
}

static void calibrate(void) {
  process->last_ns = clock_ns(CLOCK_MONOTONIC);
  process->last_stamp = record_stamp_now();
}

static void fill_process(bool forked, uint64_t parent_start, uint32_t parent_token) {
  process->pid = process_id;
  process->parent_pid = (uint32_t)getppid();
  process->parent_start_ns = forked ? parent_start : 0;
  process->parent_token = forked ? parent_token : 0;
  process->clock = record_clock;
  process->start_ns = process_start;
  process->start_epoch_ns = clock_ns(CLOCK_REALTIME);
  process->start_stamp = record_stamp_now();
  snprintf(process->program, sizeof process->program, "%s", program_invocation_short_name);
  process->magic = HA_SPOOL_PROCESS_MAGIC;
}

// Begins the record of this process image: at the program's start, and in a forked child before its first
// event.
static void begin_process(void) {
  bool forked = process_start != 0;
  uint64_t parent_start = process_start;
  uint32_t parent_token = record_tls.token;
  // The parent's mappings are not in a child (MADV_DONTFORK): only forget them.
  process = NULL;
  record_threaded = false;
  atomic_store(&next_token, 1);
  record_tls = (record_thread){.busy = true, .named = true};
  process_start = clock_ns(CLOCK_MONOTONIC);
  process_id = (uint32_t)getpid();
  record_tls.process = process_start;
  char name[64];
  snprintf(name, sizeof name, HA_SPOOL_PROCESS_FILE, process_id, (unsigned long long)process_start);
  process = map_file(name, sizeof *process);
  if (process != NULL)
    fill_process(forked, parent_start, parent_token);
  record_alive[0] = 1;
}

static void child_of_fork(void) {
  record_alive[0] = 0;
}

void record_start(void) {
  const char *spool = getenv(HA_SPOOL_VARIABLE);
  if (spool == NULL || spool[0] != '/' || strlen(spool) >= sizeof folder)
    return;
  record_clock = choose_clock();
  if (madvise(record_alive, sizeof record_alive, MADV_WIPEONFORK) != 0)
    pthread_atfork(NULL, NULL, child_of_fork); // kernels before 4.14
  memcpy(folder, spool, strlen(spool) + 1);
  record_begin();
}

void record_begin(void) {
  if (folder[0] == 0 || record_alive[0] != 0)
    return;
  // Only a second thread that its parent's fork() did not make can come here at the same time: threads of a
  // child are made by pthread_create, which came here first.
  int saved = errno;
  while (atomic_flag_test_and_set(&starting)) {
  }
  if (record_alive[0] == 0) {
    bool busy = record_tls.busy;
    begin_process();
    record_tls.busy = busy;
  }
  atomic_flag_clear(&starting);
  errno = saved;
}

uint64_t record_process(void) {
  return process_start;
}
uint32_t record_next_token(void) {
  return atomic_fetch_add(&next_token, 1);
}

void record_ended(uint32_t how) {
  if (record_alive[0] == 0 || process == NULL || (uint32_t)getpid() != process_id)
    return;
  process->ended = how;
  calibrate();
}

// ---- Chunks ----

static void count_lost(void) {
  if (process != NULL)
    __atomic_fetch_add(&process->lost, 1, __ATOMIC_RELAXED);
}

static void unmap_chunk(record_thread *thread) {
  if (thread->chunk != NULL)
    munmap(thread->chunk, thread->chunk->bytes);
  thread->chunk = NULL;
  thread->cursor = thread->limit = 0;
}

void record_close_thread(void) {
  record_thread *thread = &record_tls;
  if (record_alive[0] == 0 || thread->process != process_start || thread->chunk == NULL)
    return;
  int saved = errno;
  char path[sizeof folder + 80];
  int used = snprintf(path, sizeof path, "%s/", folder);
  snprintf(path + used, sizeof path - (size_t)used, HA_SPOOL_CHUNK_FILE, process_id,
           (unsigned long long)process_start, thread->token, thread->chunk->number);
  off_t bytes = (off_t)(thread->cursor - (uintptr_t)thread->chunk);
  unmap_chunk(thread);
  if (truncate(path, bytes) != 0)
    count_lost(); // cannot be: the file is ours. Then only its zeros stay, which the collector skips
  errno = saved;
}

static uintptr_t open_chunk(record_thread *thread) {
  size_t bytes = thread->chunks == 0 ? FIRST_CHUNK_BYTES : CHUNK_BYTES;
  char name[80];
  unmap_chunk(thread);
  snprintf(name, sizeof name, HA_SPOOL_CHUNK_FILE, process_id, (unsigned long long)process_start,
           thread->token, thread->chunks);
  ha_spool_chunk *chunk = map_file(name, bytes);
  if (chunk == NULL) {
    process->stopped = 1;
    return 0;
  }
  *chunk = (ha_spool_chunk){.start_ns = process_start,
                            .pid = process_id,
                            .token = thread->token,
                            .number = thread->chunks++,
                            .system_id = (uint32_t)syscall(SYS_gettid),
                            .bytes = (uint32_t)bytes};
  prctl(PR_GET_NAME, chunk->name);
  chunk->magic = HA_SPOOL_CHUNK_MAGIC;
  calibrate();
  thread->chunk = chunk;
  uintptr_t first = (uintptr_t)(chunk + 1);
  thread->limit = (uintptr_t)chunk + bytes;
  thread->cursor = first + sizeof(ha_raw);
  return first;
}

static uintptr_t room(record_thread *thread) {
  record_begin();
  if (process == NULL || process->stopped)
    return 0;
  if (thread->process != process_start || !thread->named) {
    // A thread that was not made by our pthread_create (clone, a library's private way).
    *thread =
        (record_thread){.busy = true, .named = true, .process = process_start, .token = record_next_token()};
    record_threaded = true;
  }
  return open_chunk(thread);
}

uintptr_t record_slow(void) {
  record_thread *thread = &record_tls;
  if (folder[0] == 0)
    return 0;
  if (thread->busy) {
    count_lost();
    return 0;
  }
  int saved = errno;
  thread->busy = true;
  uintptr_t at = room(thread);
  thread->busy = false;
  if (at == 0)
    count_lost();
  errno = saved;
  return at;
}

// record_spool.c: the recorder's slow path: process files, tails and logs, forks, ends. Runs once per tail of
// records. System calls are made directly: the C library's are points where a thread can be cancelled, which
// malloc is not.
#include "workloads/trace_record.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define TAIL_BYTES ((size_t)64 << 10) // stays in the processor's cache; a page fault each, once

__thread record_thread record_tls;
uint32_t record_alive[1024] __attribute__((aligned(4096)));
uint32_t record_clock;
bool record_own_malloc;
uint64_t record_owners[RECORD_OWNERS] __attribute__((aligned(4096)));

static char folder[512]; // "": not recording
static ha_spool_process *process;
static uint64_t process_start; // process->start_ns; a forked child still sees its parent's
static uint32_t process_id;
static _Atomic uint32_t next_token, unseen_count;
static atomic_flag starting = ATOMIC_FLAG_INIT;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int open_file(const char *name, int flags) {
  char path[sizeof folder + 80];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void close_file(int fd) {
  syscall(SYS_close, fd);
}

// Maps so many bytes of a file in the spool, created if it is not there; NULL if that cannot be. Blocks are
// reserved at once, so that a full disk is an error here and not a SIGBUS in the program.
static void *map_file(const char *name, size_t bytes) {
  int fd = open_file(name, O_RDWR | O_CREAT);
  if (fd < 0)
    return NULL;
  void *at = MAP_FAILED;
  long reserved = syscall(SYS_fallocate, fd, 0, (off_t)0, (off_t)bytes);
  if (reserved != 0 && errno == EOPNOTSUPP)
    reserved = posix_fallocate(fd, 0, (off_t)bytes);
  if (reserved == 0)
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close_file(fd);
  if (at == MAP_FAILED)
    return NULL;
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
  process->own_malloc = record_own_malloc;
  process->magic = HA_SPOOL_PROCESS_MAGIC;
}

// Begins the record of this process image: at the program's start, and in a forked child before its first
// event. `cursor` is RECORD_BUSY inside of one, else 0.
static void begin_process(uintptr_t cursor) {
  bool forked = process_start != 0;
  uint64_t parent_start = process_start;
  uint32_t parent_token = record_tls.token;
  // The parent's mappings are not in a child (MADV_DONTFORK): only forget them.
  process = NULL;
  if (forked)
    madvise(record_owners, sizeof record_owners, MADV_DONTNEED); // zero again
  atomic_store(&next_token, 1);
  record_tls = (record_thread){.cursor = cursor, .owner = 1, .named = true};
  process_start = clock_ns(CLOCK_MONOTONIC);
  process_id = (uint32_t)getpid();
  record_tls.process = process_start;
  char name[64];
  snprintf(name, sizeof name, HA_SPOOL_PROCESS_FILE, process_id, (unsigned long long)process_start);
  process = map_file(name, sizeof *process);
  if (process != NULL)
    fill_process(forked, parent_start, parent_token);
  record_alive[0] = RECORD_SINGLE;
}

static void child_of_fork(void) {
  record_alive[0] = RECORD_NONE;
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
  if (folder[0] == 0 || record_alive[0] != RECORD_NONE)
    return;
  // Only a second thread that its parent's fork() did not make can come here at the same time: threads of a
  // child are made by pthread_create, which came here first.
  int saved = errno;
  while (atomic_flag_test_and_set(&starting)) {
  }
  if (record_alive[0] == RECORD_NONE)
    begin_process(record_tls.cursor == RECORD_BUSY ? RECORD_BUSY : 0);
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
  if (record_alive[0] == RECORD_NONE || process == NULL || (uint32_t)getpid() != process_id)
    return;
  process->ended = how;
  calibrate();
}

// ---- Tails and logs ----

static void count_lost(void) {
  if (record_alive[0] != RECORD_NONE && process != NULL) // a forked child still sees its parent's
    __atomic_fetch_add(&process->lost, 1, __ATOMIC_RELAXED);
}

static void name_file(char name[80], const char *pattern, uint32_t number) {
  snprintf(name, 80, pattern, process_id, (unsigned long long)process_start, number);
}

void record_close_thread(void) {
  record_thread *thread = &record_tls;
  if (record_alive[0] == RECORD_NONE || thread->process != process_start || thread->tail == NULL)
    return;
  int saved = errno;
  char name[80];
  name_file(name, HA_SPOOL_TAIL_FILE, thread->token);
  thread->used = (uint32_t)(thread->cursor - (uintptr_t)thread->tail);
  munmap(thread->tail, TAIL_BYTES);
  thread->tail = NULL;
  thread->cursor = thread->limit = 0;
  int fd = open_file(name, O_RDWR);
  if (fd < 0 || syscall(SYS_ftruncate, fd, (off_t)thread->used) != 0)
    count_lost(); // cannot be: the file is ours. Then only its zeros stay, which the collector skips
  if (fd >= 0)
    close_file(fd);
  errno = saved;
}

// Maps the thread's tail, fresh or as it closed it, and returns its cursor, 0 if that cannot be.
static uintptr_t open_tail(record_thread *thread) {
  char name[80];
  name_file(name, HA_SPOOL_TAIL_FILE, thread->token);
  ha_spool_tail *tail = map_file(name, TAIL_BYTES);
  if (tail == NULL)
    return 0;
  if (thread->used == 0) {
    *tail = (ha_spool_tail){.start_ns = process_start,
                            .pid = process_id,
                            .token = thread->token,
                            .system_id = (uint32_t)syscall(SYS_gettid)};
    prctl(PR_GET_NAME, tail->name);
    tail->magic = HA_SPOOL_TAIL_MAGIC;
    thread->used = sizeof *tail;
  }
  thread->tail = tail;
  thread->limit = (uintptr_t)tail + TAIL_BYTES;
  return (uintptr_t)tail + thread->used;
}

static bool append(const char *name, const char *from, size_t bytes, uint64_t at) {
  int fd = open_file(name, O_WRONLY | O_CREAT);
  if (fd < 0)
    return false;
  while (bytes != 0) {
    long put = syscall(SYS_pwrite64, fd, from, bytes, (off_t)at);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      break;
    from += put;
    bytes -= (size_t)put;
    at += (uint64_t)put;
  }
  close_file(fd);
  return bytes == 0;
}

// Moves the tail's words to the log. A program killed anywhere in here leaves each of them once: until
// `logged` is written they are the tail's, whatever the log's end holds.
static bool move_to_log(record_thread *thread, uintptr_t end) {
  ha_spool_tail *tail = thread->tail;
  char name[80], *words = (char *)(tail + 1);
  size_t bytes = end - (uintptr_t)words;
  uint64_t logged = tail->logged;
  name_file(name, HA_SPOOL_LOG_FILE, thread->token);
  if (!append(name, words, bytes, logged))
    return false;
  __atomic_store_n(&tail->logged, (logged + bytes) | HA_SPOOL_CLEARING, __ATOMIC_RELEASE);
  memset(words, 0, bytes);
  __atomic_store_n(&tail->logged, logged + bytes, __ATOMIC_RELEASE);
  return true;
}

static uintptr_t room(record_thread *thread, uintptr_t at, size_t bytes) {
  if (process->stopped)
    return 0;
  if (thread->process != process_start || !thread->named) {
    // A thread that was not made by our pthread_create (clone, a library's private way).
    uint32_t token = record_next_token();
    *thread = (record_thread){.cursor = RECORD_BUSY, .named = true, .process = process_start};
    record_name_thread(token);
    record_alive[0] = RECORD_THREADED;
  }
  if (thread->tail == NULL) {
    at = open_tail(thread);
    if (at != 0 && at + sizeof(uint64_t) + bytes <= thread->limit)
      return at;
  }
  if (at != 0 && move_to_log(thread, at))
    return (uintptr_t)(thread->tail + 1);
  process->stopped = 1;
  return 0;
}

static uintptr_t make_room(uintptr_t at, size_t bytes) {
  record_thread *thread = &record_tls;
  if (folder[0] == 0) {
    thread->cursor = at;
    return 0;
  }
  if (at == RECORD_BUSY && record_alive[0] != RECORD_NONE) {
    count_lost();
    return 0;
  }
  int saved = errno;
  if (record_alive[0] == RECORD_NONE) {
    record_begin();
    at = 0;
  }
  uintptr_t from = process == NULL ? 0 : room(thread, at, bytes);
  if (from != 0) {
    calibrate();
    *(volatile uint64_t *)from = ha_raw_time(record_stamp_now());
    from += sizeof(uint64_t);
  } else {
    count_lost();
    thread->cursor = at;
  }
  errno = saved;
  return from;
}

void record_write(unsigned kind, uint64_t address, uint64_t size, unsigned alignment_log2, bool stamped) {
  if (address >> HA_WORD_ADDRESS_BITS != 0) {
    count_lost(); // no user address of today's kernels
    return;
  }
  uintptr_t at = record_tls.cursor;
  uintptr_t bytes = (ha_raw_words(size, alignment_log2) + stamped) * sizeof(uint64_t);
  *(volatile uintptr_t *)&record_tls.cursor = RECORD_BUSY;
  if (at + bytes > record_tls.limit || record_alive[0] == RECORD_NONE) {
    at = make_room(at, bytes);
    if (at == 0)
      return;
  }
  volatile uint64_t *word = (volatile uint64_t *)at;
  if (stamped)
    *word++ = ha_raw_time(record_stamp_now());
  if (size >= HA_SMALL_SIZE || alignment_log2 != 0)
    word[1] = size;
  if (alignment_log2 != 0)
    word[2] = alignment_log2;
  // Last: a program killed in between leaves no half record.
  *word = ha_raw_word(kind, address, size, alignment_log2);
  *(volatile uintptr_t *)&record_tls.cursor = at + bytes;
}

void record_name_thread(uint32_t token) {
  record_tls.owner = token < (1u << 17) - 1 ? token + 1 : 0;
  record_tls.named = true;
  __atomic_store_n(&record_tls.token, token, __ATOMIC_RELEASE);
}

// ---- Programs that cannot be recorded ----

static bool read_at(int fd, void *to, size_t bytes, uint64_t at) {
  return syscall(SYS_pread64, fd, to, bytes, (off_t)at) == (long)bytes;
}

// A 64-bit ELF file without an interpreter.
static bool is_static(int fd) {
  Elf64_Ehdr header;
  if (!read_at(fd, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return false;
  for (unsigned i = 0; i < header.e_phnum; i++) {
    Elf64_Phdr segment;
    if (!read_at(fd, &segment, sizeof segment, header.e_phoff + i * sizeof segment) ||
        segment.p_type == PT_INTERP)
      return false;
  }
  return true;
}

// The kernel runs a script's interpreter in its place.
static int open_interpreter(int script) {
  char line[256] = "";
  if (syscall(SYS_pread64, script, line, sizeof line - 1, (off_t)0) < 3 || line[0] != '#' || line[1] != '!')
    return script;
  char *path = line + 2 + strspn(line + 2, " \t");
  path[strcspn(path, " \t\n")] = 0;
  close_file(script);
  return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

static const char *why_unseen(int fd) {
  struct stat facts;
  if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode))
    return NULL;
  if (((facts.st_mode & S_ISUID) != 0 && facts.st_uid != geteuid()) ||
      ((facts.st_mode & S_ISGID) != 0 && facts.st_gid != getegid()))
    return "runs with the rights of another user: nothing can be preloaded into it";
  return is_static(fd) ? "is statically linked: nothing can be preloaded into it" : NULL;
}

static int search_path(const char *name, char path[512]) {
  const char *place = getenv("PATH");
  while (place != NULL && *place != 0) {
    size_t length = strcspn(place, ":");
    snprintf(path, 512, "%.*s/%s", length < 256 ? (int)length : 0, place, name);
    if (access(path, X_OK) == 0)
      return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    place += length + (place[length] == ':');
  }
  return -1;
}

static void write_unseen(const char *path, const char *why) {
  char name[80], line[768];
  // Our own pid: a forked child that allocates nothing has not become process_id.
  snprintf(name, sizeof name, HA_SPOOL_UNSEEN_FILE, (uint32_t)getpid(), (unsigned long long)process_start,
           atomic_fetch_add(&unseen_count, 1));
  int bytes = snprintf(line, sizeof line, "%.600s %s\n", path, why);
  append(name, line, (size_t)bytes, 0);
}

void record_unseen(const char *path, bool search) {
  if (folder[0] == 0 || path == NULL)
    return;
  int saved = errno;
  char found[512];
  snprintf(found, sizeof found, "%s", path);
  int fd = search && strchr(path, '/') == NULL
               ? search_path(path, found)
               : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd >= 0)
    fd = open_interpreter(fd);
  if (fd >= 0) {
    const char *why = why_unseen(fd);
    close_file(fd);
    if (why != NULL)
      write_unseen(found, why);
  }
  errno = saved;
}

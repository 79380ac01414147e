// collect_spool.c: reads a spool folder: which processes and threads there are, how stamps become time, and
// all their records merged into one stream by stamp. Nothing in a spool is believed: a program can have been
// killed anywhere, and the folder may hold anything.
#include "workloads/trace_collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- Files ----

static int open_in(const collect_spool *spool, const char *name) {
  char path[sizeof spool->folder + 256];
  snprintf(path, sizeof path, "%s/%s", spool->folder, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static bool read_start(const collect_spool *spool, const char *name, void *out, size_t bytes) {
  int fd = open_in(spool, name);
  if (fd < 0)
    return false;
  ssize_t got = pread(fd, out, bytes, 0);
  close(fd);
  return got == (ssize_t)bytes;
}

// Makes room for one more element; *array keeps its elements. False when memory is short.
static bool extend(void **array, uint32_t count, size_t element) {
  if (count != 0 && (count & (count - 1)) != 0)
    return true; // room doubles at powers of two
  void *grown = realloc(*array, (count == 0 ? 1 : (size_t)count * 2) * element);
  if (grown == NULL)
    return false;
  *array = grown;
  return true;
}

static bool ends_with(const char *name, const char *end) {
  size_t length = strlen(name), tail = strlen(end);
  return length > tail && strcmp(name + length - tail, end) == 0;
}

static bool add_process(collect_spool *spool, const char *name) {
  collect_process process = {.number = COLLECT_NONE,
                             .successor = COLLECT_NONE,
                             .predecessor = COLLECT_NONE,
                             .spawner = COLLECT_NONE,
                             .waits_for = COLLECT_NONE};
  if (!read_start(spool, name, &process.info, sizeof process.info) ||
      process.info.magic != HA_SPOOL_PROCESS_MAGIC || process.info.clock > HA_CLOCK_TSC) {
    spool->damaged++;
    return true;
  }
  process.info.program[sizeof process.info.program - 1] = 0;
  void *array = spool->processes;
  if (!extend(&array, spool->process_count, sizeof process))
    return false;
  spool->processes = array;
  spool->processes[spool->process_count++] = process;
  return true;
}

static int by_start(const void *left, const void *right) {
  const collect_process *a = left, *b = right;
  if (a->info.start_ns != b->info.start_ns)
    return a->info.start_ns < b->info.start_ns ? -1 : 1;
  return (a->info.pid > b->info.pid) - (a->info.pid < b->info.pid);
}

static uint32_t find_process(const collect_spool *spool, uint32_t pid, uint64_t start_ns) {
  collect_process key = {.info = {.pid = pid, .start_ns = start_ns}};
  const collect_process *found = bsearch(&key, spool->processes, spool->process_count, sizeof key, by_start);
  return found == NULL ? COLLECT_NONE : (uint32_t)(found - spool->processes);
}

static bool add_tail(collect_spool *spool, const char *name) {
  ha_spool_tail tail;
  if (!read_start(spool, name, &tail, sizeof tail) || tail.magic != HA_SPOOL_TAIL_MAGIC) {
    spool->damaged++;
    return true;
  }
  uint32_t process = find_process(spool, tail.pid, tail.start_ns);
  if (process == COLLECT_NONE) {
    spool->damaged++;
    return true;
  }
  void *array = spool->threads;
  if (!extend(&array, spool->thread_count, sizeof *spool->threads))
    return false;
  spool->threads = array;
  collect_thread *thread = &spool->threads[spool->thread_count++];
  *thread = (collect_thread){.process = process,
                             .token = tail.token,
                             .system_id = tail.system_id,
                             .logged = tail.logged,
                             .number = COLLECT_NONE};
  memcpy(thread->name, tail.name, sizeof thread->name - 1);
  return true;
}

// A program that was started and could not be recorded: the file says which one and why.
static bool add_unseen(collect_spool *spool, const char *name) {
  char line[768] = "";
  int fd = open_in(spool, name);
  ssize_t got = fd < 0 ? -1 : pread(fd, line, sizeof line - 1, 0);
  if (fd >= 0)
    close(fd);
  for (char *at = line; *at != 0; at++)
    if ((unsigned char)*at < ' ')
      *at = *at == '\n' && at[1] == 0 ? 0 : '?';
  if (got <= 0) {
    spool->damaged++;
    return true;
  }
  size_t used = strlen(spool->unseen_text), size = sizeof spool->unseen_text;
  char remark[1024];
  snprintf(remark, sizeof remark, "remark: not recorded: %s\n", line);
  spool->unseen++;
  if (strstr(spool->unseen_text, remark) == NULL && used + strlen(remark) < size)
    snprintf(spool->unseen_text + used, size - used, "%s", remark);
  return true;
}

static bool each_file(collect_spool *spool, const char *end, bool (*add)(collect_spool *, const char *)) {
  DIR *directory = opendir(spool->folder);
  if (directory == NULL)
    return false;
  bool going = true;
  for (const struct dirent *entry; going && (entry = readdir(directory)) != NULL;)
    if (ends_with(entry->d_name, end))
      going = add(spool, entry->d_name);
  closedir(directory);
  return going;
}

static int by_place(const void *left, const void *right) {
  const collect_thread *a = left, *b = right;
  if (a->process != b->process)
    return a->process < b->process ? -1 : 1;
  return (a->token > b->token) - (a->token < b->token);
}

static void sort_threads(collect_spool *spool) {
  if (spool->thread_count == 0)
    return;
  qsort(spool->threads, spool->thread_count, sizeof *spool->threads, by_place);
  for (uint32_t i = 0; i < spool->thread_count; i++) {
    collect_process *process = &spool->processes[spool->threads[i].process];
    if (process->thread_count++ == 0)
      process->first_thread = i;
    process->running++;
  }
}

// Images of one pid that followed one another by exec.
static void link_images(collect_spool *spool) {
  for (uint32_t i = 0; i < spool->process_count; i++) {
    for (uint32_t k = i; k-- > 0;) {
      collect_process *earlier = &spool->processes[k];
      if (earlier->info.pid != spool->processes[i].info.pid)
        continue;
      if (earlier->info.ended != HA_ENDED_EXIT) { // else the pid was used again
        earlier->successor = i;
        spool->processes[i].predecessor = k;
      }
      break;
    }
  }
}

uint32_t collect_find_thread(const collect_spool *spool, uint32_t process, uint32_t token) {
  const collect_process *owner = &spool->processes[process];
  uint32_t low = owner->first_thread, high = low + owner->thread_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (spool->threads[middle].token == token)
      return middle;
    if (spool->threads[middle].token < token)
      low = middle + 1;
    else
      high = middle;
  }
  return COLLECT_NONE;
}

// ---- Records of one thread ----

// Maps the words from `skip` on of a file of the thread. False: there is no such file.
static bool map_words(collect_spool *spool, collect_thread *thread, const char *pattern, size_t skip) {
  const ha_spool_process *process = &spool->processes[thread->process].info;
  char name[96];
  snprintf(name, sizeof name, pattern, process->pid, (unsigned long long)process->start_ns, thread->token);
  int fd = open_in(spool, name);
  struct stat facts;
  if (fd < 0 || fstat(fd, &facts) != 0 || (size_t)facts.st_size < skip || facts.st_size == 0) {
    if (fd >= 0)
      close(fd);
    return false;
  }
  thread->mapped_bytes = (size_t)facts.st_size;
  thread->mapped = mmap(NULL, thread->mapped_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (thread->mapped == MAP_FAILED) {
    thread->mapped = NULL;
    return false;
  }
  thread->next = (const uint64_t *)thread->mapped + skip / sizeof(uint64_t);
  thread->end = thread->next + (thread->mapped_bytes - skip) / sizeof(uint64_t);
  return true;
}

static void unmap_words(collect_thread *thread) {
  if (thread->mapped != NULL)
    munmap(thread->mapped, thread->mapped_bytes);
  thread->mapped = NULL;
  thread->next = thread->end = NULL;
}

static void open_log(collect_spool *spool, collect_thread *thread) {
  uint64_t words = (thread->logged & ~HA_SPOOL_CLEARING) / sizeof(uint64_t);
  if (words == 0)
    return;
  if (!map_words(spool, thread, HA_SPOOL_LOG_FILE, 0) || (uint64_t)(thread->end - thread->next) < words)
    spool->damaged++;
  else
    thread->end =
        thread->next + words; // what lies behind is in the tail too: a program killed between the two
}

// Goes on from the log to the tail, or from that to the end. False at the end.
static bool next_file(collect_spool *spool, collect_thread *thread) {
  unmap_words(thread);
  if (thread->in_tail || thread->logged & HA_SPOOL_CLEARING)
    return false;
  thread->in_tail = true;
  if (!map_words(spool, thread, HA_SPOOL_TAIL_FILE, sizeof(ha_spool_tail)))
    spool->damaged++;
  return true;
}

// Takes a record off the front. False: there is none, or none that can be told from what follows.
static bool take_record(collect_spool *spool, collect_thread *thread) {
  if (thread->next == thread->end || *thread->next == 0)
    return false;
  uint64_t word = *thread->next++;
  uint32_t kind = word & ((1u << HA_WORD_KIND_BITS) - 1);
  uint64_t small = word >> HA_WORD_SMALL_SHIFT;
  bool time = kind == HA_RAW_TIME;
  ptrdiff_t more = time ? 0 : small == HA_SMALL_BOTH ? 2 : small == HA_SMALL_SIZE ? 1 : 0;
  if (kind == 0 || kind >= HA_RAW_KINDS || thread->end - thread->next < more ||
      (more == 2 && thread->next[1] > 63)) {
    spool->damaged++; // torn or foreign
    return false;
  }
  thread->raw = (ha_raw){.kind = kind,
                         .address = word >> HA_WORD_KIND_BITS & (((uint64_t)1 << HA_WORD_ADDRESS_BITS) - 1),
                         .size = more != 0 ? thread->next[0] : small,
                         .alignment_log2 = more == 2 ? (uint32_t)thread->next[1] : 0};
  thread->next += more;
  // A signal handler's record may have come between time and place of another: a thread's order is its own.
  if (time && word >> HA_WORD_KIND_BITS > thread->stamp)
    thread->stamp = word >> HA_WORD_KIND_BITS;
  return true;
}

// Makes `raw` the thread's next record, or marks it exhausted.
static void settle(collect_spool *spool, collect_thread *thread) {
  do {
    while (!take_record(spool, thread)) {
      if (!next_file(spool, thread)) {
        thread->exhausted = true;
        return;
      }
    }
  } while (thread->raw.kind == HA_RAW_TIME);
}

// ---- Merging ----

static bool earlier(const collect_spool *spool, uint32_t a, uint32_t b) {
  const collect_thread *left = &spool->threads[a], *right = &spool->threads[b];
  return left->stamp != right->stamp ? left->stamp < right->stamp : a < b;
}

static void sift_down(collect_spool *spool, uint32_t at) {
  uint32_t thread = spool->heap[at];
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= spool->heap_count)
      break;
    if (child + 1 < spool->heap_count && earlier(spool, spool->heap[child + 1], spool->heap[child]))
      child++;
    if (!earlier(spool, spool->heap[child], thread))
      break;
    spool->heap[at] = spool->heap[child];
    at = child;
  }
  spool->heap[at] = thread;
}

uint32_t collect_earliest(const collect_spool *spool) {
  return spool->heap_count == 0 ? COLLECT_NONE : spool->heap[0];
}

void collect_advance(collect_spool *spool) {
  collect_thread *thread = &spool->threads[spool->heap[0]];
  settle(spool, thread);
  if (thread->exhausted)
    spool->heap[0] = spool->heap[--spool->heap_count];
  if (spool->heap_count != 0)
    sift_down(spool, 0);
}

static bool fill_heap(collect_spool *spool) {
  spool->heap = calloc((size_t)spool->thread_count + 1, sizeof *spool->heap);
  if (spool->heap == NULL)
    return false;
  for (uint32_t i = 0; i < spool->thread_count; i++) {
    collect_thread *thread = &spool->threads[i];
    open_log(spool, thread);
    settle(spool, thread);
    if (thread->exhausted)
      spool->processes[thread->process].running--;
    else
      spool->heap[spool->heap_count++] = i;
  }
  for (uint32_t at = spool->heap_count / 2; at-- > 0;)
    sift_down(spool, at);
  return true;
}

// ---- Clock ----

// One straight line through the earliest and the latest pair of stamp and ns. Too near together (a program
// killed at once): the counter still runs in this process, so take a pair now.
static bool calibrate(collect_spool *spool) {
  const ha_spool_process *first = &spool->processes[0].info;
  uint64_t last_stamp = 0, last_ns = 0;
  for (uint32_t i = 0; i < spool->process_count; i++) {
    const ha_spool_process *info = &spool->processes[i].info;
    if (info->clock != first->clock)
      return false;
    if (info->last_ns > last_ns) {
      last_ns = info->last_ns;
      last_stamp = info->last_stamp;
    }
  }
  spool->clock = first->clock;
  spool->ns_per_stamp = 1;
  if (spool->clock == HA_CLOCK_TSC) {
    if (last_ns < first->start_ns + 10000000u) {
      struct timespec now;
      clock_gettime(CLOCK_MONOTONIC, &now);
      last_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
      last_stamp = ha_spool_ticks(true);
    }
    double ns = (double)(last_ns - first->start_ns), stamps = (double)(last_stamp - first->start_stamp);
    // Spools from another boot or machine give no usable pair: keep the ticks.
    if (last_ns > first->start_ns && last_stamp > first->start_stamp && ns / stamps > 0.05 &&
        ns / stamps < 100)
      spool->ns_per_stamp = ns / stamps;
  }
  uint32_t earliest = collect_earliest(spool);
  spool->first_stamp = earliest == COLLECT_NONE ? first->start_stamp : spool->threads[earliest].stamp;
  double offset = ((double)spool->first_stamp - (double)first->start_stamp) * spool->ns_per_stamp;
  spool->clock_start_ns = first->start_epoch_ns + (offset > 0 ? (uint64_t)offset : 0);
  return true;
}

bool collect_open(collect_spool *spool, const char *folder, char *why, size_t why_size) {
  *spool = (collect_spool){0};
  if (strlen(folder) >= sizeof spool->folder) {
    snprintf(why, why_size, "spool folder: its path is too long");
    return false;
  }
  snprintf(spool->folder, sizeof spool->folder, "%s", folder);
  errno = 0;
  if (!each_file(spool, ".process", add_process)) {
    snprintf(why, why_size, "%s: cannot read the spool folder: %s", folder, strerror(errno));
    return false;
  }
  if (spool->process_count == 0) {
    snprintf(
        why, why_size,
        "%s: no recording in this folder; was the program linked statically, or run without the recorder?",
        folder);
    return false;
  }
  qsort(spool->processes, spool->process_count, sizeof *spool->processes, by_start);
  if (!each_file(spool, ".tail", add_tail) || !each_file(spool, ".unseen", add_unseen)) {
    snprintf(why, why_size, "%s: cannot read the spool folder: %s", folder, strerror(errno));
    return false;
  }
  sort_threads(spool);
  link_images(spool);
  if (!fill_heap(spool)) {
    snprintf(why, why_size, "%s: not enough memory", folder);
    return false;
  }
  if (spool->heap_count == 0) {
    snprintf(why, why_size, "%s: the recording holds no heap operation", folder);
    return false;
  }
  if (!calibrate(spool)) {
    snprintf(why, why_size, "%s: recordings by two different clocks; record all in one session", folder);
    return false;
  }
  return true;
}

void collect_close(collect_spool *spool) {
  for (uint32_t i = 0; i < spool->thread_count; i++)
    unmap_words(&spool->threads[i]);
  for (uint32_t i = 0; i < spool->process_count; i++)
    ha_trace_map_clear(&spool->processes[i].live);
  free(spool->processes);
  free(spool->threads);
  free(spool->heap);
}

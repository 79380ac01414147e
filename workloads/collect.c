// collect.c: turns the recorder's events, in the order of their stamps, into a trace's operations: addresses
// become objects, the two halves of a realloc one operation, processes threads of one heap. What does not fit
// is bent as little as possible, counted, and said in the trace's META remarks.
//
// Processes: a child's first event is preceded by a SPAWN from the thread that started it, its last followed
// by a JOIN in that thread before that thread's next event. A process's first thread therefore ends late:
// when it is joined, or with the trace.
#include "workloads/trace_collect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct collector {
  collect_spool spool;
  ha_trace_writer *writer;
  ha_collect_remarks *remarks;
  uint64_t time_ns, next_object;
  uint32_t thread_numbers, process_numbers;
  uint32_t root; // thread (index) that is number 0 in the trace
  bool good;     // false: stop; the writer knows why, unless memory is short
  bool short_of_memory;
} collector;

static void no_memory(collector *c) {
  c->good = false;
  c->short_of_memory = true;
}

// ---- Operations ----

static void write_op(collector *c, ha_op op) {
  op.time_ns = c->time_ns;
  c->good = c->good && ha_trace_write(c->writer, &op);
}

static void write_thread_op(collector *c, unsigned kind, uint32_t thread, uint32_t other) {
  write_op(c, (ha_op){.kind = (uint8_t)kind,
                      .thread = c->spool.threads[thread].number,
                      .size = other == COLLECT_NONE ? 0 : c->spool.threads[other].number});
}

static void end_thread(collector *c, uint32_t thread) {
  collect_thread *ended = &c->spool.threads[thread];
  if (ended->number == COLLECT_NONE || ended->exited)
    return;
  write_thread_op(c, HA_OP_THREAD_EXIT, thread, COLLECT_NONE);
  ended->exited = true;
}

static bool usable(const collector *c, uint32_t thread) {
  return thread != COLLECT_NONE && c->spool.threads[thread].number != COLLECT_NONE &&
         !c->spool.threads[thread].exited;
}

// ---- Threads and processes ----

// Joins the processes that ended since `thread` last did anything, where it had started them.
static void join_processes(collector *c, uint32_t thread) {
  if (!c->spool.threads[thread].must_join)
    return;
  c->spool.threads[thread].must_join = false;
  for (uint32_t i = 0; i < c->spool.process_count; i++) {
    collect_process *process = &c->spool.processes[i];
    if (process->waits_for != thread)
      continue;
    process->waits_for = COLLECT_NONE;
    for (uint32_t k = process->first_thread; k < process->first_thread + process->thread_count; k++) {
      end_thread(c, k);
      if (c->spool.threads[k].number == COLLECT_NONE || c->spool.threads[k].joined)
        continue;
      write_thread_op(c, HA_OP_JOIN, thread, k);
      c->spool.threads[k].joined = true;
    }
  }
}

static uint32_t main_thread(const collector *c, uint32_t process) {
  return process == COLLECT_NONE ? COLLECT_NONE : collect_find_thread(&c->spool, process, 0);
}

static uint32_t parent_process(const collector *c, uint32_t index) {
  const collect_process *process = &c->spool.processes[index];
  if (process->predecessor != COLLECT_NONE)
    return process->predecessor;
  for (uint32_t k = index; k-- > 0;) {
    const ha_spool_process *info = &c->spool.processes[k].info;
    if (process->info.parent_start_ns != 0 ? info->start_ns == process->info.parent_start_ns
                                           : info->pid == process->info.parent_pid)
      return k;
  }
  return COLLECT_NONE;
}

// The thread that starts a process in the trace: the one that forked, else its process's first, else the
// trace's.
static uint32_t spawner_of(const collector *c, uint32_t index) {
  uint32_t token = c->spool.processes[index].info.parent_token;
  for (uint32_t parent = parent_process(c, index); parent != COLLECT_NONE;
       parent = parent_process(c, parent)) {
    uint32_t forker = collect_find_thread(&c->spool, parent, token);
    if (usable(c, forker))
      return forker;
    if (usable(c, main_thread(c, parent)))
      return main_thread(c, parent);
    token = c->spool.processes[parent].info.parent_token; // of an image without events: its own parent
  }
  return usable(c, c->root) ? c->root : COLLECT_NONE;
}

static void announce(collector *c, uint32_t thread, uint32_t parent) {
  collect_thread *one = &c->spool.threads[thread];
  collect_process *process = &c->spool.processes[one->process];
  if (process->number == COLLECT_NONE)
    process->number = c->process_numbers++;
  one->number = c->thread_numbers++;
  ha_trace_thread entry = {.thread = one->number,
                           .parent = parent == COLLECT_NONE ? one->number : c->spool.threads[parent].number,
                           .process = process->number,
                           .system_id = one->system_id};
  snprintf(entry.name, sizeof entry.name, "%.31s", one->token == 0 ? process->info.program : one->name);
  c->good = c->good && ha_trace_add_thread(c->writer, &entry);
}

// Makes sure that the thread is known to the trace before its first operation.
static void appear(collector *c, uint32_t thread) {
  if (c->spool.threads[thread].number != COLLECT_NONE)
    return;
  if (c->thread_numbers == 0) {
    c->root = thread;
    announce(c, thread, COLLECT_NONE);
    return;
  }
  uint32_t index = c->spool.threads[thread].process;
  collect_process *process = &c->spool.processes[index];
  if (process->number != COLLECT_NONE) { // a thread that nobody was seen to create
    announce(c, thread, usable(c, main_thread(c, index)) ? main_thread(c, index) : c->root);
    return;
  }
  uint32_t spawner = spawner_of(c, index);
  if (spawner != COLLECT_NONE)
    join_processes(c, spawner);
  process->spawner = spawner;
  announce(c, thread, spawner);
  if (spawner != COLLECT_NONE)
    write_thread_op(c, HA_OP_SPAWN, spawner, thread);
}

static void spawn(collector *c, uint32_t thread, uint32_t token) {
  uint32_t child = collect_find_thread(&c->spool, c->spool.threads[thread].process, token);
  if (child == COLLECT_NONE || c->spool.threads[child].number != COLLECT_NONE)
    return; // it never touched the heap
  announce(c, child, thread);
  write_thread_op(c, HA_OP_SPAWN, thread, child);
}

static void join(collector *c, uint32_t thread, uint32_t token) {
  uint32_t child = collect_find_thread(&c->spool, c->spool.threads[thread].process, token);
  if (child == COLLECT_NONE || child == thread || c->spool.threads[child].number == COLLECT_NONE)
    return;
  if (!c->spool.threads[child].exhausted || c->spool.threads[child].joined)
    return;
  end_thread(c, child);
  write_thread_op(c, HA_OP_JOIN, thread, child);
  c->spool.threads[child].joined = true;
}

// ---- Objects ----

static void free_object(collector *c, uint32_t thread, uint64_t object) {
  write_op(c, (ha_op){.kind = HA_OP_FREE, .thread = c->spool.threads[thread].number, .object = object});
}

// Enters an object at its address. An object that is there already was freed without our seeing it in time.
static void enter(collector *c, uint32_t thread, uint64_t address, uint64_t object, uint64_t size) {
  ha_trace_map *live = &c->spool.processes[c->spool.threads[thread].process].live;
  ha_trace_entry *entry = ha_trace_map_find(live, address);
  if (entry != NULL) {
    free_object(c, thread, entry->value);
    c->remarks->late_frees++;
  } else {
    entry = ha_trace_map_add(live, address);
  }
  if (entry == NULL) {
    no_memory(c);
    return;
  }
  entry->value = object;
  entry->size = size;
  entry->thread = thread;
}

static void allocate(collector *c, uint32_t thread, unsigned kind, uint64_t address, unsigned alignment,
                     uint64_t size) {
  if (address == 0 && size == 0)
    return; // no block asked for, none given
  uint64_t object = c->next_object;
  if (address != 0)
    enter(c, thread, address, object, size);
  c->next_object++;
  write_op(c, (ha_op){.kind = (uint8_t)kind,
                      .thread = c->spool.threads[thread].number,
                      .object = object,
                      .size = size,
                      .flags = address == 0 ? HA_OP_FAILED : 0,
                      .alignment_log2 = (uint8_t)alignment});
}

static void release(collector *c, uint32_t thread, unsigned kind, uint64_t address, unsigned alignment,
                    uint64_t size) {
  ha_trace_map *live = &c->spool.processes[c->spool.threads[thread].process].live;
  ha_trace_entry *entry = ha_trace_map_find(live, address);
  if (entry == NULL) {
    c->remarks->unknown_frees++;
    return;
  }
  uint64_t object = entry->value;
  ha_trace_map_remove(live, entry);
  write_op(c, (ha_op){.kind = (uint8_t)kind,
                      .thread = c->spool.threads[thread].number,
                      .object = object,
                      .size = size,
                      .alignment_log2 = (uint8_t)alignment});
}

static void begin_resize(collector *c, uint32_t thread, uint64_t address) {
  collect_thread *one = &c->spool.threads[thread];
  ha_trace_map *live = &c->spool.processes[one->process].live;
  ha_trace_entry *entry = ha_trace_map_find(live, address);
  one->resizing = true;
  one->resized_known = entry != NULL;
  if (entry == NULL) {
    c->remarks->unknown_frees += address != 0;
    return;
  }
  one->resized_address = address;
  one->resized_object = entry->value;
  one->resized_size = entry->size;
  ha_trace_map_remove(live, entry);
}

static void end_resize(collector *c, uint32_t thread, uint64_t address, uint64_t size) {
  collect_thread *one = &c->spool.threads[thread];
  bool known = one->resizing && one->resized_known;
  one->resizing = false;
  if (!known) { // of a block from before the recording: the new one is an allocation
    allocate(c, thread, HA_OP_MALLOC, address, 0, size);
    return;
  }
  if (address == 0 && size == 0) {
    free_object(c, thread, one->resized_object);
    return;
  }
  if (address != 0)
    enter(c, thread, address, one->resized_object, size);
  else
    enter(c, thread, one->resized_address, one->resized_object, one->resized_size);
  write_op(c, (ha_op){.kind = HA_OP_REALLOC,
                      .thread = one->number,
                      .object = one->resized_object,
                      .size = size,
                      .flags = address == 0 ? HA_OP_FAILED : 0});
}

// ---- Events ----

static void event(collector *c, uint32_t thread, const ha_raw *raw) {
  static const uint8_t kinds[HA_RAW_KINDS] = {
      [HA_RAW_MALLOC] = HA_OP_MALLOC,
      [HA_RAW_CALLOC] = HA_OP_CALLOC,
      [HA_RAW_FREE] = HA_OP_FREE,
      [HA_RAW_ALIGNED_ALLOC] = HA_OP_ALIGNED_ALLOC,
      [HA_RAW_POSIX_MEMALIGN] = HA_OP_POSIX_MEMALIGN,
      [HA_RAW_FREE_SIZED] = HA_OP_FREE_SIZED,
  };
  unsigned kind = raw->kind, alignment = raw->alignment_log2;
  uint64_t address = raw->address;
  switch (kind) {
  case HA_RAW_REALLOC_BEGIN:
    begin_resize(c, thread, address);
    break;
  case HA_RAW_REALLOC_END:
    end_resize(c, thread, address, raw->size);
    break;
  case HA_RAW_FREE:
  case HA_RAW_FREE_SIZED:
    release(c, thread, kinds[kind], address, kind == HA_RAW_FREE ? 0 : alignment, raw->size);
    break;
  case HA_RAW_PURGE:
    write_op(c, (ha_op){.kind = HA_OP_PURGE, .thread = c->spool.threads[thread].number});
    break;
  case HA_RAW_SPAWN:
    spawn(c, thread, (uint32_t)address);
    break;
  case HA_RAW_JOIN:
    join(c, thread, (uint32_t)address);
    break;
  case HA_RAW_MALLOC:
  case HA_RAW_CALLOC:
    allocate(c, thread, kinds[kind], address, 0, raw->size);
    break;
  default:
    allocate(c, thread, kinds[kind], address, alignment, raw->size);
    break;
  }
}

typedef struct survivor {
  uint64_t object;
  uint32_t thread;
} survivor;

static int by_object(const void *left, const void *right) {
  const survivor *a = left, *b = right;
  return (a->object > b->object) - (a->object < b->object);
}

// A process's heap goes with it. In the trace's one heap its live objects are freed then, unless the trace
// ends too.
static void free_heap(collector *c, uint32_t index, uint32_t last_thread) {
  collect_process *process = &c->spool.processes[index];
  if (process->live.count == 0)
    return;
  survivor *all = malloc(process->live.count * sizeof *all);
  if (all == NULL) {
    no_memory(c);
    return;
  }
  size_t count = 0;
  uint64_t at = 0;
  for (const ha_trace_entry *entry; (entry = ha_trace_map_walk(&process->live, &at)) != NULL;)
    all[count++] = (survivor){.object = entry->value, .thread = entry->thread};
  qsort(all, count, sizeof *all, by_object);
  for (size_t i = 0; i < count; i++)
    free_object(c, usable(c, all[i].thread) ? all[i].thread : last_thread, all[i].object);
  c->remarks->exit_frees += count;
  free(all);
  ha_trace_map_clear(&process->live);
}

// A process ended: the thread that started it joins it when it next does something. Images that executed one
// another are one process to whoever started the first of them.
static void process_ended(collector *c, uint32_t index) {
  if (c->spool.processes[index].successor != COLLECT_NONE)
    return;
  uint32_t joiner = COLLECT_NONE;
  for (uint32_t image = index; image != COLLECT_NONE; image = c->spool.processes[image].predecessor)
    if (c->spool.processes[image].spawner != COLLECT_NONE)
      joiner = c->spool.processes[image].spawner;
  if (joiner == COLLECT_NONE)
    return;
  c->spool.threads[joiner].must_join = true;
  for (uint32_t image = index; image != COLLECT_NONE; image = c->spool.processes[image].predecessor)
    c->spool.processes[image].waits_for = joiner;
}

// The thread has no more records. Its process may have ended with it.
static void exhausted(collector *c, uint32_t thread) {
  collect_thread *one = &c->spool.threads[thread];
  collect_process *process = &c->spool.processes[one->process];
  if (one->resizing && one->resized_known) // killed inside realloc: the block was not seen to move
    enter(c, thread, one->resized_address, one->resized_object, one->resized_size);
  if (--process->running == 0) {
    if (c->spool.heap_count != 0)
      free_heap(c, one->process, thread);
    process_ended(c, one->process);
  }
  if (one->token != 0)
    end_thread(c, thread);
}

static void merge(collector *c) {
  for (uint32_t thread; c->good && (thread = collect_earliest(&c->spool)) != COLLECT_NONE;) {
    collect_thread *one = &c->spool.threads[thread];
    uint64_t ns = (uint64_t)((double)(one->stamp - c->spool.first_stamp) * c->spool.ns_per_stamp);
    if (ns > c->time_ns)
      c->time_ns = ns;
    ha_raw raw = one->raw;
    appear(c, thread);
    join_processes(c, thread);
    event(c, thread, &raw);
    collect_advance(&c->spool);
    if (one->exhausted)
      exhausted(c, thread);
  }
  for (uint32_t i = c->spool.thread_count; c->good && i-- > 0;)
    end_thread(c, i);
}

// ---- Remarks ----

static void count_ends(const collector *c) {
  for (uint32_t i = 0; i < c->spool.process_count; i++) {
    const collect_process *process = &c->spool.processes[i];
    c->remarks->lost += process->info.lost;
    c->remarks->stopped += process->info.stopped != 0;
    c->remarks->killed += process->info.ended == HA_ENDED_NOT && process->successor == COLLECT_NONE;
    c->remarks->own_malloc += process->info.own_malloc != 0;
  }
  c->remarks->damaged = c->spool.damaged;
  c->remarks->unseen = c->spool.unseen;
}

static uint32_t flags_of(const ha_collect_remarks *remarks) {
  bool incomplete = remarks->lost + remarks->killed + remarks->stopped + remarks->damaged != 0;
  bool adjusted = remarks->late_frees + remarks->exit_frees != 0;
  return (incomplete ? HA_TRACE_INCOMPLETE : 0u) | (adjusted ? HA_TRACE_ADJUSTED : 0u);
}

static void remark(char *text, size_t size, uint64_t count, const char *what) {
  size_t used = strlen(text);
  if (count != 0)
    snprintf(text + used, size - used, "remark: %llu %s\n", (unsigned long long)count, what);
}

// Programs that take no part in the trace, by name.
static void describe_unseen(const collector *c) {
  char *text = c->remarks->text;
  const size_t size = sizeof c->remarks->text;
  snprintf(text, size, "%s", c->spool.unseen_text);
  for (uint32_t i = 0; i < c->spool.process_count; i++) {
    const ha_spool_process *info = &c->spool.processes[i].info;
    char line[160];
    snprintf(line, sizeof line, "remark: not recorded: %s has a malloc of its own\n", info->program);
    size_t used = strlen(text);
    if (info->own_malloc != 0 && strstr(text, line) == NULL)
      snprintf(text + used, size - used, "%s", line);
  }
}

static void describe(ha_collect_remarks *remarks) {
  char *text = remarks->text;
  const size_t size = sizeof remarks->text;
  remark(text, size, remarks->unknown_frees,
         "frees of blocks from before the recording (inherited over fork): left out");
  remark(text, size, remarks->late_frees, "addresses seen again before their free: a free was put before");
  remark(text, size, remarks->exit_frees, "objects live at their process's end: freed there");
  remark(text, size, remarks->killed, "processes without a regular end (killed, or still running)");
  remark(text, size, remarks->stopped, "processes whose recording stopped early (disk full?)");
  remark(text, size, remarks->lost, "events lost");
  remark(text, size, remarks->damaged, "files of the spool missing or damaged");
}

bool ha_collect(const char *spool, const char *output, const char *meta, ha_trace_totals *totals,
                ha_collect_remarks *remarks, char *why, size_t why_size) {
  collector c = {.remarks = remarks, .root = COLLECT_NONE, .good = true};
  *remarks = (ha_collect_remarks){0};
  if (!collect_open(&c.spool, spool, why, why_size) ||
      (c.writer = ha_trace_create(output, c.spool.clock_start_ns, meta, why, why_size)) == NULL) {
    collect_close(&c.spool);
    return false;
  }
  merge(&c);
  count_ends(&c);
  describe_unseen(&c);
  describe(remarks);
  if (remarks->text[0] != 0)
    ha_trace_add_meta(c.writer, remarks->text);
  collect_close(&c.spool);
  if (c.short_of_memory) {
    snprintf(why, why_size, "%s: not enough memory for the live objects", spool);
    ha_trace_abandon(c.writer);
    return false;
  }
  return ha_trace_finish(c.writer, flags_of(remarks), totals, why, why_size);
}

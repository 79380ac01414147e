// workload.c: the mutator programs (program.h) as workloads: the heap is started before the clock runs, the
// program runs as the body, and what the collector did becomes counters of the result.
//
//   gc_collections, gc_minor_collections       how many
//   gc_pause_{p50,p90,p99,max,total}_seconds   how long all mutator threads stood still
//   gc_utilisation                             share of the wall time that the mutator had
//   gc_mmu_10ms                                the same in the worst window of 10 ms (minimum mutator utilisation)
//   gc_moved_bytes, gc_live_bytes              copied or slid; found live by the last whole collection
//   gc_heap_peak_bytes, gc_allocated_bytes     of objects
//
// Manual freeing has the last one only.
#include "adapters/collectors.h"
#include "workloads/gc/external.h"
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

#include <string.h>

#define MMU_WINDOW_NS 10000000u

typedef struct gc_state {
  const struct gc_collector *collector; // NULL: the program runs elsewhere
  struct gc_heap *heap;
  gc_run program;
  ha_measurement elsewhere;
} gc_state;

#define COMMON_PARAMS                                                                                        \
  {"limit", "0", "MiB that objects may take, at most; 0: three quarters of the memory", 0, 1 << 20, NULL},   \
      {"goal", "100", "percent by which a heap grows over what was live until it is collected",              \
       10,     10000, NULL},                                                                                 \
      {"nursery",                                                                                            \
       "0",                                                                                                  \
       "KiB of the nursery, of collectors with one; 0: 4096, or a quarter of a small limit",                 \
       0,                                                                                                    \
       1 << 20,                                                                                              \
       NULL},                                                                                                \
  {                                                                                                          \
    NULL, NULL, NULL, 0, 0, NULL                                                                             \
  }

void gc_lack(gc_run *run) {
  ha_fail(run->run, "out of memory: the heap's limit is reached; a larger one: %s:limit=MIB",
          run->run->workload->name);
  longjmp(run->give_up, 1);
}

void gc_wrong(gc_run *run, const char *what) {
  ha_fail(run->run, "%s", what);
  longjmp(run->give_up, 1);
}

const struct gc_type *gc_program_type(gc_run *run, const char *name, size_t size, bool array,
                                      const uint32_t *pointers, size_t pointer_count) {
  char why[256];
  const struct gc_type *type =
      gc_type_register(run->thread->heap,
                       &(struct gc_type_spec){.name = name,
                                              .size = (uint32_t)size,
                                              .array = array,
                                              .pointers = pointers,
                                              .pointer_count = (uint32_t)pointer_count},
                       why, sizeof why);
  if (!type)
    gc_wrong(run, why);
  return type;
}

const struct gc_type *gc_references(gc_run *run) {
  static const uint32_t first = 0;
  return gc_program_type(run, "references", sizeof(void *), true, &first, 1);
}

static bool gc_prepare(ha_run *run) {
  if (!ha_keeps_contents(run))
    return ha_fail(run, "%s keeps no contents: a mutator program cannot run on it", run->alloc->name);
  gc_state *state = ha_map(run, sizeof *state);
  if (!state)
    return false;
  run->state = state;
  run->threads = 1;
  state->program = (gc_run){.run = run, .random = run->seed};
  state->collector = ha_gc_collector(run->alloc);
  if (!state->collector)
    return ha_gc_external(run->alloc) != NULL || ha_fail(run, "%s is not there", run->alloc->name);
  char why[256];
  const struct gc_options options = {.heap_limit = ha_param_number(run, "limit") << 20,
                                     .goal_percent = (unsigned)ha_param_number(run, "goal"),
                                     .nursery_bytes = ha_param_number(run, "nursery") << 10,
                                     .verify = run->verify};
  state->heap = gc_heap_start(state->collector, &options, why, sizeof why);
  if (!state->heap)
    return ha_fail(run, "%s", why);
  bool conservative = (state->collector->traits & (GC_CONSERVATIVE | GC_MANUAL)) != 0;
  state->program.thread = gc_thread_attach_as(state->heap, conservative, why, sizeof why);
  return state->program.thread || ha_fail(run, "%s", why);
}

static double seconds(uint64_t ns) {
  return 1e-9 * (double)ns;
}

static void count_figures(ha_run *run, struct gc_heap *heap, uint64_t start, uint64_t end) {
  const struct gc_figures *figures = gc_figures_of(heap);
  ha_count(run, "gc_allocated_bytes", (double)figures->allocated_bytes);
  if (heap->collector->traits & GC_MANUAL)
    return;
  ha_count(run, "gc_collections", (double)figures->collections);
  ha_count(run, "gc_minor_collections", (double)figures->minor_collections);
  ha_count(run, "gc_pause_p50_seconds", seconds(gc_pause_quantile(heap, 0.5)));
  ha_count(run, "gc_pause_p90_seconds", seconds(gc_pause_quantile(heap, 0.9)));
  ha_count(run, "gc_pause_p99_seconds", seconds(gc_pause_quantile(heap, 0.99)));
  ha_count(run, "gc_pause_max_seconds", seconds(heap->pause_most_ns));
  ha_count(run, "gc_pause_total_seconds", seconds(heap->pause_total_ns));
  double stolen = (double)(heap->pause_total_ns + figures->assist_ns);
  ha_count(run, "gc_utilisation", end > start ? 1 - stolen / (double)(end - start) : 0);
  ha_count(run, "gc_mmu_10ms", gc_least_utilisation(heap, MMU_WINDOW_NS, start, end));
  ha_count(run, "gc_moved_bytes", (double)figures->moved_bytes);
  ha_count(run, "gc_live_bytes", (double)figures->live_bytes);
  ha_count(run, "gc_heap_peak_bytes", (double)figures->heap_peak_bytes);
}

// Runs the work here; a program that gives up leaves its frames behind.
static void work_here(gc_state *state, gc_work *work) {
  uint64_t start = gc_now_ns();
  if (setjmp(state->program.give_up) == 0)
    work(&state->program);
  state->program.thread->frames = NULL;
  count_figures(state->program.run, state->heap, start, gc_now_ns());
}

static void gc_body(ha_run *run, gc_work *precise, gc_work *conservative, ha_tally *tally) {
  gc_state *state = run->state;
  if (state->collector) {
    bool is_conservative = (state->collector->traits & (GC_CONSERVATIVE | GC_MANUAL)) != 0;
    work_here(state, is_conservative ? conservative : precise);
  } else if (gc_external_run(run, ha_gc_external(run->alloc), &state->elsewhere, &state->program.checksum,
                             &state->program.objects))
    run->external = &state->elsewhere;
  tally->operations = state->program.objects;
  tally->checksum = state->program.checksum;
}

static bool gc_finish(ha_run *run) {
  gc_state *state = run->state;
  if (state->heap) {
    gc_thread_detach(state->program.thread);
    gc_heap_stop(state->heap);
  }
  return run->why[0] == '\0';
}

#define GC_WORKLOAD(word, what, story, ...)                                                                  \
  static const ha_param word##_params[] = {__VA_ARGS__, COMMON_PARAMS};                                      \
  static void word##_body(ha_run *run, unsigned thread, ha_tally *tally) {                                   \
    (void)thread;                                                                                            \
    gc_body(run, gc_work_##word##_precise, gc_work_##word##_conservative, tally);                            \
  }                                                                                                          \
  const ha_workload ha_workload_gc_##word = {.name = "gc-" #word,                                            \
                                             .summary = what,                                                \
                                             .explain = story,                                               \
                                             .params = word##_params,                                        \
                                             .mutator = true,                                                \
                                             .prepare = gc_prepare,                                          \
                                             .body = word##_body,                                            \
                                             .finish = gc_finish};

GC_WORKLOAD(
    bench, "mutator program: GCBench, trees built both ways beside a tree and an array that last",
    "Ellis, Kovac and Boehm's test of collectors: binary trees of growing depth are built top down and "
    "bottom "
    "up and dropped. Nearly all objects die young and are alike; time shows allocation and the cost of a "
    "collection with a live set of some megabytes. Operations are objects.",
    {"stretch", "18", "depth of the tree that stretches the heap; the work grows with it", 4, 26, NULL},
    {"lasting", "16", "depth of the tree that lasts, and of the deepest others", 4, 26, NULL},
    {"numbers", "500000", "length of the array that lasts", 8, 100000000, NULL})
GC_WORKLOAD(
    trees, "mutator program: binary-trees, built, counted and dropped beside one that lasts",
    "The binary-trees program of the Computer Language Benchmarks Game: nodes of two references and nothing "
    "else. Time shows allocation of the smallest objects, and how fast a collector follows pointers. "
    "Operations "
    "are objects; a header of eight bytes is a third of what an object takes here.",
    {"depth", "16", "depth of the tree that lasts; the one that stretches has one more", 4, 26, NULL})
GC_WORKLOAD(
    map, "mutator program: a hash map that grows by doubling; values replaced, keys removed",
    "A large live set: chains of entries under a table that doubles, with byte strings for values. Stores "
    "into old objects of references to new ones are the rule, so generational barriers are busy. "
    "Operations are objects.",
    {"keys", "500000", "numbers that keys are drawn from", 1, 1000000000, NULL},
    {"ops", "3000000", "steps, seven in eight of which add or replace", 1, 10000000000, NULL})
GC_WORKLOAD(
    lists, "mutator program: linked lists that are dropped at 16, at 2000 and at a hundred thousand cells",
    "Objects of all ages in turns: most die at once, some live long enough to be moved or marked several "
    "times, a few chains are long, which is the hard case for marking in depth. Operations are cells; every "
    "list is summed up before it is dropped.",
    {"ops", "10000000", "cells", 1, 10000000000, NULL},
    {"longest", "100000", "cells of a long list", 1, 100000000, NULL})
GC_WORKLOAD(
    lru, "mutator program: a cache of entries that are evicted in order of their last use",
    "Objects die old: every miss evicts the entry that was used least recently. What generational collectors "
    "bet on does not hold here, and the table of the cache is one large old object that changes all the "
    "time. Operations are objects made.",
    {"entries", "100000", "of the cache", 16, 100000000, NULL},
    {"ops", "3000000", "look-ups", 1, 10000000000, NULL})
GC_WORKLOAD(
    frag, "mutator program: bursts of growing sizes with random survivors, which fragment the heap",
    "One object in eight survives its burst, at random places, and the next burst wants another size. An "
    "allocator whose objects never move has holes of the wrong size; memory shows what moving them saves. "
    "Operations are arrays made.",
    {"phases", "48", "bursts; sizes go round from 32 to 880 bytes", 1, 1000000, NULL},
    {"burst", "60000", "arrays of a burst", 1, 100000000, NULL},
    {"survivors", "60000", "arrays of earlier bursts that are kept", 1, 100000000, NULL})

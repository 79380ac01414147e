// Threads, helpers and large graphs: marking in parallel against one that runs alone (checkmark), a random
// graph against its model, threads that hand objects to each other while cycles stop them.
//
// GM_GC_TEST_NODES sets the size of the graph (30000; 1000000 is the figure to try by hand).
#include "core/base.h"
#include "core/gc/gm_gc.h"
#include "core/gomalloc.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static size_t number_from(const char *name, size_t fallback) {
  const char *text = getenv(name);
  return text != NULL ? strtoul(text, NULL, 10) : fallback;
}

// ---- A graph against its model

enum { EDGES = 3, ROOTS = 16, WIDE_WORDS = 12 };

// A vertex: typed, or the first words of a conservative object that is longer; edges of conservative ones
// point into the middle of their targets.
struct vertex {
  struct vertex *edge[EDGES];
  uint64_t *text; // noscan, with the number in each word
  uint64_t number;
  uint64_t decoy; // the address of another vertex, where the type says there is no pointer
};

// The model lives in malloc's memory, which is not searched. Number 0 stands for no vertex.
struct model {
  size_t count;
  uint32_t (*edge)[EDGES];
  bool *wide;        // conservative
  uintptr_t *hidden; // address of each vertex, inverted
  bool *reached;
  uint32_t *queue;
  uint64_t random;
};

static void *graph_roots[ROOTS];
static uint32_t root_number[ROOTS];

static struct vertex *vertex_of(const struct model *model, uint32_t number) {
  return (struct vertex *)~model->hidden[number];
}

static uint32_t pick(struct model *model, size_t below) {
  return (uint32_t)(next_random(&model->random) % below);
}

static void set_edge(struct model *model, uint32_t from, size_t edge, uint32_t to) {
  model->edge[from][edge] = to;
  char *target = to == 0 ? NULL : (char *)vertex_of(model, to);
  size_t inside = target != NULL && model->wide[from] ? pick(model, sizeof(struct vertex)) : 0;
  vertex_of(model, from)->edge[edge] = (struct vertex *)(void *)(target == NULL ? NULL : target + inside);
}

static void set_root(struct model *model, size_t root, uint32_t number) {
  root_number[root] = number;
  graph_roots[root] =
      number == 0 ? NULL : (char *)vertex_of(model, number) + pick(model, sizeof(struct vertex));
}

// Makes vertex `number` and hangs it under one of those before it, so that all stay reachable while the graph
// grows: two under each, or one under the last one, in a long chain. The last edge leads anywhere.
static void add_vertex(struct model *model, const gm_gc_type *type, uint32_t number, bool chain) {
  model->wide[number] = pick(model, 4) == 0;
  struct vertex *vertex =
      model->wide[number] ? gm_gc_alloc_conservative(WIDE_WORDS * sizeof(uint64_t)) : gm_gc_alloc(type);
  assert_non_null(vertex);
  vertex->number = number;
  size_t words = 1 + pick(model, 6);
  uint64_t *text = gm_gc_alloc_noscan(words * sizeof *text);
  assert_non_null(text);
  for (size_t i = 0; i < words; i++)
    text[i] = number;
  vertex->text = text;
  model->hidden[number] = ~(uintptr_t)vertex;
  if (number <= ROOTS) {
    set_root(model, number - 1, number);
  } else {
    uint32_t rank = number - ROOTS - 1;
    set_edge(model, chain ? number - 1 : rank / 2 + 1, chain ? 0 : rank % 2, number);
    set_edge(model, number, EDGES - 1, 1 + pick(model, number));
    if (!model->wide[number])
      vertex->decoy = (uint64_t)vertex_of(model, 1 + pick(model, number));
  }
}

// The model's answer: which vertices the roots reach.
static size_t reach(struct model *model) {
  memset(model->reached, 0, (model->count + 1) * sizeof *model->reached);
  model->reached[0] = true;
  size_t queued = 0;
  for (size_t i = 0; i < ROOTS; i++)
    if (!model->reached[root_number[i]]) {
      model->reached[root_number[i]] = true;
      model->queue[queued++] = root_number[i];
    }
  for (size_t at = 0; at < queued; at++)
    for (size_t edge = 0; edge < EDGES; edge++) {
      uint32_t to = model->edge[model->queue[at]][edge];
      if (!model->reached[to]) {
        model->reached[to] = true;
        model->queue[queued++] = to;
      }
    }
  return queued;
}

static void check_vertex(const struct model *model, uint32_t number) {
  struct vertex *vertex = vertex_of(model, number);
  assert_ptr_equal(gm_gc_base(&vertex->decoy), vertex);
  assert_int_equal(vertex->number, number);
  for (size_t i = 0; i < gm_gc_size(vertex->text) / 8; i++)
    assert_true(vertex->text[i] == number || vertex->text[i] == 0);
  for (size_t edge = 0; edge < EDGES; edge++) {
    uint32_t to = model->edge[number][edge];
    assert_ptr_equal(gm_gc_base(vertex->edge[edge]), to == 0 ? NULL : (void *)vertex_of(model, to));
  }
}

// Collects; then all that is reachable is whole, and little else is there.
static void compare(struct model *model) {
  assert_int_equal(gm_gc_collect(), 0);
  size_t reachable = reach(model);
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  assert_true(stats.live_objects >= 2 * reachable);
  // A dead word on the stack may keep a part of the graph: so not exactly.
  assert_true(stats.live_objects <= 2 * (reachable + (model->count - reachable) / 4) + 100);
  for (uint32_t number = 1; number <= model->count; number++)
    if (model->reached[number])
      check_vertex(model, number);
}

static void test_graph(void **state) {
  (void)state;
  size_t most = number_from("GM_GC_TEST_NODES", 30000);
  for (unsigned threads = 1; threads <= 4; threads += 3) {
    struct model model = {.random = 88172645463325252u + threads};
    model.edge = calloc(most + 1, sizeof *model.edge);
    model.wide = calloc(most + 1, sizeof *model.wide);
    model.hidden = calloc(most + 1, sizeof *model.hidden);
    model.reached = calloc(most + 1, sizeof *model.reached);
    model.queue = calloc(most + 1, sizeof *model.queue);
    assert_true(model.edge && model.wide && model.hidden && model.reached && model.queue);
    struct gm_gc_options options = {.mark_threads = threads, .checkmark = true, .verify = true};
    assert_int_equal(gm_gc_init(&options), 0);
    assert_int_equal(gm_gc_root_add(graph_roots, sizeof graph_roots), 0);
    static const size_t pointers[] = {0, 8, 16, offsetof(struct vertex, text)};
    const gm_gc_type *type = gm_gc_type_define(sizeof(struct vertex), pointers, EDGES + 1);
    for (size_t round = 1; round <= 4; round++) {
      // Vertices that an earlier round lost are gone: a new graph.
      model.count = most / 4 * round;
      memset(model.edge, 0, (most + 1) * sizeof *model.edge);
      for (uint32_t number = 1; number <= model.count; number++)
        add_vertex(&model, type, number, round % 2 == 0);
      compare(&model);
      for (size_t cut = 0; cut < ROOTS / 2; cut++)
        set_root(&model, cut, 0);
      compare(&model);
      memset(graph_roots, 0, sizeof graph_roots);
      memset(root_number, 0, sizeof root_number);
    }
    assert_int_equal(gm_gc_check(), 0);
    assert_int_equal(gm_gc_shutdown(), 0);
    free(model.edge);
    free(model.wide);
    free(model.hidden);
    free(model.reached);
    free(model.queue);
  }
}

// ---- Threads

enum { THREADS = 4, SLOTS = 64, ROUNDS = 3000, LIST = 40 };

struct link {
  struct link *next;
  uint64_t seed;
};

static _Atomic(struct link *) exchange[SLOTS];
static _Atomic unsigned damaged;
static const gm_gc_type *link_type;

static struct link *make_list(uint64_t seed) {
  struct link *list = NULL;
  for (uint64_t i = 0; i < LIST; i++) {
    struct link *link = gm_gc_alloc(link_type);
    if (link == NULL)
      return NULL;
    link->next = list;
    link->seed = seed + i;
    list = link;
    if (i % 8 == 0)
      memset(gm_gc_alloc_noscan(seed % 300), 0x5a, seed % 300); // garbage between them
  }
  return list;
}

static void check_list(const struct link *list) {
  if (list == NULL)
    return;
  uint64_t seed = list->seed;
  size_t count = 0;
  for (; list != NULL; list = list->next)
    if (list->seed != seed - count++)
      break;
  if (count != LIST || list != NULL)
    atomic_fetch_add(&damaged, 1);
}

static void *exchange_lists(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
  if (gm_gc_thread_register() != 0)
    return "not registered";
  struct link *kept = make_list(random >> 8);
  for (size_t round = 0; round < ROUNDS; round++) {
    struct link *list = make_list(next_random(&random) >> 8);
    check_list(atomic_exchange(&exchange[next_random(&random) % SLOTS], list));
    // The heap's locks are malloc's too: a stop must not come while this thread holds one.
    void *block = gm_malloc(next_random(&random) % 8 == 0 ? 300000 : random % 4000);
    gm_free(block);
    if (round % 500 == 250) {
      gm_gc_blocking_enter();
      (void)usleep(100);
      gm_gc_blocking_leave();
    }
    if (round % 1000 == 999)
      (void)gm_gc_collect();
  }
  check_list(kept);
  gm_gc_thread_unregister();
  return NULL;
}

static void run_threads(enum gm_gc_stop stop) {
  struct gm_gc_options options = {
      .mark_threads = 4, .min_growth = (size_t)1 << 20, .checkmark = true, .verify = true, .stop = stop};
  assert_int_equal(gm_gc_init(&options), 0);
  assert_int_equal(gm_gc_root_add(exchange, sizeof exchange), 0);
  static const size_t pointers[] = {0};
  link_type = gm_gc_type_define(sizeof(struct link), pointers, 1);
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, exchange_lists, (void *)(i + 1)), 0);
  gm_gc_blocking_enter();
  for (size_t i = 0; i < THREADS; i++) {
    void *error = NULL;
    assert_int_equal(pthread_join(threads[i], &error), 0);
    assert_null(error);
  }
  gm_gc_blocking_leave();
  assert_int_equal(atomic_load(&damaged), 0);
  for (size_t i = 0; i < SLOTS; i++)
    check_list(atomic_exchange(&exchange[i], NULL));
  assert_int_equal(atomic_load(&damaged), 0);
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  assert_true(stats.cycles > THREADS && stats.threads == 1);
  assert_int_equal(gm_gc_check(), 0);
  assert_int_equal(gm_gc_shutdown(), 0);
}

static void test_threads_stopped_by_signal(void **state) {
  (void)state;
  run_threads(GM_GC_STOP_SIGNAL);
}

static void test_threads_at_safepoints(void **state) {
  (void)state;
  run_threads(GM_GC_STOP_SAFEPOINT);
}

// A thread in a loop without allocation or safepoint is stopped by the signal; what only its registers hold
// stays.
static _Atomic int spinning;

static void *spin(void *argument) {
  (void)argument;
  if (gm_gc_thread_register() != 0)
    return "not registered";
  struct link *link = gm_gc_alloc(link_type);
  link->seed = 77;
  atomic_store(&spinning, 1);
  while (atomic_load(&spinning) == 1)
    __builtin_ia32_pause();
  return link->seed == 77 ? NULL : "lost";
}

static void test_thread_without_safepoints(void **state) {
  (void)state;
#ifdef GM_TSAN
  skip(); // ThreadSanitizer delivers no signal to a thread that calls nothing
#endif
  assert_int_equal(gm_gc_init(&(struct gm_gc_options){.checkmark = true}), 0);
  static const size_t pointers[] = {0};
  link_type = gm_gc_type_define(sizeof(struct link), pointers, 1);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, spin, NULL), 0);
  while (atomic_load(&spinning) == 0)
    (void)sched_yield();
  for (size_t i = 0; i < 20; i++) {
    assert_int_equal(gm_gc_collect(), 0);
    for (size_t k = 0; k < 3000; k++) // would be where the thread's link was, had it been lost
      memset(gm_gc_alloc(link_type), 0xff, sizeof(struct link) / 2);
  }
  atomic_store(&spinning, 2);
  void *error = NULL;
  gm_gc_blocking_enter();
  assert_int_equal(pthread_join(thread, &error), 0);
  gm_gc_blocking_leave();
  assert_null(error);
  assert_int_equal(gm_gc_shutdown(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_graph),
      cmocka_unit_test(test_threads_stopped_by_signal),
      cmocka_unit_test(test_threads_at_safepoints),
      cmocka_unit_test(test_thread_without_safepoints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// Random programs on an object graph, against a model that knows what is reachable. See conformance.h.
//
// A node of the model is up to three objects: a node of fixed size with four references and a number, an
// array of bytes that holds a pattern, and an array of references. The model is kept beside the heap, by
// number; the heap's own references are followed from the roots to compare the two.
#include "core/gc/conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FIELDS 3
#define WIDE   24 // most references in an array
#define ROOTS  64

struct node {
  uint64_t number;
  struct node *field[FIELDS];
  unsigned char *bytes;
  struct node **wide;
};

// Numbers of nodes, 0: none. Node 0 is not used.
struct model_node {
  uint32_t field[FIELDS];
  uint32_t wide[WIDE];
  uint32_t wide_count, byte_count;
  struct node *seen; // where the heap has it; NULL: not reached yet
};

struct graph {
  struct gc_test test;
  const struct gc_type *node_type, *bytes_type, *wide_type;
  struct model_node *model;
  uint32_t used, most; // numbers given out, and how many there may be
  uint32_t root_number[ROOTS];
  uint32_t *queue;
  uint64_t random;
};

// The roots of the heap: a global range.
static struct node *roots[ROOTS];

static uint64_t draw(struct graph *graph, uint64_t bound) {
  uint64_t z = (graph->random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) % bound;
}

static unsigned char pattern(uint32_t number, uint32_t i) {
  return (unsigned char)(number * 31 + i * 7 + 1);
}

static void register_types(struct graph *graph) {
  static const uint32_t node_map[] = {offsetof(struct node, field[0]), offsetof(struct node, field[1]),
                                      offsetof(struct node, field[2]), offsetof(struct node, bytes),
                                      offsetof(struct node, wide)};
  static const uint32_t first = 0;
  char why[256] = "";
  struct gc_heap *heap = graph->test.heap;
  graph->node_type =
      gc_type_register(heap,
                       &(struct gc_type_spec){.name = "node",
                                              .size = sizeof(struct node),
                                              .pointers = node_map,
                                              .pointer_count = sizeof node_map / sizeof *node_map},
                       why, sizeof why);
  graph->bytes_type = gc_type_register(
      heap, &(struct gc_type_spec){.name = "bytes", .size = 1, .array = true}, why, sizeof why);
  graph->wide_type = gc_type_register(
      heap,
      &(struct gc_type_spec){
          .name = "wide", .size = sizeof(void *), .array = true, .pointers = &first, .pointer_count = 1},
      why, sizeof why);
  if (!graph->node_type || !graph->bytes_type || !graph->wide_type ||
      !gc_roots_add(heap, (void *)roots, sizeof roots, why, sizeof why))
    fail_msg("%s", why);
}

// A new node with what belongs to it; every reference across an allocation is in the frame.
static struct node *make_node(struct graph *graph, uint32_t number) {
  struct gc_thread *thread = graph->test.thread;
  struct model_node *model = &graph->model[number];
  *model =
      (struct model_node){.byte_count = (uint32_t)draw(graph, 4) == 0 ? (uint32_t)draw(graph, 3000) : 0,
                          .wide_count = (uint32_t)draw(graph, 3) == 0 ? (uint32_t)draw(graph, WIDE + 1) : 0};
  GC_FRAME(thread, frame, 1);
  struct node *node = gc_new(thread, graph->node_type, sizeof *node);
  assert_non_null(node);
  assert_true(node->number == 0 && !node->field[0] && !node->field[FIELDS - 1] && !node->bytes &&
              !node->wide);
  node->number = number;
  frame.slot[0] = node;
  if (model->byte_count > 0) {
    unsigned char *bytes = gc_new_array(thread, graph->bytes_type, model->byte_count);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < model->byte_count; i++) {
      assert_int_equal(bytes[i], 0);
      bytes[i] = pattern(number, i);
    }
    node = frame.slot[0];
    gc_store(thread, node, (void **)&node->bytes, bytes);
  }
  if (model->wide_count > 0) {
    struct node **wide = gc_new_array(thread, graph->wide_type, model->wide_count);
    assert_non_null(wide);
    for (uint32_t i = 0; i < model->wide_count; i++)
      assert_null(wide[i]);
    node = frame.slot[0];
    gc_store(thread, node, (void **)&node->wide, (void *)wide);
  }
  node = frame.slot[0];
  GC_FRAME_END(thread, frame);
  return node;
}

// A reachable node and its number: a walk of random length from a random root, deep enough that most
// changes cut off little. NULL, 0: there was none.
static struct node *pick(struct graph *graph, uint32_t *number) {
  size_t root = draw(graph, ROOTS);
  struct node *node = roots[root];
  *number = graph->root_number[root];
  for (uint64_t steps = draw(graph, 40); node && steps > 0; steps--) {
    size_t field = draw(graph, FIELDS);
    if (!node->field[field])
      break;
    *number = graph->model[*number].field[field];
    node = node->field[field];
  }
  return node;
}

static void set_root(struct graph *graph, struct node *node, uint32_t number) {
  size_t root = draw(graph, ROOTS);
  roots[root] = node;
  graph->root_number[root] = number;
}

static void set_field(struct graph *graph, struct node *holder, uint32_t from, struct node *target,
                      uint32_t to) {
  size_t field = draw(graph, FIELDS);
  gc_store(graph->test.thread, holder, (void **)&holder->field[field], target);
  graph->model[from].field[field] = to;
}

// Hangs a new node into an empty field of a reachable one; where there is none, into a root.
static void add_node(struct graph *graph) {
  uint32_t from, to = graph->used++;
  struct node *fresh = make_node(graph, to);
  for (unsigned tries = 0; tries < 4; tries++) {
    struct node *holder = pick(graph, &from);
    for (size_t field = 0; holder && field < FIELDS; field++)
      if (!holder->field[field]) {
        gc_store(graph->test.thread, holder, (void **)&holder->field[field], fresh);
        graph->model[from].field[field] = to;
        return;
      }
  }
  set_root(graph, fresh, to);
}

// One random step: a new node hung somewhere, a link changed, or a root changed.
static void step(struct graph *graph) {
  // A change cuts off a share of the graph: the larger it is, the rarer they are.
  uint64_t what = draw(graph, 96 + graph->used / 64);
  if (what >= 32 && graph->used < graph->most) {
    add_node(graph);
    return;
  }
  uint32_t from, to;
  struct node *holder = pick(graph, &from);
  struct node *target = pick(graph, &to);
  const struct model_node *model = &graph->model[from];
  if (what == 0 && draw(graph, 2) == 0)
    set_root(graph, NULL, 0);
  else if (what == 0)
    set_root(graph, target, to);
  else if (holder && model->wide_count > 0 && what % 4 != 0) {
    size_t at = draw(graph, model->wide_count);
    gc_store(graph->test.thread, (void *)holder->wide, (void **)&holder->wide[at], target);
    graph->model[from].wide[at] = to;
  } else if (holder)
    set_field(graph, holder, from, what % 3 == 0 ? NULL : target, what % 3 == 0 ? 0 : to);
}

// Notes that the heap has node `number` at `node`; queues it at its first visit.
static void meet(struct graph *graph, struct node *node, uint32_t number, size_t *queued) {
  if (number == 0) {
    assert_null(node);
    return;
  }
  assert_non_null(node);
  struct model_node *model = &graph->model[number];
  if (!model->seen) {
    model->seen = node;
    graph->queue[(*queued)++] = number;
  }
  assert_ptr_equal(model->seen, node);
}

// Follows the heap from its roots and compares with the model. Returns the number of reachable objects.
static uint64_t compare(struct graph *graph) {
  size_t queued = 0;
  uint64_t objects = 0;
  for (uint32_t i = 0; i < graph->used; i++)
    graph->model[i].seen = NULL;
  for (size_t i = 0; i < ROOTS; i++)
    meet(graph, roots[i], graph->root_number[i], &queued);
  for (size_t at = 0; at < queued; at++) {
    const struct model_node *model = &graph->model[graph->queue[at]];
    const struct node *node = model->seen;
    assert_int_equal(node->number, graph->queue[at]);
    for (size_t i = 0; i < FIELDS; i++)
      meet(graph, node->field[i], model->field[i], &queued);
    for (uint32_t i = 0; i < model->byte_count; i++)
      assert_int_equal(node->bytes[i], pattern(graph->queue[at], i));
    for (uint32_t i = 0; i < model->wide_count; i++)
      meet(graph, node->wide[i], model->wide[i], &queued);
    objects += 1u + (model->byte_count > 0) + (model->wide_count > 0);
  }
  return objects;
}

static uint64_t all_objects(const struct graph *graph) {
  uint64_t objects = 0;
  for (uint32_t i = 1; i < graph->used; i++)
    objects += 1u + (graph->model[i].byte_count > 0) + (graph->model[i].wide_count > 0);
  return objects;
}

// Collects, then heap and model must agree: nothing reachable lost, and garbage gone.
static void collect_and_compare(struct graph *graph) {
  gc_test_clear_stack();
  assert_true(gc_collect(graph->test.thread));
  assert_int_equal(graph->test.heap->collector->check(graph->test.heap), 0);
  uint64_t reachable = compare(graph);
  uint64_t kept = gc_figures_of(graph->test.heap)->live_objects;
  if (graph->test.precise)
    assert_int_equal(kept, reachable);
  else {
    uint64_t garbage = all_objects(graph) - reachable;
    assert_true(kept >= reachable);
    if (garbage > 1000)
      assert_true(kept - reachable <= graph->test.left_over + garbage / 2);
  }
}

void gc_test_graph(const struct gc_collector *collector, uint64_t seed, size_t nodes, size_t steps,
                   struct gc_options options) {
  struct graph graph = {.used = 1, .most = (uint32_t)nodes + 1, .random = seed};
  graph.model = calloc(nodes + 1, sizeof *graph.model);
  graph.queue = calloc(nodes + 1, sizeof *graph.queue);
  assert_true(graph.model && graph.queue);
  gc_test_open(&graph.test, collector, options);
  register_types(&graph);
  for (size_t i = 0; i < steps; i++) {
    step(&graph);
    if (draw(&graph, 1 + steps / 8) == 0)
      collect_and_compare(&graph);
  }
  collect_and_compare(&graph);
  for (size_t i = 0; i < ROOTS; i++) {
    roots[i] = NULL;
    graph.root_number[i] = 0;
  }
  collect_and_compare(&graph);
  assert_true(gc_roots_remove(graph.test.heap, (void *)roots));
  gc_test_close(&graph.test);
  free(graph.model);
  free(graph.queue);
}

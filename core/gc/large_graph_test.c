// One large random graph: all of it reachable through a table at first, then through fewer and fewer of its
// entries. See conformance.h.
#include "core/gc/conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINKS 2

struct vertex {
  struct vertex *link[LINKS];
  uint64_t number;
};

struct model {
  uint32_t (*link)[LINKS]; // numbers, from 1; 0: none
  bool *in_table;
  struct vertex **seen;
  uint32_t *queue;
  uint32_t count;
  uint64_t random;
};

static uint32_t draw(struct model *model, uint32_t bound) {
  model->random = model->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((model->random >> 33) % bound);
}

// Makes vertex `number`, linked to two that are there.
static void make_vertex(struct gc_thread *thread, const struct gc_type *type, struct model *model,
                        uint32_t number, void **table_slot) {
  struct vertex *vertex = gc_new(thread, type, sizeof *vertex);
  assert_non_null(vertex);
  struct vertex **table = *table_slot;
  vertex->number = number;
  for (size_t i = 0; i < LINKS; i++) {
    uint32_t to = draw(model, number);
    model->link[number][i] = to;
    gc_store(thread, vertex, (void **)&vertex->link[i], to ? table[to] : NULL);
  }
  gc_store(thread, (void *)table, (void **)&table[number], vertex);
  model->in_table[number] = true;
}

static void meet(struct model *model, struct vertex *vertex, uint32_t number, uint32_t *queued) {
  assert_true((vertex == NULL) == (number == 0));
  if (number == 0)
    return;
  if (!model->seen[number]) {
    model->seen[number] = vertex;
    model->queue[(*queued)++] = number;
  }
  assert_ptr_equal(model->seen[number], vertex);
}

// Number of vertices that the table leads to, each found where all its references say, with its links.
static uint32_t compare(struct model *model, struct vertex **table) {
  uint32_t queued = 0;
  memset((void *)model->seen, 0, (model->count + 1) * sizeof(void *));
  for (uint32_t i = 1; i <= model->count; i++)
    meet(model, table[i], model->in_table[i] ? i : 0, &queued);
  for (uint32_t at = 0; at < queued; at++) {
    uint32_t number = model->queue[at];
    assert_int_equal(model->seen[number]->number, number);
    for (size_t i = 0; i < LINKS; i++)
      meet(model, model->seen[number]->link[i], model->link[number][i], &queued);
  }
  return queued;
}

static struct model model_open(uint32_t count) {
  struct model model = {.count = count, .random = 42};
  model.link = calloc(count + 1u, sizeof *model.link);
  model.in_table = calloc(count + 1u, sizeof *model.in_table);
  model.seen = calloc(count + 1u, sizeof(void *));
  model.queue = calloc(count + 1u, sizeof *model.queue);
  assert_true(model.link && model.in_table && model.seen && model.queue);
  return model;
}

static void model_close(struct model *model) {
  free(model->link);
  free(model->in_table);
  free((void *)model->seen);
  free(model->queue);
}

// Types of vertices and of the table of references.
static void register_types(struct gc_heap *heap, const struct gc_type **vertex,
                           const struct gc_type **table) {
  static const uint32_t map[] = {offsetof(struct vertex, link[0]), offsetof(struct vertex, link[1])};
  static const uint32_t first = 0;
  char why[256];
  *vertex = gc_type_register(
      heap,
      &(struct gc_type_spec){
          .name = "vertex", .size = sizeof(struct vertex), .pointers = map, .pointer_count = LINKS},
      why, sizeof why);
  *table = gc_type_register(
      heap,
      &(struct gc_type_spec){
          .name = "table", .size = sizeof(void *), .array = true, .pointers = &first, .pointer_count = 1},
      why, sizeof why);
  assert_true(*vertex && *table);
}

void gc_test_large_graph(const struct gc_collector *collector, uint32_t count, struct gc_options options) {
  struct gc_test test;
  struct model model = model_open(count);
  const struct gc_type *vertex_type, *table_type;
  gc_test_open(&test, collector, options);
  register_types(test.heap, &vertex_type, &table_type);
  GC_FRAME(test.thread, frame, 1);
  frame.slot[0] = gc_new_array(test.thread, table_type, count + 1u);
  assert_non_null(frame.slot[0]);
  for (uint32_t i = 1; i <= count; i++)
    make_vertex(test.thread, vertex_type, &model, i, &frame.slot[0]);
  assert_int_equal(compare(&model, frame.slot[0]), count);
  for (uint32_t left = count; left > 10; left /= 3) {
    struct vertex **table = frame.slot[0];
    for (uint32_t i = 1; i <= count; i++)
      if (model.in_table[i] && draw(&model, 3) != 0) {
        table[i] = NULL;
        model.in_table[i] = false;
      }
    gc_test_clear_stack();
    assert_true(gc_collect(test.thread));
    assert_int_equal(collector->check(test.heap), 0);
    uint64_t reachable = compare(&model, frame.slot[0]) + 1u; // and the table
    uint64_t kept = gc_figures_of(test.heap)->live_objects;
    if (test.precise)
      assert_int_equal(kept, reachable);
    assert_true(kept >= reachable && kept - reachable <= test.left_over + (count - reachable) / 2 + 1000);
  }
  GC_FRAME_END(test.thread, frame);
  gc_test_close(&test);
  model_close(&model);
}

// bench.c: GCBench, the old test of collectors by Ellis, Kovac and Boehm, after its Java version: a large
// tree stretches the heap, a tree and an array of numbers live on, and short-lived trees of growing depth are
// built from the top down and from the bottom up, about the same number of nodes for each depth.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

#define LEAST_DEPTH 4u

struct node {
  struct node *left, *right;
  int32_t i, j;
};

static const uint32_t node_map[] = {offsetof(struct node, left), offsetof(struct node, right)};

typedef struct bench {
  gc_run *run;
  struct gc_thread *thread;
  const struct gc_type *node;
} bench;

static uint64_t tree_size(unsigned depth) {
  return (2ull << depth) - 1;
}

// Builds from the top down: each node is linked to its parent before its own children exist.
static void populate(const bench *b, unsigned depth, struct node *node) {
  if (depth == 0)
    return;
  GC_FRAME(b->thread, frame, 1);
  frame.slot[0] = node;
  struct node *left = gc_make(b->run, b->node, sizeof *left);
  node = frame.slot[0];
  gc_store(b->thread, node, (void **)&node->left, left);
  struct node *right = gc_make(b->run, b->node, sizeof *right);
  node = frame.slot[0];
  gc_store(b->thread, node, (void **)&node->right, right);
  populate(b, depth - 1, node->left);
  node = frame.slot[0];
  populate(b, depth - 1, node->right);
  GC_FRAME_END(b->thread, frame);
}

// Builds from the bottom up: children first.
static struct node *make_tree(const bench *b, unsigned depth) {
  if (depth == 0)
    return gc_make(b->run, b->node, sizeof(struct node));
  GC_FRAME(b->thread, frame, 2);
  frame.slot[0] = make_tree(b, depth - 1);
  frame.slot[1] = make_tree(b, depth - 1);
  struct node *node = gc_make(b->run, b->node, sizeof *node);
  gc_store(b->thread, node, (void **)&node->left, frame.slot[0]);
  gc_store(b->thread, node, (void **)&node->right, frame.slot[1]);
  GC_FRAME_END(b->thread, frame);
  return node;
}

static void free_tree(const bench *b, struct node *node) {
  if (!node)
    return;
  free_tree(b, node->left);
  free_tree(b, node->right);
  gc_free(b->thread, node);
}

static void drop_tree(const bench *b, struct node *node) {
  if (gc_is_manual(b->thread))
    free_tree(b, node);
}

static uint64_t count_nodes(const struct node *node) {
  return node ? 1 + count_nodes(node->left) + count_nodes(node->right) : 0;
}

// Short-lived trees of one depth, built both ways.
static void construct(const bench *b, unsigned depth, uint64_t trees) {
  for (uint64_t i = 0; i < trees; i++) {
    GC_FRAME(b->thread, frame, 1);
    frame.slot[0] = gc_make(b->run, b->node, sizeof(struct node));
    populate(b, depth, frame.slot[0]);
    drop_tree(b, frame.slot[0]);
    GC_FRAME_END(b->thread, frame);
  }
  for (uint64_t i = 0; i < trees; i++)
    drop_tree(b, make_tree(b, depth));
}

void GC_WORK(bench)(gc_run *run) {
  unsigned stretch = (unsigned)ha_param_number(run->run, "stretch");
  unsigned lasting = (unsigned)ha_param_number(run->run, "lasting");
  uint64_t numbers = ha_param_number(run->run, "numbers");
  uint64_t work = (uint64_t)((double)(2 * tree_size(stretch)) * run->run->scale);
  bench b = {.run = run, .thread = run->thread};
  b.node = gc_program_type(run, "node", sizeof(struct node), false, node_map, 2);
  const struct gc_type *doubles = gc_program_type(run, "doubles", sizeof(double), true, NULL, 0);
  drop_tree(&b, make_tree(&b, stretch));
  GC_FRAME(b.thread, frame, 2);
  frame.slot[0] = gc_make(run, b.node, sizeof(struct node));
  populate(&b, lasting, frame.slot[0]);
  double *array = frame.slot[1] = gc_make_array(run, doubles, numbers);
  for (uint64_t i = 0; i < numbers / 2; i++)
    array[i] = 1.0 / (double)(i + 1);
  for (unsigned depth = LEAST_DEPTH; depth <= lasting; depth += 2)
    construct(&b, depth, work / tree_size(depth) + 1);
  array = frame.slot[1];
  uint64_t nodes = count_nodes(frame.slot[0]), quarter = numbers / 4;
  if (nodes != tree_size(lasting) || array[quarter] != 1.0 / (double)(quarter + 1))
    gc_wrong(run, "what lives long is not what was built");
  run->checksum = run->objects * 31 + nodes;
  drop_tree(&b, frame.slot[0]);
  gc_free(b.thread, frame.slot[1]);
  GC_FRAME_END(b.thread, frame);
}

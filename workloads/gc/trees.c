// trees.c: binary-trees of the Computer Language Benchmarks Game (after Boehm's GCBench): trees of two
// pointers a node are built from the bottom up, counted and dropped, while one lives on.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

#define LEAST_DEPTH 4u

struct node {
  struct node *left, *right;
};

static const uint32_t node_map[] = {offsetof(struct node, left), offsetof(struct node, right)};

static struct node *build(gc_run *run, const struct gc_type *type, unsigned depth) {
  if (depth == 0)
    return gc_make(run, type, sizeof(struct node));
  GC_FRAME(run->thread, frame, 2);
  frame.slot[0] = build(run, type, depth - 1);
  frame.slot[1] = build(run, type, depth - 1);
  struct node *node = gc_make(run, type, sizeof *node);
  gc_store(run->thread, node, (void **)&node->left, frame.slot[0]);
  gc_store(run->thread, node, (void **)&node->right, frame.slot[1]);
  GC_FRAME_END(run->thread, frame);
  return node;
}

static uint64_t check(const struct node *node) {
  return node->left ? 1 + check(node->left) + check(node->right) : 1;
}

static void free_tree(gc_run *run, struct node *node) {
  if (!node)
    return;
  free_tree(run, node->left);
  free_tree(run, node->right);
  gc_free(run->thread, node);
}

// Builds, counts, drops; returns the count.
static uint64_t pass(gc_run *run, const struct gc_type *type, unsigned depth) {
  struct node *tree = build(run, type, depth);
  uint64_t count = check(tree);
  if (gc_is_manual(run->thread))
    free_tree(run, tree);
  return count;
}

void GC_WORK(trees)(gc_run *run) {
  const struct gc_type *type = gc_program_type(run, "node", sizeof(struct node), false, node_map, 2);
  unsigned most = (unsigned)ha_param_number(run->run, "depth");
  run->checksum = pass(run, type, most + 1);
  GC_FRAME(run->thread, frame, 1);
  frame.slot[0] = build(run, type, most);
  for (unsigned depth = LEAST_DEPTH; depth <= most; depth += 2) {
    uint64_t trees = (uint64_t)((double)(1ull << ((most - depth + LEAST_DEPTH) & 63)) * run->run->scale) + 1;
    for (uint64_t i = 0; i < trees; i++)
      run->checksum = run->checksum * 31 + pass(run, type, depth);
  }
  uint64_t lasting = check(frame.slot[0]);
  if (lasting != (2ull << most) - 1)
    gc_wrong(run, "the tree that lasts lost nodes");
  run->checksum = run->checksum * 31 + lasting;
  if (gc_is_manual(run->thread))
    free_tree(run, frame.slot[0]);
  GC_FRAME_END(run->thread, frame);
}

// tree.c: binary trees are built, walked and torn down, while a large one lives on.
//
// Nodes are of one size and hold the addresses of their children; walks and tear-down follow these addresses,
// so that where the allocator put the nodes decides about cache misses. A table of the harness repeats the
// links, which shows any change of a live node (and lets the null allocator, whose nodes are all one, take
// part). Stresses: many blocks of one size in a row, locality of blocks that were allocated together, frees
// in tree order. A good allocator places neighbours in time next to each other, even after much of the heap
// was reused. Idea: Boehm's GCBench and the binary-trees benchmark of the Computer Language Benchmarks Game.
#include "workloads/kit.h"

#define MOST_DEPTH 24

typedef struct node {
  void *child[2];
} node;

typedef struct trees {
  uint32_t size; // of a node, bytes
  unsigned depth, lasting_depth;
  uint64_t nodes; // built in short-lived trees per thread
  // A tree is an array of slots in heap order: the children of i are 2i and 2i + 1, the root is 1.
  uint64_t slots_a_thread;
  ha_slot *slots;
} trees;

static const ha_param params[] = {
    {"depth", "13", "levels of a short-lived tree at most; it has 2^depth - 1 nodes", 1, MOST_DEPTH, NULL},
    {"lasting", "16", "levels of the tree that lives from start to end", 1, MOST_DEPTH, NULL},
    {"ops", "4000000", "nodes built in short-lived trees, per thread", 1, 10000000000, NULL},
    {"size", "48", "bytes of a node, two addresses of children and the rest", 24, 65536, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool trees_prepare(ha_run *run) {
  trees *t = ha_map(run, sizeof *t);
  if (!t)
    return false;
  run->state = t;
  t->depth = (unsigned)ha_param_number(run, "depth");
  t->lasting_depth = (unsigned)ha_param_number(run, "lasting");
  t->nodes = ha_scaled(run, "ops");
  t->size = (uint32_t)ha_param_number(run, "size");
  t->slots_a_thread = (1ull << t->depth) + (1ull << t->lasting_depth);
  double live = (double)t->slots_a_thread * run->threads * (double)(t->size + sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)t->nodes * run->threads * t->size))
    return false;
  t->slots = ha_map(run, t->slots_a_thread * run->threads * sizeof(ha_slot));
  return t->slots != NULL;
}

// A slot of a tree covers what follows the links, so that the common mark and check serve for that part.
static bool take_node(ha_thread *self, ha_slot *s, uint32_t size, uint64_t tag) {
  unsigned char *block = self->alloc->malloc(size);
  if (!block)
    return ha_give_up(self, "malloc returned NULL");
  *s = (ha_slot){.block = block, .size = size, .tag = (uint32_t)tag};
  *(node *)block = (node){{NULL, NULL}};
  ha_block_mark(block + sizeof(node), size - sizeof(node), tag, self->run->verify);
  ha_live_add(&self->live, size);
  self->tally.operations++;
  self->tally.checksum = self->tally.checksum * 31 + tag;
  return true;
}

static bool build(ha_thread *self, ha_slot *tree, uint64_t i, uint64_t end, uint32_t size) {
  if (i >= end)
    return true;
  if (!take_node(self, &tree[i], size, i) || !build(self, tree, 2 * i, end, size) ||
      !build(self, tree, 2 * i + 1, end, size))
    return false;
  if (2 * i < end)
    *(node *)tree[i].block = (node){{tree[2 * i].block, tree[2 * i + 1].block}};
  return true;
}

static bool intact(ha_thread *self, const ha_slot *tree, uint64_t i, uint64_t end, const void *block) {
  const ha_slot *s = &tree[i];
  bool leaf = 2 * i >= end;
  const node *n = block;
  if (!ha_keeps_contents(self->run))
    return true;
  if (block == s->block && n->child[0] == (leaf ? NULL : tree[2 * i].block) &&
      n->child[1] == (leaf ? NULL : tree[2 * i + 1].block) &&
      ha_block_check((const unsigned char *)block + sizeof(node), s->size - sizeof(node), s->tag,
                     self->run->verify))
    return true;
  return ha_give_up(self, "a live tree node lost its contents");
}

// Goes over a tree in depth-first order by the addresses in its nodes; frees the nodes on the way up if told
// so.
static bool walk(ha_thread *self, ha_slot *tree, uint64_t i, uint64_t end, void *block, bool freeing) {
  if (i >= end)
    return true;
  if (!intact(self, tree, i, end, block))
    return false;
  node n = *(node *)block;
  if (2 * i < end && !ha_keeps_contents(self->run))
    n = (node){{tree[2 * i].block, tree[2 * i + 1].block}}; // its nodes are one and hold any node's addresses
  if (!walk(self, tree, 2 * i, end, n.child[0], freeing) ||
      !walk(self, tree, 2 * i + 1, end, n.child[1], freeing))
    return false;
  if (!freeing)
    return true;
  self->alloc->free(tree[i].block);
  tree[i].block = NULL;
  ha_live_add(&self->live, -(int64_t)tree[i].size);
  self->tally.operations++;
  return true;
}

static void trees_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const trees *t = run->state;
  ha_slot *tree = t->slots + t->slots_a_thread * thread;
  ha_slot *lasting = tree + (1ull << t->depth);
  uint64_t lasting_end = 1ull << t->lasting_depth;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = build(&self, lasting, 1, lasting_end, t->size);
  for (uint64_t built = 0; good && built < t->nodes;) {
    uint64_t end = 1ull << (1 + ha_random_below(&self.random, t->depth));
    good = build(&self, tree, 1, end, t->size) && walk(&self, tree, 1, end, tree[1].block, false) &&
           walk(&self, tree, 1, end, tree[1].block, true);
    built += end - 1;
  }
  if (good)
    walk(&self, lasting, 1, lasting_end, lasting[1].block, true);
  ha_thread_end(&self, tally);
}

static bool trees_finish(ha_run *run) {
  trees *t = run->state;
  for (uint64_t i = 0; i < t->slots_a_thread * run->threads; i++)
    run->alloc->free(t->slots[i].block); // only after a failure is anything left
  return true;
}

const ha_workload ha_workload_tree = {
    .name = "tree",
    .summary = "binary trees built, walked and torn down beside one that lasts",
    .explain =
        "Builds binary trees of a node size of 48 bytes, walks them by the addresses in their nodes, and "
        "frees them "
        "child by child, while a large tree lives on. Time shows allocation of one size in a row, and "
        "locality: where "
        "nodes lie decides how many cache misses the walk has. Mixed sizes and fragmentation do not show.",
    .params = params,
    .scales = true,
    .prepare = trees_prepare,
    .body = trees_body,
    .finish = trees_finish,
};

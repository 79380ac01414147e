// First fit, next fit, best fit and segregated fit. See fit.h.
#include "core/textbook/fit.h"

const char *const fit_names[4] = {"firstfit", "nextfit", "bestfit", "segfit"};

static uint32_t units_of(const struct block *block) {
  return (uint32_t)(free_list_size(block) / FREE_LIST_UNIT);
}

static struct block *at(const struct free_list *list, block_number number) {
  return number == 0 ? NULL : free_list_block(list, number);
}

// ---- The tree of holes ----

// Whether hole `a` comes before hole `b`: this is the policy.
static bool precedes(const struct free_list *list, const struct block *a, const struct block *b) {
  if (list->lifo && a->age != b->age)
    return a->age > b->age;
  if (list->fit == FIT_BEST && free_list_size(a) != free_list_size(b))
    return free_list_size(a) < free_list_size(b);
  return a < b;
}

// A treap's priority: fixed for a block, and random for all that the order knows (a mixer of MurmurHash3).
static uint32_t priority(block_number number) {
  uint32_t mixed = number * 0x9e3779b1u;
  mixed = (mixed ^ mixed >> 16) * 0x85ebca6bu;
  mixed = (mixed ^ mixed >> 13) * 0xc2b2ae35u;
  return mixed ^ mixed >> 16;
}

static uint32_t largest_in(const struct free_list *list, block_number tree) {
  return tree == 0 ? 0 : at(list, tree)->largest;
}

static void update(const struct free_list *list, struct block *node) {
  uint32_t largest = units_of(node);
  uint32_t left = largest_in(list, node->left);
  uint32_t right = largest_in(list, node->right);
  largest = left > largest ? left : largest;
  node->largest = right > largest ? right : largest;
}

// Cuts a tree into what precedes `key` and the rest.
static void cut(const struct free_list *list, block_number tree, const struct block *key,
                block_number *before, block_number *after) {
  if (tree == 0) {
    *before = *after = 0;
    return;
  }
  struct block *node = at(list, tree);
  if (precedes(list, node, key)) {
    *before = tree;
    cut(list, node->right, key, &node->right, after);
  } else {
    *after = tree;
    cut(list, node->left, key, before, &node->left);
  }
  update(list, node);
}

// All of `before` precedes all of `after`.
static block_number join(const struct free_list *list, block_number before, block_number after) {
  if (before == 0 || after == 0)
    return before + after;
  bool left_on_top = priority(before) >= priority(after);
  struct block *top = at(list, left_on_top ? before : after);
  if (left_on_top)
    top->right = join(list, top->right, after);
  else
    top->left = join(list, before, top->left);
  update(list, top);
  return left_on_top ? before : after;
}

static block_number tree_insert(const struct free_list *list, block_number tree, struct block *block) {
  block_number number = free_list_number(list, block);
  if (tree == 0 || priority(tree) < priority(number)) {
    cut(list, tree, block, &block->left, &block->right);
    update(list, block);
    return number;
  }
  struct block *node = at(list, tree);
  if (precedes(list, node, block))
    node->right = tree_insert(list, node->right, block);
  else
    node->left = tree_insert(list, node->left, block);
  update(list, node);
  return tree;
}

static block_number tree_remove(const struct free_list *list, block_number tree, const struct block *block) {
  struct block *node = at(list, tree);
  if (node == block)
    return join(list, node->left, node->right);
  if (precedes(list, node, block))
    node->right = tree_remove(list, node->right, block);
  else
    node->left = tree_remove(list, node->left, block);
  update(list, node);
  return tree;
}

// The first hole of a tree, in its order, that has so many units.
static struct block *first_that_fits(const struct free_list *list, block_number tree, uint32_t units) {
  struct block *node = largest_in(list, tree) >= units ? at(list, tree) : NULL;
  while (node != NULL) {
    if (largest_in(list, node->left) >= units)
      node = at(list, node->left);
    else if (units_of(node) >= units)
      return node;
    else
      node = at(list, node->right);
  }
  return NULL;
}

// The same from `rover` on, in a tree in the order of addresses.
static struct block *next_that_fits(const struct free_list *list, block_number tree, uint32_t units) {
  if (largest_in(list, tree) < units)
    return NULL;
  if (tree < list->rover)
    return next_that_fits(list, at(list, tree)->right, units);
  struct block *found = next_that_fits(list, at(list, tree)->left, units);
  if (found != NULL)
    return found;
  return units_of(at(list, tree)) >= units ? at(list, tree)
                                           : first_that_fits(list, at(list, tree)->right, units);
}

// ---- The lists of segregated fit ----

#define EXACT_BINS   64u // a bin for each number of units below
#define BINS_A_POWER 4u
#define TRIES        32u // holes that are looked at in the list of the request's own sizes

// The bin of a hole; all holes of a later bin are larger.
static unsigned bin_of(uint32_t units) {
  if (units < EXACT_BINS)
    return units;
  unsigned power = 31u - (unsigned)__builtin_clz(units); // 6 to 31
  return EXACT_BINS + (power - 6u) * BINS_A_POWER + (units >> (power - 2u)) % BINS_A_POWER;
}

static_assert(FREE_LIST_BINS == EXACT_BINS + 26 * BINS_A_POWER, "26 powers of two");

static void bin_insert(struct free_list *list, struct block *block) {
  block_number *first = &list->bins[bin_of(units_of(block))];
  block->left = 0;
  block->right = *first;
  *first = free_list_number(list, block);
  if (block->right != 0)
    at(list, block->right)->left = *first;
}

static void bin_remove(struct free_list *list, struct block *block) {
  if (block->left != 0)
    at(list, block->left)->right = block->right;
  else
    list->bins[bin_of(units_of(block))] = block->right;
  if (block->right != 0)
    at(list, block->right)->left = block->left;
}

static struct block *bin_find(const struct free_list *list, uint32_t units) {
  unsigned bin = bin_of(units);
  struct block *block = at(list, list->bins[bin]);
  for (unsigned tries = 0; block != NULL && tries < TRIES; tries++, block = at(list, block->right))
    if (units_of(block) >= units)
      return block;
  while (++bin < FREE_LIST_BINS)
    if (list->bins[bin] != 0)
      return at(list, list->bins[bin]);
  return NULL;
}

// ---- The policies' common face ----

struct block *fit_find(const struct free_list *list, size_t size) {
  uint32_t units = (uint32_t)(size / FREE_LIST_UNIT);
  if (size / FREE_LIST_UNIT > UINT32_MAX)
    return NULL;
  if (list->fit == FIT_SEGREGATED)
    return bin_find(list, units);
  struct block *next = list->fit == FIT_NEXT ? next_that_fits(list, list->root, units) : NULL;
  return next != NULL ? next : first_that_fits(list, list->root, units);
}

void fit_insert(struct free_list *list, struct block *block) {
  if (list->fit == FIT_SEGREGATED) {
    bin_insert(list, block);
    return;
  }
  block->age = ++list->clock;
  list->root = tree_insert(list, list->root, block);
}

void fit_remove(struct free_list *list, struct block *block) {
  if (list->fit == FIT_SEGREGATED)
    bin_remove(list, block);
  else
    list->root = tree_remove(list, list->root, block);
}

// ---- The check ----

// Holes of a tree, all between the neighbours `low` and `high` (NULL: none); counts faults.
static size_t check_tree(const struct free_list *list, block_number tree, const struct block *low,
                         const struct block *high, int *faults) {
  if (tree == 0)
    return 0;
  const struct block *node = at(list, tree);
  uint32_t largest = node->largest;
  size_t count =
      1 + check_tree(list, node->left, low, node, faults) + check_tree(list, node->right, node, high, faults);
  if ((node->header & FREE_LIST_LIVE) != 0)
    *faults += textbook_fault(fit_names[list->fit], "a live block among the holes", (uintptr_t)node);
  if ((low != NULL && !precedes(list, low, node)) || (high != NULL && !precedes(list, node, high)))
    *faults += textbook_fault(fit_names[list->fit], "a hole out of order", (uintptr_t)node);
  uint32_t expected = units_of(node);
  expected = largest_in(list, node->left) > expected ? largest_in(list, node->left) : expected;
  expected = largest_in(list, node->right) > expected ? largest_in(list, node->right) : expected;
  if (largest != expected)
    *faults += textbook_fault(fit_names[list->fit], "a subtree's largest hole is wrong", (uintptr_t)node);
  return count;
}

static size_t check_bins(const struct free_list *list, int *faults) {
  size_t count = 0;
  for (unsigned bin = 0; bin < FREE_LIST_BINS; bin++) {
    block_number previous = 0;
    for (block_number number = list->bins[bin]; number != 0; number = at(list, number)->right) {
      const struct block *hole = at(list, number);
      if ((hole->header & FREE_LIST_LIVE) != 0 || bin_of(units_of(hole)) != bin || hole->left != previous) {
        *faults += textbook_fault("segfit", "a hole in the wrong list", (uintptr_t)hole);
        return count; // its links lead anywhere
      }
      previous = number;
      count++;
    }
  }
  return count;
}

int fit_check(const struct free_list *list, size_t holes) {
  int faults = 0;
  size_t count = list->fit == FIT_SEGREGATED ? check_bins(list, &faults)
                                             : check_tree(list, list->root, NULL, NULL, &faults);
  if (count != holes)
    faults +=
        textbook_fault(fit_names[list->fit], "holes missing from the index of the heap", list->region.base);
  return faults;
}

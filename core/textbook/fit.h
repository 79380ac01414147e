// The index over the holes of a free-list heap, in which the four fits differ. See free_list.h.
//
// In the textbooks first fit, next fit and best fit walk a list. A list of half a million holes makes every
// request half a million steps, so the list is a tree here whose in-order walk is that list: in the order of
// addresses (first fit, next fit), of ages (first fit, lifo), or of sizes (best fit). Each node knows the
// largest block below it, so "the first in this order that is large enough" is one way down (J. W. Stephenson,
// "Fast fits", 1983, has such a tree; the balance is a treap's: Seidel and Aragon 1996). All three are the same
// search: which block is taken is exactly what the list would give.
//
// Segregated fit has real lists, one for each size up to 1008 bytes and four for each doubling above.
#ifndef GOMALLOC_TEXTBOOK_FIT_H
#define GOMALLOC_TEXTBOOK_FIT_H

#include "core/textbook/free_list.h"

extern const char *const fit_names[4]; // by enum fit: "firstfit" ...

// The hole that serves `size` bytes, still in the index, or NULL.
struct block *fit_find(const struct free_list *list, size_t size);

// Puts a hole into the index and takes one out; its size does not change in between.
void fit_insert(struct free_list *list, struct block *block);
void fit_remove(struct free_list *list, struct block *block);

// Walks the index: order, links, the subtrees' largest, and that it holds `holes` blocks. Returns faults.
int fit_check(const struct free_list *list, size_t holes);

#endif

// The retention goal. See scavenge.h.
#include "core/scavenge.h"

#include "core/page_alloc.h"

// Retained pages that are never released here: what a small program frees and takes again.
static const size_t goal_floor = ((size_t)8 << 20) >> GM_PAGE_SHIFT;

// Go retains 10 % over the heap's goal; here 10 % of what is in use.
static size_t retention_goal(size_t in_use) {
  size_t tenth = in_use / 10;
  return tenth > goal_floor ? tenth : goal_floor;
}

void scavenge_surplus(size_t in_use) {
  struct page_alloc_counts counts = page_alloc_counts();
  size_t retained = counts.free - counts.scavenged;
  size_t goal = retention_goal(in_use);
  // Twice the goal before anything happens: few, large releases instead of one per free.
  if (retained > 2 * goal)
    (void)page_alloc_scavenge(retained - goal);
}

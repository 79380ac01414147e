// lists.c: linked lists of mixed ages: most cells go to lists that are dropped when they have a few, some to
// lists of thousands, a few to lists of tens of thousands. So objects of all ages are allocated in turns, and
// long chains must be followed one by one.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

struct cell {
  struct cell *next;
  uint64_t value, more[2];
};

static const uint32_t cell_map[] = {offsetof(struct cell, next)};

#define SHORT_LISTS  64u
#define MIDDLE_LISTS 16u
#define LONG_LISTS   4u
#define LISTS        (SHORT_LISTS + MIDDLE_LISTS + LONG_LISTS)

// Which list the step's cell goes to, and how long that list may get.
static unsigned choose_list(gc_run *run, uint64_t longest, uint64_t *most) {
  uint64_t chance = ha_random_below(&run->random, 100);
  if (chance < 70) {
    *most = 16;
    return (unsigned)ha_random_below(&run->random, SHORT_LISTS);
  }
  if (chance < 95) {
    *most = 2000;
    return SHORT_LISTS + (unsigned)ha_random_below(&run->random, MIDDLE_LISTS);
  }
  *most = longest;
  return SHORT_LISTS + MIDDLE_LISTS + (unsigned)ha_random_below(&run->random, LONG_LISTS);
}

// Sums a list up, freeing it where that is to be done; returns its length.
static uint64_t drop(gc_run *run, struct cell *cell) {
  uint64_t length = 0;
  for (struct cell *next; cell; cell = next, length++) {
    next = cell->next;
    run->checksum = run->checksum * 31 + cell->value + cell->more[1];
    gc_free(run->thread, cell);
  }
  return length;
}

void GC_WORK(lists)(gc_run *run) {
  uint64_t steps = ha_scaled(run->run, "ops");
  uint64_t longest = ha_param_number(run->run, "longest");
  const struct gc_type *type = gc_program_type(run, "cell", sizeof(struct cell), false, cell_map, 1);
  uint64_t lengths[LISTS] = {0};
  GC_FRAME(run->thread, frame, LISTS);
  for (uint64_t step = 0; step < steps; step++) {
    uint64_t most;
    unsigned list = choose_list(run, longest, &most);
    if (lengths[list] == most) {
      if (drop(run, frame.slot[list]) != most)
        gc_wrong(run, "a list lost cells");
      frame.slot[list] = NULL;
      lengths[list] = 0;
    }
    struct cell *cell = gc_make(run, type, sizeof *cell);
    cell->value = step;
    cell->more[1] = step ^ list;
    gc_store(run->thread, cell, (void **)&cell->next, frame.slot[list]);
    frame.slot[list] = cell;
    lengths[list]++;
  }
  for (unsigned list = 0; list < LISTS; list++)
    if (drop(run, frame.slot[list]) != lengths[list])
      gc_wrong(run, "a list lost cells");
  GC_FRAME_END(run->thread, frame);
}

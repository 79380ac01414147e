// frag_survivor.c: of everything that a size class ever held, one block per 64 KiB survives.
//
// For one size class after the other a group of blocks is allocated, then all are freed but one in each
// `span` bytes. The survivors stay until their class has its next turn.
// Stresses: pages that cannot be used for another size class because one block in them lives. An
// allocator with large spans per class keeps nearly all of every group, and RSS grows class by class,
// although hardly anything is live; a good one uses small spans where it can, or gives the empty pages
// between survivors back. Idea: hoardworst, the worst case of superblocks in the papers on Hoard (Berger and
// others, 2000).
#include "workloads/kit.h"
#include "workloads/sizes.h"

typedef struct survivor {
  uint64_t group, span, rounds; // bytes, bytes, count
  uint32_t least, most;
  uint64_t capacity, classes, kept; // slots of the group, classes, survivors of a class at most
  ha_slot *slots;                   // a thread: the group's, then kept for each class
} survivor;

static const ha_param params[] = {
    {"group", "8", "bytes allocated of each class at once, per thread, MiB", 1, 1 << 16, NULL},
    {"span", "65536", "bytes of which one block survives", 64, 1 << 30, NULL},
    {"rounds", "3", "times over all classes", 1, 1000000, NULL},
    {"min", "16", "smallest class, bytes", 1, 1 << 20, NULL},
    {"max", "4096", "largest class, bytes", 1, 1 << 20, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static uint64_t slots_a_thread(const survivor *s) {
  return s->capacity + s->kept * s->classes;
}

static bool survivor_prepare(ha_run *run) {
  survivor *s = ha_map(run, sizeof *s);
  if (!s)
    return false;
  run->state = s;
  s->group = ha_param_number(run, "group") * HA_MIB;
  s->span = ha_param_number(run, "span");
  s->rounds = ha_scaled(run, "rounds");
  s->least = (uint32_t)ha_param_number(run, "min");
  s->most = (uint32_t)ha_param_number(run, "max");
  if (s->least > s->most || s->most > s->group)
    return ha_fail(run, "%s: min must not be above max, nor max above group", run->workload->name);
  uint32_t largest = s->least;
  for (uint32_t size = s->least; size <= s->most; size = ha_sizes_next_class(size)) {
    s->classes++;
    largest = size;
  }
  ha_note_requests(run, s->least, largest);
  s->capacity = s->group / s->least;
  s->kept = s->group / (s->span > s->most ? s->span : s->most) + 1;
  if (s->span < s->most) // one of each block may survive for the largest classes
    s->kept = s->group / s->span + s->group / s->most + 1;
  double live = (double)run->threads * ((double)s->group + (double)slots_a_thread(s) * sizeof(ha_slot));
  if (!ha_fits(run, live, live + (double)run->threads * (double)(s->rounds * s->classes) * (double)s->group))
    return false;
  s->slots = ha_map(run, slots_a_thread(s) * run->threads * sizeof(ha_slot));
  return s->slots != NULL;
}

// One class: what survived last time goes, a group comes, all of it goes but one block per span.
static bool one_class(ha_thread *self, const survivor *s, ha_slot *group, ha_slot *kept, uint32_t size) {
  for (uint64_t i = 0; i < s->kept; i++)
    if (kept[i].block && !ha_slot_drop(self, &kept[i]))
      return false;
  uint64_t count = s->group / size, survivors = 0, next = 0;
  for (uint64_t i = 0; i < count; i++)
    if (!ha_slot_take(self, &group[i], size, i))
      return false;
  for (uint64_t i = 0; i < count; i++) {
    if (i * size >= next && survivors < s->kept) {
      next += s->span;
      kept[survivors++] = group[i];
      group[i].block = NULL;
    } else if (!ha_slot_drop(self, &group[i]))
      return false;
  }
  return true;
}

static void survivor_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const survivor *s = run->state;
  ha_slot *group = s->slots + slots_a_thread(s) * thread;
  ha_thread self = ha_thread_begin(run, thread);
  bool good = true;
  for (uint64_t round = 0; round < s->rounds; round++) {
    ha_slot *kept = group + s->capacity;
    for (uint32_t size = s->least; good && size <= s->most; size = ha_sizes_next_class(size), kept += s->kept)
      good = one_class(&self, s, group, kept, size);
  }
  ha_thread_end(&self, tally);
}

static bool survivor_finish(ha_run *run) {
  survivor *s = run->state;
  return ha_slots_clear(run, s->slots, slots_a_thread(s) * run->threads);
}

const ha_workload ha_workload_frag_survivor = {
    .name = "frag-survivor",
    .summary = "fragmentation: one block per 64 KiB survives of every size class",
    .explain =
        "Goes through the size classes: allocates 8 MiB of one, frees all but one block in every 64 KiB, "
        "goes on to the "
        "next. Little more than the current 8 MiB is ever live. Look at peak memory: an allocator that keeps "
        "pages for "
        "a class as long as one block lives holds 8 MiB for each class passed. A worst case by design.",
    .params = params,
    .scales = true,
    .prepare = survivor_prepare,
    .body = survivor_body,
    .finish = survivor_finish,
};

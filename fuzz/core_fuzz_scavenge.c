// core_fuzz_scavenge.c: when free pages go back to the system, against the rules that core/scavenge.h and options.h
// state, with a clock that stands still and a thread that takes a step when the input says so.
#include "core/scavenge.h"

#include "core/mheap.h"
#include "core/options.h"
#include "core/page_alloc.h"
#include "fuzz/core_fuzz_heap.h"
#include "fuzz/core_fuzz_world.h"

#include <errno.h>
#include <string.h>

// The figures of scavenge.h and scavenge.c, in pages.
enum { THREAD_HEAP = 1024, WORTH_WAKING = 32, WORTH_RELEASING = 8, SHRINK_STEP = 32, TICKS = 4 };

static struct {
  uint64_t now_ms;
  bool has_thread;
  bool wanted;
  size_t thread_from;
  size_t shrunk_from;
  uint32_t shrinks;
  uint64_t released_ms; // by a free, without a thread; 0: never
  size_t released_in_use;
  size_t lowest;        // retained pages since the last tick
  size_t unused[TICKS]; // of each of the last ticks: the lowest, less what went back since
  unsigned tick;
  uint64_t nap_ms;
} model;

static bool decays(void) {
  return gm_option_get(&gm_options.decay_ms) != GM_NO_DECAY;
}

static uint64_t nap(void) {
  return decays() ? gm_option_get(&gm_options.decay_ms) / TICKS + 1 : 1000;
}

static size_t goal(void) {
  size_t share = gm_heap.in_use_pages * gm_option_get(&gm_options.retain_percent) / 100;
  size_t least = gm_option_get(&gm_options.retain_min) >> GM_PAGE_SHIFT;
  return share > least ? share : least;
}

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

static void set_options(core_input *input) {
  static const uint64_t decays_ms[] = {500, 0, 10, 3600000, GM_NO_DECAY, GM_NO_DECAY};
  static const uint64_t least_bytes[] = {8 << 20, 0, 1 << 16, 1 << 20};
  static const uint64_t limits[] = {GM_NO_LIMIT, GM_NO_LIMIT, 1 << 20, 8 << 20, 40 << 20};
  atomic_store(&gm_options.huge_pages, GM_NO_HUGE_PAGES); // what they bring is not counted anywhere
  atomic_store(&gm_options.decay_ms, decays_ms[core_below(input, 6)]);
  atomic_store(&gm_options.retain_percent, 2 * (uint64_t)core_below(input, 256));
  atomic_store(&gm_options.retain_min, least_bytes[core_below(input, 4)]);
  atomic_store(&gm_options.mem_limit, limits[core_below(input, 5)]);
}

void core_scavenge_begin(core_input *input) {
  memset(&model, 0, sizeof model);
  model.now_ms = 1000;
  model.thread_from = THREAD_HEAP;
  options_load();
  set_options(input);
}

void core_scavenge_after_alloc(void) {
  size_t in_use = gm_heap.in_use_pages;
  model.shrunk_from = in_use > model.shrunk_from ? in_use : model.shrunk_from;
  model.lowest = least(model.lowest, core_heap_retained());
  model.wanted |= !model.has_thread && in_use >= model.thread_from && decays();
  CORE_REQUIRE(atomic_load(&scavenge_thread_wanted) == model.wanted, "whether there is to be a thread");
}

void core_scavenge_note_shrinking(size_t in_use) {
  size_t step = model.shrunk_from / 8 > SHRINK_STEP ? model.shrunk_from / 8 : SHRINK_STEP;
  if (in_use + step > model.shrunk_from)
    return;
  model.shrunk_from = in_use;
  model.shrinks++;
}

void core_scavenge_check_shrinks(void) {
  CORE_REQUIRE(atomic_load(&scavenge_shrinks) == model.shrinks, "how often the heap shrank by an eighth");
}

bool core_scavenge_is_quiet(void) {
  return model.has_thread && decays() && gm_option_get(&gm_options.mem_limit) == GM_NO_LIMIT;
}

// A program without the thread: four fifths of its memory are free, and that is so for the first time, again after
// the decay time, or after the rest shrank to less than a quarter.
static bool releases_by_itself(size_t retained, size_t in_use) {
  if (model.has_thread || !decays() || retained < WORTH_RELEASING || retained < 4 * in_use)
    return false;
  return model.released_ms == 0 || in_use < model.released_in_use / 4 ||
         model.now_ms - model.released_ms >= gm_option_get(&gm_options.decay_ms);
}

void core_scavenge_after_free(size_t retained, size_t discarded, size_t freed) {
  size_t in_use = gm_heap.in_use_pages;
  size_t gone = core_heap_discarded() - discarded;
  uint64_t limit = gm_option_get(&gm_options.mem_limit);
  retained += freed;
  core_scavenge_note_shrinking(in_use);
  core_scavenge_check_shrinks();
  bool over_limit = limit != GM_NO_LIMIT && (in_use + retained) << GM_PAGE_SHIFT > limit;
  bool over_goal = !decays() && retained > 2 * goal();
  bool by_itself = releases_by_itself(retained, in_use);
  size_t left = core_heap_retained();
  CORE_REQUIRE(left == retained - gone, "what is free stays or goes back");
  if (over_limit)
    CORE_REQUIRE(left == 0 || (in_use + left) << GM_PAGE_SHIFT <= limit, "free pages above the limit stay");
  if (over_goal)
    CORE_REQUIRE(left <= goal(), "free pages above the goal stay");
  if (by_itself) {
    CORE_REQUIRE(left == 0, "a small program that frees nearly everything keeps it");
    model.released_ms = model.now_ms;
    model.released_in_use = in_use;
  }
  if (!over_limit && !over_goal && !by_itself)
    CORE_REQUIRE(gone == 0, "pages go back without a reason");
  if (core_world_scavenger() == SCAVENGER_ASLEEP && left >= WORTH_WAKING)
    CORE_REQUIRE(core_world_is_woken(), "the thread sleeps on although there is something to give back");
}

// What the thread is to give back at this tick: what nobody took since the last one and is over the goal, or what
// nobody took in the whole decay time.
static size_t surplus(void) {
  size_t retained = core_heap_retained();
  model.unused[model.tick++ % TICKS] = model.lowest;
  size_t in_all = model.unused[0];
  for (unsigned i = 1; i < TICKS; i++)
    in_all = least(in_all, model.unused[i]);
  size_t over = model.lowest > goal() ? model.lowest - goal() : 0;
  size_t release = least(decays() && in_all > over ? in_all : over, retained);
  for (unsigned i = 0; i < TICKS; i++)
    model.unused[i] -= least(model.unused[i], release);
  model.lowest = retained - release;
  return release;
}

static void note_stop(void) {
  enum core_scavenger state = core_world_scavenger();
  if (state == SCAVENGER_NAPPING) {
    CORE_REQUIRE(core_world_nap() == nap(), "how long the thread naps");
    model.nap_ms = nap();
  }
  if (state == SCAVENGER_ASLEEP)
    CORE_REQUIRE(core_heap_retained() < WORTH_WAKING, "the thread falls asleep with something to give back");
}

// One step of the thread, or all until it sleeps again.
static void tick(bool to_the_end) {
  bool starts = core_world_scavenger() == SCAVENGER_NAPPING;
  size_t before = core_heap_discarded();
  size_t expected = 0;
  if (starts) {
    core_world_advance(model.nap_ms);
    model.now_ms += model.nap_ms;
    expected = surplus();
  }
  if (!core_world_tick())
    return;
  while (to_the_end && core_world_scavenger() == SCAVENGER_RELEASING)
    CORE_REQUIRE(core_world_tick(), "the thread stands still");
  if (starts && to_the_end)
    CORE_REQUIRE(core_heap_discarded() - before == expected, "how many pages go back at a tick");
  if (starts && !to_the_end && expected == 0)
    CORE_REQUIRE(core_world_scavenger() != SCAVENGER_RELEASING, "the thread gives back what it is to keep");
  note_stop();
}

// Nobody does anything for the whole decay time: all that was free is with the system.
static void idle(void) {
  if (core_world_scavenger() == SCAVENGER_RELEASING)
    tick(true);
  if (core_world_scavenger() != SCAVENGER_NAPPING)
    return;
  for (unsigned i = 0; i <= TICKS; i++)
    tick(true);
  CORE_REQUIRE(!decays() || core_heap_retained() < WORTH_WAKING, "an idle program keeps free memory");
  CORE_REQUIRE(core_heap_retained() <= goal() || core_heap_retained() < WORTH_WAKING,
               "free memory above the goal stays");
}

static void start(core_input *input) {
  if (!model.wanted)
    return;
  if (core_byte(input) >= 0xe0)
    core_world_fail(0, 1);
  errno = EXDEV;
  scavenge_start_thread();
  CORE_REQUIRE(errno == EXDEV, "errno belongs to the program");
  model.wanted = false;
  if (core_world_stop_failing() > 0) {
    model.thread_from = 2 * gm_heap.in_use_pages;
    return;
  }
  model.has_thread = true;
  model.lowest = core_heap_retained();
  for (unsigned i = 0; i < TICKS; i++)
    model.unused[i] = model.lowest;
  CORE_REQUIRE(core_world_scavenger() == SCAVENGER_NAPPING, "a new thread naps first");
  note_stop();
}

// What a child of fork does, with the thread wherever it was.
static void fork_child(void) {
  mheap_lock();
  core_world_lose_scavenger();
  scavenge_after_fork();
  mheap_unlock();
  model.has_thread = false;
  model.thread_from = gm_heap.in_use_pages + THREAD_HEAP;
  model.released_ms = 0;
  CORE_REQUIRE(scavenge_in_transit() == 0, "a child's pages on their way to the system");
}

static void release_all(void) {
  size_t retained = core_heap_retained();
  size_t before = core_heap_discarded();
  CORE_REQUIRE(mheap_release_all() == retained << GM_PAGE_SHIFT, "how much is given back");
  CORE_REQUIRE(core_heap_discarded() - before == retained && core_heap_retained() == 0,
               "everything free goes back");
}

void core_scavenge_operate(core_input *input) {
  uint8_t operation = core_byte(input);
  switch (operation % 16) {
  case 0:
    set_options(input);
    break;
  case 1: {
    uint64_t ms = core_below(input, 2000);
    core_world_advance(ms);
    model.now_ms += ms;
    break;
  }
  case 2:
    release_all();
    break;
  case 3:
    fork_child();
    break;
  case 4:
    core_world_lock_pages((operation & 0x80) != 0);
    break;
  case 5:
  case 6:
  case 7:
    start(input);
    break;
  case 8:
    idle();
    break;
  case 9:
  case 10:
  case 11:
    tick(false);
    break;
  default:
    tick(true);
  }
}

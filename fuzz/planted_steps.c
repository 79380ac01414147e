// planted_steps.c: faults that need several steps, which chance seldom takes together: what guidance is for. The
// steps are those that real allocators' faults need: a state that only an order of calls reaches, a second span of
// a class, a list that has become long, a block that comes back late.
//
// What they count is forgotten when the last block is freed, as a heap's own state is: so a program does the same
// each time.
#include "fuzz/planted.h"

#include "adapters/adapters.h"

#include <string.h>
#include <sys/mman.h>

#define CROWD       80u  // live blocks of one size
#define WEAR        160u // frees of one size
#define FAR         16u  // calls between a block's end and its return that count as late
#define LATE_REUSES 2u   // blocks that came back late
#define REMEMBERED  64u

typedef enum call { BY_MALLOC, BY_CALLOC, BY_REALLOC, BY_ALIGNED } call;

// A fault: whether the block that a call made is to be a wrong one; what frees and realloc's moves tell it.
typedef struct fault {
  bool (*errs)(const void *block, size_t size, call by);
  void (*freed)(size_t usable);
  void (*left)(const void *block, size_t usable);
} fault;

static const fault *planted;

static struct {
  size_t live;      // blocks
  void *last;       // live block handed out before
  unsigned calls;   // so far
  unsigned step;    // of a lock
  unsigned members; // blocks of the size that the fault looks at, or frees of it
  unsigned reuses;
  struct {
    const void *block;
    unsigned at; // call at which realloc left it
  } left[REMEMBERED];
} steps;

static const ha_alloc *sound(void) {
  return ha_adapter_template.linked;
}

// Hands out `block`, or, where the fault is, the live block before it.
static void *made(void *block, size_t size, call by) {
  steps.calls++;
  if (block == NULL)
    return NULL;
  steps.live++;
  bool wrong = planted->errs(block, size, by) && steps.last != NULL;
  return wrong ? steps.last : (steps.last = block);
}

static void *steps_malloc(size_t size) {
  return made(sound()->malloc(size), size, BY_MALLOC);
}
static void *steps_calloc(size_t count, size_t size) {
  return made(sound()->calloc(count, size), count * size, BY_CALLOC);
}
static void *steps_aligned_alloc(size_t alignment, size_t size) {
  return made(sound()->aligned_alloc(alignment, size), size, BY_ALIGNED);
}

static void steps_free(void *block) {
  if (block == NULL)
    return;
  steps.calls++;
  if (planted->freed)
    planted->freed(sound()->usable_size(block));
  if (block == steps.last)
    steps.last = NULL;
  sound()->free(block);
  if (--steps.live == 0)
    memset(&steps, 0, sizeof steps);
}

static void *steps_realloc(void *block, size_t size) {
  if (block == NULL)
    return steps_malloc(size);
  size_t usable = sound()->usable_size(block);
  unsigned char *moved = sound()->realloc(block, size);
  steps.calls++;
  if (moved == NULL)
    return NULL;
  if (moved != block && planted->left)
    planted->left(block, usable);
  if (block == steps.last)
    steps.last = NULL;
  if (planted->errs(moved, size, BY_REALLOC) && size > 8)
    moved[5] ^= 1;
  return moved;
}

static void plant(ha_alloc *alloc, const fault *what) {
  planted = what;
  alloc->malloc = steps_malloc;
  alloc->calloc = steps_calloc;
  alloc->aligned_alloc = steps_aligned_alloc;
  alloc->realloc = steps_realloc;
  alloc->free = steps_free;
}

// ---- lock: mallocs of four sizes in their order, each of which shows in how small ones are served ----

static const struct {
  size_t from, to;             // the request that takes the step
  size_t shows_from, shows_to; // requests that ask the system for memory from then on
} locks[] = {{3000, 3300, 1, 24}, {520, 600, 25, 100}, {17000, 20000, 101, 255}, {1700, 1900, 260, 500}};
#define LOCKS (sizeof locks / sizeof locks[0])

static bool lock_errs(const void *block, size_t size, call by) {
  (void)block;
  unsigned step = steps.step;
  if (by == BY_REALLOC)
    return step == LOCKS;
  if (step > 0 && size >= locks[step - 1].shows_from && size <= locks[step - 1].shows_to)
    munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
  if (by == BY_MALLOC && step < LOCKS && size >= locks[step].from && size <= locks[step].to)
    steps.step = step + 1;
  return false;
}
static void plant_lock(ha_alloc *alloc) {
  static const fault lock = {lock_errs, NULL, NULL};
  plant(alloc, &lock);
}

// ---- order: at one size calloc, realloc, aligned_alloc and realloc, nothing else of that size between ----

static bool order_errs(const void *block, size_t size, call by) {
  static const call wanted[] = {BY_CALLOC, BY_REALLOC, BY_ALIGNED, BY_REALLOC};
  (void)block;
  if (size <= 496 || size > 1008)
    return false;
  steps.step = by == wanted[steps.step] ? steps.step + 1 : by == wanted[0];
  if (steps.step < sizeof wanted / sizeof wanted[0])
    return false;
  steps.step = 0;
  return true;
}
static void plant_order(ha_alloc *alloc) {
  static const fault order = {order_errs, NULL, NULL};
  plant(alloc, &order);
}

// ---- crowd: so many blocks of one size at once ----

static bool of_crowd(size_t usable) {
  return usable == 512 - 16;
}
static bool crowd_errs(const void *block, size_t size, call by) {
  (void)size;
  (void)by;
  // realloc's blocks are of other sizes before: they do not count, nor are they missed when they go.
  steps.members += by != BY_REALLOC && of_crowd(sound()->usable_size((void *)(uintptr_t)block));
  return steps.members > CROWD && by != BY_REALLOC;
}
static void crowd_freed(size_t usable) {
  steps.members -= steps.members > 0 && of_crowd(usable);
}
static void plant_crowd(ha_alloc *alloc) {
  static const fault crowd = {crowd_errs, crowd_freed, NULL};
  plant(alloc, &crowd);
}

// ---- wear: so many frees of one size while the heap was never empty ----

static bool wear_errs(const void *block, size_t size, call by) {
  (void)block;
  return by == BY_MALLOC && steps.members >= WEAR && size > 2048 && size <= 4080;
}
static void wear_freed(size_t usable) {
  steps.members += usable == 4096 - 16;
}
static void plant_wear(ha_alloc *alloc) {
  static const fault wear = {wear_errs, wear_freed, NULL};
  plant(alloc, &wear);
}

// ---- distance: blocks of one size that realloc left come back after many calls, more than once ----

static bool distance_errs(const void *block, size_t size, call by) {
  unsigned at = (unsigned)((uintptr_t)block / 16 % REMEMBERED);
  (void)size;
  if (by == BY_REALLOC || steps.left[at].block != block)
    return false;
  steps.left[at].block = NULL;
  steps.reuses += steps.calls - steps.left[at].at >= FAR;
  return steps.reuses >= LATE_REUSES;
}
static void distance_left(const void *block, size_t usable) {
  unsigned at = (unsigned)((uintptr_t)block / 16 % REMEMBERED);
  if (usable == 2048 - 16) {
    steps.left[at].block = block;
    steps.left[at].at = steps.calls;
  }
}
static void plant_distance(ha_alloc *alloc) {
  static const fault distance = {distance_errs, NULL, distance_left};
  plant(alloc, &distance);
}

static const fuzz_planted all[] = {
    {"lock", "realloc spoils a byte, once mallocs of four sizes came in their order", FUZZ_ORACLE_REALLOC, 0,
     plant_lock},
    {"order", "realloc spoils a byte after calloc, realloc and aligned_alloc of its size, in this order",
     FUZZ_ORACLE_REALLOC, 0, plant_order},
    {"crowd", "with 80 blocks of 496 bytes live, the block before is handed out once more",
     FUZZ_ORACLE_OVERLAP, 0, plant_crowd},
    {"wear", "after 160 frees of 4080 bytes malloc of that size hands out the block before once more",
     FUZZ_ORACLE_OVERLAP, 0, plant_wear},
    {"distance",
     "the second block of 2032 bytes that realloc left and that comes back 16 calls later is wrong",
     FUZZ_ORACLE_OVERLAP, 0, plant_distance},
};

const fuzz_planted *fuzz_planted_steps(size_t *count) {
  *count = sizeof all / sizeof all[0];
  return all;
}

// schedule_race.c: see schedule_race.h.
#include "fuzz/schedule_race.h"

#include "fuzz/mutate.h"

#include <string.h>

#define FRESH_RECORDS 64u
#define TICK_HIGH     64 // of a CLOCK record: 16 s, more than the scavenger's tick
#define LARGE         ((size_t)200000)
#define ORDERS        24u // of four threads
#define SLOT_SETS     ((FUZZ_SLOTS + 1 + 63) / 64)

fuzz_race fuzz_race_of(const fuzz_op *op) {
  fuzz_race race = {.records = op->slot % (FUZZ_RACE_RECORDS - 1) + 2,
                    .plain = (op->fill & 128) != 0,
                    .change = {op->low | (uint32_t)op->high << 8, op->law | (uint32_t)op->alignment << 8}};
  race.falls_to[op->thread & 1] = 1;
  race.background = (op->thread & 2) != 0;
  // The order's number in the factorial system: which of the threads left comes next.
  unsigned number = (op->fill & 127u) % ORDERS;
  uint8_t left[FUZZ_THREADS] = {0, 1, 2, 3};
  _Static_assert(FUZZ_THREADS == 4, "ORDERS is 4!");
  for (unsigned n = FUZZ_THREADS; n > 0; n--) {
    unsigned pick = number % n;
    number /= n;
    race.rank[left[pick]] = (uint8_t)n;
    memmove(left + pick, left + pick + 1, n - pick - 1);
  }
  return race;
}

void fuzz_race_move(fuzz_op *op, unsigned which, unsigned point) {
  if (which == 0) {
    op->low = (uint8_t)point;
    op->high = (uint8_t)(point >> 8);
  } else {
    op->law = (uint8_t)point;
    op->alignment = (uint8_t)(point >> 8);
  }
}

fuzz_op fuzz_race_normal(fuzz_op op) {
  op.slot = (uint8_t)(op.slot % (FUZZ_RACE_RECORDS - 1));
  op.thread &= 3;
  op.fill = (uint8_t)((op.fill & 128) | (op.fill & 127) % ORDERS);
  return op;
}

void fuzz_race_print(FILE *out, const fuzz_op *op) {
  fuzz_race race = fuzz_race_of(op);
  fprintf(out, "race of the next %u records, first", race.records);
  for (uint8_t rank = FUZZ_THREADS; rank > 0; rank--)
    for (unsigned thread = 0; thread < FUZZ_THREADS; thread++)
      if (race.rank[thread] == rank)
        fprintf(out, " t%u", thread);
  for (unsigned i = 0; i < FUZZ_RACE_CHANGES; i++)
    if (race.change[i] != 0)
      fprintf(out, ", change at point %u (to %u)", race.change[i], race.falls_to[i]);
  fputs(race.background ? ", the scavenger before all" : "", out);
  fputs(race.plain ? ", plain accesses too" : "", out);
}

bool fuzz_race_simpler(const fuzz_op *op, unsigned n, fuzz_op *simpler) {
  *simpler = *op;
  switch (n) {
  case 0:
  case 1:
    fuzz_race_move(simpler, 1 - n, 0);
    return true;
  case 2:
    simpler->fill &= 127;
    return true;
  case 3:
    simpler->fill &= 128;
    return true;
  default:
    if (n - 4 >= op->slot)
      return false;
    simpler->slot = (uint8_t)(n - 4); // the fewest records first
    return true;
  }
}

// ---- Windows ----

typedef struct slot_set {
  uint64_t bits[SLOT_SETS];
} slot_set;

static void add_slot(slot_set *set, uint32_t slot) {
  set->bits[slot / 64] |= (uint64_t)1 << slot % 64;
}

// The blocks that a record names.
static slot_set slots_of(const fuzz_op *op) {
  slot_set set = {{0}};
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  if (kind == FUZZ_OP_PAIRS)
    add_slot(&set, FUZZ_SLOTS);
  else if (kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_FILL_RUN)
    for (unsigned i = 0; i < fuzz_op_repeats(op); i++)
      add_slot(&set, (op->slot + i) % FUZZ_SLOTS);
  else if (kind <= FUZZ_OP_USABLE)
    add_slot(&set, op->slot);
  return set;
}

static bool meet(const slot_set *a, const slot_set *b) {
  for (unsigned i = 0; i < SLOT_SETS; i++)
    if (a->bits[i] & b->bits[i])
      return true;
  return false;
}

// Records that must find every other thread between its calls.
static bool wants_quiet(fuzz_op_kind kind) {
  return kind == FUZZ_OP_RACE || kind == FUZZ_OP_FREE_ALL || kind == FUZZ_OP_CHECK_HEAP ||
         kind == FUZZ_OP_FORK || kind == FUZZ_OP_FAIL_MAP;
}

// How many records from `first` on, `most` at most, may run at once.
static uint32_t racing(fuzz_program program, uint32_t first, unsigned most) {
  slot_set used[FUZZ_THREADS] = {{{0}}};
  bool ended[FUZZ_THREADS] = {false};
  uint32_t count = 0;
  for (; count < most && first + count < program.count; count++) {
    const fuzz_op *op = &program.ops[first + count];
    unsigned thread = fuzz_op_thread(op);
    slot_set slots = slots_of(op);
    if (wants_quiet(fuzz_op_get_kind(op)) || ended[thread])
      break;
    bool shared = false;
    for (unsigned other = 0; other < FUZZ_THREADS; other++)
      shared |= other != thread && meet(&slots, &used[other]);
    if (shared)
      break;
    for (unsigned i = 0; i < SLOT_SETS; i++)
      used[thread].bits[i] |= slots.bits[i];
    ended[thread] = fuzz_op_get_kind(op) == FUZZ_OP_THREAD_EXIT && thread != 0;
  }
  return count;
}

// The next records of one thread, up to its end or a RACE.
static uint32_t in_order(fuzz_program program, uint32_t first) {
  unsigned thread = fuzz_op_thread(&program.ops[first]);
  uint32_t count = 0;
  while (first + count < program.count && count < FUZZ_RACE_RECORDS) {
    const fuzz_op *op = &program.ops[first + count];
    if (fuzz_op_get_kind(op) == FUZZ_OP_RACE || fuzz_op_thread(op) != thread)
      break;
    count++;
    if (fuzz_op_get_kind(op) == FUZZ_OP_THREAD_EXIT)
      break;
  }
  return count;
}

static void add_change(fuzz_window *window, uint32_t at, int priority) {
  if (at == 0 || window->changes == FUZZ_WINDOW_CHANGES)
    return;
  unsigned place = window->changes++;
  for (; place > 0 && window->change[place - 1].at > at; place--)
    window->change[place] = window->change[place - 1];
  window->change[place] = (struct fuzz_change){at, priority};
}

uint32_t fuzz_window_at(fuzz_program program, uint32_t at, fuzz_window *window) {
  *window = (fuzz_window){.first = at, .background = -1};
  unsigned records = 0;
  for (; at < program.count && fuzz_op_get_kind(&program.ops[at]) == FUZZ_OP_RACE; at++) {
    fuzz_race race = fuzz_race_of(&program.ops[at]);
    if (!window->races) {
      window->races = true;
      window->plain = race.plain;
      window->background = race.background ? (int)(FUZZ_WINDOW_CHANGES + FUZZ_THREADS + 1) : -1;
      records = race.records;
      for (unsigned thread = 0; thread < FUZZ_THREADS; thread++)
        window->priority[thread] = (int)FUZZ_WINDOW_CHANGES + race.rank[thread];
    }
    for (unsigned i = 0; i < FUZZ_RACE_CHANGES; i++)
      add_change(window, race.change[i], (int)(window->changes & ~1u) + race.falls_to[i]);
  }
  window->first = at;
  if (window->races)
    window->count = racing(program, at, records);
  if (window->count == 0 && at < program.count) {
    window->races = false;
    window->count = in_order(program, at);
  }
  return at + window->count;
}

// ---- Chance ----

static unsigned below(uint64_t *state, unsigned limit) {
  return (unsigned)fuzz_chance(state, limit);
}

// Most faults lie a few points from where a call begins; a window has tens of atomic accesses and thousands of plain
// ones.
static unsigned random_change(uint64_t *chance, bool plain) {
  unsigned most = plain ? 13 : 9;
  return 1 + below(chance, 1u << (2 + below(chance, most - 2)));
}

fuzz_op fuzz_race_random(uint64_t *chance) {
  bool plain = below(chance, 2) != 0;
  unsigned width = 1 + below(chance, 3) + (below(chance, 4) == 0 ? below(chance, 12) : 0);
  fuzz_op op = {.kind = FUZZ_OP_RACE,
                .slot = (uint8_t)(width - 1),
                .thread = (uint8_t)below(chance, 4),
                .fill = (uint8_t)(below(chance, ORDERS) | (plain ? 128u : 0u))};
  fuzz_race_move(&op, 0, random_change(chance, plain));
  if (below(chance, 2) != 0)
    fuzz_race_move(&op, 1, random_change(chance, plain));
  return fuzz_race_normal(op);
}

#define SLOTS_USED 24u

// What the program knows while it is made: which of its slots hold a block, and its sizes.
typedef struct sketch {
  uint64_t *chance;
  bool live[SLOTS_USED];
  uint32_t sizes[2];
} sketch;

static uint8_t find_slot(sketch *s, bool live) {
  unsigned from = below(s->chance, SLOTS_USED);
  for (unsigned i = 0; i < SLOTS_USED; i++)
    if (s->live[(from + i) % SLOTS_USED] == live)
      return (uint8_t)((from + i) % SLOTS_USED);
  return (uint8_t)from;
}

static fuzz_op sketch_op(sketch *s) {
  static const uint8_t kinds[] = {
      FUZZ_OP_FREE,     FUZZ_OP_FREE,     FUZZ_OP_FREE,        FUZZ_OP_FREE,        FUZZ_OP_FREE,
      FUZZ_OP_FREE,     FUZZ_OP_MALLOC,   FUZZ_OP_MALLOC,      FUZZ_OP_MALLOC,      FUZZ_OP_MALLOC,
      FUZZ_OP_MALLOC,   FUZZ_OP_CALLOC,   FUZZ_OP_REALLOC,     FUZZ_OP_PAIRS,       FUZZ_OP_FILL_RUN,
      FUZZ_OP_FILL_RUN, FUZZ_OP_FREE_RUN, FUZZ_OP_THREAD_EXIT, FUZZ_OP_THREAD_EXIT, FUZZ_OP_PURGE,
      FUZZ_OP_CLOCK};
  fuzz_op op = {.kind = kinds[below(s->chance, sizeof kinds)],
                .thread = (uint8_t)below(s->chance, FUZZ_THREADS),
                .fill = (uint8_t)below(s->chance, 128)};
  fuzz_op_kind kind = fuzz_op_get_kind(&op);
  if (kind == FUZZ_OP_PURGE && below(s->chance, 8) != 0)
    op.kind = FUZZ_OP_FREE; // it costs as much as all the others
  bool frees = kind == FUZZ_OP_FREE || kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_REALLOC;
  op.slot = find_slot(s, frees);
  if (fuzz_op_uses_size(kind)) {
    fuzz_op_set_size(&op, s->sizes[below(s->chance, 2)]);
    op.alignment = (uint8_t)below(s->chance, 12); // blocks of a run, times of a pair
  }
  unsigned length = 1;
  if (kind == FUZZ_OP_FREE_RUN) {
    op.low = (uint8_t)below(s->chance, 10);
    length = op.low + 1u;
  } else if (kind == FUZZ_OP_FILL_RUN) {
    length = fuzz_op_repeats(&op);
  }
  if (fuzz_op_uses_size(kind) && fuzz_op_size(&op, 0) > LARGE)
    op.fill |= 128; // or it is made smaller
  if (kind == FUZZ_OP_CLOCK)
    op.high = TICK_HIGH;
  if (kind == FUZZ_OP_CALLOC)
    op.alignment = 0;
  bool names = kind <= FUZZ_OP_USABLE || kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_FILL_RUN;
  for (unsigned i = 0; names && i < length && op.slot + i < SLOTS_USED; i++)
    s->live[op.slot + i] = kind != FUZZ_OP_FREE && kind != FUZZ_OP_FREE_RUN;
  return fuzz_op_normal(op);
}

static uint32_t random_size(uint64_t *chance) {
  // Spans of the larger classes have two to sixteen objects: refills, full and empty spans come with every few calls.
  static const uint32_t small[] = {16, 1024, 8192, 16384, 24576, 32768},
                        large[] = {40000, 70000, 300000, 1000000};
  return below(chance, 8) == 0 ? large[below(chance, 4)] : small[below(chance, 6)];
}

void fuzz_race_program(fuzz_op *ops, size_t count, uint64_t *chance) {
  sketch s = {.chance = chance};
  s.sizes[0] = random_size(chance);
  s.sizes[1] = below(chance, 3) != 0 ? s.sizes[0] : random_size(chance);
  unsigned until_race = 3 + below(chance, 8);
  for (size_t i = 0; i < count; i++) {
    if (until_race-- != 0) {
      ops[i] = sketch_op(&s);
      continue;
    }
    ops[i] = fuzz_race_random(chance);
    if (i + 1 < count && below(chance, 6) == 0) // the allocator's own thread is there too
      ops[++i] =
          (fuzz_op){.kind = FUZZ_OP_CLOCK, .high = TICK_HIGH, .thread = (uint8_t)below(chance, FUZZ_THREADS)};
    until_race = below(chance, 5) == 0 ? 0 : 2 + below(chance, 3); // 0: one more for the same window
  }
}

size_t fuzz_race_mutate(fuzz_op *ops, size_t count, size_t most, uint64_t *chance) {
  size_t races = 0;
  for (size_t i = 0; i < count; i++)
    races += fuzz_op_get_kind(&ops[i]) == FUZZ_OP_RACE;
  if (races == 0 || below(chance, 2) == 0) {
    count = most < FRESH_RECORDS ? most : FRESH_RECORDS;
    fuzz_race_program(ops, count, chance);
    return count;
  }
  // The same calls, and threads that meet elsewhere in them.
  for (size_t i = 0; i < count; i++) {
    if (fuzz_op_get_kind(&ops[i]) != FUZZ_OP_RACE || below(chance, (unsigned)races) > 1)
      continue;
    fuzz_op other = fuzz_race_random(chance);
    unsigned which = below(chance, FUZZ_RACE_CHANGES);
    if (below(chance, 2) == 0)
      ops[i] = other;
    else
      fuzz_race_move(&ops[i], which, fuzz_race_of(&ops[i]).change[which] + below(chance, 16));
  }
  return count;
}

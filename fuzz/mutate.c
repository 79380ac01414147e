// mutate.c: see mutate.h.
#include "fuzz/mutate.h"

#include "fuzz/archive.h"
#include "fuzz/patience.h"
#include "fuzz/schedule_race.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define EDGES_MAX  512u
#define EDGE_LIMIT ((size_t)64 << 10)
#define FRESH      5u // one input in so many is a program made anew
#define EXTENSION  32u
#define PATIENCE   5u  // seconds of processor time to learn the classes, which takes a few thousandths of one
#define FRESH_LEN  64u // records of a program that is made anew

// What a child finds out about size classes.
typedef struct learnt {
  size_t edges[EDGES_MAX];
  unsigned count;
  size_t request; // that is tried
} learnt;

static struct {
  size_t edges[EDGES_MAX]; // largest request of each size class
  unsigned edge_count;
  uint32_t kinds;
  bool threads;
} known = {.kinds = (1u << FUZZ_OP_KINDS) - 1, .threads = true};

// How often a new record is of each kind, in relation to the others: what costs as much as hundreds is rare.
static const uint8_t weights[FUZZ_OP_KINDS] = {
    [FUZZ_OP_MALLOC] = 224,        [FUZZ_OP_CALLOC] = 60,     [FUZZ_OP_REALLOC] = 110,
    [FUZZ_OP_REALLOCARRAY] = 20,   [FUZZ_OP_FREE] = 224,      [FUZZ_OP_ALIGNED_ALLOC] = 40,
    [FUZZ_OP_POSIX_MEMALIGN] = 24, [FUZZ_OP_FREE_SIZED] = 24, [FUZZ_OP_FREE_ALIGNED_SIZED] = 12,
    [FUZZ_OP_USABLE] = 24,         [FUZZ_OP_VERIFY] = 6,      [FUZZ_OP_PURGE] = 1,
    [FUZZ_OP_FREE_RUN] = 16,       [FUZZ_OP_FILL_RUN] = 16,   [FUZZ_OP_PAIRS] = 12,
    [FUZZ_OP_FREE_ALL] = 6,        [FUZZ_OP_CHECK_HEAP] = 1,  [FUZZ_OP_THREAD_START] = 6,
    [FUZZ_OP_THREAD_EXIT] = 12,    [FUZZ_OP_FORK] = 1,        [FUZZ_OP_CLOCK] = 2,
    [FUZZ_OP_FAIL_MAP] = 16,       [FUZZ_OP_RACE] = 224,      [FUZZ_OP_MISUSE] = 8,
};

// splitmix64: each mutation's chance comes from its seed alone.
static uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

size_t fuzz_chance(uint64_t *state, size_t limit) {
  return limit == 0 ? 0 : next_random(state) % limit;
}

void fuzz_mutate_kinds(uint32_t kinds, bool threads) {
  known.kinds = kinds & ((1u << FUZZ_OP_KINDS) - 1);
  known.threads = threads;
}

// From each usable size on to the request one larger: what a class serves at most is its edge.
static void learn(const fuzz_subject *subject, learnt *found) {
  size_t last = 0;
  for (size_t request = 1; request <= EDGE_LIMIT && found->count < EDGES_MAX;) {
    found->request = request;
    void *block = subject->alloc.malloc(request);
    if (block == NULL)
      return;
    size_t usable = subject->alloc.usable_size(block);
    subject->alloc.free(block);
    if (usable != last && usable >= request)
      found->edges[found->count++] = usable;
    last = usable;
    request = usable >= request ? usable + 1 : request + 1;
  }
}

// In a child: what crashes or hangs here is for the campaign to find.
void fuzz_mutate_learn(const fuzz_subject *subject) {
  known.edge_count = 0;
  if (subject->alloc.usable_size == NULL)
    return;
  learnt *found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = found == MAP_FAILED ? -1 : fuzz_fork();
  if (child == 0) {
    learn(subject, found);
    _exit(0);
  }
  int status = 0;
  bool ended = child < 0 || fuzz_await(child, PATIENCE, &status);
  if (!ended || WIFSIGNALED(status))
    fprintf(stderr, "heaparena-fuzz: %s %s at malloc or free of %zu bytes\n", subject->alloc.name,
            ended ? "crashes" : "hangs", found->request);
  if (found == MAP_FAILED)
    return;
  known.edge_count = found->count;
  memcpy(known.edges, found->edges, sizeof known.edges);
  munmap(found, sizeof *found);
}

static uint8_t pick_kind(uint64_t *chance) {
  unsigned total = 0;
  for (unsigned kind = 0; kind < FUZZ_OP_KINDS; kind++)
    total += known.kinds & 1u << kind ? weights[kind] : 0;
  if (total == 0)
    return FUZZ_OP_MALLOC;
  unsigned at = (unsigned)fuzz_chance(chance, total);
  for (unsigned kind = 0; kind < FUZZ_OP_KINDS; kind++) {
    unsigned weight = known.kinds & 1u << kind ? weights[kind] : 0;
    if (at < weight)
      return (uint8_t)kind;
    at -= weight;
  }
  return FUZZ_OP_MALLOC;
}

// A size at, or a few bytes beside, the edge of a class, of a page, or of a power of two.
static void set_edge(fuzz_op *op, uint64_t *chance) {
  static const int beside[] = {0, 0, 1, -1, 8, -8, 16, -16};
  size_t edge;
  if (known.edge_count != 0 && fuzz_chance(chance, 4) != 0)
    edge = known.edges[fuzz_chance(chance, known.edge_count)];
  else if (fuzz_chance(chance, 2) != 0)
    edge = (fuzz_chance(chance, 64) + 1) * 4096;
  else
    edge = (size_t)1 << fuzz_chance(chance, 19);
  int delta = beside[fuzz_chance(chance, 8)];
  fuzz_op_set_size(op, delta < 0 && (size_t)-delta > edge ? edge : edge + (size_t)delta);
}

// A size inside a class, each class as likely as any other: what depends on a class is found without knowing its edges.
static void set_inside(fuzz_op *op, uint64_t *chance) {
  size_t from, to;
  if (known.edge_count > 1) {
    size_t class = fuzz_chance(chance, known.edge_count);
    from = class == 0 ? 0 : known.edges[class - 1];
    to = known.edges[class];
  } else {
    to = (size_t)16 << fuzz_chance(chance, 13);
    from = to / 2;
  }
  fuzz_op_set_size(op, from + 1 + fuzz_chance(chance, to - from));
}

static void set_size(fuzz_op *op, uint64_t *chance) {
  uint64_t bits = next_random(chance);
  op->low = (uint8_t)bits;
  op->high = (uint8_t)(bits >> 8);
  uint8_t extra = (uint8_t)((bits >> 16) & 31);
  switch (fuzz_chance(chance, 16)) {
  case 0:
  case 1:
  case 2:
    op->law = FUZZ_LAW_SMALL;
    break;
  case 3:
  case 4:
  case 5:
    set_edge(op, chance);
    break;
  case 6:
    op->law = (uint8_t)(FUZZ_LAW_EXACT | (extra & 3) << 3);
    break;
  case 7:
    op->law = FUZZ_LAW_EXACT;
    break;
  case 8:
    op->law = (uint8_t)(FUZZ_LAW_EDGE | extra % 18 << 3);
    break;
  case 9:
    op->law = (uint8_t)(FUZZ_LAW_SCALED | extra % 5 << 3);
    break;
  case 10:
  case 11:
    op->law = (uint8_t)(FUZZ_LAW_RELATIVE | extra << 3);
    break;
  case 12:
    op->law = (uint8_t)(bits >> 60 == 0 ? FUZZ_LAW_HUGE | extra << 3 : FUZZ_LAW_PAGES);
    break;
  case 13:
    op->law = FUZZ_LAW_PAGES;
    break;
  default:
    op->law = FUZZ_LAW_CHOICE;
    break;
  }
}

static fuzz_op random_op(uint64_t *chance, unsigned slots) {
  uint64_t bits = next_random(chance);
  fuzz_op op = {.kind = pick_kind(chance),
                .slot = (uint8_t)(bits % slots),
                .alignment = (uint8_t)(bits >> 8),
                .thread = known.threads ? (uint8_t)(bits >> 16 & 3) : 0,
                .fill = (uint8_t)(bits >> 24)};
  if (op.kind == FUZZ_OP_RACE)
    return fuzz_race_random(chance);
  if (fuzz_chance(chance, 8) != 0)
    op.fill &= 127; // mostly samples, mostly small
  if (op.kind == FUZZ_OP_FAIL_MAP || op.kind == FUZZ_OP_FREE_RUN) {
    op.low = (uint8_t)fuzz_chance(chance, op.kind == FUZZ_OP_FREE_RUN ? 32 : 4);
    op.high = (uint8_t)fuzz_chance(chance, 4);
  } else {
    set_size(&op, chance);
  }
  return fuzz_op_normal(op);
}

// ---- The mutations: each changes ops[0 .. *count) and keeps *count within [1, most] ----

typedef struct draft {
  fuzz_op *ops;
  size_t count, most;
  uint64_t chance;
} draft;

static bool needs_block(fuzz_op_kind kind) {
  return kind == FUZZ_OP_FREE || kind == FUZZ_OP_REALLOC || kind == FUZZ_OP_REALLOCARRAY ||
         kind == FUZZ_OP_FREE_SIZED || kind == FUZZ_OP_FREE_ALIGNED_SIZED || kind == FUZZ_OP_USABLE;
}

// What needs a block and was given a slot by chance, most often one without a block, goes to one of a record before.
static void aim(draft *d, fuzz_op *op) {
  if (!needs_block(fuzz_op_get_kind(op)) || fuzz_chance(&d->chance, 4) == 0)
    return;
  const fuzz_op *other = &d->ops[fuzz_chance(&d->chance, d->count)];
  if (fuzz_op_allocates(fuzz_op_get_kind(other)))
    op->slot = other->slot;
}

// A record for a program that is there already.
static fuzz_op new_op(draft *d, unsigned slots) {
  fuzz_op op = random_op(&d->chance, slots);
  if (fuzz_op_uses_size(fuzz_op_get_kind(&op)) && fuzz_chance(&d->chance, 2) == 0)
    set_inside(&op, &d->chance);
  aim(d, &op);
  return op;
}

// Room for *count records somewhere; a full program loses what stood there. *count may become less.
static fuzz_op *make_room(draft *d, size_t *count) {
  *count = *count < d->most ? *count : d->most;
  if (*count > d->most - d->count) {
    *count = *count < d->count ? *count : d->count;
    return &d->ops[fuzz_chance(&d->chance, d->count - *count + 1)];
  }
  size_t at = fuzz_chance(&d->chance, d->count + 1);
  memmove(&d->ops[at + *count], &d->ops[at], (d->count - at) * sizeof *d->ops);
  d->count += *count;
  return &d->ops[at];
}

static void insert(draft *d) {
  size_t added = 1 + (fuzz_chance(&d->chance, 4) == 0 ? fuzz_chance(&d->chance, 8) : 0);
  fuzz_op *at = make_room(d, &added);
  for (size_t i = 0; i < added; i++)
    at[i] = new_op(d, 32);
}

static void drop(draft *d) {
  if (d->count < 2)
    return;
  size_t most = d->count - 1 < 16 ? d->count - 1 : 16;
  size_t gone = fuzz_chance(&d->chance, 2) ? 1 : 1 + fuzz_chance(&d->chance, most);
  size_t at = fuzz_chance(&d->chance, d->count - gone + 1);
  memmove(&d->ops[at], &d->ops[at + gone], (d->count - at - gone) * sizeof *d->ops);
  d->count -= gone;
}

// A stretch from elsewhere in the program, once more; half the time on other slots, so that blocks add up.
static void splice(draft *d) {
  size_t length = 1 + fuzz_chance(&d->chance, d->count < 32 ? d->count : 32);
  fuzz_op copy[32];
  memcpy(copy, &d->ops[fuzz_chance(&d->chance, d->count - length + 1)], length * sizeof *copy);
  uint8_t shift = fuzz_chance(&d->chance, 2) != 0 ? (uint8_t)next_random(&d->chance) : 0;
  for (size_t i = 0; i < length; i++) {
    copy[i].slot = (uint8_t)(copy[i].slot + shift);
    copy[i] = fuzz_op_normal(copy[i]);
  }
  fuzz_op *at = make_room(d, &length);
  memcpy(at, copy, length * sizeof *copy);
}

static void swap(draft *d) {
  size_t a = fuzz_chance(&d->chance, d->count), b = fuzz_chance(&d->chance, d->count);
  fuzz_op op = d->ops[a];
  d->ops[a] = d->ops[b];
  d->ops[b] = op;
}

static void replace(draft *d) {
  d->ops[fuzz_chance(&d->chance, d->count)] = new_op(d, 32);
}

// Another record's slot: most often one that is in use there.
static void retarget(draft *d) {
  fuzz_op *op = &d->ops[fuzz_chance(&d->chance, d->count)];
  op->slot = d->ops[fuzz_chance(&d->chance, d->count)].slot;
  *op = fuzz_op_normal(*op);
}

static void resize(draft *d) {
  fuzz_op *op = &d->ops[fuzz_chance(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(op)))
    return;
  if (fuzz_chance(&d->chance, 2) != 0)
    set_edge(op, &d->chance);
  else
    set_size(op, &d->chance);
}

static void give_size(fuzz_op *to, const fuzz_op *from) {
  to->law = from->law;
  to->low = from->low;
  to->high = from->high;
}

// The size of another record, a little beside: blocks of one class next to one another.
static void copy_size(draft *d) {
  fuzz_op *op = &d->ops[fuzz_chance(&d->chance, d->count)];
  const fuzz_op *other = &d->ops[fuzz_chance(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(op)) || !fuzz_op_uses_size(fuzz_op_get_kind(other)))
    return;
  give_size(op, other);
}

// One size for many records: what goes wrong in a class needs many blocks of it.
static void unify(draft *d) {
  const fuzz_op model = d->ops[fuzz_chance(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(&model)))
    return;
  size_t from = fuzz_chance(&d->chance, d->count), length = 1 + fuzz_chance(&d->chance, d->count - from);
  size_t share = 1 + fuzz_chance(&d->chance, 3);
  for (size_t i = from; i < from + length; i++)
    if (fuzz_op_uses_size(fuzz_op_get_kind(&d->ops[i])) && fuzz_chance(&d->chance, share) == 0)
      give_size(&d->ops[i], &model);
}

// Another call of the same size, on the same slot.
static void rekind(draft *d) {
  fuzz_op *op = &d->ops[fuzz_chance(&d->chance, d->count)];
  fuzz_op other = random_op(&d->chance, 32);
  other.slot = op->slot;
  other.thread = op->thread;
  if (fuzz_op_uses_size(fuzz_op_get_kind(op)) && fuzz_op_uses_size(fuzz_op_get_kind(&other)))
    give_size(&other, op);
  *op = fuzz_op_normal(other);
}

static void rethread(draft *d) {
  size_t from = fuzz_chance(&d->chance, d->count);
  size_t length = 1 + fuzz_chance(&d->chance, d->count - from);
  uint8_t thread = (uint8_t)fuzz_chance(&d->chance, FUZZ_THREADS);
  for (size_t i = 0; known.threads && i < length && i < 16; i++)
    d->ops[from + i].thread = thread;
}

static void change_byte(draft *d) {
  fuzz_op *op = &d->ops[fuzz_chance(&d->chance, d->count)];
  uint8_t bytes[FUZZ_RECORD_BYTES];
  memcpy(bytes, op, sizeof bytes);
  size_t at = 1 + fuzz_chance(&d->chance, sizeof bytes - 1); // not the kind: that is what replace does
  bytes[at] = (uint8_t)(fuzz_chance(&d->chance, 2) ? next_random(&d->chance)
                                                   : bytes[at] ^ (uint64_t)1 << fuzz_chance(&d->chance, 8));
  memcpy(op, bytes, sizeof bytes);
  if (!known.threads)
    op->thread = 0;
  *op = fuzz_op_normal(*op);
}

// Calls of one size on a few slots, each kind of call as likely as any other: every order of a few of them comes about,
// where calls as frequent as programs make them would seldom be another thing than malloc and free.
static void burst(draft *d, size_t end, const fuzz_op *model) {
  static const uint8_t kinds[] = {FUZZ_OP_MALLOC, FUZZ_OP_CALLOC, FUZZ_OP_REALLOC, FUZZ_OP_ALIGNED_ALLOC,
                                  FUZZ_OP_FREE};
  uint8_t first = model->slot;
  size_t slots = 2 + fuzz_chance(&d->chance, 3);
  for (; d->count < end; d->count++) {
    fuzz_op op = random_op(&d->chance, 32);
    uint8_t kind = kinds[fuzz_chance(&d->chance, sizeof kinds)];
    op.kind = known.kinds & 1u << kind ? kind : FUZZ_OP_MALLOC;
    op.slot = (uint8_t)(first + fuzz_chance(&d->chance, slots));
    give_size(&op, model);
    d->ops[d->count] = fuzz_op_normal(op);
  }
}

// New records behind what is there. Half the time all are of one size: that of a record before, or a new one.
static void extend(draft *d) {
  size_t most = d->most < d->count + EXTENSION ? d->most : d->count + EXTENSION;
  if (most == d->count)
    return;
  size_t end = d->count + 1 + fuzz_chance(&d->chance, most - d->count);
  bool focused = fuzz_chance(&d->chance, 2) == 0;
  unsigned slots = fuzz_chance(&d->chance, 4) == 0 ? FUZZ_SLOTS : 32; // in many, blocks pile up
  // What is there led to something new with its last record: that one's size is as likely as all others' together.
  bool last = fuzz_chance(&d->chance, 2) == 0;
  fuzz_op model = d->ops[last ? d->count - 1 : fuzz_chance(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(&model)) || fuzz_chance(&d->chance, 4) == 0)
    set_inside(&model, &d->chance);
  if (focused && fuzz_chance(&d->chance, 3) == 0) {
    burst(d, end, &model);
    return;
  }
  for (; d->count < end; d->count++) {
    fuzz_op op = new_op(d, slots);
    if (focused && fuzz_op_uses_size(fuzz_op_get_kind(&op)))
      give_size(&op, &model);
    d->ops[d->count] = op;
  }
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
  static void (*const mutations[])(draft *) = {insert, insert, insert,   drop,     drop,       splice,
                                               splice, swap,   replace,  resize,   copy_size,  unify,
                                               rekind, rekind, retarget, rethread, change_byte};
  draft d = {.ops = (fuzz_op *)data,
             .count = size / FUZZ_RECORD_BYTES,
             .most = capacity / FUZZ_RECORD_BYTES,
             .chance = seed};
  if (d.most == 0)
    return size;
  if (d.count > d.most)
    d.count = d.most;
  if (d.count == 0)
    d.ops[d.count++] = random_op(&d.chance, 32);
  if (known.kinds & 1u << FUZZ_OP_RACE && fuzz_chance(&d.chance, 2) == 0)
    return fuzz_race_mutate(d.ops, d.count, d.most, &d.chance) * FUZZ_RECORD_BYTES;
  // Chance alone still finds what no feature leads to (README.md has figures).
  if (fuzz_chance(&d.chance, FRESH) == 0)
    return fuzz_random_program(data, d.most < FRESH_LEN ? d.most : FRESH_LEN,
                               (unsigned)next_random(&d.chance));
  if (fuzz_chance(&d.chance, 4) != 0) {
    size_t count = fuzz_archive_pick(d.ops, d.most, &d.chance);
    d.count = count != 0 ? count : d.count;
    if (count != 0 && count < d.most && fuzz_chance(&d.chance, 2) == 0) {
      extend(&d);
      return d.count * FUZZ_RECORD_BYTES;
    }
  }
  size_t steps = (size_t)1 << fuzz_chance(&d.chance, 4);
  for (size_t i = 0; i < steps; i++)
    mutations[fuzz_chance(&d.chance, sizeof mutations / sizeof mutations[0])](&d);
  return d.count * FUZZ_RECORD_BYTES;
}

size_t fuzz_cross_over(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                       size_t capacity, unsigned seed) {
  uint64_t chance = seed;
  if (fuzz_chance(&chance, 4) != 0)
    return 0;
  size_t counts[2] = {a_size / FUZZ_RECORD_BYTES, b_size / FUZZ_RECORD_BYTES};
  const uint8_t *parents[2] = {a, b};
  size_t at[2] = {0, 0};
  size_t most = capacity / FUZZ_RECORD_BYTES, count = 0;
  // Stretches of one, then of the other, each from where it left off.
  for (unsigned turn = (unsigned)fuzz_chance(&chance, 2);
       count < most && (at[0] < counts[0] || at[1] < counts[1]); turn ^= 1) {
    size_t left = counts[turn] - at[turn];
    size_t length = 1 + fuzz_chance(&chance, 16);
    length = length < left ? length : left;
    length = length < most - count ? length : most - count;
    memcpy(out + count * FUZZ_RECORD_BYTES, parents[turn] + at[turn] * FUZZ_RECORD_BYTES,
           length * FUZZ_RECORD_BYTES);
    at[turn] += length;
    count += length;
    if (fuzz_chance(&chance, 32) == 0)
      break; // children need not be as long as both
  }
  return count * FUZZ_RECORD_BYTES;
}

size_t fuzz_random_program(uint8_t *out, size_t count, unsigned seed) {
  uint64_t chance = seed;
  if (known.kinds & 1u << FUZZ_OP_RACE) {
    fuzz_race_program((fuzz_op *)out, count, &chance);
    return count * FUZZ_RECORD_BYTES;
  }
  uint8_t aligned = 0; // slot of the latest aligned_alloc: free_aligned_sized would seldom meet one by chance
  for (size_t i = 0; i < count; i++) {
    fuzz_op op = random_op(&chance, 32);
    if (fuzz_op_get_kind(&op) == FUZZ_OP_ALIGNED_ALLOC)
      aligned = op.slot;
    else if (fuzz_op_get_kind(&op) == FUZZ_OP_FREE_ALIGNED_SIZED)
      op.slot = aligned;
    memcpy(out + i * FUZZ_RECORD_BYTES, &op, sizeof op);
  }
  return count * FUZZ_RECORD_BYTES;
}

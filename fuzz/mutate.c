// mutate.c: see mutate.h.
#include "fuzz/mutate.h"

#include <string.h>

#define EDGES_MAX  512u
#define EDGE_LIMIT ((size_t)64 << 10)
#define MOST_STEPS 12u // mutations in one go
#define FRESH_LEN  64u // records of a program that is made anew

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
    [FUZZ_OP_FAIL_MAP] = 16,
};

// splitmix64: each mutation's chance comes from its seed alone.
static uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t limit) {
  return limit == 0 ? 0 : next_random(state) % limit;
}

void fuzz_mutate_kinds(uint32_t kinds, bool threads) {
  known.kinds = kinds & ((1u << FUZZ_OP_KINDS) - 1);
  known.threads = threads;
}

void fuzz_mutate_learn(const fuzz_subject *subject) {
  size_t last = 0;
  known.edge_count = 0;
  if (subject->alloc.usable_size == NULL)
    return;
  // From each usable size on to the request one larger: what a class serves at most is its edge.
  for (size_t request = 1; request <= EDGE_LIMIT && known.edge_count < EDGES_MAX;) {
    void *block = subject->alloc.malloc(request);
    if (block == NULL)
      return;
    size_t usable = subject->alloc.usable_size(block);
    subject->alloc.free(block);
    if (usable != last && usable >= request)
      known.edges[known.edge_count++] = usable;
    last = usable;
    request = usable >= request ? usable + 1 : request + 1;
  }
}

static uint8_t pick_kind(uint64_t *chance) {
  unsigned total = 0;
  for (unsigned kind = 0; kind < FUZZ_OP_KINDS; kind++)
    total += known.kinds & 1u << kind ? weights[kind] : 0;
  if (total == 0)
    return FUZZ_OP_MALLOC;
  unsigned at = (unsigned)below(chance, total);
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
  if (known.edge_count != 0 && below(chance, 4) != 0)
    edge = known.edges[below(chance, known.edge_count)];
  else if (below(chance, 2) != 0)
    edge = (below(chance, 64) + 1) * 4096;
  else
    edge = (size_t)1 << below(chance, 19);
  int delta = beside[below(chance, 8)];
  fuzz_op_set_size(op, delta < 0 && (size_t)-delta > edge ? edge : edge + (size_t)delta);
}

static void set_size(fuzz_op *op, uint64_t *chance) {
  uint64_t bits = next_random(chance);
  op->low = (uint8_t)bits;
  op->high = (uint8_t)(bits >> 8);
  uint8_t extra = (uint8_t)((bits >> 16) & 31);
  switch (below(chance, 16)) {
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
  if (below(chance, 8) != 0)
    op.fill &= 127; // mostly samples, mostly small
  if (op.kind == FUZZ_OP_FAIL_MAP || op.kind == FUZZ_OP_FREE_RUN) {
    op.low = (uint8_t)below(chance, op.kind == FUZZ_OP_FREE_RUN ? 32 : 4);
    op.high = (uint8_t)below(chance, 4);
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

static void insert(draft *d) {
  size_t added = 1 + (below(&d->chance, 4) == 0 ? below(&d->chance, 8) : 0);
  if (added > d->most - d->count)
    added = d->most - d->count;
  size_t at = below(&d->chance, d->count + 1);
  memmove(&d->ops[at + added], &d->ops[at], (d->count - at) * sizeof *d->ops);
  for (size_t i = 0; i < added; i++)
    d->ops[at + i] = random_op(&d->chance, 32);
  d->count += added;
}

static void drop(draft *d) {
  if (d->count < 2)
    return;
  size_t most = d->count - 1 < 16 ? d->count - 1 : 16;
  size_t gone = below(&d->chance, 2) ? 1 : 1 + below(&d->chance, most);
  size_t at = below(&d->chance, d->count - gone + 1);
  memmove(&d->ops[at], &d->ops[at + gone], (d->count - at - gone) * sizeof *d->ops);
  d->count -= gone;
}

// A stretch from elsewhere in the program, once more.
static void splice(draft *d) {
  size_t length = 1 + below(&d->chance, d->count < 32 ? d->count : 32);
  if (length > d->most - d->count)
    return;
  fuzz_op copy[32];
  size_t from = below(&d->chance, d->count - length + 1);
  memcpy(copy, &d->ops[from], length * sizeof *copy);
  size_t at = below(&d->chance, d->count + 1);
  memmove(&d->ops[at + length], &d->ops[at], (d->count - at) * sizeof *d->ops);
  memcpy(&d->ops[at], copy, length * sizeof *copy);
  d->count += length;
}

static void swap(draft *d) {
  size_t a = below(&d->chance, d->count), b = below(&d->chance, d->count);
  fuzz_op op = d->ops[a];
  d->ops[a] = d->ops[b];
  d->ops[b] = op;
}

static void replace(draft *d) {
  d->ops[below(&d->chance, d->count)] = random_op(&d->chance, 32);
}

// Another record's slot: most often one that is in use there.
static void retarget(draft *d) {
  fuzz_op *op = &d->ops[below(&d->chance, d->count)];
  op->slot = d->ops[below(&d->chance, d->count)].slot;
  *op = fuzz_op_normal(*op);
}

static void resize(draft *d) {
  fuzz_op *op = &d->ops[below(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(op)))
    return;
  if (below(&d->chance, 2) != 0)
    set_edge(op, &d->chance);
  else
    set_size(op, &d->chance);
}

// The size of another record, a little beside: blocks of one class next to one another.
static void copy_size(draft *d) {
  fuzz_op *op = &d->ops[below(&d->chance, d->count)];
  const fuzz_op *other = &d->ops[below(&d->chance, d->count)];
  if (!fuzz_op_uses_size(fuzz_op_get_kind(op)) || !fuzz_op_uses_size(fuzz_op_get_kind(other)))
    return;
  op->law = other->law;
  op->low = other->low;
  op->high = other->high;
}

static void rethread(draft *d) {
  size_t from = below(&d->chance, d->count);
  size_t length = 1 + below(&d->chance, d->count - from);
  uint8_t thread = (uint8_t)below(&d->chance, FUZZ_THREADS);
  for (size_t i = 0; known.threads && i < length && i < 16; i++)
    d->ops[from + i].thread = thread;
}

static void change_byte(draft *d) {
  fuzz_op *op = &d->ops[below(&d->chance, d->count)];
  uint8_t bytes[FUZZ_RECORD_BYTES];
  memcpy(bytes, op, sizeof bytes);
  size_t at = 1 + below(&d->chance, sizeof bytes - 1); // not the kind: that is what replace does
  bytes[at] = (uint8_t)(below(&d->chance, 2) ? next_random(&d->chance)
                                             : bytes[at] ^ (uint64_t)1 << below(&d->chance, 8));
  memcpy(op, bytes, sizeof bytes);
  if (!known.threads)
    op->thread = 0;
  *op = fuzz_op_normal(*op);
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
  static void (*const mutations[])(draft *) = {insert,   insert,   insert,     drop,   drop,
                                               splice,   swap,     replace,    resize, copy_size,
                                               retarget, rethread, change_byte};
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
  // One time in three a program made anew: small changes to what is known never reach far (README.md has figures).
  if (below(&d.chance, 3) == 0)
    return fuzz_random_program(data, d.most < FRESH_LEN ? d.most : FRESH_LEN,
                               (unsigned)next_random(&d.chance));
  size_t steps = 1 + below(&d.chance, MOST_STEPS);
  for (size_t i = 0; i < steps; i++)
    mutations[below(&d.chance, sizeof mutations / sizeof mutations[0])](&d);
  return d.count * FUZZ_RECORD_BYTES;
}

size_t fuzz_cross_over(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                       size_t capacity, unsigned seed) {
  uint64_t chance = seed;
  size_t counts[2] = {a_size / FUZZ_RECORD_BYTES, b_size / FUZZ_RECORD_BYTES};
  const uint8_t *parents[2] = {a, b};
  size_t at[2] = {0, 0};
  size_t most = capacity / FUZZ_RECORD_BYTES, count = 0;
  // Stretches of one, then of the other, each from where it left off.
  for (unsigned turn = (unsigned)below(&chance, 2); count < most && (at[0] < counts[0] || at[1] < counts[1]);
       turn ^= 1) {
    size_t left = counts[turn] - at[turn];
    size_t length = 1 + below(&chance, 16);
    length = length < left ? length : left;
    length = length < most - count ? length : most - count;
    memcpy(out + count * FUZZ_RECORD_BYTES, parents[turn] + at[turn] * FUZZ_RECORD_BYTES,
           length * FUZZ_RECORD_BYTES);
    at[turn] += length;
    count += length;
    if (below(&chance, 32) == 0)
      break; // children need not be as long as both
  }
  return count * FUZZ_RECORD_BYTES;
}

size_t fuzz_random_program(uint8_t *out, size_t count, unsigned seed) {
  uint64_t chance = seed;
  for (size_t i = 0; i < count; i++) {
    fuzz_op op = random_op(&chance, 32);
    memcpy(out + i * FUZZ_RECORD_BYTES, &op, sizeof op);
  }
  return count * FUZZ_RECORD_BYTES;
}

// misuse_search.c: looks for sequences of correct operations plus one class of misuse after which the allocator
// hands out overlapping blocks, hands out memory at an address that the program chose, or writes where it has no
// business. See misuse.h; the manner is ArcHeap's.
//
// Each sequence runs in a forked child. What is found is cut off after the operation that showed it, then
// operations are taken out as long as the rest shows the same. The shortest of each kind is printed.
#include "fuzz/misuse.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MOST_OPERATIONS 24u
#define SLOTS           MOST_OPERATIONS
#define COPIED          ((size_t)512) // bytes of a block that are watched
#define TARGET          ((size_t)1024)

enum { ALLOCATE, FREE, MISUSE };
// What a misuse writes.
enum { VALUE_ZERO, VALUE_SIZE, VALUE_TARGET, VALUE_MANGLED, VALUES };
enum { FOUND_NOTHING, FOUND_OVERLAP, FOUND_CHOSEN, FOUND_ELSEWHERE, FOUND_KINDS };

typedef struct operation {
  uint8_t kind, slot, value;
  uint32_t size;   // of an allocation; of a forged chunk
  uint32_t offset; // bytes into the block, behind its end, or into the target
} operation;

typedef struct sequence {
  unsigned count;
  operation operations[MOST_OPERATIONS];
} sequence;

// The program's own memory, which no allocator may hand out or write.
static _Alignas(16) unsigned char target[TARGET];

typedef struct machine {
  const ha_alloc *alloc;
  const sequence *sequence;
  unsigned misuse; // index of the class
  unsigned char *at[SLOTS];
  size_t size[SLOTS];
  bool live[SLOTS];
  unsigned char copy[SLOTS][COPIED], target_copy[TARGET];
  int slot, other; // of the finding; other -1: the target
} machine;

enum {
  DOUBLE_FREE,
  DOUBLE_FREE_REUSED,
  INTERIOR_FREE,
  ARBITRARY_FREE,
  OVERFLOW,
  OFF_BY_ONE,
  WRITE_AFTER_FREE,
  CLASSES
};
static const char *const classes[CLASSES + 1] = {
    "double-free", "double-free-reused", "interior-free",    "arbitrary-free",
    "overflow",    "off-by-one",         "write-after-free", NULL};
static const char *const value_names[VALUES] = {"zero", "size", "target", "mangled"};
static const char *const found_names[FOUND_KINDS] = {"nothing", "overlap", "chosen address",
                                                     "write elsewhere"};

const char *const *misuse_search_classes(void) {
  return classes;
}

// ---- running a sequence ----

static size_t watched(const machine *m, unsigned slot) {
  return m->size[slot] < COPIED ? m->size[slot] : COPIED;
}

// What is there now is what should be there.
static void accept(machine *m) {
  memcpy(m->target_copy, target, TARGET);
  for (unsigned i = 0; i < SLOTS; i++)
    if (m->live[i])
      memcpy(m->copy[i], m->at[i], watched(m, i));
}

static int look_elsewhere(machine *m) {
  m->other = -1;
  if (memcmp(m->target_copy, target, TARGET) != 0)
    return FOUND_ELSEWHERE;
  for (unsigned i = 0; i < SLOTS; i++)
    if (m->live[i] && memcmp(m->copy[i], m->at[i], watched(m, i)) != 0) {
      m->other = (int)i;
      return FOUND_ELSEWHERE;
    }
  return FOUND_NOTHING;
}

static int allocate(machine *m, const operation *op) {
  unsigned char *block = m->alloc->malloc(op->size);
  if (!block)
    return FOUND_NOTHING;
  m->slot = op->slot;
  m->other = -1;
  if (block < target + TARGET && target < block + op->size)
    return FOUND_CHOSEN;
  int found = look_elsewhere(m);
  if (found)
    return found;
  for (unsigned i = 0; i < SLOTS; i++)
    if (m->live[i] && block < m->at[i] + m->size[i] && m->at[i] < block + op->size) {
      m->other = (int)i;
      return FOUND_OVERLAP;
    }
  memset(block, 'a' + op->slot, op->size);
  m->at[op->slot] = block;
  m->size[op->slot] = op->size;
  m->live[op->slot] = true;
  memcpy(m->copy[op->slot], block, watched(m, op->slot));
  return FOUND_NOTHING;
}

static size_t value_of(const operation *op, const unsigned char *place) {
  uintptr_t aim = (uintptr_t)target + 64;
  switch (op->value) {
  case VALUE_SIZE:
    return ((op->size + 23u) & ~(size_t)15) | 1; // a chunk's size as glibc writes it
  case VALUE_TARGET:
    return aim;
  case VALUE_MANGLED:
    return aim ^ ((uintptr_t)place >> 12); // as glibc guards its links: the program knows where it wrote
  default:
    return 0;
  }
}

static void write_word(const operation *op, unsigned char *place) {
  size_t value = value_of(op, place);
  memcpy(place, &value, sizeof value);
}

static bool has_owner(const machine *m, const unsigned char *block) {
  for (unsigned i = 0; i < SLOTS; i++)
    if (m->live[i] && m->at[i] == block)
      return true;
  return false;
}

// Returns false if the operation makes no sense in this state.
static bool misuse(machine *m, const operation *op) {
  unsigned char *block = m->at[op->slot];
  if (m->misuse != ARBITRARY_FREE && !block)
    return false;
  switch (m->misuse) {
  case DOUBLE_FREE:
  case DOUBLE_FREE_REUSED:
    // What a new owner got is no double free to the allocator: a class of its own.
    if (m->live[op->slot] || has_owner(m, block) != (m->misuse == DOUBLE_FREE_REUSED))
      return false;
    m->alloc->free(block);
    return true;
  case INTERIOR_FREE:
    if (!m->live[op->slot] || op->offset >= m->size[op->slot])
      return false;
    m->alloc->free(block + op->offset);
    return true;
  case ARBITRARY_FREE:
    write_word(op, target + 64 - 8);
    accept(m);
    m->alloc->free(target + 64);
    return true;
  case OVERFLOW:
    if (!m->live[op->slot])
      return false;
    write_word(op, block + m->size[op->slot] + op->offset);
    break;
  case OFF_BY_ONE:
    if (!m->live[op->slot])
      return false;
    block[m->size[op->slot]] = (unsigned char)value_of(op, block);
    break;
  default: // WRITE_AFTER_FREE
    if (m->live[op->slot])
      return false;
    write_word(op, block + op->offset);
    break;
  }
  accept(m); // the program's own write: only what the allocator does to it counts
  return true;
}

static int step(machine *m, const operation *op) {
  if (op->kind == ALLOCATE)
    return allocate(m, op);
  if (op->kind == FREE) {
    if (!m->live[op->slot])
      return FOUND_NOTHING;
    m->live[op->slot] = false;
    m->alloc->free(m->at[op->slot]);
  } else if (!misuse(m, op)) {
    return FOUND_NOTHING;
  }
  m->slot = op->slot;
  return look_elsewhere(m);
}

// The child. What was found goes into the note: phase is the kind, spoke the operation's number.
static void run_sequence(void *context, misuse_note *note) {
  machine *m = context;
  memset(target, 'T', TARGET);
  memcpy(m->target_copy, target, TARGET);
  for (unsigned i = 0; i < m->sequence->count; i++) {
    int found = step(m, &m->sequence->operations[i]);
    if (found) {
      note->spoke = (long)i;
      snprintf(note->text, sizeof note->text, "%d %d", m->slot, m->other);
      note->phase = found;
      return;
    }
  }
}

typedef struct finding {
  int kind, slot, other;
  sequence sequence;
} finding;

// One machine for all: a child works on its copy.
static machine state;

static finding try_sequence(const ha_alloc *alloc, unsigned class, const sequence *s) {
  memset(&state, 0, sizeof state);
  state.alloc = alloc;
  state.misuse = class;
  state.sequence = s;
  misuse_ending ending = misuse_fork(run_sequence, &state);
  finding f = {.sequence = *s};
  if (ending.signal || ending.hung || ending.status || ending.note.phase == FOUND_NOTHING)
    return f;
  f.kind = ending.note.phase;
  f.sequence.count = (unsigned)ending.note.spoke + 1;
  sscanf(ending.note.text, "%d %d", &f.slot, &f.other);
  return f;
}

// ---- making and shortening sequences ----

static uint64_t next(uint64_t *random, uint64_t bound) {
  misuse_trial dice = {.random = *random};
  uint64_t value = misuse_random(&dice, bound);
  *random = dice.random;
  return value;
}

static operation misuse_operation(uint64_t *random, unsigned class, unsigned slots, uint32_t size) {
  operation op = {.kind = MISUSE,
                  .size = size,
                  .slot = (uint8_t)next(random, slots),
                  .value = (uint8_t)next(random, VALUES)};
  if (class == INTERIOR_FREE)
    op.offset = 16 * (uint32_t)(1 + next(random, 4));
  else if (class == ARBITRARY_FREE)
    op.value = VALUE_SIZE;
  else if (class == OVERFLOW)
    op.offset = 8 * (uint32_t)next(random, 3);
  else if (class == WRITE_AFTER_FREE)
    op.offset = 8 * (uint32_t)next(random, 2);
  return op;
}

static sequence make_sequence(uint64_t *random, unsigned class) {
  static const uint32_t palette[] = {8, 24, 40, 64, 120, 136, 248, 512, 1032, 1048, 2000};
  uint32_t sizes[2];
  for (unsigned i = 0; i < 2; i++)
    sizes[i] = palette[next(random, sizeof palette / sizeof palette[0])];
  sequence s = {.count = 4 + (unsigned)next(random, MOST_OPERATIONS - 3)};
  unsigned slots = 0;
  for (unsigned i = 0; i < s.count; i++) {
    operation *op = &s.operations[i];
    uint32_t size = sizes[next(random, 4) == 0];
    uint64_t die = next(random, 100);
    if (slots == 0 || die < 50)
      *op = (operation){.kind = ALLOCATE, .slot = (uint8_t)slots++, .size = size};
    else if (die < 80)
      *op = (operation){.kind = FREE, .slot = (uint8_t)next(random, slots)};
    else
      *op = misuse_operation(random, class, slots, size);
  }
  return s;
}

static finding shorten(const ha_alloc *alloc, unsigned class, finding f) {
  for (unsigned part = f.sequence.count / 2; part > 0; part = part > 1 ? part / 2 : 0) {
    bool again = true;
    while (again) {
      again = false;
      for (unsigned i = 0; i + part <= f.sequence.count; i++) {
        sequence s = f.sequence;
        memmove(&s.operations[i], &s.operations[i + part], (s.count - i - part) * sizeof s.operations[0]);
        s.count -= part;
        finding shorter = try_sequence(alloc, class, &s);
        if (shorter.kind == f.kind) {
          f = shorter;
          again = true;
          break;
        }
      }
    }
  }
  return f;
}

// ---- printing ----

static void print_finding(unsigned class, const finding *f) {
  static const char *const kinds[] = {"allocate", "free", "misuse"};
  misuse_say("{\"finding\": \"%s\", \"misuse\": \"%s\", \"slot\": %d, \"other\": %d, \"operations\": [",
             found_names[f->kind], classes[class], f->slot, f->other);
  for (unsigned i = 0; i < f->sequence.count; i++) {
    const operation *op = &f->sequence.operations[i];
    misuse_say("%s{\"op\": \"%s\", \"slot\": %u, \"size\": %u, \"offset\": %u, \"value\": \"%s\"}",
               i ? ", " : "", kinds[op->kind], op->slot, op->size, op->offset, value_names[op->value]);
  }
  misuse_say("]}\n");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void misuse_search_run(const ha_alloc *alloc, const misuse_search *search) {
  unsigned class = 0;
  while (strcmp(classes[class], search->misuse) != 0)
    class ++;
  finding best[FOUND_KINDS] = {0};
  uint64_t random = search->seed;
  unsigned long tried = 0;
  unsigned long hits = 0;
  for (double end = now() + search->seconds; now() < end; tried++) {
    sequence s = make_sequence(&random, class);
    finding f = try_sequence(alloc, class, &s);
    if (!f.kind)
      continue;
    hits++;
    if (best[f.kind].kind && f.sequence.count > 2 * best[f.kind].sequence.count)
      continue; // the short ones become shorter still
    f = shorten(alloc, class, f);
    if (!best[f.kind].kind || f.sequence.count < best[f.kind].sequence.count)
      best[f.kind] = f;
  }
  for (unsigned kind = 1; kind < FOUND_KINDS; kind++)
    if (best[kind].kind)
      print_finding(class, &best[kind]);
  misuse_say("{\"searched\": \"%s\", \"sequences\": %lu, \"hits\": %lu}\n", classes[class], tried, hits);
}

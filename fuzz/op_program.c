// op_program.c: see op_program.h. The forms as traces are in program_trace.c.
#include "fuzz/op_program.h"

#include "fuzz/schedule_race.h"

#include <string.h>

#define MOST_LIVE_SIZE                                                                                       \
  ((size_t)1 << 46) // sizes between this and what must fail would be a wager on the system

static const char *const names[FUZZ_OP_KINDS] = {
    [FUZZ_OP_MALLOC] = "malloc",
    [FUZZ_OP_CALLOC] = "calloc",
    [FUZZ_OP_REALLOC] = "realloc",
    [FUZZ_OP_REALLOCARRAY] = "reallocarray",
    [FUZZ_OP_FREE] = "free",
    [FUZZ_OP_ALIGNED_ALLOC] = "aligned_alloc",
    [FUZZ_OP_POSIX_MEMALIGN] = "posix_memalign",
    [FUZZ_OP_FREE_SIZED] = "free_sized",
    [FUZZ_OP_FREE_ALIGNED_SIZED] = "free_aligned_sized",
    [FUZZ_OP_USABLE] = "usable_size",
    [FUZZ_OP_VERIFY] = "verify",
    [FUZZ_OP_PURGE] = "purge",
    [FUZZ_OP_FREE_RUN] = "free_run",
    [FUZZ_OP_FILL_RUN] = "fill_run",
    [FUZZ_OP_PAIRS] = "pairs",
    [FUZZ_OP_FREE_ALL] = "free_all",
    [FUZZ_OP_CHECK_HEAP] = "check_heap",
    [FUZZ_OP_THREAD_START] = "thread_start",
    [FUZZ_OP_THREAD_EXIT] = "thread_exit",
    [FUZZ_OP_FORK] = "fork",
    [FUZZ_OP_CLOCK] = "clock",
    [FUZZ_OP_FAIL_MAP] = "fail_map",
    [FUZZ_OP_RACE] = "race",
    [FUZZ_OP_MISUSE] = "misuse",
};

const char *fuzz_op_name(fuzz_op_kind kind) {
  return kind < FUZZ_OP_KINDS ? names[kind] : "?";
}

fuzz_program fuzz_program_decode(const uint8_t *data, size_t size) {
  return (fuzz_program){.ops = (const fuzz_op *)data, .count = size / FUZZ_RECORD_BYTES};
}

// Requests that no system can meet: above the address space, at the ends of the types, near multiples of 2^50.
static size_t huge_size(const fuzz_op *op, unsigned extra) {
  size_t small = op->low | (size_t)(op->high & 63) << 8; // up to 2^14
  switch (extra % 3) {
  case 0:
    return SIZE_MAX - small;
  case 1:
    return (size_t)PTRDIFF_MAX + 1 + small;
  default:
    return ((size_t)1 << 50) * (1 + op->high % 64) + op->low;
  }
}

static size_t relative_size(const fuzz_op *op, unsigned extra, size_t slot_size) {
  static const struct { unsigned up, down; } scales[] = {{1, 1}, {1, 2}, {2, 1}, {1, 4}, {4, 1}};
  int16_t delta = (int16_t)(op->low | op->high << 8);
  size_t scaled =
      slot_size > MOST_LIVE_SIZE / 4 ? slot_size : slot_size * scales[extra % 5].up / scales[extra % 5].down;
  if (delta < 0 && (size_t)-delta > scaled)
    return 0;
  return scaled + (size_t)delta;
}

size_t fuzz_op_size(const fuzz_op *op, size_t slot_size) {
  static const uint32_t choice[8] = {16, 48, 64, 200, 1024, 4096, 8192, 40000};
  unsigned extra = op->law >> 3;
  size_t pair = op->low | (size_t)op->high << 8;
  size_t nudge = (size_t)(int8_t)op->high;
  switch ((fuzz_size_law)(op->law % FUZZ_LAWS)) {
  case FUZZ_LAW_EXACT:
    return pair | (size_t)extra << 16;
  case FUZZ_LAW_SMALL:
    return op->low;
  case FUZZ_LAW_EDGE: {
    size_t edge = ((size_t)(8 + op->low % 8) << extra) / 8;
    return edge < 128 && (int8_t)op->high < 0 && edge < -nudge ? 0 : edge + nudge;
  }
  case FUZZ_LAW_SCALED:
    return pair << extra > MOST_LIVE_SIZE ? MOST_LIVE_SIZE : pair << extra;
  case FUZZ_LAW_RELATIVE:
    return relative_size(op, extra, slot_size);
  case FUZZ_LAW_HUGE:
    return huge_size(op, extra);
  case FUZZ_LAW_PAGES:
    return ((size_t)op->low + 1) * 4096 + nudge;
  default:
    return choice[op->low % 8];
  }
}

size_t fuzz_op_alignment(const fuzz_op *op) {
  static const size_t bad[] = {0, 1, 3, 24, 48, SIZE_MAX, (size_t)PTRDIFF_MAX, 12};
  if (fuzz_op_get_kind(op) == FUZZ_OP_POSIX_MEMALIGN && op->alignment >= 0xe0)
    return bad[op->alignment % 8];
  return (size_t)1 << (op->alignment % 32 < 26 ? op->alignment % 13 : op->alignment % 24);
}

size_t fuzz_op_count(const fuzz_op *op) {
  if (op->law % FUZZ_LAWS == FUZZ_LAW_HUGE && op->alignment >= 128)
    return (size_t)1 << (op->alignment % 63 + 1);
  return op->alignment % 16 < 8 ? 1 : (size_t)op->alignment / 16 + 1;
}

unsigned fuzz_op_repeats(const fuzz_op *op) {
  if (fuzz_op_get_kind(op) == FUZZ_OP_FREE_RUN)
    return op->low + 1u;
  return op->alignment % 16 + 1u + (op->alignment >= 0xf0 ? 16u : 0u);
}

uint64_t fuzz_op_milliseconds(const fuzz_op *op) {
  return (uint64_t)(op->low | op->high << 8) << (op->law % 16);
}

// Which of a record's bytes its kind looks at.
static void used_bytes(fuzz_op_kind kind, bool *slot, bool *alignment, bool *fill) {
  *slot = kind <= FUZZ_OP_USABLE || kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_FILL_RUN ||
          kind == FUZZ_OP_MISUSE;
  *alignment = kind == FUZZ_OP_CALLOC || kind == FUZZ_OP_REALLOCARRAY || kind == FUZZ_OP_ALIGNED_ALLOC ||
               kind == FUZZ_OP_POSIX_MEMALIGN || kind == FUZZ_OP_FILL_RUN || kind == FUZZ_OP_PAIRS;
  *fill = fuzz_op_uses_size(kind) || kind == FUZZ_OP_USABLE;
}

fuzz_op fuzz_op_normal(fuzz_op op) {
  fuzz_op_kind kind = fuzz_op_get_kind(&op);
  bool slot, alignment, fill;
  used_bytes(kind, &slot, &alignment, &fill);
  op.kind = (uint8_t)kind;
  if (kind == FUZZ_OP_RACE)
    return fuzz_race_normal(op);
  op.thread = (uint8_t)fuzz_op_thread(&op);
  if (!slot)
    op.slot = 0;
  if (!alignment)
    op.alignment = 0;
  if (!fill)
    op.fill = 0;
  bool operands =
      kind == FUZZ_OP_CLOCK || kind == FUZZ_OP_FAIL_MAP || kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_MISUSE;
  if (!fuzz_op_uses_size(kind) && !operands)
    op.law = op.low = op.high = 0;
  if (kind == FUZZ_OP_FAIL_MAP || kind == FUZZ_OP_FREE_RUN || kind == FUZZ_OP_MISUSE)
    op.law = 0;
  return op;
}

void fuzz_op_set_size(fuzz_op *op, size_t size) {
  unsigned extra = 0;
  size_t pair = size;
  if (size < (size_t)1 << 21) {
    op->law = (uint8_t)(FUZZ_LAW_EXACT | (size >> 16) << 3);
  } else {
    while (pair > UINT16_MAX && extra < 31) {
      pair >>= 1;
      extra++;
    }
    pair = pair > UINT16_MAX ? UINT16_MAX : pair;
    op->law = (uint8_t)(FUZZ_LAW_SCALED | extra << 3);
  }
  op->low = (uint8_t)pair;
  op->high = (uint8_t)(pair >> 8);
}

// One line for people, without a newline: "t1 malloc slot 3 size 48". slot_size as for fuzz_op_size.
static void print_op(FILE *out, const fuzz_op *op, size_t slot_size) {
  fuzz_op_kind kind = fuzz_op_get_kind(op);
  bool slot, alignment, fill;
  used_bytes(kind, &slot, &alignment, &fill);
  if (kind == FUZZ_OP_RACE) {
    fuzz_race_print(out, op);
    return;
  }
  fprintf(out, "t%u %s", fuzz_op_thread(op), fuzz_op_name(kind));
  if (slot)
    fprintf(out, " slot %u", op->slot);
  if (kind == FUZZ_OP_ALIGNED_ALLOC || kind == FUZZ_OP_POSIX_MEMALIGN)
    fprintf(out, " alignment %zu", fuzz_op_alignment(op));
  if (kind == FUZZ_OP_CALLOC || kind == FUZZ_OP_REALLOCARRAY)
    fprintf(out, " count %zu", fuzz_op_count(op));
  if (kind == FUZZ_OP_FILL_RUN)
    fprintf(out, " blocks %u", fuzz_op_repeats(op));
  if (kind == FUZZ_OP_PAIRS)
    fprintf(out, " times %u", fuzz_op_repeats(op));
  if (fuzz_op_uses_size(kind)) {
    if (op->law % FUZZ_LAWS == FUZZ_LAW_RELATIVE && slot_size == 0)
      fprintf(out, " size relative");
    else
      fprintf(out, " size %zu", fuzz_op_size(op, slot_size));
    fprintf(out, " fill %u%s", op->fill & 127u, op->fill & 128 ? " whole" : "");
  }
  if (kind == FUZZ_OP_FREE_RUN)
    fprintf(out, " slots %u", fuzz_op_repeats(op));
  if (kind == FUZZ_OP_MISUSE)
    fprintf(out, " way %u", (unsigned)fuzz_op_misuse(op));
  if (kind == FUZZ_OP_CLOCK)
    fprintf(out, " ahead %llu ms", (unsigned long long)fuzz_op_milliseconds(op));
  if (kind == FUZZ_OP_FAIL_MAP)
    fprintf(out, " call %u and %u more", op->low + 1u, op->high);
}

void fuzz_program_print(FILE *out, fuzz_program program) {
  for (size_t i = 0; i < program.count; i++) {
    fprintf(out, "%4zu  ", i);
    print_op(out, &program.ops[i], 0);
    putc('\n', out);
  }
}

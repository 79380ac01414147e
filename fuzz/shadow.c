// shadow.c: see shadow.h. The words for people are in oracle.c.
#include "fuzz/shadow.h"

#include <stdarg.h>
#include <string.h>

#define WHOLE_LIMIT    ((size_t)8 << 10) // no block is written in full beyond this
#define HEAD_BYTES     ((size_t)128)
#define TAIL_BYTES     ((size_t)64)
#define SAMPLE_BYTES   ((size_t)16)
#define SAMPLES        ((size_t)8)
#define ZERO_LIMIT     ((size_t)32 << 10) // calloc's blocks are read in full up to this, then in samples
#define UNCHANGED_LOOK 8u                 // blocks looked at after each failed call

void fuzz_shadow_reset(fuzz_shadow *shadow, uint32_t enabled, fuzz_verdict *verdict) {
  if (shadow->live != 0)
    memset(shadow->blocks, 0, sizeof shadow->blocks);
  shadow->live = 0;
  shadow->live_bytes = shadow->live_usable = 0;
  shadow->enabled = enabled;
  shadow->op = 0;
  shadow->verdict = verdict;
  *verdict = (fuzz_verdict){.block = -1, .other = -1};
}

bool fuzz_shadow_fail(fuzz_shadow *shadow, fuzz_oracle oracle, int block, int other, const char *format,
                      ...) {
  fuzz_verdict *verdict = shadow->verdict;
  if (!(shadow->enabled & 1u << oracle) || verdict->failed)
    return !verdict->failed;
  *verdict =
      (fuzz_verdict){.failed = true, .oracle = oracle, .op = shadow->op, .block = block, .other = other};
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
  va_end(arguments);
  return false;
}

size_t fuzz_usable(const fuzz_subject *subject, void *block, size_t requested) {
  return subject->alloc.usable_size ? subject->alloc.usable_size(block) : requested;
}

// ---- Patterns ----
//
// The word at offset 8 * i of a block is a function of its seed and i: a copy of another block, or of another
// place in the same one, does not pass.

static uint64_t pattern_base(uint8_t seed) {
  return ((uint64_t)seed + 1) * 0x9e3779b97f4a7c15u;
}
#define PATTERN_STEP 0xd1b54a32d192ed03u

static uint8_t pattern_byte(uint8_t seed, size_t offset) {
  uint64_t word = pattern_base(seed) + (uint64_t)(offset / 8) * PATTERN_STEP;
  return (uint8_t)(word >> (8 * (offset % 8)));
}

static void write_range(uint8_t *block, size_t from, size_t to, uint8_t seed) {
  for (; from < to && from % 8 != 0; from++)
    block[from] = pattern_byte(seed, from);
  uint64_t word = pattern_base(seed) + (uint64_t)(from / 8) * PATTERN_STEP;
  for (; from + 8 <= to; from += 8, word += PATTERN_STEP)
    memcpy(block + from, &word, 8);
  for (; from < to; from++)
    block[from] = pattern_byte(seed, from);
}

// The first offset in [from, to) that does not have its pattern, or `to`.
static size_t check_range(const uint8_t *block, size_t from, size_t to, uint8_t seed) {
  for (; from < to && from % 8 != 0; from++)
    if (block[from] != pattern_byte(seed, from))
      return from;
  uint64_t word = pattern_base(seed) + (uint64_t)(from / 8) * PATTERN_STEP;
  // Sixteen words at a time, without a branch between them; where one differs, the bytes are looked at below.
  for (uint64_t different = 0; to - from >= 128; from += 128, word += 16 * PATTERN_STEP) {
    uint64_t found[16];
    memcpy(found, block + from, sizeof found);
    for (unsigned i = 0; i < 16; i++)
      different |= found[i] ^ (word + i * PATTERN_STEP);
    if (different != 0)
      break;
  }
  word = pattern_base(seed) + (uint64_t)(from / 8) * PATTERN_STEP;
  for (; to - from >= 8; from += 8, word += PATTERN_STEP) {
    uint64_t found;
    memcpy(&found, block + from, 8);
    if (found != word)
      break;
  }
  for (; from < to; from++)
    if (block[from] != pattern_byte(seed, from))
      return from;
  return to;
}

// Which stretches of a block are written and checked.
typedef struct ranges {
  unsigned count;
  struct {
    size_t from, to;
  } at[SAMPLES + 3];
} ranges;

static void add_range(ranges *list, size_t from, size_t to, size_t end) {
  to = to < end ? to : end;
  if (from < to) {
    list->at[list->count].from = from;
    list->at[list->count].to = to;
    list->count++;
  }
}

static void ranges_of(ranges *list, size_t requested, size_t usable, bool whole) {
  list->count = 0;
  if (whole || usable <= FUZZ_SPARSE) {
    add_range(list, 0, usable, usable);
    return;
  }
  size_t end = requested > TAIL_BYTES ? requested - TAIL_BYTES : 0;
  size_t last = usable - TAIL_BYTES;
  add_range(list, 0, HEAD_BYTES, usable);
  add_range(list, end, end + 2 * TAIL_BYTES, usable); // the end of the request and the slack behind it
  add_range(list, last, usable, usable);
  size_t stride = (usable / SAMPLES + 4095) & ~(size_t)4095;
  for (size_t at = stride, n = 0; n < SAMPLES && at < usable; at += stride, n++)
    add_range(list, at, at + SAMPLE_BYTES, usable);
}

static void write_pattern(const fuzz_block *block) {
  ranges list;
  ranges_of(&list, block->requested, block->usable, block->whole);
  for (unsigned i = 0; i < list.count; i++)
    write_range((uint8_t *)block->address, list.at[i].from, list.at[i].to, block->seed);
}

// The first offset below `limit` whose byte at `now` is not what was written to `block`; `limit` if all are.
static size_t first_difference(const fuzz_block *block, const void *now, size_t limit) {
  ranges list;
  ranges_of(&list, block->requested, block->usable, block->whole);
  for (unsigned i = 0; i < list.count; i++) {
    size_t to = list.at[i].to < limit ? list.at[i].to : limit;
    if (list.at[i].from >= to)
      continue;
    size_t at = check_range(now, list.at[i].from, to, block->seed);
    if (at < to)
      return at;
  }
  return limit;
}

// ---- Blocks ----

// Index of the first extent that starts at or above `start`.
static uint32_t extent_from(const fuzz_shadow *shadow, uintptr_t start) {
  uint32_t low = 0, high = shadow->live;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (shadow->sorted[middle].start < start)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool fuzz_shadow_holds(const fuzz_shadow *shadow, uintptr_t address) {
  uint32_t after = extent_from(shadow, address + 1);
  return after > 0 && address < shadow->sorted[after - 1].end;
}

static void insert(fuzz_shadow *shadow, uint32_t at, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  memmove(&shadow->sorted[at + 1], &shadow->sorted[at], (shadow->live - at) * sizeof shadow->sorted[0]);
  size_t length = block->usable > 0 ? block->usable : 1;
  shadow->sorted[at] = (fuzz_extent){block->address, block->address + length, slot};
  shadow->live++;
  shadow->live_bytes += block->requested;
  shadow->live_usable += block->usable;
}

static size_t owed_alignment(size_t requested, size_t alignment) {
  size_t owed = requested >= 16 ? 16 : requested == 0 ? 1 : (size_t)1 << (63 - __builtin_clzll(requested));
  return alignment > owed ? alignment : owed;
}

static size_t first_not_zero(const uint8_t *block, size_t from, size_t to) {
  for (; from + 8 <= to; from += 8) {
    uint64_t word;
    memcpy(&word, block + from, 8);
    if (word != 0)
      break;
  }
  while (from < to && block[from] == 0)
    from++;
  return from;
}

static bool check_zeroed(fuzz_shadow *shadow, const fuzz_block *block, size_t size, int slot) {
  const uint8_t *bytes = (const uint8_t *)block->address;
  size_t full = size < ZERO_LIMIT ? size : ZERO_LIMIT;
  size_t at = first_not_zero(bytes, 0, full);
  bool good = at == full;
  for (size_t from = full; good && from < size; from += size / 16 + 64) {
    size_t to = size - from < 64 ? size : from + 64;
    at = first_not_zero(bytes, from, to);
    good = at == to;
  }
  return good || fuzz_shadow_fail(shadow, FUZZ_ORACLE_ZEROED, slot, -1,
                                  "calloc of %zu bytes: byte %zu is 0x%02x", block->requested, at, bytes[at]);
}

bool fuzz_shadow_add(fuzz_shadow *shadow, const fuzz_subject *subject, void *memory,
                     const fuzz_request *request) {
  uintptr_t address = (uintptr_t)memory;
  int slot = (int)request->slot;
  size_t requested = request->requested;
  size_t owed = owed_alignment(requested, request->alignment);
  if ((address & (owed - 1)) != 0 &&
      !fuzz_shadow_fail(shadow, FUZZ_ORACLE_ALIGNMENT, slot, -1,
                        "block %p of %zu bytes is not a multiple of %zu", memory, requested, owed))
    return false;
  size_t usable = fuzz_usable(subject, memory, requested);
  if (usable < requested) {
    if (!fuzz_shadow_fail(shadow, FUZZ_ORACLE_USABLE, slot, -1,
                          "usable size %zu of a block of %zu requested bytes", usable, requested))
      return false;
    usable = requested;
  }
  fuzz_block *block = &shadow->blocks[request->slot];
  *block = (fuzz_block){.address = address,
                        .requested = requested,
                        .usable = usable,
                        .alignment = request->alignment,
                        .born = shadow->op,
                        .seed = request->seed,
                        .owner = request->owner,
                        .whole = request->whole && usable <= WHOLE_LIMIT,
                        .aligned = request->aligned};
  uint32_t at = extent_from(shadow, address);
  const fuzz_extent *before = at > 0 ? &shadow->sorted[at - 1] : NULL;
  const fuzz_extent *after = at < shadow->live ? &shadow->sorted[at] : NULL;
  const fuzz_extent *hit = before && before->end > address                           ? before
                           : after && after->start < address + (usable ? usable : 1) ? after
                                                                                     : NULL;
  if (hit && !fuzz_shadow_fail(shadow, FUZZ_ORACLE_OVERLAP, slot, (int)hit->slot,
                               "block [%p, +%zu) overlaps the live block [%p, +%zu) of slot %u", memory,
                               usable, (void *)hit->start, (size_t)(hit->end - hit->start), hit->slot)) {
    *block = (fuzz_block){0};
    return false;
  }
  insert(shadow, at, request->slot);
  size_t zero = subject->abilities & FUZZ_ZEROES_USABLE ? usable : requested;
  if (request->zeroed && !check_zeroed(shadow, block, zero, slot))
    return false;
  write_pattern(block);
  return true;
}

bool fuzz_shadow_verify(fuzz_shadow *shadow, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  size_t at = first_difference(block, (const void *)block->address, block->usable);
  if (at == block->usable)
    return true;
  return fuzz_shadow_fail(shadow, FUZZ_ORACLE_CONTENTS, (int)slot, -1,
                          "byte %zu of slot %u's block (%p, requested %zu, usable %zu) is 0x%02x, not 0x%02x",
                          at, slot, (void *)block->address, block->requested, block->usable,
                          ((const uint8_t *)block->address)[at], pattern_byte(block->seed, at));
}

bool fuzz_shadow_verify_all(fuzz_shadow *shadow) {
  for (uint32_t i = 0; i < shadow->live; i++)
    if (!fuzz_shadow_verify(shadow, shadow->sorted[i].slot))
      return false;
  return true;
}

bool fuzz_shadow_kept(fuzz_shadow *shadow, const fuzz_block *old, const void *now, size_t kept, int slot) {
  size_t at = first_difference(old, now, kept);
  if (at == kept)
    return true;
  return fuzz_shadow_fail(shadow, FUZZ_ORACLE_REALLOC, slot, -1,
                          "realloc kept %zu of %zu bytes of slot %d's block (%p, requested %zu)", at, kept,
                          slot, (void *)old->address, old->requested);
}

fuzz_block fuzz_shadow_remove(fuzz_shadow *shadow, uint32_t slot) {
  fuzz_block block = shadow->blocks[slot];
  uint32_t at = extent_from(shadow, block.address);
  // Overlapping blocks may share a start when that oracle is off.
  while (at < shadow->live && shadow->sorted[at].slot != slot)
    at++;
  shadow->live--;
  memmove(&shadow->sorted[at], &shadow->sorted[at + 1], (shadow->live - at) * sizeof shadow->sorted[0]);
  shadow->live_bytes -= block.requested;
  shadow->live_usable -= block.usable;
  shadow->blocks[slot] = (fuzz_block){0};
  return block;
}

void fuzz_shadow_restore(fuzz_shadow *shadow, uint32_t slot, const fuzz_block *block) {
  shadow->blocks[slot] = *block;
  insert(shadow, extent_from(shadow, block->address), slot);
}

static bool check_unchanged(fuzz_shadow *shadow, const fuzz_subject *subject, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  size_t usable = fuzz_usable(subject, (void *)block->address, block->requested);
  if (usable != block->usable && subject->alloc.usable_size &&
      !fuzz_shadow_fail(shadow, FUZZ_ORACLE_FAILED, (int)slot, -1,
                        "after a failed call slot %u's usable size is %zu, not %zu", slot, usable,
                        block->usable))
    return false;
  return first_difference(block, (const void *)block->address, block->usable) == block->usable ||
         fuzz_shadow_fail(shadow, FUZZ_ORACLE_FAILED, (int)slot, -1,
                          "a failed call changed the contents of slot %u's block (%p)", slot,
                          (void *)block->address);
}

bool fuzz_shadow_unchanged(fuzz_shadow *shadow, const fuzz_subject *subject, uint32_t own) {
  if (shadow->blocks[own].address != 0 && !check_unchanged(shadow, subject, own))
    return false;
  // Of the others a few at a time, others each time: a program with many failures would else do nothing but look.
  uint32_t first = shadow->live > UNCHANGED_LOOK ? shadow->op * 7 % shadow->live : 0;
  for (uint32_t i = 0; i < UNCHANGED_LOOK && i < shadow->live; i++)
    if (!check_unchanged(shadow, subject, shadow->sorted[(first + i) % shadow->live].slot))
      return false;
  return true;
}

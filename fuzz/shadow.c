// shadow.c: see shadow.h. The words for people are in oracle.c.
#include "fuzz/shadow.h"

#include "fuzz/pattern.h"

#include <stdarg.h>
#include <string.h>

#define WHOLE_LIMIT    ((size_t)8 << 10) // no block is written in full beyond this
#define PROBE          ((size_t)64)
#define PROBED_INSIDE  ((size_t)4096) // of larger blocks also the inside
#define PROBES_INSIDE  3u
#define PROBES         (5 + PROBES_INSIDE)
#define ZERO_LIMIT     ((size_t)32 << 10) // calloc's blocks are read in full up to this, then in samples
#define UNCHANGED_LOOK 8u                 // blocks looked at after each failed call

void fuzz_shadow_reset(fuzz_shadow *shadow, uint32_t enabled, fuzz_verdict *verdict) {
  fuzz_pattern_prepare();
  if (shadow->live != 0) {
    memset(shadow->blocks, 0, sizeof shadow->blocks);
    memset(shadow->taken, 0, sizeof shadow->taken);
  }
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

// Of a large block, probes of PROBE bytes are written and checked: at its beginning, on both sides of the end of the
// request, at the end, and at places of chance inside, other ones for each seed.
typedef struct probes {
  unsigned count;
  size_t at[PROBES];
} probes;

static bool is_probed(const fuzz_block *block) {
  return !block->whole && block->usable > FUZZ_SPARSE;
}

static void probes_of(probes *list, const fuzz_block *block) {
  size_t requested = block->requested, last = block->usable - PROBE;
  size_t before = requested > PROBE ? requested - PROBE : 0;
  unsigned count = 0;
  list->at[count++] = 0;
  list->at[count++] = PROBE;
  list->at[count++] = before;
  if (before < last)
    list->at[count++] = requested < last ? requested : last;
  if (requested < last)
    list->at[count++] = last;
  uint64_t chance = block->seed + (uint64_t)1;
  for (unsigned n = 0; n < PROBES_INSIDE && last > PROBED_INSIDE; n++) {
    chance *= 0xd1b54a32d192ed03u;
    list->at[count++] = (size_t)((chance >> 32) * (last / PROBE) >> 32) * PROBE;
  }
  list->count = count;
}

static void write_pattern(const fuzz_block *block) {
  uint8_t *bytes = (uint8_t *)block->address;
  if (!is_probed(block)) {
    memcpy(bytes, fuzz_pattern_at(block->seed, 0), block->usable);
    return;
  }
  probes list;
  probes_of(&list, block);
  for (unsigned i = 0; i < list.count; i++)
    memcpy(bytes + list.at[i], fuzz_pattern_at(block->seed, list.at[i]), PROBE);
}

// The first offset below `limit` whose byte at `now` is not what was written to `block`; `limit` if all are.
static size_t first_difference(const fuzz_block *block, const void *now, size_t limit) {
  if (!is_probed(block))
    return fuzz_pattern_check(now, 0, limit, block->seed);
  probes list;
  probes_of(&list, block);
  for (unsigned i = 0; i < list.count; i++) {
    size_t to = list.at[i] + PROBE < limit ? list.at[i] + PROBE : limit;
    size_t at = fuzz_pattern_check(now, list.at[i], to, block->seed);
    if (at < to)
      return at;
  }
  return limit;
}

// ---- Blocks ----

uint32_t fuzz_shadow_next(const fuzz_shadow *shadow, uint32_t slot) {
  for (uint32_t word = slot / 64; word < sizeof shadow->taken / sizeof shadow->taken[0]; word++) {
    uint64_t bits = shadow->taken[word] & (word == slot / 64 ? ~(uint64_t)0 << slot % 64 : ~(uint64_t)0);
    if (bits != 0)
      return word * 64 + (uint32_t)__builtin_ctzll(bits);
  }
  return FUZZ_SLOTS + 1;
}

// One past the block's last byte; of a block of nothing, one byte counts.
static uintptr_t end_of(const fuzz_block *block) {
  return block->address + (block->usable > 0 ? block->usable : 1);
}

// Index of the first block in the order of addresses that starts at or above `start`.
static uint32_t index_from(const fuzz_shadow *shadow, uintptr_t start) {
  uint32_t low = 0, high = shadow->live;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (shadow->starts[middle] < start)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool fuzz_shadow_holds(const fuzz_shadow *shadow, uintptr_t address) {
  uint32_t after = index_from(shadow, address + 1);
  return after > 0 && address < end_of(&shadow->blocks[shadow->slots[after - 1]]);
}

static void insert(fuzz_shadow *shadow, uint32_t at, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  memmove(&shadow->starts[at + 1], &shadow->starts[at], (shadow->live - at) * sizeof shadow->starts[0]);
  memmove(&shadow->slots[at + 1], &shadow->slots[at], (shadow->live - at) * sizeof shadow->slots[0]);
  shadow->starts[at] = block->address;
  shadow->slots[at] = (uint16_t)slot;
  shadow->taken[slot / 64] |= (uint64_t)1 << slot % 64;
  shadow->live++;
  shadow->live_bytes += block->requested;
  shadow->live_usable += block->usable;
}

static size_t owed_alignment(size_t requested, size_t alignment) {
  size_t owed = requested >= 16 ? 16 : requested == 0 ? 1 : (size_t)1 << (63 - __builtin_clzll(requested));
  return alignment > owed ? alignment : owed;
}

static bool check_zeroed(fuzz_shadow *shadow, const fuzz_block *block, size_t size, int slot) {
  const uint8_t *bytes = (const uint8_t *)block->address;
  size_t full = size < ZERO_LIMIT ? size : ZERO_LIMIT;
  size_t at = fuzz_zero_check(bytes, 0, full);
  bool good = at == full;
  for (size_t from = full; good && from < size; from += size / 16 + 64) {
    size_t to = size - from < 64 ? size : from + 64;
    at = fuzz_zero_check(bytes, from, to);
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
                        .aligned = request->aligned,
                        .resized = request->resized};
  uint32_t at = index_from(shadow, address);
  const fuzz_block *before = at > 0 ? &shadow->blocks[shadow->slots[at - 1]] : NULL;
  const fuzz_block *after = at < shadow->live ? &shadow->blocks[shadow->slots[at]] : NULL;
  const fuzz_block *hit = before && end_of(before) > address        ? before
                          : after && after->address < end_of(block) ? after
                                                                    : NULL;
  if (hit && !fuzz_shadow_fail(shadow, FUZZ_ORACLE_OVERLAP, slot, (int)(hit - shadow->blocks),
                               "block [%p, +%zu) overlaps the live block [%p, +%zu) of slot %u", memory,
                               usable, (void *)hit->address, (size_t)(end_of(hit) - hit->address),
                               (unsigned)(hit - shadow->blocks))) {
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
                          ((const uint8_t *)block->address)[at], *fuzz_pattern_at(block->seed, at));
}

bool fuzz_shadow_verify_all(fuzz_shadow *shadow) {
  for (uint32_t i = 0; i < shadow->live; i++)
    if (!fuzz_shadow_verify(shadow, shadow->slots[i]))
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
  uint32_t at = index_from(shadow, block.address);
  // Overlapping blocks may share a start when that oracle is off.
  while (at < shadow->live && shadow->slots[at] != slot)
    at++;
  shadow->live--;
  memmove(&shadow->starts[at], &shadow->starts[at + 1], (shadow->live - at) * sizeof shadow->starts[0]);
  memmove(&shadow->slots[at], &shadow->slots[at + 1], (shadow->live - at) * sizeof shadow->slots[0]);
  shadow->taken[slot / 64] &= ~((uint64_t)1 << slot % 64);
  shadow->live_bytes -= block.requested;
  shadow->live_usable -= block.usable;
  shadow->blocks[slot] = (fuzz_block){0};
  return block;
}

void fuzz_shadow_restore(fuzz_shadow *shadow, uint32_t slot, const fuzz_block *block) {
  shadow->blocks[slot] = *block;
  insert(shadow, index_from(shadow, block->address), slot);
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
    if (!check_unchanged(shadow, subject, shadow->slots[(first + i) % shadow->live]))
      return false;
  return true;
}

// shadow.c: see shadow.h. The words for people are in oracle.c.
#include "fuzz/shadow.h"

#include <stdarg.h>
#include <string.h>

#define WHOLE_LIMIT    ((size_t)8 << 10) // no block is written in full beyond this
#define PROBE          FUZZ_PROBE
#define PROBED_INSIDE  ((size_t)4096) // of larger blocks also the inside
#define PROBES_INSIDE  3u
#define ZERO_LIMIT     ((size_t)32 << 10) // calloc's blocks are read in full up to this, then in samples
#define LARGE          ((size_t)1 << 30) // halves of addresses say nothing about blocks as large (an allocator's lie)
#define UNCHANGED_LOOK 8u                // blocks looked at after each failed call

_Static_assert(5 + PROBES_INSIDE == FUZZ_PROBES_MOST, "shadow.h has room for all probes");

void fuzz_shadow_reset(fuzz_shadow *shadow, uint32_t enabled, fuzz_verdict *verdict) {
  fuzz_pattern_prepare();
  if (shadow->live != 0) {
    memset(shadow->blocks, 0, sizeof shadow->blocks);
    memset(shadow->taken, 0, sizeof shadow->taken);
    memset(shadow->starts, 0, sizeof shadow->starts);
    memset(shadow->ends, 0, sizeof shadow->ends);
  }
  shadow->live = shadow->large = 0;
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

// Asks the subject; `requested` if it has no such function.
static size_t usable_of(const fuzz_subject *subject, void *block, size_t requested) {
  return subject->alloc.usable_size ? subject->alloc.usable_size(block) : requested;
}

// ---- Patterns ----

static bool is_probed(const fuzz_block *block) {
  return !block->whole && block->usable > FUZZ_SPARSE;
}

static inline void write_probe(fuzz_probes *probes, const fuzz_block *block, size_t at) {
  const uint8_t *pattern = fuzz_pattern_at(block->seed, at);
  probes->at[probes->count] = at;
  probes->expected[probes->count++] = pattern;
  memcpy((uint8_t *)block->address + at, pattern, PROBE);
}

// Of a large block, probes of PROBE bytes are written and checked: at its beginning, on both sides of the end of the
// request, at the end, and at places of chance inside, other ones for each seed.
static void write_probes(fuzz_probes *probes, const fuzz_block *block) {
  size_t requested = block->requested, last = block->usable - PROBE;
  size_t before = requested > PROBE ? requested - PROBE : 0;
  write_probe(probes, block, 0);
  write_probe(probes, block, PROBE);
  write_probe(probes, block, before);
  if (before < last)
    write_probe(probes, block, requested < last ? requested : last);
  if (requested < last)
    write_probe(probes, block, last);
  uint64_t chance = block->seed + (uint64_t)1;
  for (unsigned n = 0; n < PROBES_INSIDE && last > PROBED_INSIDE; n++) {
    chance *= 0xd1b54a32d192ed03u;
    write_probe(probes, block, (size_t)((chance >> 32) * (last / PROBE) >> 32) * PROBE);
  }
}

static void write_pattern(fuzz_probes *probes, const fuzz_block *block) {
  probes->count = 0;
  if (is_probed(block))
    write_probes(probes, block);
  else
    memcpy((uint8_t *)block->address, fuzz_pattern_at(block->seed, 0), block->usable);
}

// Whether all probes are what was written: the usual case, in which the reads do not wait for one another.
static bool probes_kept(const fuzz_probes *probes, const uint8_t *now) {
  uint64_t differ = 0;
  for (unsigned i = 0; i < probes->count; i++)
    differ |= fuzz_pattern_differs(now + probes->at[i], probes->expected[i]);
  return differ == 0;
}

// The first offset below `limit` whose byte at `now` is not what was written to the slot's block, which may have been
// removed; `limit` if all are.
static size_t first_difference(const fuzz_shadow *shadow, uint32_t slot, const fuzz_block *block,
                               const void *now, size_t limit) {
  const fuzz_probes *probes = &shadow->probes[slot];
  if (probes->count == 0)
    return fuzz_pattern_check(now, 0, limit, block->seed);
  if (limit >= block->usable && probes_kept(probes, now))
    return limit;
  for (unsigned i = 0; i < probes->count; i++) {
    size_t to = probes->at[i] + PROBE < limit ? probes->at[i] + PROBE : limit;
    size_t at = fuzz_pattern_check(now, probes->at[i], to, block->seed);
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

bool fuzz_shadow_holds(const fuzz_shadow *shadow, uintptr_t address) {
  for (uint32_t i = 0; i < shadow->live; i++) {
    const fuzz_block *block = &shadow->blocks[shadow->slots[i]];
    if (block->address <= address && address < end_of(block))
      return true;
  }
  return false;
}

// False: no live block shares a byte with this one. True: one may; addresses that differ in their upper halves alone
// look the same here.
static bool may_overlap(const fuzz_shadow *shadow, const fuzz_block *block) {
  typedef uint32_t lanes __attribute__((vector_size(FUZZ_LOOK * sizeof(uint32_t))));
  uint32_t start = (uint32_t)block->address, end = (uint32_t)end_of(block);
  lanes both = {0}; // upper bits: some block starts before `end` and ends behind `start`
  for (uint32_t i = 0; i < shadow->live; i += FUZZ_LOOK) {
    lanes starts, ends;
    memcpy(&starts, &shadow->starts[i], sizeof starts);
    memcpy(&ends, &shadow->ends[i], sizeof ends);
    both |= (starts - end) & (start - ends);
  }
  uint32_t any = both[0] | both[1] | both[2] | both[3];
  return any >> 31 || shadow->large != 0 || block->usable >= LARGE;
}
_Static_assert(FUZZ_LOOK == 4, "all lanes are looked at");

// The lowest of the live blocks that share a byte with this one.
static const fuzz_block *overlapped(const fuzz_shadow *shadow, const fuzz_block *block) {
  const fuzz_block *hit = NULL;
  for (uint32_t i = 0; i < shadow->live; i++) {
    const fuzz_block *other = &shadow->blocks[shadow->slots[i]];
    if (other->address < end_of(block) && block->address < end_of(other) &&
        (hit == NULL || other->address < hit->address))
      hit = other;
  }
  return hit;
}

static void insert(fuzz_shadow *shadow, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  uint32_t at = shadow->live++;
  shadow->starts[at] = (uint32_t)block->address;
  shadow->ends[at] = (uint32_t)end_of(block);
  shadow->large += block->usable >= LARGE;
  shadow->slots[at] = (uint16_t)slot;
  shadow->places[slot] = (uint16_t)at;
  shadow->taken[slot / 64] |= (uint64_t)1 << slot % 64;
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
  size_t usable = usable_of(subject, memory, requested);
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
  const fuzz_block *hit = may_overlap(shadow, block) ? overlapped(shadow, block) : NULL;
  if (hit && !fuzz_shadow_fail(shadow, FUZZ_ORACLE_OVERLAP, slot, (int)(hit - shadow->blocks),
                               "block [%p, +%zu) overlaps the live block [%p, +%zu) of slot %u", memory,
                               usable, (void *)hit->address, (size_t)(end_of(hit) - hit->address),
                               (unsigned)(hit - shadow->blocks))) {
    *block = (fuzz_block){0};
    return false;
  }
  insert(shadow, request->slot);
  size_t zero = subject->abilities & FUZZ_ZEROES_USABLE ? usable : requested;
  if (request->zeroed && !check_zeroed(shadow, block, zero, slot))
    return false;
  write_pattern(&shadow->probes[request->slot], block);
  return true;
}

bool fuzz_shadow_verify(fuzz_shadow *shadow, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  size_t at = first_difference(shadow, slot, block, (const void *)block->address, block->usable);
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
  size_t at = first_difference(shadow, (uint32_t)slot, old, now, kept);
  if (at == kept)
    return true;
  return fuzz_shadow_fail(shadow, FUZZ_ORACLE_REALLOC, slot, -1,
                          "realloc kept %zu of %zu bytes of slot %d's block (%p, requested %zu)", at, kept,
                          slot, (void *)old->address, old->requested);
}

fuzz_block fuzz_shadow_remove(fuzz_shadow *shadow, uint32_t slot) {
  fuzz_block block = shadow->blocks[slot];
  uint32_t at = shadow->places[slot], last = --shadow->live;
  shadow->starts[at] = shadow->starts[last];
  shadow->ends[at] = shadow->ends[last];
  shadow->slots[at] = shadow->slots[last];
  shadow->places[shadow->slots[at]] = (uint16_t)at;
  shadow->starts[last] = shadow->ends[last] = 0;
  shadow->large -= block.usable >= LARGE;
  shadow->taken[slot / 64] &= ~((uint64_t)1 << slot % 64);
  shadow->live_bytes -= block.requested;
  shadow->live_usable -= block.usable;
  shadow->blocks[slot].address = 0;
  return block;
}

void fuzz_shadow_restore(fuzz_shadow *shadow, uint32_t slot, const fuzz_block *block) {
  shadow->blocks[slot] = *block;
  insert(shadow, slot);
}

static bool check_unchanged(fuzz_shadow *shadow, const fuzz_subject *subject, uint32_t slot) {
  const fuzz_block *block = &shadow->blocks[slot];
  size_t usable = usable_of(subject, (void *)block->address, block->requested);
  if (usable != block->usable && subject->alloc.usable_size &&
      !fuzz_shadow_fail(shadow, FUZZ_ORACLE_FAILED, (int)slot, -1,
                        "after a failed call slot %u's usable size is %zu, not %zu", slot, usable,
                        block->usable))
    return false;
  return first_difference(shadow, slot, block, (const void *)block->address, block->usable) ==
             block->usable ||
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

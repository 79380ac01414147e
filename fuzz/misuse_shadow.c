// misuse_shadow.c: what the program owns during a trial, and the aftermath that checks it. See misuse.h.
#include "fuzz/misuse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WHOLE       ((size_t)4096) // larger blocks have contents at both ends and in the middle
#define EDGE        ((size_t)256)
#define LIVE_BYTES  ((size_t)24 << 20) // at most; little of large blocks is touched
#define LIVE_BLOCKS 64u

uint64_t misuse_random(misuse_trial *trial, uint64_t bound) {
  uint64_t z = (trial->random += 0x9E3779B97F4A7C15u); // splitmix64
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (z ^ (z >> 31)) % bound;
}

void misuse_end(misuse_trial *trial, misuse_verdict verdict, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(trial->note->text, sizeof trial->note->text, format, arguments);
  va_end(arguments);
  trial->note->outcome = verdict;
  trial->note->phase = MISUSE_DONE;
  _exit(0);
}

void misuse_if_clean(misuse_trial *trial, misuse_verdict verdict, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(trial->clean_text, sizeof trial->clean_text, format, arguments);
  va_end(arguments);
  trial->clean = verdict;
}

static uint8_t byte_of(const misuse_block *block, size_t i) {
  return (uint8_t)(block->seed + 131 * i + (i >> 8));
}

// The next byte that has contents, from i on; block->size if none.
static size_t next_byte(const misuse_block *block, size_t i) {
  if (i >= block->hole && i < block->hole + block->hole_size)
    i = block->hole + block->hole_size;
  size_t middle = block->size / 2;
  if (block->size > WHOLE && !block->whole && i >= EDGE) {
    if (i < middle)
      i = middle;
    else if (i >= middle + EDGE && i < block->size - EDGE)
      i = block->size - EDGE;
  }
  return i < block->size ? i : block->size;
}

static void fill(const misuse_block *block) {
  for (size_t i = next_byte(block, 0); i < block->size; i = next_byte(block, i + 1))
    block->at[i] = byte_of(block, i);
}

misuse_block *misuse_own(misuse_trial *trial, void *at, size_t size, const char *what, bool heap) {
  unsigned char *start = at;
  for (unsigned i = 0; i < trial->count; i++) {
    const misuse_block *other = &trial->blocks[i];
    if (start < other->at + other->size && other->at < start + size)
      misuse_end(trial, MISUSE_CORRUPTION,
                 "%s of %zu bytes was handed out at %+td bytes into a live block: %s of %zu bytes", what,
                 size, start - other->at, other->what, other->size);
  }
  if (trial->count == MISUSE_BLOCKS)
    misuse_end(trial, MISUSE_ERROR, "heaparena's table of blocks is full");
  misuse_block *block = &trial->blocks[trial->count++];
  *block = (misuse_block){
      .at = start, .size = size, .seed = (uint8_t)misuse_random(trial, 256), .what = what, .heap = heap};
  if (heap)
    trial->live_bytes += size;
  fill(block);
  return block;
}

void misuse_leave_out(misuse_block *block, size_t hole, size_t hole_size) {
  block->hole = hole;
  block->hole_size = hole_size;
  fill(block);
}

void misuse_watch_whole(misuse_block *block) {
  block->whole = true;
  fill(block);
}

misuse_block *misuse_find(misuse_trial *trial, const void *at) {
  for (unsigned i = 0; i < trial->count; i++)
    if (trial->blocks[i].at == at)
      return &trial->blocks[i];
  return NULL;
}

void misuse_disown(misuse_trial *trial, misuse_block *block) {
  if (block->heap)
    trial->live_bytes -= block->size;
  *block = trial->blocks[--trial->count];
}

static void verify(misuse_trial *trial, const misuse_block *block, const char *when) {
  for (size_t i = next_byte(block, 0); i < block->size; i = next_byte(block, i + 1))
    if (block->at[i] != byte_of(block, i))
      misuse_end(trial, MISUSE_CORRUPTION, "%s, byte %zu of a live block had changed: %s of %zu bytes", when,
                 i, block->what, block->size);
}

void misuse_verify_all(misuse_trial *trial, const char *when) {
  for (unsigned i = 0; i < trial->count; i++)
    verify(trial, &trial->blocks[i], when);
}

static void take(misuse_trial *trial, size_t size) {
  void *block = trial->alloc->malloc(size);
  if (!block)
    return; // refused: no corruption by itself
  if (trial->freed && block == trial->victim)
    trial->handed_out++;
  misuse_own(trial, block, size, "a block of the aftermath", true);
}

static void release(misuse_trial *trial, misuse_block *block) {
  verify(trial, block, "after the wrong operation");
  void *at = block->at;
  misuse_disown(trial, block);
  trial->alloc->free(at);
}

static size_t some_size(misuse_trial *trial) {
  uint64_t die = misuse_random(trial, 20);
  if (die < 14)
    return trial->size;
  if (die < 17)
    return trial->also;
  return 1 + misuse_random(trial, 2 * trial->size);
}

static misuse_block *some_heap_block(misuse_trial *trial) {
  if (trial->count == 0)
    return NULL;
  unsigned first = (unsigned)misuse_random(trial, trial->count);
  for (unsigned i = 0; i < trial->count; i++) {
    misuse_block *block = &trial->blocks[(first + i) % trial->count];
    if (block->heap)
      return block;
  }
  return NULL;
}

static bool room(const misuse_trial *trial, unsigned blocks) {
  return trial->count < MISUSE_BLOCKS - 8 && trial->count < blocks && trial->live_bytes < LIVE_BYTES;
}

void misuse_go_on(misuse_trial *trial, unsigned operations) {
  unsigned first = trial->count + LIVE_BLOCKS / 2;
  unsigned n = 0;
  for (; n < operations && room(trial, first); n++)
    take(trial, trial->size);
  for (; n < operations; n++) {
    misuse_block *block = some_heap_block(trial);
    if (!block || (room(trial, first) && misuse_random(trial, 2)))
      take(trial, some_size(trial));
    else
      release(trial, block);
  }
  misuse_verify_all(trial, "after the aftermath");
}

void misuse_free_all(misuse_trial *trial) {
  for (misuse_block *block; (block = some_heap_block(trial));)
    release(trial, block);
  misuse_verify_all(trial, "after everything was freed");
}

// strings.c: text is built word by word, as a parser, a template engine or a log writer does.
//
// Each line is put together from words: a word is allocated, appended to a buffer that grows by half with
// realloc, and freed soon after (the last few are still held); a finished line is copied to a block of its
// exact size that lives on in a window of recent lines. Stresses: many short odd sizes (4 to 23 bytes),
// realloc of one hot buffer, lines of middle size that die in the order in which they were made. A good
// allocator spends little more than a byte copy per word, and packs small strings tightly. Idea: string
// building of interpreters and web servers; sizes chosen by us.
#include "workloads/kit.h"

#include <string.h>

#define HELD_WORDS 8 // words that are live at once

typedef struct strings {
  uint64_t words; // per thread
  uint64_t window;
  uint64_t longest; // words in a line
  ha_slot *lines;   // window * threads
} strings;

// What one thread is building: a line, of which every byte is the line's tag.
typedef struct builder {
  ha_slot words[HELD_WORDS];
  ha_slot buffer; // size: capacity
  uint32_t length;
  unsigned char tag;
} builder;

static const ha_param params[] = {
    {"ops", "4000000", "words per thread", 1, 10000000000, NULL},
    {"window", "4000", "finished lines that stay live, per thread", 1, 100000000, NULL},
    {"words", "40", "words in a line at most", 1, 100000, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static bool strings_prepare(ha_run *run) {
  strings *s = ha_map(run, sizeof *s);
  if (!s)
    return false;
  run->state = s;
  s->words = ha_scaled(run, "ops");
  s->window = ha_param_number(run, "window");
  s->longest = ha_param_number(run, "words");
  double word = 13.5; // bytes, mean
  double live = (double)s->window * run->threads * (word * (double)s->longest / 2 + sizeof(ha_slot));
  if (!ha_fits(run, live, live + 4 * word * (double)s->words * run->threads))
    return false;
  s->lines = ha_map(run, s->window * run->threads * sizeof(ha_slot));
  return s->lines != NULL;
}

// A string whose bytes are all `tag`, once it is filled.
static bool take_string(ha_thread *self, ha_slot *s, uint32_t size, unsigned char tag) {
  *s = (ha_slot){.block = self->alloc->malloc(size), .size = size, .tag = tag};
  if (!s->block)
    return ha_give_up(self, "malloc returned NULL");
  ha_live_add(&self->live, size);
  self->tally.operations++;
  self->tally.checksum = self->tally.checksum * 31 + size;
  return true;
}

static bool all_are(const unsigned char *bytes, uint32_t length, unsigned char tag, bool whole) {
  if (!whole)
    return length == 0 || (bytes[0] == tag && bytes[length - 1] == tag);
  for (uint32_t i = 0; i < length; i++)
    if (bytes[i] != tag)
      return false;
  return true;
}

// Frees a string of which the first `length` bytes were written.
static bool drop_string(ha_thread *self, ha_slot *s, uint32_t length) {
  bool good =
      all_are(s->block, length, (unsigned char)s->tag, self->run->verify) || !ha_keeps_contents(self->run);
  self->alloc->free(s->block);
  s->block = NULL;
  ha_live_add(&self->live, -(int64_t)s->size);
  self->tally.operations++;
  return good || ha_give_up(self, "a live string lost its contents");
}

static bool append(ha_thread *self, builder *b, const ha_slot *word) {
  ha_slot *buffer = &b->buffer;
  if (b->length + word->size > buffer->size) {
    uint32_t size = buffer->size + buffer->size / 2 + word->size;
    void *block = self->alloc->realloc(buffer->block, size);
    if (!block)
      return ha_give_up(self, "realloc returned NULL");
    ha_live_add(&self->live, (int64_t)size - buffer->size);
    buffer->block = block;
    buffer->size = size;
    self->tally.operations++;
  }
  // memmove: the null allocator's blocks are one, so word and buffer may overlap
  memmove((unsigned char *)buffer->block + b->length, word->block, word->size);
  b->length += word->size;
  return true;
}

static bool add_word(ha_thread *self, builder *b, uint64_t number) {
  ha_slot *word = &b->words[number % HELD_WORDS];
  if (word->block && !drop_string(self, word, word->size))
    return false;
  if (!take_string(self, word, 4 + (uint32_t)(number >> 32) % 20, b->tag))
    return false;
  memset(word->block, b->tag, word->size);
  return append(self, b, word);
}

static bool build_line(ha_thread *self, builder *b, ha_slot *line, uint64_t words) {
  if (!take_string(self, &b->buffer, 64, b->tag))
    return false;
  b->length = 0;
  for (uint64_t i = 0; i < words; i++)
    if (!add_word(self, b, ha_random(&self->random)))
      return false;
  if (line->block && !drop_string(self, line, line->size))
    return false;
  if (!take_string(self, line, b->length, b->tag))
    return false;
  memmove(line->block, b->buffer.block, b->length);
  return drop_string(self, &b->buffer, b->length);
}

static void strings_body(ha_run *run, unsigned thread, ha_tally *tally) {
  const strings *s = run->state;
  ha_slot *lines = s->lines + s->window * thread;
  ha_thread self = ha_thread_begin(run, thread);
  builder b = {.tag = 0};
  bool good = true;
  for (uint64_t line = 0, words = 0; good && words < s->words; line++) {
    uint64_t count = 1 + ha_random_below(&self.random, s->longest);
    b.tag++;
    good = build_line(&self, &b, &lines[line % s->window], count);
    words += count;
  }
  for (unsigned i = 0; i < HELD_WORDS; i++)
    if (b.words[i].block)
      drop_string(&self, &b.words[i], b.words[i].size);
  if (b.buffer.block)
    run->alloc->free(b.buffer.block); // left by a failure
  ha_thread_end(&self, tally);
}

static bool strings_finish(ha_run *run) {
  strings *s = run->state;
  bool good = true;
  for (uint64_t i = 0; i < s->window * run->threads; i++) {
    const ha_slot *line = &s->lines[i];
    if (line->block && ha_keeps_contents(run) &&
        !all_are(line->block, line->size, (unsigned char)line->tag, run->verify))
      good = ha_fail(run, "a line of %u bytes that was live to the end lost its contents", line->size);
    run->alloc->free(line->block);
  }
  return good;
}

const ha_workload ha_workload_strings = {
    .name = "strings",
    .summary = "lines of text built word by word, kept in a window",
    .explain = "Allocates short words, appends them to a buffer that grows by realloc, and keeps each "
               "finished line for a "
               "while, as parsers, template engines and log writers do. Time shows malloc and free of 4 to "
               "23 bytes together "
               "with a hot realloc; a part of it is copying text, which is alike for all. The heap stays "
               "small, so memory "
               "shows packing of odd sizes, not fragmentation.",
    .params = params,
    .scales = true,
    .prepare = strings_prepare,
    .body = strings_body,
    .finish = strings_finish,
};

// journal.c: see journal.h. Two halves: when one is full, the other is emptied and filled. So between 8 and 16
// MiB of the newest inputs are there, in order, without a ring's wrapping entries.
#include "fuzz/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC      0x315a465548u // "HUFZ1"
#define HALF_BYTES ((size_t)8 << 20)

struct fuzz_journal {
  uint64_t magic;
  uint64_t used[2]; // bytes in each half
  uint32_t current; // half that is filled
  uint32_t dropped; // halves that were emptied
  uint64_t last;    // where the newest input's length stands in the current half
  fuzz_state state;
  uint8_t half[2][HALF_BYTES]; // entries: u64 bytes, then the records
};

static fuzz_journal *map_journal(int fd, char *why, size_t why_size) {
  int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
  fuzz_journal *journal =
      mmap(NULL, sizeof(fuzz_journal), PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
  if (journal == MAP_FAILED) {
    snprintf(why, why_size, "the journal cannot be mapped: %s", strerror(errno));
    return NULL;
  }
  return journal;
}

fuzz_journal *fuzz_journal_create(const char *path, char *why, size_t why_size) {
  int fd = -1;
  if (path != NULL) {
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(fuzz_journal)) != 0) {
      snprintf(why, why_size, "%s: %s", path, strerror(errno));
      if (fd >= 0)
        close(fd);
      return NULL;
    }
  }
  fuzz_journal *journal = map_journal(fd, why, why_size);
  if (fd >= 0)
    close(fd);
  if (journal != NULL)
    journal->magic = MAGIC;
  return journal;
}

fuzz_journal *fuzz_journal_open(const char *path, char *why, size_t why_size) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct stat facts;
  if (fd < 0 || fstat(fd, &facts) != 0) {
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    if (fd >= 0)
      close(fd);
    return NULL;
  }
  bool whole = (uint64_t)facts.st_size == sizeof(fuzz_journal);
  fuzz_journal *journal = whole ? map_journal(fd, why, why_size) : NULL;
  close(fd);
  if (!whole || (journal != NULL && journal->magic != MAGIC)) {
    snprintf(why, why_size, "%s is not a journal of this version of heaparena-fuzz", path);
    return NULL;
  }
  return journal;
}

fuzz_state *fuzz_journal_state(fuzz_journal *journal) {
  return &journal->state;
}

void fuzz_journal_add(fuzz_journal *journal, const void *data, size_t size) {
  size_t bytes = size / FUZZ_RECORD_BYTES * FUZZ_RECORD_BYTES;
  if (bytes > FUZZ_MAX_RECORDS * FUZZ_RECORD_BYTES)
    bytes = FUZZ_MAX_RECORDS * FUZZ_RECORD_BYTES;
  if (journal->used[journal->current] + sizeof(uint64_t) + bytes > HALF_BYTES) {
    journal->current ^= 1;
    journal->dropped += journal->used[journal->current] != 0;
    journal->used[journal->current] = 0;
  }
  uint64_t at = journal->used[journal->current];
  uint8_t *half = journal->half[journal->current];
  uint64_t length = bytes;
  memcpy(half + at, &length, sizeof length);
  memcpy(half + at + sizeof length, data, bytes);
  journal->last = at;
  journal->used[journal->current] = at + sizeof length + bytes;
}

fuzz_program fuzz_journal_last(const fuzz_journal *journal) {
  const uint8_t *half = journal->half[journal->current];
  uint64_t length = 0;
  if (journal->used[journal->current] == 0)
    return (fuzz_program){0};
  memcpy(&length, half + journal->last, sizeof length);
  return fuzz_program_decode(half + journal->last + sizeof length, length);
}

// What stands between two inputs: the end of the one before.
static const fuzz_op boundary[] = {{.kind = FUZZ_OP_FREE_ALL},
                                   {.kind = FUZZ_OP_THREAD_EXIT, .thread = 1},
                                   {.kind = FUZZ_OP_THREAD_EXIT, .thread = 2},
                                   {.kind = FUZZ_OP_THREAD_EXIT, .thread = 3}};
#define BOUNDARY (sizeof boundary / sizeof boundary[0])

// Appends the inputs of one half to `ops` if it is not NULL; returns the number of records.
static size_t gather(const fuzz_journal *journal, unsigned which, fuzz_op *ops) {
  size_t count = 0;
  for (uint64_t at = 0; at < journal->used[which];) {
    uint64_t length;
    memcpy(&length, journal->half[which] + at, sizeof length);
    at += sizeof length;
    size_t records = length / FUZZ_RECORD_BYTES;
    if (ops != NULL) {
      memcpy(ops + count, journal->half[which] + at, length);
      memcpy(ops + count + records, boundary, sizeof boundary);
    }
    count += records + BOUNDARY;
    at += length;
  }
  return count;
}

fuzz_program fuzz_journal_history(const fuzz_journal *journal, bool *complete) {
  unsigned older = journal->current ^ 1;
  size_t before = gather(journal, older, NULL);
  size_t count = before + gather(journal, journal->current, NULL);
  *complete = journal->dropped == 0;
  if (count == 0)
    return (fuzz_program){0};
  fuzz_op *ops = fuzz_arena(count * sizeof *ops);
  gather(journal, older, ops);
  gather(journal, journal->current, ops + before);
  return (fuzz_program){ops, count - BOUNDARY};
}

// See mapped.h: reads /proc/self/maps line by line. Its lines rise by address:
//   55e0c8a00000-55e0c8a21000 rw-p 00000000 00:00 0      [heap]
#include "core/gc/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

// A file read through a small buffer, one character at a time.
struct reader {
  int file;
  size_t at, length;
  char buffer[4096];
};

// The next character, or -1 at the end.
static int next_character(struct reader *reader) {
  if (reader->at == reader->length) {
    ssize_t got;
    do
      got = read(reader->file, reader->buffer, sizeof reader->buffer);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
      return -1;
    reader->at = 0;
    reader->length = (size_t)got;
  }
  return (unsigned char)reader->buffer[reader->at++];
}

// Reads hexadecimal digits and the one character after them; false at the end of the file.
static bool read_address(struct reader *reader, uintptr_t *value) {
  *value = 0;
  for (;;) {
    int c = next_character(reader);
    if (c >= '0' && c <= '9')
      *value = *value << 4 | (uintptr_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
      *value = *value << 4 | (uintptr_t)(c - 'a' + 10);
    else
      return c >= 0;
  }
}

// Reads one line: its range, and whether it is readable and writable. False at the end of the file.
static bool read_mapping(struct reader *reader, uintptr_t *start, uintptr_t *end, bool *writable) {
  if (!read_address(reader, start) || !read_address(reader, end))
    return false;
  bool readable = next_character(reader) == 'r';
  *writable = next_character(reader) == 'w' && readable;
  int c;
  do
    c = next_character(reader);
  while (c >= 0 && c != '\n');
  return true;
}

bool mapped_writable(uintptr_t start, size_t bytes) {
  int saved_errno = errno;
  struct reader reader = {.file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  uintptr_t reached = start, from = 0, to = 0;
  bool writable = false;
  if (reader.file >= 0) {
    while (reached < start + bytes && read_mapping(&reader, &from, &to, &writable))
      if (writable && from <= reached && reached < to)
        reached = to;
    (void)close(reader.file);
  }
  errno = saved_errno;
  return reached >= start + bytes;
}

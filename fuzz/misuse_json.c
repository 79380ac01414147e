// misuse_json.c: output without a byte from the heap. See misuse.h.
#include "fuzz/misuse.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const char *misuse_quote(const char *text, char *out, size_t size) {
  size_t n = 0;
  out[n++] = '"';
  for (; *text && n + 4 < size; text++) {
    char c = *text >= ' ' && *text < 127 ? *text : '?';
    if (c == '"' || c == '\\')
      out[n++] = '\\';
    out[n++] = c;
  }
  out[n++] = '"';
  out[n] = '\0';
  return out;
}

void misuse_say(const char *format, ...) {
  char line[8192];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  size_t left = length < 0 ? 0 : (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
  for (const char *at = line; left > 0;) {
    ssize_t n = write(STDOUT_FILENO, at, left);
    if (n <= 0)
      _exit(1); // nobody reads
    at += n;
    left -= (size_t)n;
  }
}

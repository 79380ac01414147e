// Reports of misuse and fatal errors. See errors.h.
#include "core/errors.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Atomic uint64_t errors_action = ERROR_ABORT;

static _Atomic uint64_t count;

void errors_set_action(enum error_action action) {
  atomic_store_explicit(&errors_action, (uint64_t)action, memory_order_relaxed);
}

uint64_t errors_count(void) {
  return atomic_load_explicit(&count, memory_order_relaxed);
}

static void write_all(const char *data, size_t length) {
  int saved_errno = errno;
  while (length > 0) {
    ssize_t written = write(STDERR_FILENO, data, length);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      break;
    data += written;
    length -= (size_t)written;
  }
  errno = saved_errno;
}

void gm_fatal(const char *message) {
  write_all(message, strlen(message));
  abort();
}

void errors_warn(const char *message) {
  write_all(message, strlen(message));
}

void text_append(struct text_buffer *text, const char *string) {
  for (; *string != '\0'; string++, text->length++)
    if (text->length < text->size)
      text->data[text->length] = *string;
}

void text_append_hex(struct text_buffer *text, uint64_t value) {
  char digits[17];
  char *first = digits + sizeof digits - 1;
  *first = '\0';
  do {
    *--first = "0123456789abcdef"[value & 15];
    value >>= 4;
  } while (value != 0);
  text_append(text, "0x");
  text_append(text, first);
}

void text_append_decimal(struct text_buffer *text, uint64_t value) {
  char digits[21];
  char *first = digits + sizeof digits - 1;
  *first = '\0';
  do {
    *--first = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  text_append(text, first);
}

void text_write_stderr(const struct text_buffer *text) {
  write_all(text->data, text->length < text->size ? text->length : text->size);
}

void errors_report(const char *what, uintptr_t pointer, size_t elem_size, uintptr_t span_base) {
  char line[200];
  struct text_buffer text = {line, sizeof line, 0};
  text_append(&text, "gomalloc: ");
  text_append(&text, what);
  text_append(&text, " ");
  text_append_hex(&text, pointer);
  if (elem_size != 0) {
    text_append(&text, " (size class ");
    text_append_decimal(&text, elem_size);
    text_append(&text, ", span ");
    text_append_hex(&text, span_base);
    text_append(&text, ")");
  }
  text_append(&text, "\n");
  text_write_stderr(&text);
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
  if (atomic_load_explicit(&errors_action, memory_order_relaxed) == ERROR_ABORT)
    abort();
}

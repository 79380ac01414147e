// What gomalloc says when a program misuses the heap: one line on stderr, written without stdio and without
// allocating, then abort() or, when asked, go on (Go: throw and panic.go; hardened_malloc's util.c).
//
// Threads: any. Errors: none; errno is kept.
#ifndef GOMALLOC_ERRORS_H
#define GOMALLOC_ERRORS_H

#include "core/base.h"

#include <stdatomic.h>

enum error_action {
  ERROR_ABORT,  // print, then abort(): the default
  ERROR_REPORT, // print, then ignore the offending call (GOMALLOC_ON_ERROR=report)
};

// The chosen enum error_action: an option (options.h).
extern _Atomic uint64_t errors_action;

// What a misused block leads to from now on. Any thread.
void errors_set_action(enum error_action action);

// Misused blocks counted since the start, for programs that chose ERROR_REPORT.
uint64_t errors_count(void);

// `what` names the misuse ("double free of"), `pointer` its argument. When the pointer lies in a known span,
// elem_size is the span's object size in bytes (0: no span is known) and span_base its first address.
GM_COLD void errors_report(const char *what, uintptr_t pointer, size_t elem_size, uintptr_t span_base);

// Writes the constant string to stderr; the program goes on.
void errors_warn(const char *message);

// A line builder for messages and statistics: fixed buffer, no allocation. Text that does not fit is dropped.
struct text_buffer {
  char *data;
  size_t size;   // bytes that fit, without the closing NUL
  size_t length; // bytes that the whole text needs, as snprintf counts them
};

// Append a string; a number with 0x before it; a number in base ten.
void text_append(struct text_buffer *text, const char *string);
void text_append_hex(struct text_buffer *text, uint64_t value);
void text_append_decimal(struct text_buffer *text, uint64_t value);
// Writes the buffer to stderr with write(2).
void text_write_stderr(const struct text_buffer *text);

#endif

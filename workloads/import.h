// import.h: makes traces of other programs' logs (`heaparena-trace import`).
//
// text: made for scripts to write. One operation a line, words separated by blanks; '#' begins a comment,
// empty lines are skipped. Numbers are decimal, or hexadecimal with 0x. ID is any number below 2^64 - 1 that
// tells a live block, such as its address; a block's ID may come again once it was freed.
//
//   malloc ID SIZE            calloc ID SIZE (the product)      realloc ID SIZE [NEW-ID]      free ID
//   aligned_alloc ID ALIGNMENT SIZE      posix_memalign ID ALIGNMENT SIZE
//   free_sized ID SIZE [ALIGNMENT]       purge
//   failed malloc SIZE        failed calloc SIZE        failed realloc ID SIZE
//   thread N [NAME]           the operations that follow are thread N's; the file begins with thread 0
//   spawn N                   the thread starts thread N, which has done nothing yet
//   join N                    thread N has ended and does nothing any more
//   exit                      the thread's last operation
//   time NS                   when the operations that follow happened, since the start; never decreases
//   meta KEY: VALUE           kept with the trace, such as the command
//
// mtrace: what glibc writes to the file of MALLOC_TRACE after mtrace(). It has neither times nor threads.
#ifndef HEAPARENA_WORKLOADS_IMPORT_H
#define HEAPARENA_WORKLOADS_IMPORT_H

#include "workloads/trace.h"
#include "workloads/trace_map.h"

#include <stdio.h>

typedef enum ha_import_form { HA_IMPORT_TEXT, HA_IMPORT_MTRACE } ha_import_form;

// Reads `input` ("-": standard input) and writes the trace `output`. False with one line in `why`, which
// names the input's line; then no output is left behind.
bool ha_import(ha_import_form form, const char *input, const char *output, ha_trace_totals *totals, char *why,
               size_t why_size);

// ---- Inside ----

#define IMPORT_LINE_MAX 4096
#define IMPORT_WORDS    6

// Where operations go: a writer, or in a fuzz target the rules alone. Each returns false if it refuses; `why`
// then says why, or is NULL if the sink says so itself at its end.
typedef struct import_sink {
  void *to;
  bool (*thread)(void *to, const ha_trace_thread *thread, const char **why);
  bool (*operation)(void *to, const ha_op *op, const char **why);
  bool (*meta)(void *to, const char *text, const char **why);
} import_sink;

typedef struct importer {
  const import_sink *sink;
  FILE *in;
  char line[IMPORT_LINE_MAX];
  uint64_t line_number;
  bool cut_off; // the last line has no end
  char *words[IMPORT_WORDS];
  unsigned word_count;
  ha_trace_map live;    // ID -> value: object
  ha_trace_map threads; // N -> value: thread
  uint64_t next_object, time_ns;
  uint32_t thread, thread_count;
  uint64_t unknown_frees, late_frees, cut_lines;
  // mtrace: between the two lines of a realloc.
  bool resizing, resized_known;
  uint64_t resized;
  char why[300];
} importer;

// Reads all of im->in into im->sink (both set, the rest zero). False with the reason in im->why. Release the
// importer's tables with import_clear() in any case.
bool import_all(importer *im, ha_import_form form);
void import_clear(importer *im);

// For the two forms. All return false after import_fail().
bool import_fail(importer *im, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool import_number(importer *im, const char *what, const char *word, uint64_t most, uint64_t *out);
bool import_emit(importer *im, ha_op op); // with this thread and time
bool import_allocate(importer *im, unsigned kind, uint64_t id, unsigned alignment_log2, uint64_t size);
bool import_free(importer *im, unsigned kind, ha_trace_entry *entry, unsigned alignment_log2, uint64_t size);

bool import_text_line(importer *im);   // of im->words
bool import_mtrace_line(importer *im); // of im->words

#endif

// import.c: what both forms share: lines, words, blocks, and the way into a trace.
#include "workloads/import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool import_fail(importer *im, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(im->why, sizeof im->why, format, arguments);
  va_end(arguments);
  return false;
}

bool import_number(importer *im, const char *what, const char *word, uint64_t most, uint64_t *out) {
  char *end;
  bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
  bool begins = word[0] >= '0' && word[0] <= '9';
  errno = 0;
  unsigned long long value = begins ? strtoull(word, &end, hex ? 16 : 10) : 0;
  *out = value;
  if (begins && *end == 0 && errno == 0 && value <= most)
    return true;
  return import_fail(im, "%s \"%.40s\" is not a number up to %" PRIu64, what, word, most);
}

// ---- Operations ----

static bool refused(importer *im, const char *why) {
  return import_fail(im, "%s", why == NULL ? "" : why); // "": the sink says it
}

bool import_emit(importer *im, ha_op op) {
  const char *why = NULL;
  op.thread = im->thread;
  op.time_ns = im->time_ns;
  return im->sink->operation(im->sink->to, &op, &why) || refused(im, why);
}

bool import_allocate(importer *im, unsigned kind, uint64_t id, unsigned alignment_log2, uint64_t size) {
  ha_trace_entry *entry = ha_trace_map_add(&im->live, id);
  if (entry == NULL)
    return import_fail(im, "not enough memory for the live blocks");
  entry->value = im->next_object;
  return import_emit(im, (ha_op){.kind = (uint8_t)kind,
                                 .object = im->next_object++,
                                 .size = size,
                                 .alignment_log2 = (uint8_t)alignment_log2});
}

bool import_free(importer *im, unsigned kind, ha_trace_entry *entry, unsigned alignment_log2, uint64_t size) {
  uint64_t object = entry->value;
  ha_trace_map_remove(&im->live, entry);
  return import_emit(im, (ha_op){.kind = (uint8_t)kind,
                                 .object = object,
                                 .size = size,
                                 .alignment_log2 = (uint8_t)alignment_log2});
}

// ---- Lines ----

// Reads the next line without its end. False at the end of the file, or after import_fail().
static bool next_line(importer *im) {
  if (fgets(im->line, sizeof im->line, im->in) == NULL)
    return ferror(im->in) ? import_fail(im, "cannot read: %s", strerror(errno)) : false;
  im->line_number++;
  size_t length = strlen(im->line);
  im->cut_off = length == 0 || im->line[length - 1] != '\n';
  if (im->cut_off && !feof(im->in))
    return import_fail(im, "longer than %d characters, or not text", IMPORT_LINE_MAX - 2);
  while (length > 0 && (im->line[length - 1] == '\n' || im->line[length - 1] == '\r'))
    im->line[--length] = 0;
  return true;
}

static void split(importer *im) {
  char *save = NULL;
  im->word_count = 0;
  for (char *word = strtok_r(im->line, " \t", &save); word != NULL && im->word_count < IMPORT_WORDS;
       word = strtok_r(NULL, " \t", &save))
    im->words[im->word_count++] = word;
}

static bool add_meta(importer *im, const char *text) {
  const char *why = NULL;
  return im->sink->meta(im->sink->to, text, &why) || refused(im, why);
}

// "meta KEY: VALUE" keeps its blanks, so it is looked for before the line is split.
static bool meta_line(importer *im, bool *was) {
  char text[IMPORT_LINE_MAX + 2];
  const char *line = im->line + strspn(im->line, " \t");
  *was = strncmp(line, "meta ", 5) == 0;
  if (!*was)
    return true;
  line += 5;
  line += strspn(line, " \t");
  const char *colon = strchr(line, ':');
  if (colon == NULL || colon == line)
    return import_fail(im, "meta takes \"key: value\"");
  for (const char *at = line; *at != 0; at++)
    if (*at > 0 && *at < ' ' && *at != '\t')
      return import_fail(im, "a control character in META text");
  snprintf(text, sizeof text, "%s\n", line);
  return add_meta(im, text);
}

static bool announce_first(importer *im) {
  const char *why = NULL;
  ha_trace_entry *entry = ha_trace_map_add(&im->threads, 0);
  if (entry == NULL)
    return import_fail(im, "not enough memory");
  im->thread_count = 1;
  return im->sink->thread(im->sink->to, &(ha_trace_thread){.name = "main"}, &why) || refused(im, why);
}

static bool import_line(importer *im, ha_import_form form) {
  if (form == HA_IMPORT_TEXT) {
    bool meta;
    if (!meta_line(im, &meta))
      return false;
    if (meta)
      return true;
    im->line[strcspn(im->line, "#")] = 0;
  }
  split(im);
  if (im->word_count == 0)
    return true;
  return form == HA_IMPORT_TEXT ? import_text_line(im) : import_mtrace_line(im);
}

static bool remark(importer *im, uint64_t count, const char *what) {
  char text[200];
  snprintf(text, sizeof text, "remark: %" PRIu64 " %s\n", count, what);
  return count == 0 || add_meta(im, text);
}

bool import_all(importer *im, ha_import_form form) {
  bool good = announce_first(im);
  while (good && next_line(im))
    good = import_line(im, form);
  if (good && im->why[0] == 0 && im->next_object == 0)
    return import_fail(im, "no allocation in the file; is it of the form that --from says?");
  return good && im->why[0] == 0 &&
         remark(im, im->unknown_frees, "frees of blocks from before the recording: left out") &&
         remark(im, im->late_frees, "addresses seen again before their free: a free was put before") &&
         remark(im, im->cut_lines, "line cut off at the file's end: left out");
}

void import_clear(importer *im) {
  ha_trace_map_clear(&im->live);
  ha_trace_map_clear(&im->threads);
}

// ---- Into a file ----

static bool to_writer_thread(void *to, const ha_trace_thread *thread, const char **why) {
  (void)why;
  return ha_trace_add_thread(to, thread);
}
static bool to_writer_operation(void *to, const ha_op *op, const char **why) {
  (void)why;
  return ha_trace_write(to, op);
}
static bool to_writer_meta(void *to, const char *text, const char **why) {
  (void)why;
  return ha_trace_add_meta(to, text);
}

bool ha_import(ha_import_form form, const char *input, const char *output, ha_trace_totals *totals, char *why,
               size_t why_size) {
  FILE *in = strcmp(input, "-") == 0 ? stdin : fopen(input, "re");
  if (in == NULL) {
    snprintf(why, why_size, "%s: cannot be read: %s", input, strerror(errno));
    return false;
  }
  import_sink sink = {.thread = to_writer_thread, .operation = to_writer_operation, .meta = to_writer_meta};
  static importer im;
  im = (importer){.sink = &sink, .in = in};
  ha_trace_writer *writer = ha_trace_create(output, 0, "", why, why_size);
  sink.to = writer;
  bool good = writer != NULL && import_all(&im, form);
  uint32_t flags =
      (im.late_frees != 0 ? HA_TRACE_ADJUSTED : 0u) | (im.cut_lines != 0 ? HA_TRACE_INCOMPLETE : 0u);
  char refusal[512] = "";
  if (good) {
    good = ha_trace_finish(writer, flags, totals, why, why_size);
  } else if (writer != NULL && im.why[0] == 0) {
    // The writer refused: its word, with our line.
    ha_trace_finish(writer, flags, NULL, refusal, sizeof refusal);
    snprintf(why, why_size, "%s: line %" PRIu64 ": %s", input, im.line_number, refusal);
  } else if (writer != NULL) {
    ha_trace_abandon(writer);
    snprintf(why, why_size, "%s: line %" PRIu64 ": %s", input, im.line_number, im.why);
  }
  import_clear(&im);
  if (in != stdin)
    fclose(in);
  return good;
}

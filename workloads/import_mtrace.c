// import_mtrace.c: glibc's mtrace output: "@ WHERE + ADDRESS SIZE" (allocation), "- ADDRESS" (free), "<
// ADDRESS" and "> ADDRESS SIZE" (the two halves of a realloc), "! ADDRESS SIZE" (a realloc that failed), "=
// Start" and
// "= End". Addresses are hexadecimal, (nil) for NULL. It does not say of an allocation which function made
// it.
#include "workloads/import.h"

#include <string.h>

static bool address(importer *im, const char *word, uint64_t *out) {
  if (strcmp(word, "(nil)") == 0) {
    *out = 0;
    return true;
  }
  return import_number(im, "the address", word, UINT64_MAX - 1, out);
}

// An address that is live already was freed without our seeing it.
static bool enter(importer *im, uint64_t at, uint64_t size) {
  ha_trace_entry *entry = ha_trace_map_find(&im->live, at);
  if (entry != NULL) {
    im->late_frees++;
    if (!import_free(im, HA_OP_FREE, entry, 0, 0))
      return false;
  }
  if (at != 0)
    return import_allocate(im, HA_OP_MALLOC, at, 0, size);
  if (size == 0)
    return true; // no block asked for, none given
  return import_emit(
      im, (ha_op){.kind = HA_OP_MALLOC, .object = im->next_object++, .size = size, .flags = HA_OP_FAILED});
}

static bool release(importer *im, uint64_t at) {
  ha_trace_entry *entry = ha_trace_map_find(&im->live, at);
  if (entry != NULL)
    return import_free(im, HA_OP_FREE, entry, 0, 0);
  im->unknown_frees += at != 0;
  return true;
}

static bool begin_resize(importer *im, uint64_t at) {
  if (im->resizing && im->resized_known && // its second half is missing: the block is gone
      !import_emit(im, (ha_op){.kind = HA_OP_FREE, .object = im->resized}))
    return false;
  ha_trace_entry *entry = ha_trace_map_find(&im->live, at);
  im->resizing = true;
  im->resized_known = entry != NULL;
  if (entry != NULL) {
    im->resized = entry->value;
    ha_trace_map_remove(&im->live, entry);
  }
  return true;
}

static bool end_resize(importer *im, uint64_t at, uint64_t size) {
  bool known = im->resizing && im->resized_known;
  im->resizing = false;
  if (!known)
    return enter(im, at, size);
  if (at == 0)
    return import_emit(im, (ha_op){.kind = HA_OP_FREE, .object = im->resized});
  ha_trace_entry *entry = ha_trace_map_find(&im->live, at);
  if (entry != NULL) {
    im->late_frees++;
    if (!import_free(im, HA_OP_FREE, entry, 0, 0))
      return false;
  }
  entry = ha_trace_map_add(&im->live, at);
  if (entry == NULL)
    return import_fail(im, "not enough memory for the live blocks");
  entry->value = im->resized;
  return import_emit(im, (ha_op){.kind = HA_OP_REALLOC, .object = im->resized, .size = size});
}

static bool fail_resize(importer *im, uint64_t at, uint64_t size) {
  const ha_trace_entry *entry = ha_trace_map_find(&im->live, at);
  return entry == NULL ||
         import_emit(
             im, (ha_op){.kind = HA_OP_REALLOC, .object = entry->value, .size = size, .flags = HA_OP_FAILED});
}

static bool is_mark(const char *word) {
  return word[0] != 0 && word[1] == 0 && strchr("+-<>!", word[0]) != NULL;
}

static bool event(importer *im, char mark, const char *where, const char *bytes) {
  uint64_t at, size = 0;
  if (!address(im, where, &at) || (bytes != NULL && !import_number(im, "the size", bytes, UINT64_MAX, &size)))
    return false;
  switch (mark) {
  case '+':
    return enter(im, at, size);
  case '-':
    return release(im, at);
  case '<':
    return begin_resize(im, at);
  case '>':
    return end_resize(im, at, size);
  default:
    return fail_resize(im, at, size);
  }
}

bool import_mtrace_line(importer *im) {
  if (strcmp(im->words[0], "=") == 0) // Start, End
    return true;
  if (im->cut_off) { // the program was killed while it wrote
    im->cut_lines++;
    return true;
  }
  // "@ WHERE" stands before the mark, unless the caller was not known. WHERE holds no blank.
  unsigned at = strcmp(im->words[0], "@") == 0 ? 2 : 0;
  bool sized = at < im->word_count && strchr("+>!", im->words[at][0]) != NULL;
  if (at < im->word_count && is_mark(im->words[at]) && im->word_count == at + (sized ? 3u : 2u))
    return event(im, im->words[at][0], im->words[at + 1], sized ? im->words[at + 2] : NULL);
  return import_fail(im, "not a line of mtrace: \"+ ADDRESS SIZE\", \"- ADDRESS\" and the like are known");
}

// trace_info.c: gathers and prints what a trace holds (heaparena-trace info).
#include "workloads/trace_info.h"
#include "workloads/trace_json.h"
#include "workloads/trace_map.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *kind_name(unsigned kind) {
  static const char *const names[HA_OP_KINDS] = {
      [HA_OP_MALLOC] = "malloc",
      [HA_OP_CALLOC] = "calloc",
      [HA_OP_REALLOC] = "realloc",
      [HA_OP_FREE] = "free",
      [HA_OP_ALIGNED_ALLOC] = "aligned_alloc",
      [HA_OP_POSIX_MEMALIGN] = "posix_memalign",
      [HA_OP_FREE_SIZED] = "free_sized",
      [HA_OP_PURGE] = "purge",
      [HA_OP_SPAWN] = "spawn",
      [HA_OP_JOIN] = "join",
      [HA_OP_THREAD_EXIT] = "thread_exit",
  };
  return names[kind];
}

// ---- Reading ----

static unsigned bucket_of(uint64_t value) {
  return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static bool count(ha_trace_info *info, ha_trace_map *births, const ha_op *op, uint64_t number) {
  if (op->flags & HA_OP_FAILED)
    return true;
  switch (op->kind) {
  case HA_OP_MALLOC:
  case HA_OP_CALLOC:
  case HA_OP_ALIGNED_ALLOC:
  case HA_OP_POSIX_MEMALIGN: {
    ha_trace_entry *entry = ha_trace_map_add(births, op->object);
    if (entry == NULL)
      return false;
    entry->value = number;
    info->sizes[bucket_of(op->size)]++;
    return true;
  }
  case HA_OP_REALLOC:
    info->sizes[bucket_of(op->size)]++;
    return true;
  case HA_OP_FREE:
  case HA_OP_FREE_SIZED: {
    ha_trace_entry *entry = ha_trace_map_find(births, op->object);
    info->lifetimes[bucket_of(number - entry->value)]++;
    ha_trace_map_remove(births, entry);
    return true;
  }
  default:
    return true;
  }
}

static bool keep_tables(ha_trace_info *info, const ha_trace_reader *reader) {
  const ha_trace_thread *threads = ha_trace_threads(reader, &info->thread_count);
  info->meta = strdup(ha_trace_meta(reader));
  info->threads = malloc((info->thread_count + 1) * sizeof *threads);
  if (info->meta == NULL || info->threads == NULL)
    return false;
  if (info->thread_count != 0)
    memcpy(info->threads, threads, info->thread_count * sizeof *threads);
  return true;
}

bool ha_trace_info_read(const char *path, ha_trace_info *info, char *why, size_t why_size) {
  *info = (ha_trace_info){0};
  ha_trace_reader *reader = ha_trace_open(path, why, why_size);
  if (reader == NULL)
    return false;
  ha_trace_map births = {0};
  ha_op op;
  int got;
  bool whole = true;
  for (uint64_t number = 0; whole && (got = ha_trace_next(reader, &op)) > 0; number++)
    whole = count(info, &births, &op, number);
  bool good = whole && got == 0;
  if (good && keep_tables(info, reader)) {
    info->totals = *ha_trace_get_totals(reader);
    info->clock_start_ns = ha_trace_clock_start(reader);
    info->never_freed = births.count;
    info->bytes = ha_trace_file_bytes(path);
  } else {
    snprintf(why, why_size, "%s", whole && got < 0 ? ha_trace_error(reader) : "not enough memory");
    good = false;
  }
  ha_trace_map_clear(&births);
  ha_trace_close(reader);
  return good;
}

uint64_t ha_trace_file_bytes(const char *path) {
  struct stat facts;
  return strcmp(path, "-") != 0 && stat(path, &facts) == 0 ? (uint64_t)facts.st_size : 0;
}

void ha_trace_info_free(ha_trace_info *info) {
  free(info->meta);
  free(info->threads);
  *info = (ha_trace_info){0};
}

// ---- For people ----

static void print_histogram(const char *title, const uint64_t buckets[HA_INFO_BUCKETS]) {
  uint64_t most = 0, sum = 0;
  for (unsigned i = 0; i < HA_INFO_BUCKETS; i++) {
    sum += buckets[i];
    if (buckets[i] > most)
      most = buckets[i];
  }
  printf("\n%s\n", title);
  for (unsigned i = 0; i < HA_INFO_BUCKETS; i++) {
    if (buckets[i] == 0)
      continue;
    uint64_t low = i == 0 ? 0 : (uint64_t)1 << (i - 1);
    static const char bar[] = "########################################";
    printf("  from %12llu  %12llu  %5.1f %%  %.*s\n", (unsigned long long)low, (unsigned long long)buckets[i],
           100.0 * (double)buckets[i] / (double)sum, (int)(40 * buckets[i] / most), bar);
  }
}

static void print_threads(const ha_trace_info *info) {
  const size_t most = 20;
  printf("\nThreads\n");
  for (size_t i = 0; i < info->thread_count && i < most; i++)
    printf("  %u: %s (process %u, started by %u)\n", info->threads[i].thread, info->threads[i].name,
           info->threads[i].process, info->threads[i].parent);
  if (info->thread_count > most)
    printf("  and %zu more\n", info->thread_count - most);
}

void ha_trace_info_print(const char *path, const ha_trace_info *info) {
  const ha_trace_totals *totals = &info->totals;
  printf("%s: %s%s\n%s\n", path,
         totals->flags & HA_TRACE_INCOMPLETE ? "INCOMPLETE recording" : "complete recording",
         totals->flags & HA_TRACE_ADJUSTED ? ", adjusted" : "", info->meta);
  const ha_figure rows[] = {
      {"operations", totals->operations},
      {"objects", totals->objects},
      {"threads", totals->threads},
      {"processes", totals->processes},
      {"live bytes, peak", totals->live_bytes_peak},
      {"live objects, peak", totals->live_objects_peak},
      {"live bytes at the end", totals->live_bytes_end},
      {"objects never freed", info->never_freed},
      {"bytes requested in all", totals->requested_bytes},
      {"frees by another thread", totals->remote_frees},
      {"duration, ns", totals->duration_ns},
      {"bytes of the file", info->bytes},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    printf("  %-24s %16llu\n", rows[i].name, (unsigned long long)rows[i].value);
  for (unsigned i = 0; i < HA_OP_KINDS; i++)
    if (totals->by_kind[i] != 0)
      printf("  %-24s %16llu\n", kind_name(i), (unsigned long long)totals->by_kind[i]);
  printf("  %-24s 0x%016llx\n", "checksum", (unsigned long long)totals->checksum);
  print_threads(info);
  print_histogram("Sizes requested, bytes", info->sizes);
  print_histogram("Lifetimes of freed objects, operations", info->lifetimes);
}

// ---- For programs ----

static json_t *histogram(const uint64_t buckets[HA_INFO_BUCKETS]) {
  json_t *list = json_array();
  for (unsigned i = 0; i < HA_INFO_BUCKETS; i++)
    if (buckets[i] != 0)
      json_array_append_new(list,
                            json_pack("{s:o,s:o}", "from", ha_json_count(i == 0 ? 0 : (uint64_t)1 << (i - 1)),
                                      "count", ha_json_count(buckets[i])));
  return list;
}

json_t *ha_trace_remarks_json(const char *meta) {
  static const char key[] = "remark: ";
  json_t *list = json_array();
  for (; *meta != 0; meta += strcspn(meta, "\n"), meta += *meta != 0)
    if (strncmp(meta, key, sizeof key - 1) == 0)
      json_array_append_new(list,
                            json_stringn(meta + sizeof key - 1, strcspn(meta, "\n") - (sizeof key - 1)));
  return list;
}

static json_t *meta_object(const char *meta) {
  json_t *object = json_object();
  while (*meta != 0) {
    size_t length = strcspn(meta, "\n");
    const char *colon = memchr(meta, ':', length);
    if (colon != NULL) {
      const char *value = colon + 1 + (colon[1] == ' ');
      char *key = strndup(meta, (size_t)(colon - meta));
      json_t *values = key == NULL ? NULL : json_object_get(object, key);
      if (key != NULL && values == NULL) {
        values = json_array();
        json_object_set_new(object, key, values);
      }
      if (values != NULL)
        json_array_append_new(values, json_stringn(value, (size_t)(meta + length - value)));
      free(key);
    }
    meta += length + (meta[length] != 0);
  }
  return object;
}

static json_t *thread_list(const ha_trace_info *info) {
  json_t *list = json_array();
  for (size_t i = 0; i < info->thread_count; i++) {
    const ha_trace_thread *thread = &info->threads[i];
    json_t *name = json_string(thread->name);
    json_array_append_new(list,
                          json_pack("{s:o,s:o,s:o,s:o}", "thread", ha_json_count(thread->thread), "parent",
                                    ha_json_count(thread->parent), "process", ha_json_count(thread->process),
                                    "name", name == NULL ? json_string("?") : name));
  }
  return list;
}

static void add_totals(json_t *object, const ha_trace_totals *totals) {
  const ha_figure rows[] = {
      {"operations", totals->operations},
      {"objects", totals->objects},
      {"threads", totals->threads},
      {"processes", totals->processes},
      {"live_bytes_peak", totals->live_bytes_peak},
      {"live_objects_peak", totals->live_objects_peak},
      {"live_bytes_end", totals->live_bytes_end},
      {"requested_bytes", totals->requested_bytes},
      {"remote_frees", totals->remote_frees},
      {"duration_ns", totals->duration_ns},
      {"curve_step", totals->curve_step},
  };
  ha_json_figures(object, rows, sizeof rows / sizeof *rows);
  json_t *kinds = json_object(), *curve = json_array();
  for (unsigned i = 0; i < HA_OP_KINDS; i++)
    json_object_set_new(kinds, kind_name(i), ha_json_count(totals->by_kind[i]));
  for (unsigned i = 0; i < totals->curve_points; i++)
    json_array_append_new(curve, ha_json_count(totals->curve[i]));
  json_object_set_new(object, "by_kind", kinds);
  json_object_set_new(object, "curve", curve);
  char checksum[24]; // text: JSON's numbers do not hold 64 bits everywhere
  snprintf(checksum, sizeof checksum, "0x%016llx", (unsigned long long)totals->checksum);
  json_object_set_new(object, "checksum", json_string(checksum));
  json_object_set_new(object, "complete", json_boolean((totals->flags & HA_TRACE_INCOMPLETE) == 0));
  json_object_set_new(object, "adjusted", json_boolean((totals->flags & HA_TRACE_ADJUSTED) != 0));
}

bool ha_trace_info_print_json(const char *path, const ha_trace_info *info) {
  json_t *object = json_object();
  json_object_set_new(object, "file", json_string(path));
  add_totals(object, &info->totals);
  json_object_set_new(object, "objects_never_freed", ha_json_count(info->never_freed));
  json_object_set_new(object, "clock_start_ns", ha_json_count(info->clock_start_ns));
  json_object_set_new(object, "bytes", ha_json_count(info->bytes));
  if (info->totals.operations != 0)
    json_object_set_new(object, "bytes_per_operation",
                        json_real((double)info->bytes / (double)info->totals.operations));
  json_object_set_new(object, "meta", meta_object(info->meta));
  json_object_set_new(object, "remarks", ha_trace_remarks_json(info->meta));
  json_object_set_new(object, "thread_table", thread_list(info));
  json_object_set_new(object, "sizes", histogram(info->sizes));
  json_object_set_new(object, "lifetimes", histogram(info->lifetimes));
  bool printed = json_dumpf(object, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
  json_decref(object);
  return printed;
}

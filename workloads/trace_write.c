// trace_write.c: the trace writer: gathers operations by columns, packs a block when it is full, and puts the
// file into place only when it is whole. What breaks a rule of the format is refused and never written.
#include "workloads/trace_codec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define ZSTD_LEVEL 9 // traces are written once and read often; higher levels gain a few percent only

struct ha_trace_writer {
  int fd;
  char path[4096], unfinished[4096 + 32];
  char error[4096 + 256]; // "" while all is well
  uint64_t clock_start_ns;
  ha_trace_state state;
  size_t threads_written;
  // The block being filled.
  uint8_t *columns[HA_COLUMNS], *ends[HA_COLUMNS];
  uint32_t operations;
  uint64_t base_object, base_time;
  uint64_t run_thread, run_length;
  uint8_t *plain, *packed;
  ZSTD_CCtx *zstd;
};

static const size_t column_width[HA_COLUMNS] = {
    [HA_COLUMN_THREADS] = 2 * (size_t)HA_VARINT_MAX,
    [HA_COLUMN_KINDS] = 1,
    [HA_COLUMN_OBJECTS] = HA_VARINT_MAX,
    [HA_COLUMN_SIZES] = HA_VARINT_MAX,
    [HA_COLUMN_ALIGNMENTS] = 1,
    [HA_COLUMN_TIMES] = HA_VARINT_MAX,
};

static size_t packed_max(void) {
  return HA_BLOCK_HEADER_BYTES + ZSTD_compressBound(HA_BLOCK_PLAIN_MAX);
}

// Keeps the first reason.
static bool fail(ha_trace_writer *writer, const char *what, const char *detail) {
  if (writer->error[0] == 0)
    snprintf(writer->error, sizeof writer->error, "%.4095s: %.200s", what, detail);
  return false;
}

static bool put(ha_trace_writer *writer, const uint8_t *bytes, size_t count) {
  while (count != 0) {
    ssize_t put = write(writer->fd, bytes, count);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return fail(writer, "cannot write the trace", strerror(errno));
    bytes += put;
    count -= (size_t)put;
  }
  return true;
}

static bool put_block(ha_trace_writer *writer, uint32_t type, const uint8_t *plain, size_t bytes,
                      uint32_t operations) {
  uint8_t *payload = writer->packed + HA_BLOCK_HEADER_BYTES;
  size_t packed = ZSTD_compressCCtx(writer->zstd, payload, packed_max() - HA_BLOCK_HEADER_BYTES, plain, bytes,
                                    ZSTD_LEVEL);
  if (ZSTD_isError(packed))
    return fail(writer, "cannot compress", ZSTD_getErrorName(packed));
  ha_block_header header = {.type = type,
                            .packed_bytes = (uint32_t)packed,
                            .plain_bytes = (uint32_t)bytes,
                            .operations = operations,
                            .payload_crc = ha_crc32c(payload, packed)};
  ha_encode_block_header(writer->packed, &header);
  return put(writer, writer->packed, HA_BLOCK_HEADER_BYTES + packed);
}

static bool put_text(ha_trace_writer *writer, const char *meta) {
  size_t bytes = strlen(meta);
  if (bytes > HA_META_MAX)
    return fail(writer, "META text", "longer than 4 MiB");
  for (size_t at = 0; at < bytes; at += HA_TEXT_MAX) {
    size_t part = bytes - at < HA_TEXT_MAX ? bytes - at : HA_TEXT_MAX;
    if (!put_block(writer, HA_BLOCK_META, (const uint8_t *)meta + at, part, 0))
      return false;
  }
  return true;
}

static bool put_threads(ha_trace_writer *writer) {
  const size_t most = HA_TEXT_MAX / HA_THREAD_BYTES;
  while (writer->threads_written < writer->state.thread_count) {
    size_t count = writer->state.thread_count - writer->threads_written;
    if (count > most)
      count = most;
    for (size_t i = 0; i < count; i++)
      ha_encode_thread(writer->plain + i * HA_THREAD_BYTES,
                       &writer->state.threads[writer->threads_written + i]);
    if (!put_block(writer, HA_BLOCK_THRD, writer->plain, count * HA_THREAD_BYTES, 0))
      return false;
    writer->threads_written += count;
  }
  return true;
}

static void close_run(ha_trace_writer *writer) {
  if (writer->run_length == 0)
    return;
  uint8_t **end = &writer->ends[HA_COLUMN_THREADS];
  *end = ha_put_varint(*end, writer->run_thread);
  *end = ha_put_varint(*end, writer->run_length);
  writer->run_length = 0;
}

static void start_block(ha_trace_writer *writer) {
  for (unsigned i = 0; i < HA_COLUMNS; i++)
    writer->ends[i] = writer->columns[i];
  writer->operations = 0;
  writer->base_object = writer->state.next_object;
  writer->base_time = writer->state.last_time;
}

static bool flush(ha_trace_writer *writer) {
  close_run(writer);
  if (!put_threads(writer))
    return false;
  if (writer->operations == 0)
    return true;
  uint8_t *end = ha_put_varint(writer->plain, writer->base_object);
  end = ha_put_varint(end, writer->base_time);
  for (unsigned i = 0; i < HA_COLUMNS; i++)
    end = ha_put_varint(end, (uint64_t)(writer->ends[i] - writer->columns[i]));
  for (unsigned i = 0; i < HA_COLUMNS; i++) {
    size_t bytes = (size_t)(writer->ends[i] - writer->columns[i]);
    memcpy(end, writer->columns[i], bytes);
    end += bytes;
  }
  if (!put_block(writer, HA_BLOCK_OPER, writer->plain, (size_t)(end - writer->plain), writer->operations))
    return false;
  start_block(writer);
  return true;
}

// ---- Public functions ----

static bool allocate(ha_trace_writer *writer) {
  writer->plain = ha_trace_pages(HA_BLOCK_PLAIN_MAX);
  writer->packed = ha_trace_pages(packed_max());
  writer->zstd = ZSTD_createCCtx();
  bool whole = writer->plain != NULL && writer->packed != NULL && writer->zstd != NULL;
  for (unsigned i = 0; i < HA_COLUMNS; i++) {
    writer->columns[i] = ha_trace_pages(column_width[i] * HA_TRACE_BLOCK_OPS);
    whole = whole && writer->columns[i] != NULL;
  }
  return whole || fail(writer, "cannot write the trace", "not enough memory");
}

static void release(ha_trace_writer *writer) {
  if (writer->fd >= 0) {
    close(writer->fd);
    unlink(writer->unfinished);
  }
  ha_trace_state_clear(&writer->state);
  for (unsigned i = 0; i < HA_COLUMNS; i++)
    ha_trace_pages_free(writer->columns[i], column_width[i] * HA_TRACE_BLOCK_OPS);
  ha_trace_pages_free(writer->plain, HA_BLOCK_PLAIN_MAX);
  ha_trace_pages_free(writer->packed, packed_max());
  ZSTD_freeCCtx(writer->zstd);
  ha_trace_pages_free(writer, sizeof *writer);
}

static bool create(ha_trace_writer *writer, const char *path, const char *meta) {
  if (strlen(path) >= sizeof writer->path)
    return fail(writer, "cannot write the trace", "its path is too long");
  snprintf(writer->path, sizeof writer->path, "%s", path);
  snprintf(writer->unfinished, sizeof writer->unfinished, "%s.%ld.part", path, (long)getpid());
  writer->fd = open(writer->unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer->fd < 0)
    return fail(writer, path, strerror(errno));
  if (!allocate(writer))
    return false;
  start_block(writer);
  uint8_t header[HA_HEADER_BYTES];
  ha_encode_header(header, 0, writer->clock_start_ns);
  return put(writer, header, sizeof header) && put_text(writer, meta);
}

ha_trace_writer *ha_trace_create(const char *path, uint64_t clock_start_ns, const char *meta, char *why,
                                 size_t why_size) {
  ha_trace_writer *writer = ha_trace_pages(sizeof *writer);
  if (writer == NULL) {
    snprintf(why, why_size, "%s: not enough memory", path);
    return NULL;
  }
  writer->fd = -1;
  writer->clock_start_ns = clock_start_ns;
  if (create(writer, path, meta))
    return writer;
  snprintf(why, why_size, "%s", writer->error);
  release(writer);
  return NULL;
}

bool ha_trace_add_thread(ha_trace_writer *writer, const ha_trace_thread *thread) {
  if (writer->error[0] != 0)
    return false;
  const char *wrong = ha_trace_state_add_thread(&writer->state, thread);
  return wrong == NULL || fail(writer, "thread refused", wrong);
}

bool ha_trace_add_meta(ha_trace_writer *writer, const char *text) {
  return writer->error[0] == 0 && flush(writer) && put_text(writer, text);
}

bool ha_trace_write(ha_trace_writer *writer, const ha_op *op) {
  if (writer->error[0] != 0)
    return false;
  uint64_t before = writer->state.last_time;
  const char *wrong = ha_trace_state_apply(&writer->state, op);
  if (wrong != NULL)
    return fail(writer, "operation refused", wrong);
  if (op->thread != writer->run_thread)
    close_run(writer);
  writer->run_thread = op->thread;
  writer->run_length++;
  uint8_t **ends = writer->ends;
  *ends[HA_COLUMN_KINDS]++ = (uint8_t)(op->kind | (op->flags & HA_OP_FAILED ? HA_KIND_FAILED : 0));
  ends[HA_COLUMN_TIMES] = ha_put_varint(ends[HA_COLUMN_TIMES], op->time_ns - before);
  if (ha_kind_has_size(op->kind))
    ends[HA_COLUMN_SIZES] = ha_put_varint(ends[HA_COLUMN_SIZES], op->size);
  if (ha_kind_has_alignment(op->kind))
    *ends[HA_COLUMN_ALIGNMENTS]++ = op->alignment_log2;
  if (ha_kind_refers(op->kind))
    ends[HA_COLUMN_OBJECTS] =
        ha_put_varint(ends[HA_COLUMN_OBJECTS], writer->state.next_object - 1 - op->object);
  if (++writer->operations == HA_TRACE_BLOCK_OPS)
    return flush(writer);
  return true;
}

static bool finish(ha_trace_writer *writer, uint32_t flags) {
  if (writer->error[0] != 0 || !flush(writer))
    return false;
  writer->state.totals.flags = flags;
  size_t bytes = ha_encode_totals(writer->plain, &writer->state.totals);
  if (!put_block(writer, HA_BLOCK_DONE, writer->plain, bytes, 0))
    return false;
  uint8_t header[HA_HEADER_BYTES];
  ha_encode_header(header, flags, writer->clock_start_ns);
  if (pwrite(writer->fd, header, sizeof header, 0) != sizeof header)
    return fail(writer, "cannot write the trace", strerror(errno));
  // A full disk may show only here.
  if (close(writer->fd) != 0) {
    writer->fd = -1;
    unlink(writer->unfinished);
    return fail(writer, "cannot write the trace", strerror(errno));
  }
  writer->fd = -1;
  if (rename(writer->unfinished, writer->path) != 0) {
    fail(writer, writer->path, strerror(errno));
    unlink(writer->unfinished);
    return false;
  }
  return true;
}

bool ha_trace_finish(ha_trace_writer *writer, uint32_t flags, ha_trace_totals *totals, char *why,
                     size_t why_size) {
  bool done = finish(writer, flags);
  if (done && totals != NULL)
    *totals = writer->state.totals;
  if (!done)
    snprintf(why, why_size, "%s", writer->error);
  release(writer);
  return done;
}

void ha_trace_abandon(ha_trace_writer *writer) {
  if (writer != NULL)
    release(writer);
}

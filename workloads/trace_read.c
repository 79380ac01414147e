// trace_read.c: the trace reader: one block at a time into bounded buffers, every length checked before it is
// used. It also runs inside the worker, so it takes all its memory from mmap (zstd's too) and uses no stdio.
#define ZSTD_STATIC_LINKING_ONLY // ZSTD_initStaticDCtx: a decoder in memory that we give
#include "workloads/trace_codec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define PACKED_MAX (HA_BLOCK_PLAIN_MAX + HA_BLOCK_PLAIN_MAX / 128 + 1024)
#define INPUT_MAX  ((size_t)256 << 10)

struct ha_trace_reader {
  int fd;
  char path[512];
  char error[1024]; // "" while all is well
  uint64_t offset;  // of the next byte to take from the file
  uint64_t block_offset;
  uint32_t header_flags;
  uint64_t clock_start_ns;
  bool done, stopped;
  // Bytes read ahead of `offset`.
  uint8_t *input;
  size_t input_at, input_end;
  uint8_t *packed, *plain;
  void *zstd_memory;
  ZSTD_DCtx *zstd;
  char *meta; // HA_META_MAX + 1
  size_t meta_bytes;
  ha_trace_totals stored;
  ha_trace_state state;
  // The OPER block being decoded.
  ha_span columns[HA_COLUMNS];
  uint32_t operations_left;
  uint64_t run_thread, run_left;
};

static int fail(ha_trace_reader *reader, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(ha_trace_reader *reader, uint64_t offset, const char *format, ...) {
  char what[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  snprintf(reader->error, sizeof reader->error, "%s: byte %llu: %s", reader->path, (unsigned long long)offset,
           what);
  reader->stopped = true;
  return -1;
}

#define RECOVER "copy the file anew or record again"

static int cut_off(ha_trace_reader *reader, const char *where) {
  return fail(reader, reader->offset, "the trace is cut off %s; " RECOVER, where);
}

// ---- Input ----

// Takes up to `count` bytes; fewer only at the end of the file. False after a read error.
static bool take(ha_trace_reader *reader, uint8_t *out, size_t count, size_t *taken) {
  for (*taken = 0; *taken < count;) {
    if (reader->input_at == reader->input_end) {
      ssize_t got = read(reader->fd, reader->input, INPUT_MAX);
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0) {
        fail(reader, reader->offset, "cannot read: %s", strerrordesc_np(errno));
        return false;
      }
      if (got == 0)
        return true;
      reader->input_at = 0;
      reader->input_end = (size_t)got;
    }
    size_t part = reader->input_end - reader->input_at;
    if (part > count - *taken)
      part = count - *taken;
    memcpy(out + *taken, reader->input + reader->input_at, part);
    reader->input_at += part;
    reader->offset += part;
    *taken += part;
  }
  return true;
}

// ---- Opening and closing ----

static bool allocate(ha_trace_reader *reader) {
  size_t zstd_bytes = ZSTD_estimateDCtxSize();
  reader->input = ha_trace_pages(INPUT_MAX);
  reader->packed = ha_trace_pages(PACKED_MAX);
  reader->plain = ha_trace_pages(HA_BLOCK_PLAIN_MAX);
  reader->meta = ha_trace_pages(HA_META_MAX + 1);
  reader->zstd_memory = ha_trace_pages(zstd_bytes);
  if (reader->zstd_memory != NULL)
    reader->zstd = ZSTD_initStaticDCtx(reader->zstd_memory, zstd_bytes);
  return reader->input != NULL && reader->packed != NULL && reader->plain != NULL && reader->meta != NULL &&
         reader->zstd != NULL;
}

static int open_header(ha_trace_reader *reader, const char *path) {
  snprintf(reader->path, sizeof reader->path, "%s", path);
  reader->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  if (reader->fd < 0)
    return fail(reader, 0, "cannot open the trace: %s", strerrordesc_np(errno));
  if (!allocate(reader))
    return fail(reader, 0, "not enough memory to read a trace");
  uint8_t header[HA_HEADER_BYTES];
  size_t taken;
  if (!take(reader, header, sizeof header, &taken))
    return -1;
  if (taken == 0)
    return fail(reader, 0, "the file is empty, not a trace; make one with `heaparena record`");
  if (taken < sizeof header && memcmp(header, HA_TRACE_MAGIC, taken < 8 ? taken : 8) == 0)
    return cut_off(reader, "inside its header");
  if (taken < sizeof header)
    return fail(reader, 0, "not a trace (too short); make one with `heaparena record`");
  const char *wrong = ha_decode_header(header, &reader->header_flags, &reader->clock_start_ns);
  return wrong == NULL ? 0 : fail(reader, 0, "%s", wrong);
}

ha_trace_reader *ha_trace_open(const char *path, char *why, size_t why_size) {
  ha_trace_reader *reader = ha_trace_pages(sizeof *reader);
  if (reader == NULL) {
    snprintf(why, why_size, "%s: not enough memory to read a trace", path);
    return NULL;
  }
  reader->fd = -1;
  if (open_header(reader, path) == 0)
    return reader;
  snprintf(why, why_size, "%s", reader->error);
  ha_trace_close(reader);
  return NULL;
}

void ha_trace_close(ha_trace_reader *reader) {
  if (reader == NULL)
    return;
  if (reader->fd >= 0)
    close(reader->fd);
  ha_trace_state_clear(&reader->state);
  ha_trace_pages_free(reader->input, INPUT_MAX);
  ha_trace_pages_free(reader->packed, PACKED_MAX);
  ha_trace_pages_free(reader->plain, HA_BLOCK_PLAIN_MAX);
  ha_trace_pages_free(reader->meta, HA_META_MAX + 1);
  ha_trace_pages_free(reader->zstd_memory, ZSTD_estimateDCtxSize());
  ha_trace_pages_free(reader, sizeof *reader);
}

// ---- Blocks ----

static int read_meta(ha_trace_reader *reader, size_t bytes) {
  if (bytes > HA_META_MAX - reader->meta_bytes)
    return fail(reader, reader->block_offset, "more than 4 MiB of META text; " RECOVER);
  if (memchr(reader->plain, 0, bytes) != NULL)
    return fail(reader, reader->block_offset, "META text with a NUL in it; " RECOVER);
  memcpy(reader->meta + reader->meta_bytes, reader->plain, bytes);
  reader->meta_bytes += bytes;
  return 1;
}

static int read_threads(ha_trace_reader *reader, size_t bytes) {
  if (bytes % HA_THREAD_BYTES != 0)
    return fail(reader, reader->block_offset, "thread table of an odd size; " RECOVER);
  for (size_t at = 0; at < bytes; at += HA_THREAD_BYTES) {
    ha_trace_thread thread;
    ha_decode_thread(reader->plain + at, &thread);
    const char *wrong = ha_trace_state_add_thread(&reader->state, &thread);
    if (wrong != NULL)
      return fail(reader, reader->block_offset, "%s; " RECOVER, wrong);
  }
  return 1;
}

static int read_operations(ha_trace_reader *reader, size_t bytes, uint32_t operations) {
  ha_span plain = {reader->plain, reader->plain + bytes};
  uint64_t base_object = 0, base_time = 0, lengths[HA_COLUMNS] = {0};
  bool whole = ha_take_varint(&plain, &base_object) && ha_take_varint(&plain, &base_time);
  for (unsigned i = 0; i < HA_COLUMNS; i++)
    whole = whole && ha_take_varint(&plain, &lengths[i]);
  for (unsigned i = 0; whole && i < HA_COLUMNS; i++) {
    if (lengths[i] > (size_t)(plain.end - plain.at)) {
      whole = false;
      break;
    }
    reader->columns[i] = (ha_span){plain.at, plain.at + lengths[i]};
    plain.at += lengths[i];
  }
  if (!whole || plain.at != plain.end || lengths[HA_COLUMN_KINDS] != operations)
    return fail(reader, reader->block_offset, "columns do not fit their block; " RECOVER);
  if (base_object != reader->state.next_object || base_time != reader->state.last_time)
    return fail(reader, reader->block_offset, "a block is missing before this one; " RECOVER);
  reader->operations_left = operations;
  reader->run_left = 0;
  return 1;
}

static int read_done(ha_trace_reader *reader, size_t bytes) {
  if (!ha_decode_totals(reader->plain, bytes, &reader->stored))
    return fail(reader, reader->block_offset, "damaged totals; " RECOVER);
  ha_trace_totals *counted = &reader->state.totals;
  counted->flags = reader->stored.flags;
  if (memcmp(counted, &reader->stored, sizeof *counted) != 0)
    return fail(reader, reader->block_offset, "the totals do not agree with the operations; " RECOVER);
  if (reader->stored.flags != reader->header_flags)
    return fail(reader, reader->block_offset, "the header's flags differ from the totals'; " RECOVER);
  uint8_t more;
  size_t taken;
  if (!take(reader, &more, 1, &taken))
    return -1;
  if (taken != 0)
    return fail(reader, reader->offset - 1, "bytes after the trace's end; cut the file here or " RECOVER);
  reader->done = reader->stopped = true;
  return 0;
}

// Reads the payload of a block into reader->plain. Returns 1, or -1 after fail().
static int read_payload(ha_trace_reader *reader, const ha_block_header *header) {
  size_t taken;
  if (!take(reader, reader->packed, header->packed_bytes, &taken))
    return -1;
  if (taken < header->packed_bytes)
    return cut_off(reader, "inside a block");
  if (ha_crc32c(reader->packed, taken) != header->payload_crc)
    return fail(reader, reader->block_offset, "damaged block (checksum differs); " RECOVER);
  size_t plain = ZSTD_decompressDCtx(reader->zstd, reader->plain, header->plain_bytes, reader->packed, taken);
  if (ZSTD_isError(plain) || plain != header->plain_bytes)
    return fail(reader, reader->block_offset, "damaged block (%s); " RECOVER,
                ZSTD_isError(plain) ? ZSTD_getErrorName(plain) : "shorter than announced");
  return 1;
}

// Returns 1 after a block, 0 after the last one, -1 after fail().
static int read_block(ha_trace_reader *reader) {
  uint8_t bytes[HA_BLOCK_HEADER_BYTES];
  size_t taken;
  reader->block_offset = reader->offset;
  if (!take(reader, bytes, sizeof bytes, &taken))
    return -1;
  if (taken == 0)
    return cut_off(reader, "between two blocks (its DONE block is missing)");
  if (taken < sizeof bytes)
    return cut_off(reader, "inside a block header");
  ha_block_header header;
  const char *wrong = ha_decode_block_header(bytes, &header);
  if (wrong != NULL)
    return fail(reader, reader->block_offset, "%s; " RECOVER, wrong);
  if (read_payload(reader, &header) < 0)
    return -1;
  switch (header.type) {
  case HA_BLOCK_META:
    return read_meta(reader, header.plain_bytes);
  case HA_BLOCK_THRD:
    return read_threads(reader, header.plain_bytes);
  case HA_BLOCK_OPER:
    return read_operations(reader, header.plain_bytes, header.operations);
  default: // only DONE is left: ha_decode_block_header knows the four
    return read_done(reader, header.plain_bytes);
  }
}

// ---- Operations ----

static bool take_thread(ha_trace_reader *reader, ha_op *op) {
  if (reader->run_left == 0) {
    ha_span *threads = &reader->columns[HA_COLUMN_THREADS];
    if (!ha_take_varint(threads, &reader->run_thread) || !ha_take_varint(threads, &reader->run_left) ||
        reader->run_left == 0 || reader->run_left > reader->operations_left ||
        reader->run_thread > UINT32_MAX)
      return false;
  }
  reader->run_left--;
  op->thread = (uint32_t)reader->run_thread;
  return true;
}

// Decodes one operation from the columns; false if they do not hold one.
static bool take_operation(ha_trace_reader *reader, ha_op *op) {
  ha_span *columns = reader->columns;
  uint64_t delta;
  uint8_t kind = *columns[HA_COLUMN_KINDS].at++;
  *op = (ha_op){.kind = kind & 15, .flags = kind & HA_KIND_FAILED ? HA_OP_FAILED : 0, .reserved = kind >> 5};
  if (!take_thread(reader, op) || !ha_take_varint(&columns[HA_COLUMN_TIMES], &delta) ||
      delta > UINT64_MAX - reader->state.last_time)
    return false;
  op->time_ns = reader->state.last_time + delta;
  if (ha_kind_has_size(op->kind) && !ha_take_varint(&columns[HA_COLUMN_SIZES], &op->size))
    return false;
  if (ha_kind_has_alignment(op->kind)) {
    if (columns[HA_COLUMN_ALIGNMENTS].at == columns[HA_COLUMN_ALIGNMENTS].end)
      return false;
    op->alignment_log2 = *columns[HA_COLUMN_ALIGNMENTS].at++;
  }
  if (ha_kind_allocates(op->kind)) {
    op->object = reader->state.next_object;
  } else if (ha_kind_refers(op->kind)) {
    if (!ha_take_varint(&columns[HA_COLUMN_OBJECTS], &delta) || delta >= reader->state.next_object)
      return false;
    op->object = reader->state.next_object - 1 - delta;
  }
  return true;
}

static bool columns_used_up(const ha_trace_reader *reader) {
  for (unsigned i = 0; i < HA_COLUMNS; i++)
    if (reader->columns[i].at != reader->columns[i].end)
      return false;
  return true;
}

int ha_trace_next(ha_trace_reader *reader, ha_op *op) {
  if (reader->stopped)
    return reader->done ? 0 : -1;
  while (reader->operations_left == 0) {
    int got = read_block(reader);
    if (got <= 0)
      return got;
  }
  uint64_t number = reader->state.totals.operations;
  if (!take_operation(reader, op))
    return fail(reader, reader->block_offset, "operation %llu: damaged columns; " RECOVER,
                (unsigned long long)number);
  const char *wrong = ha_trace_state_apply(&reader->state, op);
  if (wrong != NULL)
    return fail(reader, reader->block_offset, "operation %llu: %s; record again", (unsigned long long)number,
                wrong);
  if (--reader->operations_left == 0 && !columns_used_up(reader))
    return fail(reader, reader->block_offset, "columns longer than their operations; " RECOVER);
  return 1;
}

const char *ha_trace_error(const ha_trace_reader *reader) {
  return reader->error;
}
const ha_trace_totals *ha_trace_get_totals(const ha_trace_reader *reader) {
  return &reader->state.totals;
}
const char *ha_trace_meta(const ha_trace_reader *reader) {
  return reader->meta;
}
uint64_t ha_trace_clock_start(const ha_trace_reader *reader) {
  return reader->clock_start_ns;
}

const ha_trace_thread *ha_trace_threads(const ha_trace_reader *reader, size_t *count) {
  *count = reader->state.thread_count;
  return reader->state.threads;
}

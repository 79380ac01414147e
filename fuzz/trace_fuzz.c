// trace_fuzz.c: libFuzzer target for the trace reader: any bytes give operations that keep the rules, or one
// error. Checksums would stop the fuzzer at the door: they are put right in a copy of the input before it is
// read, so that what lies behind them is reached. The reader takes files: the copy is a file in memory.
#include "workloads/trace_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

// A few hundred packed bytes can stand for millions of operations: enough is enough.
#define MOST_OPERATIONS 200000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "trace_fuzz: %s\n", what);
    abort();
  }
}

// Makes header, block headers and payload checksums right, as far as the blocks' lengths lead.
static void mend(uint8_t *bytes, size_t size) {
  if (size < HA_HEADER_BYTES)
    return;
  ha_put32(bytes + 60, ha_crc32c(bytes, 60));
  for (size_t at = HA_HEADER_BYTES; size - at >= HA_BLOCK_HEADER_BYTES;) {
    size_t payload = ha_get32(bytes + at + 4), left = size - at - HA_BLOCK_HEADER_BYTES;
    if (payload <= left)
      ha_put32(bytes + at + 16, ha_crc32c(bytes + at + HA_BLOCK_HEADER_BYTES, payload));
    ha_put32(bytes + at + 20, ha_crc32c(bytes + at, 20));
    if (payload > left)
      return;
    at += HA_BLOCK_HEADER_BYTES + payload;
  }
}

// Input that begins with 'P' is a plain OPER block: it is packed and put into a file with a header and a
// thread. So the fuzzer need not learn zstd to reach the columns.
static size_t wrap(const uint8_t *data, size_t size, uint8_t *out, size_t capacity) {
  if (size < 3 || data[0] != 'P') {
    size_t kept = size < capacity ? size : capacity;
    memcpy(out, data, kept);
    mend(out, kept);
    return kept;
  }
  uint8_t threads[2 * HA_THREAD_BYTES];
  ha_encode_thread(threads, &(ha_trace_thread){.name = "first"});
  ha_encode_thread(threads + HA_THREAD_BYTES, &(ha_trace_thread){.thread = 1, .name = "second"});
  const struct {
    uint32_t type, operations;
    const uint8_t *plain;
    size_t bytes;
  } blocks[] = {{HA_BLOCK_THRD, 0, threads, sizeof threads}, {HA_BLOCK_OPER, data[1], data + 2, size - 2}};
  ha_encode_header(out, 0, 0);
  size_t at = HA_HEADER_BYTES;
  for (unsigned i = 0; i < 2; i++) {
    uint8_t *payload = out + at + HA_BLOCK_HEADER_BYTES;
    size_t packed =
        ZSTD_compress(payload, capacity - at - HA_BLOCK_HEADER_BYTES, blocks[i].plain, blocks[i].bytes, 1);
    if (ZSTD_isError(packed))
      return at;
    ha_block_header header = {blocks[i].type, (uint32_t)packed, (uint32_t)blocks[i].bytes,
                              blocks[i].operations, ha_crc32c(payload, packed)};
    ha_encode_block_header(out + at, &header);
    at += HA_BLOCK_HEADER_BYTES + packed;
  }
  return at;
}

static void read_through(const char *path) {
  char why[1024] = "";
  ha_trace_reader *reader = ha_trace_open(path, why, sizeof why);
  if (reader == NULL) {
    require(why[0] != 0 && strchr(why, '\n') == NULL, "a refusal without one line of reason");
    return;
  }
  // What the reader lets through, the same rules must let through again.
  ha_trace_state state = {0};
  ha_op op;
  int got = 1;
  for (unsigned i = 0; i < MOST_OPERATIONS && (got = ha_trace_next(reader, &op)) > 0; i++) {
    size_t count;
    const ha_trace_thread *threads = ha_trace_threads(reader, &count);
    while (state.thread_count < count)
      require(ha_trace_state_add_thread(&state, &threads[state.thread_count]) == NULL,
              "a false thread table");
    require(ha_trace_state_apply(&state, &op) == NULL, "an operation that breaks the rules");
  }
  if (got < 0)
    require(ha_trace_error(reader)[0] != 0 && strchr(ha_trace_error(reader), '\n') == NULL,
            "an error without reason");
  if (got == 0)
    require(ha_trace_get_totals(reader)->checksum == state.totals.checksum,
            "totals that are not those of the operations");
  ha_trace_state_clear(&state);
  ha_trace_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int fd = -1;
  static char path[64];
  static uint8_t file[1 << 17];
  if (fd < 0) {
    fd = memfd_create("trace_fuzz", MFD_CLOEXEC);
    require(fd >= 0, "no memory for the input");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  size_t bytes = wrap(data, size, file, sizeof file);
  require(ftruncate(fd, 0) == 0 && pwrite(fd, file, bytes, 0) == (ssize_t)bytes, "no memory for the input");
  read_through(path);
  return 0;
}

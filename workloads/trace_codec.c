// trace_codec.c: bytes of the trace format: CRC-32C, integers, header, block headers, threads, totals,
// checksum. The columns of operations are described in trace_codec.h, written in trace_write.c and read in
// trace_read.c.
#include "workloads/trace_codec.h"

#include <string.h>

// ---- CRC-32C (Castagnoli), reflected, four bits at a time ----
// 16 entries suffice: packed payloads are a few bytes
// per operation, and this runs at hundreds of MB/s.

static const uint32_t crc_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t ha_crc32c(const void *bytes, size_t count) {
  const uint8_t *at = bytes;
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < count; i++) {
    crc ^= at[i];
    crc = (crc >> 4) ^ crc_nibble[crc & 15];
    crc = (crc >> 4) ^ crc_nibble[crc & 15];
  }
  return ~crc;
}

// ---- Integers ----

void ha_put32(uint8_t *at, uint32_t value) {
  for (unsigned i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

static void put64(uint8_t *at, uint64_t value) {
  for (unsigned i = 0; i < 8; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

uint32_t ha_get32(const uint8_t *at) {
  uint32_t value = 0;
  for (unsigned i = 0; i < 4; i++)
    value |= (uint32_t)at[i] << (8 * i);
  return value;
}

static uint64_t get64(const uint8_t *at) {
  return ha_get32(at) | (uint64_t)ha_get32(at + 4) << 32;
}

uint8_t *ha_put_varint(uint8_t *at, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    *at++ = (uint8_t)(value | 0x80);
  *at++ = (uint8_t)value;
  return at;
}

// ---- Header and block headers ----

static const char magic[8] = HA_TRACE_MAGIC; // without its NUL

void ha_encode_header(uint8_t out[HA_HEADER_BYTES], uint32_t flags, uint64_t clock_start_ns) {
  memset(out, 0, HA_HEADER_BYTES);
  memcpy(out, magic, sizeof magic);
  out[8] = HA_TRACE_VERSION;
  out[10] = HA_HEADER_BYTES;
  ha_put32(out + 12, flags);
  put64(out + 16, clock_start_ns);
  ha_put32(out + 60, ha_crc32c(out, 60));
}

const char *ha_decode_header(const uint8_t in[HA_HEADER_BYTES], uint32_t *flags, uint64_t *clock_start_ns) {
  if (memcmp(in, magic, sizeof magic) != 0)
    return "not a trace (it does not begin with HEAPTRC); make one with `heaparena record`";
  // The version is looked at before the checksum: a newer header may be laid out otherwise.
  if ((in[8] | in[9] << 8) > HA_TRACE_VERSION)
    return "written by a newer heaparena than this one; update heaparena to read it";
  if (ha_crc32c(in, 60) != ha_get32(in + 60))
    return "damaged header (checksum differs); copy the file anew or record again";
  if ((in[8] | in[9] << 8) == 0 || (in[10] | in[11] << 8) != HA_HEADER_BYTES)
    return "header of an unknown layout; record again";
  *flags = ha_get32(in + 12);
  *clock_start_ns = get64(in + 16);
  return NULL;
}

void ha_encode_block_header(uint8_t out[HA_BLOCK_HEADER_BYTES], const ha_block_header *header) {
  ha_put32(out, header->type);
  ha_put32(out + 4, header->packed_bytes);
  ha_put32(out + 8, header->plain_bytes);
  ha_put32(out + 12, header->operations);
  ha_put32(out + 16, header->payload_crc);
  ha_put32(out + 20, ha_crc32c(out, 20));
}

// Most plain bytes that a block of this type and number of operations may have; 0 if it may not be.
static size_t plain_limit(const ha_block_header *header) {
  switch (header->type) {
  case HA_BLOCK_META:
  case HA_BLOCK_THRD:
    return header->operations == 0 ? HA_TEXT_MAX : 0;
  case HA_BLOCK_DONE:
    return header->operations == 0 ? HA_DONE_MAX : 0;
  case HA_BLOCK_OPER:
    return header->operations != 0 && header->operations <= HA_TRACE_BLOCK_OPS ? HA_BLOCK_PLAIN_MAX : 0;
  default:
    return 0;
  }
}

const char *ha_decode_block_header(const uint8_t in[HA_BLOCK_HEADER_BYTES], ha_block_header *header) {
  if (ha_crc32c(in, 20) != ha_get32(in + 20))
    return "damaged block header (checksum differs)";
  *header = (ha_block_header){.type = ha_get32(in),
                              .packed_bytes = ha_get32(in + 4),
                              .plain_bytes = ha_get32(in + 8),
                              .operations = ha_get32(in + 12),
                              .payload_crc = ha_get32(in + 16)};
  size_t limit = plain_limit(header);
  if (limit == 0)
    return "block of unknown type or impossible operation count";
  if (header->plain_bytes == 0 || header->plain_bytes > limit)
    return "block of impossible size";
  // zstd's worst case is a little above the plain size.
  if (header->packed_bytes == 0 ||
      header->packed_bytes > header->plain_bytes + header->plain_bytes / 128 + 1024)
    return "block of impossible packed size";
  return NULL;
}

// ---- Threads and totals ----

void ha_encode_thread(uint8_t out[HA_THREAD_BYTES], const ha_trace_thread *thread) {
  ha_put32(out, thread->thread);
  ha_put32(out + 4, thread->parent);
  ha_put32(out + 8, thread->process);
  ha_put32(out + 12, thread->system_id);
  memset(out + 16, 0, sizeof thread->name);
  memcpy(out + 16, thread->name, strnlen(thread->name, sizeof thread->name - 1));
}

void ha_decode_thread(const uint8_t in[HA_THREAD_BYTES], ha_trace_thread *thread) {
  *thread = (ha_trace_thread){.thread = ha_get32(in),
                              .parent = ha_get32(in + 4),
                              .process = ha_get32(in + 8),
                              .system_id = ha_get32(in + 12)};
  memcpy(thread->name, in + 16, sizeof thread->name - 1);
}

// The totals as a row of 64-bit numbers: the fixed ones first, then by_kind and the curve with their lengths.
static size_t gather(const ha_trace_totals *totals, uint64_t out[HA_DONE_MAX / 8]) {
  size_t n = 0;
  const uint64_t fixed[] = {
      totals->operations,      totals->objects,
      totals->threads,         totals->processes,
      totals->live_bytes_peak, totals->live_objects_peak,
      totals->live_bytes_end,  totals->requested_bytes,
      totals->remote_frees,    totals->duration_ns,
      totals->checksum,        totals->flags,
      totals->curve_step,      HA_OP_KINDS,
      totals->curve_points,
  };
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    out[n++] = fixed[i];
  for (size_t i = 0; i < HA_OP_KINDS; i++)
    out[n++] = totals->by_kind[i];
  for (size_t i = 0; i < totals->curve_points; i++)
    out[n++] = totals->curve[i];
  return n;
}

size_t ha_encode_totals(uint8_t out[HA_DONE_MAX], const ha_trace_totals *totals) {
  uint64_t row[HA_DONE_MAX / 8];
  size_t n = gather(totals, row);
  for (size_t i = 0; i < n; i++)
    put64(out + 8 * i, row[i]);
  return 8 * n;
}

bool ha_decode_totals(const uint8_t *in, size_t bytes, ha_trace_totals *totals) {
  enum { FIXED_COUNT = 15 };
  const size_t first = FIXED_COUNT; // where by_kind begins
  if (bytes % 8 != 0 || bytes < 8 * first)
    return false;
  uint64_t fixed[FIXED_COUNT];
  for (size_t i = 0; i < first; i++)
    fixed[i] = get64(in + 8 * i);
  uint64_t kinds = fixed[13], points = fixed[14];
  if (kinds != HA_OP_KINDS || points > HA_TRACE_CURVE_POINTS || fixed[11] > UINT32_MAX ||
      bytes != 8 * (first + (size_t)kinds + (size_t)points))
    return false;
  *totals = (ha_trace_totals){.operations = fixed[0],
                              .objects = fixed[1],
                              .threads = fixed[2],
                              .processes = fixed[3],
                              .live_bytes_peak = fixed[4],
                              .live_objects_peak = fixed[5],
                              .live_bytes_end = fixed[6],
                              .requested_bytes = fixed[7],
                              .remote_frees = fixed[8],
                              .duration_ns = fixed[9],
                              .checksum = fixed[10],
                              .flags = (uint32_t)fixed[11],
                              .curve_step = fixed[12],
                              .curve_points = (uint32_t)points};
  for (size_t i = 0; i < HA_OP_KINDS; i++)
    totals->by_kind[i] = get64(in + 8 * (first + i));
  for (size_t i = 0; i < points; i++)
    totals->curve[i] = get64(in + 8 * (first + HA_OP_KINDS + i));
  return true;
}

uint64_t ha_trace_checksum(uint64_t sum, const ha_op *op) {
  // Multiply-xorshift rounds; order matters because each round is not commutative with the next.
  const uint64_t multiplier = 0xbf58476d1ce4e5b9u;
  uint64_t meta = (uint64_t)op->thread << 32 | (uint64_t)op->kind << 24 | (uint64_t)op->flags << 16 |
                  (uint64_t)op->alignment_log2 << 8 | op->reserved;
  sum = (sum ^ (op->object + 0x9e3779b97f4a7c15u)) * multiplier;
  sum = ((sum ^ (sum >> 31)) + op->size) * multiplier;
  sum = ((sum ^ (sum >> 29)) + meta) * multiplier;
  return sum ^ (sum >> 32);
}

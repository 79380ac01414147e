// trace_codec.h: what the trace's reader and writer share and nobody else sees: the byte layout of header,
// blocks, columns and totals, and the state that checks a sequence of operations while counting its totals.
#ifndef HEAPARENA_WORKLOADS_TRACE_CODEC_H
#define HEAPARENA_WORKLOADS_TRACE_CODEC_H

#include "workloads/trace.h"
#include "workloads/trace_map.h"

// ---- Bytes ----

#define HA_VARINT_MAX ((size_t)10) // bytes of the longest varint (LEB128, unsigned)

// CRC-32C (Castagnoli) of the bytes.
uint32_t ha_crc32c(const void *bytes, size_t count);

// Little-endian integers at any address.
void ha_put32(uint8_t *at, uint32_t value);
uint32_t ha_get32(const uint8_t *at);

// Writes `value` (at most HA_VARINT_MAX bytes) and returns the byte behind it.
uint8_t *ha_put_varint(uint8_t *at, uint64_t value);

// A span of bytes being read from its front.
typedef struct ha_span {
  const uint8_t *at;
  const uint8_t *end;
} ha_span;

// Takes a varint off the front; false if it is cut off or does not fit 64 bits.
static inline bool ha_take_varint(ha_span *span, uint64_t *value) {
  if (span->at < span->end && *span->at < 0x80) {
    *value = *span->at++;
    return true;
  }
  uint64_t sum = 0;
  for (unsigned shift = 0; shift < 64 && span->at < span->end; shift += 7) {
    uint8_t byte = *span->at++;
    if (shift == 63 && byte > 1)
      return false;
    sum |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = sum;
      return true;
    }
  }
  return false;
}

// ---- Header and blocks ----

#define HA_HEADER_BYTES       64
#define HA_BLOCK_HEADER_BYTES 24
#define HA_THREAD_BYTES       ((size_t)48) // one thread in a THRD block
#define HA_TEXT_MAX           (1u << 20)   // most plain bytes of a META or THRD block
#define HA_META_MAX           (4u << 20)   // most META text in one trace
#define HA_THREADS_MAX        (1u << 20)   // most threads in one trace
#define HA_DONE_MAX           4096         // most plain bytes of the DONE block

#define HA_BLOCK_TYPE(a, b, c, d)                                                                            \
  ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define HA_BLOCK_META HA_BLOCK_TYPE('M', 'E', 'T', 'A')
#define HA_BLOCK_THRD HA_BLOCK_TYPE('T', 'H', 'R', 'D')
#define HA_BLOCK_OPER HA_BLOCK_TYPE('O', 'P', 'E', 'R')
#define HA_BLOCK_DONE HA_BLOCK_TYPE('D', 'O', 'N', 'E')

typedef struct ha_block_header {
  uint32_t type, packed_bytes, plain_bytes, operations, payload_crc;
} ha_block_header;

// Writes the file's first bytes.
void ha_encode_header(uint8_t out[HA_HEADER_BYTES], uint32_t flags, uint64_t clock_start_ns);
// NULL, or what is wrong with the header and what to do about it.
const char *ha_decode_header(const uint8_t in[HA_HEADER_BYTES], uint32_t *flags, uint64_t *clock_start_ns);

// Writes what stands before a block.
void ha_encode_block_header(uint8_t out[HA_BLOCK_HEADER_BYTES], const ha_block_header *header);
// NULL, or what is wrong with it; checks the sizes against the limits above.
const char *ha_decode_block_header(const uint8_t in[HA_BLOCK_HEADER_BYTES], ha_block_header *header);

// One entry of the thread table, written and read.
void ha_encode_thread(uint8_t out[HA_THREAD_BYTES], const ha_trace_thread *thread);
void ha_decode_thread(const uint8_t in[HA_THREAD_BYTES], ha_trace_thread *thread);

// Returns the bytes written, at most HA_DONE_MAX.
size_t ha_encode_totals(uint8_t out[HA_DONE_MAX], const ha_trace_totals *totals);
bool ha_decode_totals(const uint8_t *in, size_t bytes, ha_trace_totals *totals);

// ---- Columns of an OPER block ----
//
// Plain payload: varints base object, base time, then the byte length of each column; then the columns:
//   threads     runs: varint thread, varint number of operations that follow one another on it
//   kinds       one byte each: kind, plus 0x10 if failed
//   objects     varint distance from the newest object (0: the newest), for operations on an existing object;
//               an allocation's object is the next number and takes no space
//   sizes       varint, for operations that have one
//   alignments  one byte each (log2), for ALIGNED_ALLOC, POSIX_MEMALIGN and FREE_SIZED
//   times       varint ns since the operation before
// Base object and base time are those after the block before, so that a block lost between two others shows.

enum {
  HA_COLUMN_THREADS,
  HA_COLUMN_KINDS,
  HA_COLUMN_OBJECTS,
  HA_COLUMN_SIZES,
  HA_COLUMN_ALIGNMENTS,
  HA_COLUMN_TIMES,
  HA_COLUMNS
};

#define HA_KIND_FAILED 0x10u
// Most bytes that one operation takes in all columns together, and a block's own numbers.
#define HA_OP_PLAIN_MAX    (2 * HA_VARINT_MAX + 1 + HA_VARINT_MAX + HA_VARINT_MAX + 1 + HA_VARINT_MAX)
#define HA_BLOCK_PLAIN_MAX ((size_t)HA_TRACE_BLOCK_OPS * HA_OP_PLAIN_MAX + (2 + HA_COLUMNS) * HA_VARINT_MAX)

// What an operation's kind says of its fields.
static inline bool ha_kind_allocates(unsigned kind) {
  return kind == HA_OP_MALLOC || kind == HA_OP_CALLOC || kind == HA_OP_ALIGNED_ALLOC ||
         kind == HA_OP_POSIX_MEMALIGN;
}
static inline bool ha_kind_refers(unsigned kind) { // to an object that is already there
  return kind == HA_OP_FREE || kind == HA_OP_REALLOC || kind == HA_OP_FREE_SIZED;
}
static inline bool ha_kind_has_size(unsigned kind) {
  return ha_kind_allocates(kind) || kind == HA_OP_REALLOC || kind == HA_OP_FREE_SIZED ||
         kind == HA_OP_SPAWN || kind == HA_OP_JOIN;
}
static inline bool ha_kind_has_alignment(unsigned kind) {
  return kind == HA_OP_ALIGNED_ALLOC || kind == HA_OP_POSIX_MEMALIGN || kind == HA_OP_FREE_SIZED;
}

// ---- The state that checks and counts (trace_check.c) ----

typedef struct ha_trace_state {
  ha_trace_totals totals; // flags aside, true for the operations applied so far
  ha_trace_map live;      // object -> size, allocating thread
  ha_trace_thread *threads;
  uint8_t *thread_marks; // parallel to threads
  size_t thread_count, thread_capacity;
  uint64_t next_object, last_time, live_bytes;
} ha_trace_state;

// Both return NULL, or a constant string that says which rule is broken (or that memory is short).
const char *ha_trace_state_add_thread(ha_trace_state *state, const ha_trace_thread *thread);
const char *ha_trace_state_apply(ha_trace_state *state, const ha_op *op);
void ha_trace_state_clear(ha_trace_state *state);

#endif

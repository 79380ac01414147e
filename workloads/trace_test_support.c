// trace_test_support.c: see trace_test_support.h.
#include "workloads/trace_test_support.h"
#include "workloads/trace_codec.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[64];

const char *test_path(const char *name) {
  static char paths[8][256];
  static unsigned at;
  if (folder[0] == 0) {
    snprintf(folder, sizeof folder, "trace_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
  }
  char *path = paths[at++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static int remove_one(const char *path, const struct stat *facts, int flag, struct FTW *place) {
  (void)facts, (void)flag, (void)place;
  return remove(path);
}

void test_remove_folder(void) {
  if (folder[0] != 0)
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  folder[0] = 0;
}

static uint64_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

// Objects that are live while the program is made.
typedef struct live_object {
  uint64_t object;
  uint32_t thread;
} live_object;

static uint64_t random_size(uint64_t *state) {
  return next_random(state) % 50 == 0 ? next_random(state) % 100000 : next_random(state) % 600;
}

static ha_op random_allocation(uint64_t *state, uint64_t object) {
  static const uint8_t kinds[] = {HA_OP_MALLOC, HA_OP_MALLOC,        HA_OP_MALLOC,
                                  HA_OP_CALLOC, HA_OP_ALIGNED_ALLOC, HA_OP_POSIX_MEMALIGN};
  ha_op op = {.kind = kinds[next_random(state) % sizeof kinds], .object = object, .size = random_size(state)};
  if (ha_kind_has_alignment(op.kind))
    op.alignment_log2 = (uint8_t)(4 + next_random(state) % 7);
  if (next_random(state) % 500 == 0) {
    op.flags = HA_OP_FAILED;
    op.size = UINT64_MAX / 2;
  }
  return op;
}

// An operation on the live object `at`.
static ha_op random_reference(uint64_t *state, const live_object *one) {
  ha_op op = {.kind = HA_OP_FREE, .object = one->object};
  uint64_t dice = next_random(state) % 8;
  if (dice < 2) {
    op.kind = HA_OP_REALLOC;
    op.size = 1 + random_size(state);
  }
  return op;
}

test_program test_random_program(uint64_t seed, size_t count, uint32_t threads, uint32_t remote_one_in) {
  test_program program = {.ops = calloc(count + 2 * (size_t)threads, sizeof *program.ops),
                          .threads = threads};
  live_object *live = calloc(count + 1, sizeof *live);
  assert_non_null(program.ops);
  assert_non_null(live);
  uint64_t state = seed, objects = 0, time = 0;
  size_t live_count = 0;
  for (uint32_t i = 1; i < threads; i++)
    program.ops[program.count++] = (ha_op){.kind = HA_OP_SPAWN, .size = i};
  while (program.count < count) {
    ha_op op;
    uint32_t thread = (uint32_t)(next_random(&state) % threads);
    if (live_count < 20 || next_random(&state) % 100 < 46) {
      op = random_allocation(&state, objects++);
      if (op.flags == 0)
        live[live_count++] = (live_object){.object = op.object, .thread = thread};
    } else if (next_random(&state) % 1000 == 0) {
      op = (ha_op){.kind = HA_OP_PURGE};
    } else {
      size_t at = next_random(&state) % live_count;
      if (remote_one_in == 0 || next_random(&state) % remote_one_in != 0)
        thread = live[at].thread;
      op = random_reference(&state, &live[at]);
      if (op.kind == HA_OP_FREE)
        live[at] = live[--live_count];
    }
    op.thread = thread;
    op.time_ns = time += next_random(&state) % 300;
    program.ops[program.count++] = op;
  }
  for (uint32_t i = 1; i < threads; i++)
    program.ops[program.count++] = (ha_op){.kind = HA_OP_THREAD_EXIT, .thread = i, .time_ns = time};
  for (uint32_t i = 1; i < threads; i++)
    program.ops[program.count++] = (ha_op){.kind = HA_OP_JOIN, .size = i, .time_ns = time};
  free(live);
  return program;
}

void test_program_free(test_program *program) {
  free(program->ops);
  program->ops = NULL;
}

void test_write_program(const char *path, const test_program *program, const char *meta,
                        ha_trace_totals *totals) {
  char why[512] = "";
  ha_trace_writer *writer = ha_trace_create(path, 1700000000000000000u, meta, why, sizeof why);
  assert_string_equal(why, "");
  assert_non_null(writer);
  for (uint32_t i = 0; i < program->threads; i++) {
    ha_trace_thread thread = {.thread = i, .process = i / 3, .system_id = 100 + i};
    snprintf(thread.name, sizeof thread.name, "thread-%u", i);
    assert_true(ha_trace_add_thread(writer, &thread));
  }
  for (size_t i = 0; i < program->count; i++)
    assert_true(ha_trace_write(writer, &program->ops[i]));
  assert_true(ha_trace_finish(writer, 0, totals, why, sizeof why));
}

unsigned char *test_read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  *size = (size_t)ftell(file);
  rewind(file);
  unsigned char *bytes = malloc(*size + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, *size, file), *size);
  fclose(file);
  return bytes;
}

void test_write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

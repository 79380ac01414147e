// heap_map_test.c: what the map says of blocks whose places and pages are known.
#include "workloads/heap_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { CHUNK = HA_MAP_PAGE * HA_MAP_CHUNK_PAGES };

static char *heap; // two chunks, at a multiple of CHUNK

static const ha_alloc plain = {.name = "plain"};

static int make_heap(void **state) {
  (void)state;
  char *memory = mmap(NULL, (size_t)3 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return -1;
  heap = memory + (CHUNK - (uintptr_t)memory % CHUNK) % CHUNK;
  madvise(heap, (size_t)2 * CHUNK, MADV_NOHUGEPAGE); // a page touched is a page resident
  return 0;
}

static void start(const ha_alloc *alloc, unsigned frames, uint64_t every) {
  assert_true(ha_map_start(alloc, &(ha_map_options){.frames = frames, .every = every}));
}

static char *printed(void) {
  char *text = NULL;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  assert_non_null(out);
  ha_map_print(out);
  fclose(out);
  return text;
}

static unsigned count(const char *text, const char *part) {
  unsigned found = 0;
  for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
    found++;
  return found;
}

static void test_live_share_and_residency(void **state) {
  (void)state;
  heap[0] = 1; // page 0 alone is resident
  start(&plain, 8, 1000);
  ha_map_came(heap, HA_MAP_PAGE + 1);
  ha_map_came(heap + CHUNK - 1, 2);
  ha_map_frame("two blocks");
  ha_map_went(heap, HA_MAP_PAGE + 1);
  ha_map_frame("one block");
  char *text = printed();
  assert_non_null(strstr(text,
                         "\"live_bytes\":4099,\"live_blocks\":2,\"outside_bytes\":0,\"resident_bytes\":4096,"
                         "\"chunks\":2,\"use\":\"v1000000000000011000000000000000\""));
  assert_non_null(strstr(text,
                         "\"live_bytes\":2,\"live_blocks\":1,\"outside_bytes\":0,\"resident_bytes\":4096,"
                         "\"chunks\":2,\"use\":\"g0000000000000011000000000000000\""));
  free(text);
}

static void test_frames_stay_within_their_number(void **state) {
  (void)state;
  start(&plain, 8, 1);
  ha_map_frame("start");
  for (unsigned i = 0; i < 1000; i++)
    ha_map_came(heap + 16 * (size_t)i, 16);
  ha_map_frame("end");
  char *text = printed();
  unsigned frames = count(text, "\"phase\":\"\"");
  assert_int_equal(frames, 7);
  assert_non_null(strstr(text, "\"every\":128"));
  assert_int_equal(count(text, "\"phase\":\"\",\"operations\":896,"), 1);
  assert_int_equal(count(text, "\"phase\":\"start\",\"operations\":0,"), 1);
  assert_int_equal(count(text, "\"phase\":\"end\",\"operations\":1000,"), 1);
  free(text);
}

static bool walk(void (*visit)(const ha_heap_range *range, void *context), void *context) {
  const uintptr_t start = (uintptr_t)heap;
  visit(&(ha_heap_range){.start = start,
                         .size = (size_t)2 * HA_MAP_PAGE,
                         .state = HA_RANGE_BLOCKS,
                         .block_size = 48,
                         .blocks = 170,
                         .live_blocks = 1},
        context);
  // Over the chunk's end, into one that the map does not know.
  visit(&(ha_heap_range){.start = start + CHUNK - HA_MAP_PAGE, .size = CHUNK, .state = HA_RANGE_FREE},
        context);
  return true;
}

static void test_the_walk_says_what_pages_are(void **state) {
  (void)state;
  start(&(ha_alloc){.name = "walked", .walk = walk}, 8, 1000);
  ha_map_came(heap, 10);
  ha_map_frame("one");
  char *text = printed();
  assert_non_null(strstr(text, "\"kind\":\"cc.............F\""));
  assert_non_null(strstr(text, "\"free_bytes\":65536,\"blocks_bytes\":8192,\"room_bytes\":8160"));
  free(text);
}

static void test_too_large_a_heap_is_counted(void **state) {
  (void)state;
  enum { BEYOND = 3 };
  start(&plain, 8, 1000000);
  // Past every address that a program can have: a lower one was, by chance of the stack's place, shadow
  // memory of AddressSanitizer, and so resident.
  char *far = (char *)((uintptr_t)1 << 50); // NOLINT(performance-no-int-to-ptr)
  for (size_t i = 0; i < HA_MAP_CHUNKS + BEYOND; i++)
    ha_map_came(far + i * CHUNK, 100);
  ha_map_frame("many");
  for (size_t i = 0; i < HA_MAP_CHUNKS + BEYOND; i++)
    ha_map_went(far + i * CHUNK, 100);
  ha_map_frame("none");
  char *text = printed();
  assert_int_equal(count(text, "\"outside_bytes\":300,\"resident_bytes\":0,"), 1);
  assert_int_equal(count(text, "\"live_bytes\":0,\"live_blocks\":0,\"outside_bytes\":0,"), 1);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_live_share_and_residency),
      cmocka_unit_test(test_frames_stay_within_their_number),
      cmocka_unit_test(test_the_walk_says_what_pages_are),
      cmocka_unit_test(test_too_large_a_heap_is_counted),
  };
  return cmocka_run_group_tests(tests, make_heap, NULL);
}

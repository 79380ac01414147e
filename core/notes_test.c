// The numbers of the notes on Go's memory allocator, each held against this code's own constants and structures.
// Where gomalloc differs, the test says how, and README.md ("Compared with Go") says why.
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/mspan.h"
#include "core/size_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

// Go's classes at the notes' time: today's without the one of 24 bytes that Go 1.16 added.
static unsigned classes_without(uint32_t size) {
  unsigned count = 0;
  for (unsigned class = 0; class < SIZE_CLASS_COUNT; class ++)
    count += size_class_size[class] != size;
  return count;
}

static void test_span_classes(void **state) {
  (void)state;
  assert_int_equal(SIZE_CLASS_COUNT, 68);
  assert_int_equal(SPAN_CLASS_COUNT, 136);
  assert_int_equal(2 * classes_without(24), 134); // 67 x 2
  assert_int_equal(GM_SIZE_CLASSES, SIZE_CLASS_COUNT);
  // One mcentral for each, in the heap's own struct, as mheap.central.
  assert_int_equal(sizeof gm_heap.central / sizeof gm_heap.central[0], 136);
  bool seen[SPAN_CLASS_COUNT] = {false};
  for (unsigned class = 0; class < SIZE_CLASS_COUNT; class ++)
    for (unsigned noscan = 0; noscan < 2; noscan++) {
      span_class both = make_span_class(class, noscan != 0);
      assert_int_equal(span_class_size_class(both), class);
      assert_false(seen[both]);
      seen[both] = true;
    }
}

static void test_sparse_arenas(void **state) {
  (void)state;
  assert_int_equal(ARENA_SIZE, 64 * MIB);
  assert_int_equal(ARENA_MAP_COUNT, 4194304);
  assert_int_equal(sizeof heap_arena_map / sizeof heap_arena_map[0], 4194304);
  assert_true((unsigned __int128)ARENA_MAP_COUNT * ARENA_SIZE == (unsigned __int128)256 << 40);
  assert_int_equal((uintptr_t)1 << GM_ADDR_BITS, 256 * TIB);
}

static void test_linear_layout(void **state) {
  (void)state;
  assert_int_equal(GM_PAGE_SIZE, 8 * KIB);
  assert_int_equal(LINEAR_ARENA_SIZE, 512 * GIB);
  assert_int_equal(LINEAR_SPANS_SIZE, 512 * MIB);
  assert_int_equal(LINEAR_BITMAP_SIZE, 16 * GIB);
  // Where they come from: a pointer for each page, two bits for each word.
  assert_int_equal(LINEAR_ARENA_SIZE / GM_PAGE_SIZE * sizeof(struct mspan *), LINEAR_SPANS_SIZE);
  assert_int_equal(LINEAR_ARENA_SIZE / sizeof(void *) * 2 / 8, LINEAR_BITMAP_SIZE);
}

static void test_tiny_small_and_large(void **state) {
  (void)state;
  assert_int_equal(SIZE_CLASS_MAX, 32 * KIB);
  assert_int_equal(size_class_size[size_class_of(32 * KIB)], 32 * KIB);
  // Tiny, (0, 16 B): two requests of up to 8 bytes share 16 bytes. Go's tiny allocator fills its 16-byte
  // block with whatever fits and lets it die as a whole; here each has a cell of its own, to be freed alone.
  assert_int_equal(size_class_size[size_class_of(1)], 8);
  assert_int_equal(size_class_size[size_class_of(8)], 8);
  assert_int_equal(size_class_size[size_class_of(9)], 16);
  assert_int_equal(size_class_size[size_class_of(15)], 16);
  assert_int_equal(size_class_size[size_class_of(16)], 16);
  char *tiny[4];
  for (unsigned i = 0; i < 4; i++)
    tiny[i] = gm_malloc(8);
  assert_int_equal(heap_arena_span_of((uintptr_t)tiny[0])->object_size, 8);
  gm_free(tiny[1]); // alone
  assert_int_equal(gm_usable_size(tiny[0]), 8);
  // Small ends at 32 KiB, large begins behind it: whole pages, one object.
  void *small = gm_malloc(32 * KIB);
  void *large = gm_malloc(32 * KIB + 1);
  assert_int_not_equal(heap_arena_span_of((uintptr_t)small)->class, make_span_class(0, true));
  const struct mspan *span = heap_arena_span_of((uintptr_t)large);
  assert_int_equal(span_class_size_class(span->class), 0);
  assert_int_equal(span->npages, 5);
  assert_int_equal(span->object_count, 1);
  for (unsigned i = 0; i < 4; i++)
    if (i != 1)
      gm_free(tiny[i]);
  gm_free(small);
  gm_free(large);
}

// heapArena's tables: bitmap, spans, pageInUse, pageMarks, pageSpecials, checkmarks, zeroedBase.
static void test_heap_arena_tables(void **state) {
  (void)state;
  const struct heap_arena *arena = NULL;
  // spans [pagesPerArena]*mspan: as in Go, 8192 pointers.
  assert_int_equal(ARENA_PAGES, 8192);
  assert_int_equal(sizeof *arena->spans, sizeof(struct mspan *));
  // They stand one behind the other in one table over all pages: 2^48 bytes are 2^35 pages.
  assert_int_equal(HEAP_PAGES_MAX, ARENA_MAP_COUNT * ARENA_PAGES);
  // pageInUse [pagesPerArena / 8]uint8: one bit a page; here two, in the page allocator's chunks, where Go keeps
  // them too since 1.14 (pallocData): allocated, and not backed by memory.
  assert_int_equal(sizeof arena->chunks[0].allocated * ARENA_CHUNKS, ARENA_PAGES / 8);
  assert_int_equal(sizeof arena->chunks[0].scavenged * ARENA_CHUNKS, ARENA_PAGES / 8);
  assert_int_equal(sizeof arena->chunks, 2 * ARENA_PAGES / 8);
  // zeroedBase says from where on an arena was never used; here it is the scavenged bit, page by page, and a
  // span's `fresh` bits and needs_zero.
  assert_int_equal(sizeof((struct mspan *)0)->fresh * 8, SPAN_GROUPS_MAX);
  // bitmap (2 bits a word), pageMarks, pageSpecials and checkmarks serve Go's collector and have no place in
  // this struct: objects that a collector may scan are whole spans (the scan half of the span classes), and
  // core/gc/ keeps marks with its spans. What is left of the arena's struct is small, but for one more bit a page,
  // for misuse: it was a span's.
  assert_int_equal(sizeof arena->forgotten, ARENA_PAGES / 8);
  assert_true(sizeof *arena < sizeof arena->chunks + sizeof arena->forgotten + 64);
}

// mspan: startAddr, npages, freeindex, allocBits, gcmarkBits, allocCache.
static void test_span_fields(void **state) {
  (void)state;
  char *block = gm_malloc(100);
  const struct mspan *span = heap_arena_span_of((uintptr_t)block);
  assert_int_equal(span->start % GM_PAGE_SIZE, 0);                      // startAddr
  assert_int_equal(span->npages, size_class_pages[size_class_of(100)]); // npages
  assert_int_equal(span->object_size, 112);                             // elemsize
  assert_true(span->object_count <= span->npages * GM_PAGE_SIZE / 112); // nelems
  // allocBits: a byte for each object here, outside the objects; freeindex: the summary of groups that have
  // free objects; allocCache: 64 claimed objects, in the thread's slot.
  uint64_t index = mspan_divide(span, (uintptr_t)block);
  assert_int_equal(mspan_state(&span->states[index]), OBJECT_LIVE);
  assert_int_equal(sizeof((struct mcache_slot *)0)->alloc_cache * 8, 64);
  assert_ptr_equal(mspan_owner(span), mcache_current);
  gm_free(block);
  assert_int_not_equal(mspan_state(&span->states[index]), OBJECT_LIVE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_span_classes),      cmocka_unit_test(test_sparse_arenas),
      cmocka_unit_test(test_linear_layout),     cmocka_unit_test(test_tiny_small_and_large),
      cmocka_unit_test(test_heap_arena_tables), cmocka_unit_test(test_span_fields),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

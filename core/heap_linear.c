// One reservation for spans, bitmap and arena. See heap_linear.h.
#include "core/heap_linear.h"

#include "core/heap_arena.h"
#include "core/sys_mem.h"

struct heap_linear heap_linear;

// At most this much, so that the program's own mappings still fit.
static size_t address_space_share(void) {
  size_t limit = sys_address_space_limit();
  return limit == SIZE_MAX ? limit : limit / 2;
}

static bool reserve(uintptr_t hint, size_t arena_size) {
  size_t spans_size = arena_size / LINEAR_SPANS_RATIO;
  size_t bitmap_size = arena_size / LINEAR_BITMAP_RATIO;
  // The two tables end where the arena begins, which is a multiple of ARENA_SIZE.
  size_t tables = gm_align_up(spans_size + bitmap_size, ARENA_SIZE);
  if (tables + arena_size > address_space_share())
    return false;
  uintptr_t base = (uintptr_t)sys_reserve_aligned(hint, tables + arena_size, ARENA_SIZE);
  if (base == 0)
    return false;
  uintptr_t arena = base + tables;
  if (arena + arena_size > (uintptr_t)1 << GM_ADDR_BITS) {
    sys_free(base, tables + arena_size);
    return false;
  }
  if (!sys_let_read(arena - bitmap_size - spans_size, spans_size)) {
    sys_free(base, tables + arena_size);
    return false;
  }
  heap_linear = (struct heap_linear){
      .spans = arena - bitmap_size - spans_size,
      .bitmap = arena - bitmap_size,
      .arena = arena,
      .spans_size = spans_size,
      .bitmap_size = bitmap_size,
      .arena_size = arena_size,
  };
  return true;
}

bool heap_linear_reserve(uintptr_t hint) {
  for (size_t size = LINEAR_ARENA_SIZE; size >= ARENA_SIZE; size /= 2)
    if (reserve(hint, size))
      return true;
  return false;
}

uintptr_t heap_linear_take(size_t size) {
  GM_ASSERT(size % ARENA_SIZE == 0);
  if (size > heap_linear.arena_size - heap_linear.arena_used)
    return 0;
  uintptr_t base = heap_linear.arena + heap_linear.arena_used;
  heap_linear.arena_used += size;
  return base;
}

static bool map_ready(uintptr_t start, size_t size) {
  if (!sys_map(start, size))
    return false;
  sys_used(start, size);
  return true;
}

bool heap_linear_map_tables(uintptr_t base, void **spans, void **bitmap) {
  uintptr_t offset = base - heap_linear.arena;
  if (offset >= heap_linear.arena_size)
    return false;
  uintptr_t spans_at = heap_linear.spans + base / LINEAR_SPANS_RATIO % heap_linear.spans_size;
  uintptr_t bitmap_at = heap_linear.bitmap + offset / LINEAR_BITMAP_RATIO;
  // All of it, although little is used, so that neighbours join to one mapping in the kernel.
  if (!map_ready(bitmap_at, ARENA_SIZE / LINEAR_BITMAP_RATIO))
    return false;
  // Second: when it is refused, it stays readable for lookups of any address.
  if (!map_ready(spans_at, ARENA_SIZE / LINEAR_SPANS_RATIO)) {
    (void)sys_fault(bitmap_at, ARENA_SIZE / LINEAR_BITMAP_RATIO);
    return false;
  }
  *spans = (void *)spans_at;
  *bitmap = (void *)bitmap_at;
  return true;
}

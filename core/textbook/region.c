// One growing range of address space. See region.h.
#include "core/textbook/region.h"

#include "core/sys_mem.h"

#define STEP        ((size_t)1 << 20)  // asked of the system at once
#define SMALLEST    ((size_t)64 << 20) // a reservation that is still worth having
#define KERNEL_PAGE ((size_t)4096)

bool region_reserve(struct region *region) {
  if (region->base != 0)
    return true;
  for (size_t size = REGION_LIMIT; size >= SMALLEST; size /= 2) {
    uintptr_t base = (uintptr_t)sys_reserve_aligned(0, size, size);
    if (base != 0) {
      *region =
          (struct region){.base = base, .end = base, .ready = base, .mapped = base, .limit = base + size};
      return true;
    }
  }
  return false;
}

bool region_grow(struct region *region, size_t bytes) {
  if (!region_reserve(region) || bytes > region->limit - region->end)
    return false;
  uintptr_t end = region->end + bytes;
  if (end > region->mapped) {
    uintptr_t mapped = gm_align_up(end, STEP); // limit is a multiple of STEP
    if (!sys_map(region->mapped, mapped - region->mapped))
      return false;
    region->mapped = mapped;
  }
  if (end > region->ready) {
    sys_used(region->ready, region->mapped - region->ready);
    region->ready = region->mapped;
  }
  region->end = end;
  return true;
}

void region_shrink(struct region *region, uintptr_t end) {
  GM_ASSERT(end >= region->base && end <= region->end);
  region->end = end;
}

size_t region_trim(struct region *region) {
  uintptr_t keep = gm_align_up(region->end, KERNEL_PAGE);
  if (keep >= region->ready)
    return 0;
  size_t size = region->ready - keep;
  sys_unused(keep, size);
  region->ready = keep;
  return size;
}

size_t region_discard(uintptr_t start, size_t size) {
  uintptr_t first = gm_align_up(start, KERNEL_PAGE);
  uintptr_t last = gm_align_down(start + size, KERNEL_PAGE);
  if (last <= first)
    return 0;
  sys_unused(first, last - first);
  sys_used(first, last - first);
  return last - first;
}

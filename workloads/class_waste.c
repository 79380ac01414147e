// class_waste.c: see class_waste.h.
#include "workloads/class_waste.h"

// Steps are no finer than this part of the size: a thousand points for an allocator that rounds to 16 bytes.
#define FINEST 32

static bool missing(FILE *out, const char *why) {
  return fprintf(out, "{\"missing\": \"%s\"}\n", why) > 0;
}

// What may be used of a fresh block; 0 if there is none.
static size_t usable_of(const ha_alloc *alloc, size_t size) {
  void *block = alloc->malloc(size);
  size_t usable = block ? alloc->usable_size(block) : 0;
  alloc->free(block);
  return usable;
}

static bool print_step(FILE *out, size_t size, size_t usable) {
  return fprintf(out, "%s[%zu,%zu]", size == 1 ? "" : ",", size, usable) > 0;
}

// The next size to ask for: the next class, or the end, which is always measured.
static size_t following(size_t size, size_t usable) {
  size_t next = usable + 1 > size + size / FINEST ? usable + 1 : size + size / FINEST;
  return next < HA_CLASS_WASTE_MOST ? next : HA_CLASS_WASTE_MOST;
}

bool ha_class_waste_print(FILE *out, const ha_alloc *alloc) {
  if (!alloc->usable_size)
    return missing(out, "it has no usable_size");
  if (usable_of(alloc, 1) < 1 || usable_of(alloc, HA_CLASS_WASTE_MOST) < HA_CLASS_WASTE_MOST)
    return missing(out, "its usable_size says less than was asked for");
  bool good = fprintf(out, "{\"most\": %d, \"steps\": [", HA_CLASS_WASTE_MOST) > 0;
  size_t size = 1, usable = 0;
  while (good && usable < HA_CLASS_WASTE_MOST) {
    usable = usable_of(alloc, size);
    good = print_step(out, size, usable);
    if (good && usable > size && usable <= HA_CLASS_WASTE_MOST)
      good = print_step(out, usable, usable_of(alloc, usable));
    size = following(size, usable);
  }
  return fputs("]}\n", out) >= 0 && good;
}

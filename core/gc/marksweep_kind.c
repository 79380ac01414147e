// Kinds of objects and the types that programs define. See marksweep.h.
#include "core/gc/marksweep.h"

#include "core/sys_mem.h"

#include <errno.h>
#include <string.h>

struct gc_layout gc_layouts[GC_KINDS_MAX];
struct gc_kind gc_kinds[GC_KINDS_MAX];
_Atomic unsigned gc_kind_count;
struct mcentral gc_large_central;

// Guards the making of kinds; nothing else is taken under it but memory from the system.
static struct gm_lock types_lock;

static const size_t type_size_max = (size_t)1 << 40;

static size_t maps_bytes(uint32_t words) {
  return gm_align_up(words * sizeof(uint64_t), GM_PAGE_SIZE);
}

void gc_kinds_init(void) {
  for (unsigned kind = 0; kind < SPAN_CLASS_COUNT; kind++) {
    unsigned size_class = span_class_size_class((span_class)kind);
    bool noscan = kind < SIZE_CLASS_COUNT;
    uint32_t size = size_class_size[size_class];
    gc_layouts[kind] = (struct gc_layout){
        .words = size / 8,
        .scan = noscan ? GC_SCAN_NONE : GC_SCAN_WORDS,
        .size_class = (uint8_t)size_class,
    };
    gc_kinds[kind].type = (gm_gc_type){kind, size_class == 0 ? UINT32_MAX : size};
    gc_kinds[kind].central.collected = true;
  }
  gc_large_central.collected = true;
  if (atomic_load_explicit(&gc_kind_count, memory_order_relaxed) == 0)
    atomic_store_explicit(&gc_kind_count, SPAN_CLASS_COUNT, memory_order_release);
}

void gc_kinds_clear(void) {
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_relaxed);
  for (unsigned kind = SPAN_CLASS_COUNT; kind < count; kind++)
    if (gc_layouts[kind].scan == GC_SCAN_MAPS)
      sys_free((uintptr_t)gc_layouts[kind].maps, maps_bytes(gc_layouts[kind].words));
  atomic_store_explicit(&gc_kind_count, SPAN_CLASS_COUNT, memory_order_release);
}

static uint32_t map_words(size_t size) {
  return (uint32_t)((size + 511) / 512);
}

static bool same_map(const struct gc_layout *layout, const uint64_t *maps, uint32_t words) {
  if (layout->scan == GC_SCAN_NONE || layout->scan == GC_SCAN_MAP)
    return words == 1 && layout->map == maps[0];
  return layout->scan == GC_SCAN_MAPS && layout->words == words &&
         memcmp(layout->maps, maps, words * sizeof *maps) == 0;
}

static const gm_gc_type *find_kind(unsigned size_class, size_t size, const uint64_t *maps, uint32_t words) {
  unsigned count = atomic_load_explicit(&gc_kind_count, memory_order_relaxed);
  for (unsigned kind = SPAN_CLASS_COUNT; kind < count; kind++)
    if (gc_layouts[kind].size_class == size_class && (size_class != 0 || gc_kinds[kind].type_size == size) &&
        same_map(&gc_layouts[kind], maps, words))
      return &gc_kinds[kind].type;
  return NULL;
}

static const gm_gc_type *conservative_type(unsigned size_class) {
  return size_class == 0 ? NULL : &gc_kinds[make_span_class(size_class, false)].type;
}

// Takes `maps` over when it is longer than a word; *kept says so.
static const gm_gc_type *new_kind(unsigned size_class, size_t size, uint64_t *maps, uint32_t words,
                                  bool *kept) {
  unsigned kind = atomic_load_explicit(&gc_kind_count, memory_order_relaxed);
  if (kind == GC_KINDS_MAX)
    return conservative_type(size_class);
  gc_layouts[kind] = (struct gc_layout){
      .map = maps[0],
      .words = words,
      .scan = words > 1      ? GC_SCAN_MAPS
              : maps[0] != 0 ? GC_SCAN_MAP
                             : GC_SCAN_NONE,
      .size_class = (uint8_t)size_class,
  };
  *kept = words > 1;
  if (*kept)
    gc_layouts[kind].maps = maps;
  gc_kinds[kind].type = (gm_gc_type){kind, size_class == 0 ? UINT32_MAX : size_class_size[size_class]};
  gc_kinds[kind].type_size = size;
  gc_kinds[kind].central.collected = true;
  atomic_store_explicit(&gc_kind_count, kind + 1, memory_order_release);
  return &gc_kinds[kind].type;
}

static bool fill_maps(uint64_t *maps, size_t size, const size_t *offsets, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (offsets[i] % 8 != 0 || offsets[i] > size || size - offsets[i] < 8)
      return false;
    maps[offsets[i] / 512] |= (uint64_t)1 << (offsets[i] / 8 % 64);
  }
  return true;
}

// Finds or makes the kind; *kept says whether the kind took `maps` over.
static const gm_gc_type *kind_for(unsigned size_class, size_t size, uint64_t *maps, uint32_t words,
                                  bool *kept) {
  lock_acquire(&types_lock, LOCK_RANK_PACKETS);
  const gm_gc_type *type = find_kind(size_class, size, maps, words);
  if (type == NULL)
    type = new_kind(size_class, size, maps, words, kept);
  lock_release(&types_lock, LOCK_RANK_PACKETS);
  if (type == NULL)
    errno = ENOMEM;
  return type;
}

// Large objects need a kind of their own even without pointers: it knows their size.
const gm_gc_type *gm_gc_type_define(size_t size, const size_t *pointer_offsets, size_t count) {
  if (!gc.started) {
    errno = EPERM;
    return NULL;
  }
  if (size == 0 || size > type_size_max || (count > 0 && pointer_offsets == NULL)) {
    errno = EINVAL;
    return NULL;
  }
  unsigned size_class = size <= SIZE_CLASS_MAX ? gc_size_class(size) : 0;
  if (count == 0 && size_class != 0)
    return &gc_kinds[make_span_class(size_class, true)].type;
  uint32_t words = count > 0 ? map_words(size) : 1;
  uint64_t one = 0;
  uint64_t *maps = words == 1 ? &one : sys_alloc(maps_bytes(words));
  if (maps == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  bool kept = false;
  const gm_gc_type *type = NULL;
  if (fill_maps(maps, size, pointer_offsets, count))
    type = kind_for(size_class, size, maps, words, &kept);
  else
    errno = EINVAL;
  if (words > 1 && !kept)
    sys_free((uintptr_t)maps, maps_bytes(words));
  return type;
}

// Metadata memory. See fixalloc.h.
#include "core/fixalloc.h"

#include "core/sys_mem.h"

#include <stdatomic.h>

// Taken from the kernel at a time; only what is touched becomes resident.
static const size_t chunk_size = (size_t)256 << 10;

// Slabs in a fixalloc's first area; each further one has twice as many, up to the bits of `released`.
enum { AREA_FIRST = 4, AREA_MOST = 64 };

static uintptr_t chunk_at;
static uintptr_t chunk_end;
static _Atomic size_t reserved;

void *persistent_alloc(size_t size, size_t align) {
  GM_ASSERT(gm_is_power_of_two(align) && align <= GM_PAGE_SIZE);
  uintptr_t start = gm_align_up(chunk_at, align);
  if (chunk_at == 0 || start + size > chunk_end) {
    size_t wanted = size > chunk_size / 4 ? gm_align_up(size, GM_PAGE_SIZE) : chunk_size;
    uintptr_t fresh = (uintptr_t)sys_alloc(wanted);
    if (fresh == 0)
      return NULL;
    atomic_fetch_add_explicit(&reserved, wanted, memory_order_relaxed);
    if (wanted != chunk_size) // large things get their own mapping; the chunk goes on
      return (void *)fresh;
    start = fresh;
    chunk_end = fresh + chunk_size;
  }
  chunk_at = start + size;
  return (void *)start;
}

size_t persistent_reserved(void) {
  return atomic_load_explicit(&reserved, memory_order_relaxed);
}

static_assert(sizeof(struct fixalloc_slab) <= GM_CACHE_LINE, "a slab's struct is in front of its objects");

void fixalloc_init(struct fixalloc *fixed, size_t size) {
  *fixed = (struct fixalloc){.size = gm_align_up(size, GM_CACHE_LINE)};
  GM_ASSERT(fixed->size <= FIXALLOC_SLAB - GM_CACHE_LINE);
}

static bool slab_is_full(const struct fixalloc_slab *slab) {
  return slab->free_list == NULL && slab->made == slab->room;
}

static struct fixalloc_slab *slab_of(struct fixalloc *fixed, const void *object) {
  const struct fixalloc_slab *starter = &fixed->starter;
  if ((uintptr_t)object - starter->start < starter->room * fixed->size)
    return &fixed->starter;
  return (struct fixalloc_slab *)gm_align_down((uintptr_t)object, FIXALLOC_SLAB);
}

// Address space for slabs; the kernel backs what is touched.
static uintptr_t map_slabs(size_t size) {
  static uintptr_t newest_end;
  uintptr_t fresh = (uintptr_t)sys_reserve_aligned(newest_end, size, FIXALLOC_SLAB);
  if (fresh == 0)
    return 0;
  if (!sys_map(fresh, size)) {
    sys_free(fresh, size);
    return 0;
  }
  atomic_fetch_add_explicit(&reserved, size, memory_order_relaxed);
  newest_end = fresh + size;
  return fresh;
}

static struct fixalloc_area *new_area(struct fixalloc *fixed) {
  // The struct first: when the memory is refused, it waits for the next area.
  static struct fixalloc_area *spare;
  if (spare == NULL)
    spare = persistent_alloc(sizeof *spare, _Alignof(struct fixalloc_area));
  const struct fixalloc_area *before = fixed->newest;
  uint32_t room = before == NULL ? AREA_FIRST : before->room < AREA_MOST ? before->room * 2 : AREA_MOST;
  uintptr_t start = spare != NULL ? map_slabs(room * FIXALLOC_SLAB) : 0;
  if (start == 0)
    return NULL;
  struct fixalloc_area *area = spare;
  spare = NULL;
  *area = (struct fixalloc_area){.start = start, .room = room, .older = fixed->newest};
  fixed->newest = area;
  return area;
}

static struct fixalloc_slab *slab_at(const struct fixalloc_area *area, uint32_t index) {
  return (struct fixalloc_slab *)(area->start + index * FIXALLOC_SLAB);
}

// A slab that is not backed by memory: the last one that was given back, or one that was never used.
static struct fixalloc_slab *back_slab(struct fixalloc *fixed) {
  struct fixalloc_area *area = fixed->released;
  uint32_t index = 0;
  if (area != NULL) {
    index = (uint32_t)__builtin_ctzll(area->released);
    area->released &= area->released - 1;
    if (area->released == 0)
      fixed->released = area->next_released;
  } else {
    area = fixed->newest;
    if (area == NULL || area->made == area->room)
      area = new_area(fixed);
    if (area == NULL)
      return NULL;
    index = area->made++;
  }
  struct fixalloc_slab *slab = slab_at(area, index);
  sys_used((uintptr_t)slab, FIXALLOC_SLAB);
  // Objects that have room behind the struct.
  uint32_t room = (uint32_t)((FIXALLOC_SLAB - GM_CACHE_LINE) / fixed->size);
  *slab = (struct fixalloc_slab){.start = (uintptr_t)slab + GM_CACHE_LINE, .room = room, .area = area};
  return slab;
}

static void push_partial(struct fixalloc *fixed, struct fixalloc_slab *slab) {
  slab->previous = NULL;
  slab->next = fixed->partial;
  if (slab->next != NULL)
    slab->next->previous = slab;
  fixed->partial = slab;
}

static void remove_partial(struct fixalloc *fixed, struct fixalloc_slab *slab) {
  if (slab->previous != NULL)
    slab->previous->next = slab->next;
  else
    fixed->partial = slab->next;
  if (slab->next != NULL)
    slab->next->previous = slab->previous;
}

static struct fixalloc_slab *make_starter(struct fixalloc *fixed) {
  struct fixalloc_slab *starter = &fixed->starter;
  uint32_t room = (uint32_t)(FIXALLOC_STARTER_BYTES / fixed->size);
  room = room > 0 ? room : 1;
  starter->start = (uintptr_t)persistent_alloc(room * fixed->size, GM_CACHE_LINE);
  if (starter->start == 0)
    return NULL;
  starter->room = room;
  push_partial(fixed, starter);
  return starter;
}

// A slab of which no object is in use, now on the list `partial`: one that is backed by memory, if there is one.
static struct fixalloc_slab *next_slab(struct fixalloc *fixed) {
  if (fixed->starter.start == 0)
    return make_starter(fixed);
  struct fixalloc_slab *slab = fixed->empty;
  if (slab != NULL)
    fixed->empty = slab->next;
  else
    slab = back_slab(fixed);
  if (slab != NULL)
    push_partial(fixed, slab);
  return slab;
}

void *fixalloc_alloc(struct fixalloc *fixed) {
  struct fixalloc_slab *slab = fixed->partial != NULL ? fixed->partial : next_slab(fixed);
  if (slab == NULL)
    return NULL;
  void *object = slab->free_list;
  if (object != NULL)
    slab->free_list = *(void **)object;
  else
    object = (void *)(slab->start + slab->made++ * fixed->size);
  if (slab_is_full(slab))
    remove_partial(fixed, slab);
  slab->in_use++;
  fixed->in_use++;
  return object;
}

void fixalloc_free(struct fixalloc *fixed, void *object) {
  GM_ASSERT(fixed->in_use > 0);
  struct fixalloc_slab *slab = slab_of(fixed, object);
  if (slab_is_full(slab))
    push_partial(fixed, slab);
  *(void **)object = slab->free_list;
  slab->free_list = object;
  fixed->in_use--;
  if (--slab->in_use > 0 || slab == &fixed->starter) // which stays at hand
    return;
  remove_partial(fixed, slab);
  slab->next = fixed->empty;
  fixed->empty = slab;
}

bool fixalloc_release(struct fixalloc *fixed) {
  struct fixalloc_slab *slab = fixed->empty;
  if (slab == NULL)
    return false;
  fixed->empty = slab->next;
  struct fixalloc_area *area = slab->area;
  if (area->released == 0) {
    area->next_released = fixed->released;
    fixed->released = area;
  }
  area->released |= (uint64_t)1 << ((uintptr_t)slab - area->start) / FIXALLOC_SLAB;
  sys_unused((uintptr_t)slab, FIXALLOC_SLAB);
  return true;
}

static size_t list_length(const struct fixalloc_slab *slab) {
  size_t length = 0;
  for (; slab != NULL; slab = slab->next)
    length++;
  return length;
}

// What the slabs say, all told.
struct slab_sums {
  size_t in_use;
  size_t partial;
  size_t empty;
  int faults;
};

static void sum_slab(const struct fixalloc *fixed, const struct fixalloc_slab *slab, struct slab_sums *sums) {
  size_t freed = 0;
  for (const void *object = slab->free_list; object != NULL; object = *(void *const *)object) {
    sums->faults += (uintptr_t)object - slab->start >= slab->made * fixed->size;
    freed++;
  }
  sums->faults += slab->in_use + freed != slab->made;
  sums->in_use += slab->in_use;
  bool kept = slab->in_use > 0 || slab == &fixed->starter;
  sums->empty += !kept;
  sums->partial += kept && !slab_is_full(slab);
}

int fixalloc_check(const struct fixalloc *fixed) {
  struct slab_sums sums = {0};
  size_t released = 0;
  if (fixed->starter.start != 0)
    sum_slab(fixed, &fixed->starter, &sums);
  for (const struct fixalloc_area *area = fixed->newest; area != NULL; area = area->older) {
    released += area->released != 0;
    for (uint32_t i = 0; i < area->made; i++)
      if ((area->released >> i & 1) == 0)
        sum_slab(fixed, slab_at(area, i), &sums);
  }
  for (const struct fixalloc_area *area = fixed->released; area != NULL; area = area->next_released)
    released--;
  return sums.faults + (sums.in_use != fixed->in_use) + (sums.partial != list_length(fixed->partial)) +
         (sums.empty != list_length(fixed->empty)) + (released != 0);
}

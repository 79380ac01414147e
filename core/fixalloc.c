// Metadata memory. See fixalloc.h.
#include "core/fixalloc.h"

#include "core/sys_mem.h"

#include <stdatomic.h>

// Taken from the kernel at a time; only what is touched becomes resident.
static const size_t chunk_size = (size_t)256 << 10;
#define SLAB_CHUNK (64 * FIXALLOC_SLAB)

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

void fixalloc_init(struct fixalloc *fixed, size_t size) {
  *fixed = (struct fixalloc){.size = gm_align_up(size, GM_CACHE_LINE)};
  GM_ASSERT(fixed->size <= FIXALLOC_SLAB - GM_CACHE_LINE);
}

static bool slab_is_full(const struct fixalloc_slab *slab) {
  return slab->free_list == NULL && slab->made == slab->room;
}

// The line in front of a slab's objects, which leads to its struct.
static struct fixalloc_slab **slab_line(uintptr_t address) {
  return (struct fixalloc_slab **)gm_align_down(address, FIXALLOC_SLAB);
}

static struct fixalloc_slab *slab_of(struct fixalloc *fixed, const void *object) {
  const struct fixalloc_slab *starter = &fixed->starter;
  if ((uintptr_t)object - starter->start < starter->room * fixed->size)
    return &fixed->starter;
  return *slab_line((uintptr_t)object);
}

// Address space for new slabs; the kernel backs what is touched.
static uintptr_t slabs_at;
static uintptr_t slabs_end;

static uintptr_t new_slab_memory(void) {
  if (slabs_at == slabs_end) {
    uintptr_t fresh = (uintptr_t)sys_reserve_aligned(slabs_end, SLAB_CHUNK, FIXALLOC_SLAB);
    if (fresh == 0)
      return 0;
    if (!sys_map(fresh, SLAB_CHUNK)) {
      sys_free(fresh, SLAB_CHUNK);
      return 0;
    }
    atomic_fetch_add_explicit(&reserved, SLAB_CHUNK, memory_order_relaxed);
    slabs_at = fresh;
    slabs_end = fresh + SLAB_CHUNK;
  }
  slabs_at += FIXALLOC_SLAB;
  return slabs_at - FIXALLOC_SLAB;
}

static struct fixalloc_slab *new_slab(struct fixalloc *fixed) {
  // The struct first: when the memory is refused, it waits for the next slab.
  static struct fixalloc_slab *spare;
  if (spare == NULL)
    spare = persistent_alloc(sizeof *spare, _Alignof(struct fixalloc_slab));
  uintptr_t start = spare != NULL ? new_slab_memory() : 0;
  if (start == 0)
    return NULL;
  struct fixalloc_slab *slab = spare;
  spare = NULL;
  // Objects that have room behind the line with the struct's address.
  uint32_t room = (uint32_t)((FIXALLOC_SLAB - GM_CACHE_LINE) / fixed->size);
  *slab = (struct fixalloc_slab){.start = start + GM_CACHE_LINE, .room = room, .older = fixed->newest};
  fixed->newest = slab;
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
  fixed->newest = starter;
  push_partial(fixed, starter);
  return starter;
}

// A slab of which no object is in use, now on the list `partial`: one that is backed by memory, if there is one.
static struct fixalloc_slab *next_slab(struct fixalloc *fixed) {
  if (fixed->starter.start == 0)
    return make_starter(fixed);
  struct fixalloc_slab *slab = fixed->empty;
  if (slab != NULL) {
    fixed->empty = slab->next;
  } else {
    slab = fixed->released;
    if (slab != NULL)
      fixed->released = slab->next;
    else
      slab = new_slab(fixed);
    if (slab == NULL)
      return NULL;
    sys_used((uintptr_t)slab_line(slab->start), FIXALLOC_SLAB);
    *slab_line(slab->start) = slab;
  }
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
  slab->free_list = NULL;
  slab->made = 0;
  sys_unused((uintptr_t)slab_line(slab->start), FIXALLOC_SLAB);
  slab->next = fixed->released;
  fixed->released = slab;
  return true;
}

static size_t list_length(const struct fixalloc_slab *slab) {
  size_t length = 0;
  for (; slab != NULL; slab = slab->next)
    length++;
  return length;
}

int fixalloc_check(const struct fixalloc *fixed) {
  int faults = 0;
  size_t in_use = 0;
  size_t partial = 0;
  size_t unused = 0;
  for (const struct fixalloc_slab *slab = fixed->newest; slab != NULL; slab = slab->older) {
    size_t freed = 0;
    for (const void *object = slab->free_list; object != NULL; object = *(void *const *)object) {
      faults += (uintptr_t)object - slab->start >= slab->made * fixed->size;
      freed++;
    }
    faults += slab->in_use + freed != slab->made;
    in_use += slab->in_use;
    bool kept = slab->in_use > 0 || slab == &fixed->starter;
    unused += !kept;
    partial += kept && !slab_is_full(slab);
  }
  faults += in_use != fixed->in_use;
  faults += partial != list_length(fixed->partial);
  return faults + (unused != list_length(fixed->empty) + list_length(fixed->released));
}

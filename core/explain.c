// heaparena-explain: the path of one request through gomalloc, as JSON. It asks the allocator itself: each request is
// made, and the span that serves it is looked at; then more of the same size are made, and before each one the
// program looks which level of the caches will serve it.
//
//   heaparena-explain [--align N] SIZE...      bytes; N a power of two; exit status 2 on bad usage
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The levels that can serve a request, nearest first.
enum level {
  LEVEL_STACK,
  LEVEL_ALLOC_CACHE,
  LEVEL_NEXT_GROUP,
  LEVEL_PARTIAL,
  LEVEL_SPARE,
  LEVEL_KEPT,
  LEVEL_MCENTRAL,
  LEVEL_SHARED,
  LEVEL_LARGE_CACHE,
  LEVEL_PAGE_CACHE,
  LEVEL_PAGE_ALLOC,
  LEVEL_NEW_CHUNK,
  LEVEL_NEW_ARENA,
  LEVELS
};

static const char *const level_names[LEVELS] = {
    "stack",        "alloc_cache", "next-group", "partial-span", "spare-span", "kept-span", "mcentral",
    "shared-cache", "large-cache", "page-cache", "page-alloc",   "new-chunk",  "new-arena",
};

enum { PROBES = 2000 };

#define PROBE_BYTES ((size_t)256 << 20) // so many bytes of one size at most

static size_t arena_count(void) {
  size_t count = 0;
  for (const struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    count++;
  return count;
}

struct counters {
  size_t arenas, mapped_pages, cached_pages, spans;
};

static struct counters count_now(void) {
  return (struct counters){arena_count(), gm_heap.mapped_pages, page_cache_pages(), gm_heap.span_count};
}

// Which part of the page heap gave pages since `before`.
static enum level page_level(struct counters before) {
  struct counters now = count_now();
  if (now.arenas != before.arenas)
    return LEVEL_NEW_ARENA;
  if (now.mapped_pages != before.mapped_pages)
    return LEVEL_NEW_CHUNK;
  return now.cached_pages < before.cached_pages ? LEVEL_PAGE_CACHE : LEVEL_PAGE_ALLOC;
}

static bool central_has_span(span_class class) {
  return mcentral_partial_swept(&gm_heap.central[class])->first != NULL;
}

// The cache level that will serve the thread's next request of a class; LEVELS: none, the page heap will.
static enum level next_level(span_class class) {
  const struct mcache *cache = mcache_current;
  const struct mcache_slot *slot = &cache->slots[class];
  const struct mcache_bin *bin = &cache->bins[class];
  if (cache == &mcache_none)
    return LEVEL_SHARED; // under its lock; who gives it pages is not looked at
  if (!mcache_stack_is_empty(slot))
    return LEVEL_STACK;
  if (slot->alloc_cache != 0)
    return LEVEL_ALLOC_CACHE;
  if (bin->active != NULL && mspan_has_free(bin->active))
    return LEVEL_NEXT_GROUP;
  if (bin->partial.first != NULL)
    return LEVEL_PARTIAL;
  if (bin->spare != NULL)
    return LEVEL_SPARE;
  if (cache->keep.lists[class].first != NULL)
    return LEVEL_KEPT;
  return central_has_span(class) ? LEVEL_MCENTRAL : LEVELS;
}

static void *request(size_t size, size_t align) {
  return align > 0 ? gm_aligned_alloc(align, size) : gm_malloc(size);
}

// One request and the level that served it. `class` is its span class (size class 0: large).
static void *watched(size_t size, size_t align, span_class class, enum level *level) {
  struct counters before = count_now();
  uint64_t taken = mcache_current->large.taken;
  bool large = span_class_size_class(class) == 0;
  *level = large ? LEVELS : next_level(class);
  void *block = request(size, align);
  if (large && mcache_current->large.taken != taken)
    *level = LEVEL_LARGE_CACHE;
  else if (*level == LEVELS || (*level == LEVEL_MCENTRAL && gm_heap.span_count != before.spans))
    *level = page_level(before);
  return block;
}

static void print_levels(const char *name, const size_t *served) {
  printf(", \"%s\": {", name);
  const char *separator = "";
  for (unsigned level = 0; level < LEVELS; level++)
    if (served[level] > 0) {
      printf("%s\"%s\": %zu", separator, level_names[level], served[level]);
      separator = ", ";
    }
  printf("}");
}

struct ended {
  size_t size, align, count;
  void **blocks;
};

static void *half_of_the_work(void *argument) {
  const struct ended *work = argument;
  for (size_t i = 0; i < work->count; i++)
    work->blocks[i] = request(work->size, work->align);
  for (size_t i = 0; i < work->count; i += 2) {
    gm_free(work->blocks[i]);
    work->blocks[i] = NULL;
  }
  return NULL;
}

// A thread makes requests, frees every other one and ends: who serves as many requests as it freed?
static void probe_after_thread(size_t size, size_t align, span_class class, size_t count) {
  static void *theirs[PROBES];
  static void *ours[PROBES];
  struct ended work = {size, align, count, theirs};
  pthread_t thread;
  if (pthread_create(&thread, NULL, half_of_the_work, &work) != 0 || pthread_join(thread, NULL) != 0)
    return;
  size_t served[LEVELS] = {0};
  for (size_t i = 0; i < count / 2; i++) {
    enum level level = LEVELS;
    ours[i] = watched(size, align, class, &level);
    served[level] += ours[i] != NULL;
  }
  for (size_t i = 0; i < count; i++) {
    gm_free(theirs[i]);
    gm_free(i < count / 2 ? ours[i] : NULL);
  }
  print_levels("served_after_thread", served);
}

// Many requests without a free, then pairs of malloc and free: which level served how many of them.
static void probe(size_t size, size_t align, span_class class, size_t object_size) {
  size_t count = PROBE_BYTES / object_size;
  count = count > PROBES ? PROBES : count;
  size_t growing[LEVELS] = {0};
  size_t steady[LEVELS] = {0};
  static void *blocks[PROBES];
  enum level level = LEVELS;
  size_t made = 0;
  for (; made < count; made++) {
    blocks[made] = watched(size, align, class, &level);
    if (blocks[made] == NULL)
      break;
    growing[level]++;
  }
  for (size_t i = 0; i < made; i++)
    gm_free(blocks[i]);
  for (size_t i = 0; i < count; i++) {
    void *block = watched(size, align, class, &level);
    if (block == NULL)
      break;
    steady[level]++;
    gm_free(block);
  }
  printf(", \"probes\": %zu", count);
  print_levels("served_growing", growing);
  print_levels("served_pairs", steady);
  gm_purge();
  if (span_class_size_class(class) != 0)
    probe_after_thread(size, align, class, count);
}

static void print_small(const struct mspan *span, size_t size) {
  unsigned size_class = span_class_size_class(span->class);
  size_t bytes = span->npages << GM_PAGE_SHIFT;
  const struct mcache_slot *slot = &mcache_current->slots[span->class];
  printf(", \"kind\": \"%s\"", size < GM_MIN_ALIGN ? "tiny" : "small");
  printf(", \"size_class\": %u, \"span_class\": %u, \"noscan\": %s", size_class, span->class,
         span->class == make_span_class(size_class, true) ? "true" : "false");
  printf(", \"objects\": %llu, \"groups\": %u, \"tail_bytes\": %zu", (unsigned long long)span->object_count,
         mspan_group_count(span), bytes - span->object_count * span->object_size);
  mcache_open_stack(mcache_current, span->class);
  printf(", \"slot\": {\"index\": %u, \"bytes\": %zu, \"stack_holds\": %td, \"claims\": 64}", span->class,
         sizeof *slot, slot->limit - mcache_current->stacks[span->class].entries);
}

static void print_large(const struct mspan *span) {
  printf(", \"kind\": \"large\", \"size_class\": 0, \"span_class\": %u, \"noscan\": true, \"objects\": 1",
         span->class);
  printf(", \"kept_by_thread\": %s, \"kept_by_page_cache\": %s",
         span->npages <= MCACHE_LARGE_MAX ? "true" : "false",
         span->npages <= PAGE_CACHE_RUN_MAX ? "true" : "false");
}

static void explain_here(size_t size, size_t align) {
  printf("{\"request\": %zu, \"align\": %zu", size, align);
  void *block = request(size, align);
  if (block == NULL) {
    printf(", \"kind\": \"refused\", \"why\": \"%s\"}", strerror(errno));
    return;
  }
  const struct mspan *span = heap_arena_span_of((uintptr_t)block);
  size_t object_size = span->object_size;
  span_class class = span->class;
  printf(", \"object_size\": %zu, \"waste_bytes\": %zu, \"span_pages\": %zu, \"span_bytes\": %zu",
         object_size, object_size - size, span->npages, span->npages << GM_PAGE_SHIFT);
  if (span_class_size_class(class) == 0)
    print_large(span);
  else
    print_small(span, size);
  gm_free(block);
  gm_purge(); // what other sizes left does not count
  probe(size, align, class, object_size);
  gm_purge();
  printf("}");
}

struct wish {
  size_t size, align;
};

static void *explain_wish(void *argument) {
  const struct wish *wish = argument;
  gm_free(gm_malloc(1)); // the thread gets its mcache
  explain_here(wish->size, wish->align);
  return NULL;
}

// In a thread of its own, whose mcache judges its stacks anew: what was asked before does not count.
static bool explain(size_t size, size_t align) {
  struct wish wish = {size, align};
  pthread_t thread;
  return pthread_create(&thread, NULL, explain_wish, &wish) == 0 && pthread_join(thread, NULL) == 0;
}

static void print_limits(void) {
  printf(
      "\"version\": \"%s\", \"limits\": {\"tiny_below\": %d, \"small_most\": %d, \"page\": %zu, \"chunk\": "
      "%zu"
      ", \"arena\": %zu, \"stack_entries\": %d, \"thread_large_pages\": %d, \"thread_large_total_pages\": %d"
      ", \"page_cache_run_pages\": %d, \"size_classes\": %d, \"span_classes\": %d}",
      gm_version(), GM_MIN_ALIGN, SIZE_CLASS_MAX, GM_PAGE_SIZE, CHUNK_SIZE, ARENA_SIZE,
      MCACHE_STACK_ENTRIES - 1, MCACHE_LARGE_MAX, MCACHE_LARGE_PAGES, PAGE_CACHE_RUN_MAX, SIZE_CLASS_COUNT,
      SPAN_CLASS_COUNT);
}

// A whole decimal number; false if the text is anything else.
static bool parse(const char *text, size_t *value) {
  char *end = NULL;
  errno = 0;
  *value = strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static int refuse(const char *what, const char *text) {
  (void)fprintf(stderr, "heaparena-explain: %s: %s\n", what, text);
  return 2;
}

int main(int argc, char **argv) {
  size_t align = 0;
  int first = 1;
  if (argc > 2 && strcmp(argv[1], "--align") == 0) {
    if (!parse(argv[2], &align) || !gm_is_power_of_two(align))
      return refuse("--align needs a power of two, not", argv[2]);
    first = 3;
  }
  if (first >= argc)
    return refuse("usage", "heaparena-explain [--align N] SIZE...");
  size_t size = 0;
  for (int i = first; i < argc; i++)
    if (!parse(argv[i], &size))
      return refuse("not a number of bytes", argv[i]);
  printf("{");
  print_limits();
  printf(", \"requests\": [");
  for (int i = first; i < argc; i++) {
    (void)parse(argv[i], &size);
    printf("%s\n", i > first ? "," : "");
    if (!explain(size, align))
      return refuse("no thread for the request", argv[i]);
  }
  printf("\n]}\n");
  return 0;
}

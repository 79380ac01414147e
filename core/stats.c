// Statistics with Go's names (Go: mstats.go), derived when asked for: the hot paths count nothing. Mallocs of
// a class are the objects that slots claimed, less those still claimed; live objects are those with a bit in
// none of the three places where free objects are.
#include "core/errors.h"
#include "core/fixalloc.h"
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/page_alloc.h"

#include <string.h>

static_assert(GM_SIZE_CLASSES == SIZE_CLASS_COUNT, "gm_stats.BySize has one entry per class");

struct tally {
  uint64_t live[SIZE_CLASS_COUNT];    // objects
  uint64_t claimed[SIZE_CLASS_COUNT]; // objects in slots, not handed out
  uint64_t large_bytes;
};

static void tally_span(struct mspan *span, void *context) {
  struct tally *tally = context;
  unsigned size_class = span_class_size_class(span->class);
  if (size_class == 0) {
    tally->large_bytes += span->object_size;
    return;
  }
  uint64_t not_live = 0;
  for (uint32_t w = 0; w < mspan_word_count(span); w++) {
    const struct span_word *word = &span->words[w];
    uint64_t claimed = atomic_load_explicit(&word->claimed, memory_order_relaxed);
    not_live +=
        (uint64_t)__builtin_popcountll(atomic_load_explicit(&word->free, memory_order_relaxed) | claimed |
                                       atomic_load_explicit(&word->remote, memory_order_relaxed));
    tally->claimed[size_class] += (uint64_t)__builtin_popcountll(claimed);
  }
  tally->live[size_class] += span->object_count - not_live;
}

static void read_classes(struct gm_stats *stats, const struct tally *tally) {
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    uint64_t mallocs = 0; // claimed ever, less those not handed out
    for (struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next)
      for (unsigned half = 0; half < 2; half++)
        mallocs += atomic_load_explicit(&cache->bins[make_span_class(class, half == 0)].claimed_objects,
                                        memory_order_relaxed);
    uint64_t live = tally->live[class];
    // Other threads may have moved on since the walk over the spans: never below zero.
    mallocs -= tally->claimed[class] < mallocs ? tally->claimed[class] : mallocs;
    stats->BySize[class].Size = size_class_size[class];
    stats->BySize[class].Mallocs = mallocs;
    stats->BySize[class].Frees = mallocs > live ? mallocs - live : 0;
    stats->Mallocs += stats->BySize[class].Mallocs;
    stats->Frees += stats->BySize[class].Frees;
    stats->HeapAlloc += live * size_class_size[class];
  }
}

GM_EXPORT void gm_stats_read(struct gm_stats *stats) {
  struct tally tally;
  memset(&tally, 0, sizeof tally);
  memset(stats, 0, sizeof *stats);
  heap_lock_all();
  heap_walk_spans(tally_span, &tally);
  read_classes(stats, &tally);
  struct page_alloc_counts pages = page_alloc_counts();
  stats->HeapSys = gm_heap.mapped_pages << GM_PAGE_SHIFT;
  stats->HeapInuse = gm_heap.in_use_pages << GM_PAGE_SHIFT;
  stats->HeapIdle = pages.free << GM_PAGE_SHIFT;
  stats->HeapReleased = pages.scavenged << GM_PAGE_SHIFT;
  stats->Mallocs += gm_heap.large_mallocs;
  stats->Frees += gm_heap.large_frees;
  stats->HeapAlloc += tally.large_bytes;
  stats->HeapObjects = stats->Mallocs - stats->Frees;
  stats->MetadataSys = persistent_reserved();
  heap_unlock_all();
}

static void append_field(struct text_buffer *text, const char *name, uint64_t value) {
  text_append(text, "\"");
  text_append(text, name);
  text_append(text, "\": ");
  text_append_decimal(text, value);
}

static void append_classes(struct text_buffer *text, const struct gm_stats *stats) {
  const char *separator = "";
  for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) {
    if (stats->BySize[i].Mallocs == 0)
      continue;
    text_append(text, separator);
    separator = ", ";
    text_append(text, "{");
    append_field(text, "Size", stats->BySize[i].Size);
    text_append(text, ", ");
    append_field(text, "Mallocs", stats->BySize[i].Mallocs);
    text_append(text, ", ");
    append_field(text, "Frees", stats->BySize[i].Frees);
    text_append(text, "}");
  }
}

GM_EXPORT size_t gm_stats_json(char *buffer, size_t size) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  const struct {
    const char *name;
    uint64_t value;
  } fields[] = {
      {"HeapSys", stats.HeapSys},           {"HeapAlloc", stats.HeapAlloc},
      {"HeapInuse", stats.HeapInuse},       {"HeapIdle", stats.HeapIdle},
      {"HeapReleased", stats.HeapReleased}, {"HeapObjects", stats.HeapObjects},
      {"Mallocs", stats.Mallocs},           {"Frees", stats.Frees},
      {"MetadataSys", stats.MetadataSys},
  };
  struct text_buffer text = {buffer, size > 0 ? size - 1 : 0, 0};
  text_append(&text, "{");
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    append_field(&text, fields[i].name, fields[i].value);
    text_append(&text, ", ");
  }
  text_append(&text, "\"BySize\": [");
  append_classes(&text, &stats);
  text_append(&text, "]}");
  if (size > 0)
    buffer[text.length < text.size ? text.length : text.size] = '\0';
  return text.length;
}

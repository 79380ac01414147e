// Statistics with Go's names (Go: mstats.go), derived when asked for: the hot paths count nothing. Mallocs of
// a class are the objects that slots claimed or took from their stacks; live objects are counted by their
// states.
#include "core/errors.h"
#include "core/fixalloc.h"
#include "core/gomalloc.h"
#include "core/heap_arena.h"
#include "core/heap_walk.h"
#include "core/mcache.h"
#include "core/mheap.h"
#include "core/options.h"
#include "core/page_alloc.h"
#include "core/page_cache.h"
#include "core/scavenge.h"

#include <string.h>

static_assert(GM_SIZE_CLASSES == SIZE_CLASS_COUNT, "gm_stats.BySize has one entry per class");

struct tally {
  uint64_t live[SIZE_CLASS_COUNT]; // objects
  uint64_t large_bytes;
  uint64_t span_bytes; // of the spans' structs
};

static void tally_span(struct mspan *span, void *context) {
  struct tally *tally = context;
  unsigned size_class = span_class_size_class(span->class);
  tally->span_bytes += sizeof *span;
  if (span->place == SPAN_COLLECTED)
    return; // HeapInuse has its pages; gm_gc_stats_read knows its objects
  if (size_class == 0) {
    tally->large_bytes += mspan_object_is_free(span, 0) ? 0 : span->object_size;
    return;
  }
  for (uint64_t i = 0; i < span->object_count; i++)
    tally->live[size_class] += !mspan_object_is_free(span, i);
}

// Objects that the class's slots ever handed out: those claimed, less those still there, and those popped.
static uint64_t class_mallocs(unsigned class) {
  uint64_t mallocs = 0;
  for (struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next)
    for (unsigned half = 0; half < 2; half++) {
      span_class which = make_span_class(class, half == 0);
      struct mcache_slot *slot = &cache->slots[which];
      uint64_t claimed = atomic_load_explicit(&cache->bins[which].claimed_objects, memory_order_relaxed);
      uint64_t left = (uint64_t)__builtin_popcountll(GM_SHARED_LOAD(&slot->alloc_cache));
      mallocs += claimed - (left < claimed ? left : claimed) + GM_SHARED_LOAD(&slot->popped);
    }
  return mallocs;
}

static void read_classes(struct gm_stats *stats, const struct tally *tally) {
  for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
    uint64_t mallocs = class_mallocs(class);
    uint64_t live = tally->live[class];
    stats->BySize[class].Size = size_class_size[class];
    stats->BySize[class].Mallocs = mallocs;
    // Other threads may have moved on since the walk over the spans: never below zero.
    stats->BySize[class].Frees = mallocs > live ? mallocs - live : 0;
    stats->Mallocs += stats->BySize[class].Mallocs;
    stats->Frees += stats->BySize[class].Frees;
    stats->HeapAlloc += live * size_class_size[class];
    stats->TotalAlloc += mallocs * size_class_size[class];
  }
}

static void read_metadata(struct gm_stats *stats, const struct tally *tally) {
  stats->MSpanInuse = tally->span_bytes;
  for (const struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next) {
    stats->MCacheSys += sizeof *cache;
    stats->MCacheInuse += cache->idle ? 0 : sizeof *cache;
  }
  stats->MetadataSys = persistent_reserved();
  bool linear = gm_option_get(&gm_options.layout) == GM_LAYOUT_LINEAR;
  for (const struct heap_arena *arena = heap_arena_first(); arena != NULL; arena = arena->next)
    stats->ArenaSys += linear ? ARENA_SIZE / LINEAR_SPANS_RATIO + ARENA_SIZE / LINEAR_BITMAP_RATIO
                              : ARENA_PAGES * sizeof(arena_span); // the struct is in MetadataSys
  stats->Sys = stats->HeapSys + stats->MetadataSys + stats->ArenaSys;
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
  stats->HeapIdle = (pages.free + page_cache_pages() + scavenge_in_transit()) << GM_PAGE_SHIFT;
  stats->HeapReleased = pages.scavenged << GM_PAGE_SHIFT;
  stats->Mallocs += gm_heap.large_mallocs;
  stats->Frees += gm_heap.large_frees;
  for (struct mcache *cache = mcache_first(); cache != NULL; cache = cache->next) {
    stats->Mallocs += GM_SHARED_LOAD(&cache->large.taken);
    stats->TotalAlloc += GM_SHARED_LOAD(&cache->large.taken_bytes);
    stats->Frees += GM_SHARED_LOAD(&cache->large.kept);
  }
  stats->HeapAlloc += tally.large_bytes;
  stats->HeapObjects = stats->Mallocs - stats->Frees;
  stats->TotalAlloc += gm_heap.large_bytes;
  stats->Alloc = stats->HeapAlloc;
  read_metadata(stats, &tally);
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

static void append_options(struct text_buffer *text) {
  const char *name = NULL;
  uint64_t value = 0;
  for (unsigned i = 0; options_describe(i, &name, &value); i++) {
    if (i > 0)
      text_append(text, ", ");
    append_field(text, name, value);
  }
}

GM_EXPORT size_t gm_stats_json(char *buffer, size_t size) {
  struct gm_stats stats;
  gm_stats_read(&stats);
  const struct {
    const char *name;
    uint64_t value;
  } fields[] = {
      {"Alloc", stats.Alloc},
      {"TotalAlloc", stats.TotalAlloc},
      {"Sys", stats.Sys},
      {"Mallocs", stats.Mallocs},
      {"Frees", stats.Frees},
      {"HeapSys", stats.HeapSys},
      {"HeapAlloc", stats.HeapAlloc},
      {"HeapInuse", stats.HeapInuse},
      {"HeapIdle", stats.HeapIdle},
      {"HeapReleased", stats.HeapReleased},
      {"HeapObjects", stats.HeapObjects},
      {"MSpanInuse", stats.MSpanInuse},
      {"MCacheInuse", stats.MCacheInuse},
      {"MCacheSys", stats.MCacheSys},
      {"MetadataSys", stats.MetadataSys},
      {"ArenaSys", stats.ArenaSys},
      {"Errors", errors_count()},
  };
  struct text_buffer text = {buffer, size > 0 ? size - 1 : 0, 0};
  text_append(&text, "{\"Version\": \"" HEAPARENA_VERSION "\", \"Layout\": \"");
  text_append(&text, gm_option_get(&gm_options.layout) == GM_LAYOUT_LINEAR ? "linear" : "sparse");
  text_append(&text, "\", ");
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    append_field(&text, fields[i].name, fields[i].value);
    text_append(&text, ", ");
  }
  text_append(&text, "\"BySize\": [");
  append_classes(&text, &stats);
  text_append(&text, "], \"Options\": {");
  append_options(&text);
  text_append(&text, "}}");
  if (size > 0)
    buffer[text.length < text.size ? text.length : text.size] = '\0';
  return text.length;
}

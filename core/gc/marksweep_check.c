// gm_gc_check: holds the collected spans against their lists, their bitmaps and the page maps. See gm_gc.h.
#include "core/gc/marksweep.h"

#include "core/errors.h"
#include "core/mheap.h"

struct check {
  int faults;
  uint64_t spans;
  uint64_t bytes;
  uint64_t places[GC_SPAN_FULL + 1]; // spans that say they are there
  uint64_t listed[GC_SPAN_FULL + 1]; // spans found there
};

static void fault(struct check *check, const char *what, const struct gc_span *span) {
  char line[200];
  struct text_buffer text = {line, sizeof line, 0};
  text_append(&text, "gomalloc: collector check: ");
  text_append(&text, what);
  if (span != NULL) {
    text_append(&text, " (kind ");
    text_append_decimal(&text, span->kind);
    text_append(&text, ", span ");
    text_append_hex(&text, span->start);
    text_append(&text, ")");
  }
  text_append(&text, "\n");
  text_write_stderr(&text);
  check->faults++;
}

static void check_bits(struct check *check, const struct gc_span *span) {
  const uint64_t *first = span->bits;
  const uint64_t *second = span->bits + span->words;
  if ((span->alloc_bits != first || span->mark_bits != second) &&
      (span->alloc_bits != second || span->mark_bits != first))
    fault(check, "the bitmaps are not the span's", span);
  if (gc_bits_count(span->mark_bits, span->words) != 0)
    fault(check, "a swept span has marks", span);
  uint32_t rest = span->object_count % 64;
  if (rest != 0 && span->alloc_bits[span->words - 1] >> rest != 0)
    fault(check, "an object behind the last one is taken", span);
}

static void check_span(struct gc_span *span, void *context) {
  struct check *check = context;
  check->spans++;
  check->bytes += gc_span_pages_bytes(span);
  check_bits(check, span);
  const struct gc_layout *layout = &gc_layouts[span->kind];
  if (span->kind >= atomic_load_explicit(&gc_kind_count, memory_order_acquire) ||
      span->noscan != (layout->scan == GC_SCAN_NONE) || (span->object_size == 0) != (layout->size_class == 0))
    fault(check, "a span does not fit its kind", span);
  uintptr_t end = span->start + gc_span_pages_bytes(span);
  for (uintptr_t page = span->start; page < end; page += GM_PAGE_SIZE)
    if (gc_span_at(page) != span)
      fault(check, "the page map does not lead to the span", span);
  if (gc_span_index(span, span->start + (span->object_count - 1) * span->bytes) != span->object_count - 1)
    fault(check, "the last object is not found by its address", span);
  if (span->place > GC_SPAN_FULL || span->place == GC_SPAN_MOVING)
    fault(check, "a span is nowhere", span);
  else
    check->places[span->place]++;
}

static void check_list(struct check *check, struct mspan_list *list, enum gc_span_place place, unsigned kind,
                       bool large) {
  const struct mspan *previous = NULL;
  for (struct mspan *pages = list->first; pages != NULL; pages = pages->next) {
    const struct gc_span *span = gc_span_of(pages);
    check->listed[place]++;
    if (span->place != place || pages->previous != previous ||
        (large ? span->object_size != 0 : span->kind != kind))
      fault(check, "a span is on the wrong list", span);
    if (place == GC_SPAN_FULL && gc_bits_count(span->alloc_bits, span->words) != span->object_count)
      fault(check, "a full span has free objects", span);
    previous = pages;
  }
  if (list->last != previous)
    fault(check, "a list's end is wrong", NULL);
}

static void check_central(struct check *check, struct mcentral *central, unsigned kind, bool large) {
  check_list(check, mcentral_partial_swept(central), GC_SPAN_PARTIAL, kind, large);
  check_list(check, mcentral_full_swept(central), GC_SPAN_FULL, kind, large);
  if (mcentral_partial_unswept(central)->first != NULL || mcentral_full_unswept(central)->first != NULL)
    fault(check, "sweeping is over and a span is unswept", NULL);
}

static void check_mutator(struct check *check, const struct gc_mutator *mutator, unsigned kinds) {
  for (unsigned kind = 0; kind < kinds; kind++) {
    const struct gc_span *span = mutator->active[kind];
    const struct gm_gc_slot *slot = &mutator->slots[kind];
    if (span == NULL) {
      if (slot->cursor != slot->limit)
        fault(check, "a slot without span has a run", NULL);
      continue;
    }
    check->listed[GC_SPAN_ACTIVE]++;
    if (span->kind != kind || span->place != GC_SPAN_ACTIVE ||
        (slot->cursor != slot->limit && gc_span_at((uintptr_t)slot->cursor) != span))
      fault(check, "a slot's run is not in its span", span);
  }
}

int gc_check_spans(void) {
  struct check check = {0};
  unsigned kinds = atomic_load_explicit(&gc_kind_count, memory_order_acquire);
  gc_span_each(check_span, &check);
  for (unsigned kind = 0; kind < kinds; kind++)
    check_central(&check, &gc_kinds[kind].central, kind, false);
  check_central(&check, &gc_large_central, 0, true);
  for (const struct gc_mutator *mutator = gc_mutators(); mutator != NULL; mutator = mutator->next)
    check_mutator(&check, mutator, kinds);
  for (unsigned place = 0; place <= GC_SPAN_FULL; place++)
    if (check.places[place] != check.listed[place])
      fault(&check, "a span is not where it says, or in two places", NULL);
  if (check.spans != atomic_load_explicit(&gc.spans, memory_order_relaxed) ||
      check.bytes != atomic_load_explicit(&gc.heap_bytes, memory_order_relaxed))
    fault(&check, "the counts of spans differ from the spans", NULL);
  return check.faults;
}

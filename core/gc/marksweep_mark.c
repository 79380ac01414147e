// Marking: the loop that scans grey objects (Go: mgcmark.go, scanobject). See marksweep.h.
//
// A worker keeps grey objects on a stack of its own, one packet long (marksweep_packets.h). When that is full
// the packet goes to the pool, whence idle workers take it; when workers idle and the pool is empty, a busy
// one gives half of its packet. What leaves the stack is prefetched and waits in a short queue until its
// memory has come (Cher, Hosking and Vitek 2004).
//
// A pool without memory for packets does not end the program: objects that found no place stay marked but
// unscanned, and a walk over all marked objects finds them again.
#include "core/gc/marksweep_packets.h"

#include <sched.h>
#include <string.h>

enum {
  QUEUE = 8,         // prefetched entries
  SHARE_EVERY = 64,  // entries scanned between looks at whether others idle
  SHARE_LEAST = 16,  // a stack below that is not worth halving
  OBLET = 128 << 10, // large objects are scanned in pieces of this (Go: maxObletBytes)
};

struct gc_worker {
  struct gc_packet *packet; // the stack
  bool parallel;            // others mark at the same time
  struct gc_marked marked;
};

// Some object found no place in a packet.
static _Atomic bool overflowed;

static GM_NOINLINE void push_full(struct gc_worker *worker, gc_entry entry) {
  struct gc_packet *packet = gc_packet_take_empty();
  if (packet == NULL) {
    atomic_store_explicit(&overflowed, true, memory_order_relaxed);
    return;
  }
  gc_packet_put_full(worker->packet);
  worker->packet = packet;
  packet->entries[packet->count++] = entry;
}

GM_INLINE void push(struct gc_worker *worker, gc_entry entry) {
  struct gc_packet *packet = worker->packet;
  if (GM_UNLIKELY(packet->count == GC_PACKET_ENTRIES)) {
    push_full(worker, entry);
    return;
  }
  packet->entries[packet->count++] = entry;
}

// Half of the stack for those who idle: the older half, whose objects have the larger subtrees.
static GM_NOINLINE void share(struct gc_worker *worker) {
  if (!gc_work_is_wanted())
    return;
  struct gc_packet *mine = worker->packet;
  struct gc_packet *packet = gc_packet_take_empty();
  if (packet == NULL)
    return;
  uint32_t half = mine->count / 2;
  memcpy(packet->entries, mine->entries, half * sizeof(gc_entry));
  memmove(mine->entries, mine->entries + half, (mine->count - half) * sizeof(gc_entry));
  packet->count = half;
  mine->count -= half;
  gc_packet_put_full(packet);
}

// Sets the mark; false when it was set before.
GM_INLINE bool set_mark(uint64_t *word, uint64_t bit, bool parallel) {
  if (!parallel) {
    uint64_t old = *word;
    if ((old & bit) != 0)
      return false;
    *word = old | bit;
    return true;
  }
  if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bit) != 0)
    return false;
  return (__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit) == 0;
}

// A word that may be a pointer. `sure`: the word is a typed pointer, which never points at a free object.
GM_INLINE void mark_word(struct gc_worker *worker, uintptr_t word, bool parallel, bool sure) {
  struct gc_span *span = gc_span_at(word);
  if (span == NULL)
    return;
  uint64_t index = gc_span_index(span, word);
  uint64_t bit = (uint64_t)1 << (index % 64);
  if (GM_UNLIKELY(index >= span->object_count))
    return;
  if (!sure && (span->alloc_bits[index / 64] & bit) == 0)
    return;
  if (!set_mark(&span->mark_bits[index / 64], bit, parallel))
    return;
  worker->marked.bytes += span->bytes;
  worker->marked.objects++;
  if (!span->noscan)
    push(worker, (span->start + index * span->object_size) | (uint64_t)span->kind << GC_ENTRY_KIND_SHIFT);
}

// A word of memory that anybody may have written: with sanitizers, also what they think is not to be read.
__attribute__((no_sanitize("address", "thread"))) static uintptr_t any_word(uintptr_t address) {
  return *(const volatile uintptr_t *)address;
}

void gc_mark_range(struct gc_worker *worker, uintptr_t start, uintptr_t end) {
  for (uintptr_t at = gm_align_up(start, sizeof(uintptr_t)); at + sizeof(uintptr_t) <= end;
       at += sizeof(uintptr_t))
    mark_word(worker, any_word(at), worker->parallel, false);
}

// Objects of mutators, which are stopped; under ThreadSanitizer the stop orders these accesses.
typedef uintptr_t __attribute__((may_alias)) heap_word;

GM_INLINE void scan_words(struct gc_worker *worker, uintptr_t object, size_t words, bool parallel) {
  const heap_word *word = (const heap_word *)object;
  for (const heap_word *end = word + words; word < end; word++)
    mark_word(worker, *word, parallel, false);
}

GM_INLINE void scan_map(struct gc_worker *worker, uintptr_t object, uint64_t map, bool parallel) {
  const heap_word *word = (const heap_word *)object;
  for (; map != 0; map &= map - 1)
    mark_word(worker, word[__builtin_ctzll(map)], parallel, true);
}

// One piece of a large conservative object; the rest is pushed first, for others to take.
static GM_NOINLINE void scan_large(struct gc_worker *worker, uintptr_t at, bool parallel) {
  struct gc_span *span = gc_span_at(at);
  uintptr_t end = span->start + span->bytes;
  if (end - at > OBLET) {
    push(worker, (at + OBLET) | (uint64_t)span->kind << GC_ENTRY_KIND_SHIFT);
    end = at + OBLET;
  }
  scan_words(worker, at, (end - at) / sizeof(uintptr_t), parallel);
}

GM_INLINE void scan(struct gc_worker *worker, gc_entry entry, bool parallel) {
  uintptr_t object = entry & GC_ENTRY_ADDRESS;
  const struct gc_layout *layout = &gc_layouts[entry >> GC_ENTRY_KIND_SHIFT];
  if (GM_LIKELY(layout->scan == GC_SCAN_MAP)) {
    scan_map(worker, object, layout->map, parallel);
  } else if (layout->scan == GC_SCAN_MAPS) {
    for (uint32_t i = 0; i < layout->words; i++)
      scan_map(worker, object + i * (size_t)512, layout->maps[i], parallel);
  } else if (layout->words != 0) {
    scan_words(worker, object, layout->words, parallel);
  } else {
    scan_large(worker, object, parallel);
  }
}

// Scans until the worker's own stack is empty.
GM_INLINE void drain(struct gc_worker *worker, bool parallel) {
  gc_entry queue[QUEUE] = {0};
  unsigned at = 0;
  unsigned misses = 0;
  unsigned until_share = SHARE_EVERY;
  for (;;) {
    struct gc_packet *packet = worker->packet;
    gc_entry next = 0;
    if (packet->count > 0) {
      next = packet->entries[--packet->count];
      __builtin_prefetch((const void *)(next & GC_ENTRY_ADDRESS));
      misses = 0;
    } else if (++misses > QUEUE) {
      return; // so many in a row: the queue is empty too
    }
    gc_entry entry = queue[at];
    queue[at] = next;
    at = (at + 1) % QUEUE;
    if (entry == 0)
      continue;
    scan(worker, entry, parallel);
    if (parallel && --until_share == 0) {
      until_share = SHARE_EVERY;
      if (GM_UNLIKELY(atomic_load_explicit(&gc_work_idle, memory_order_relaxed) > 0) &&
          worker->packet->count >= SHARE_LEAST)
        share(worker);
    }
  }
}

static void drain_own(struct gc_worker *worker) {
  if (worker->parallel)
    drain(worker, true);
  else
    drain(worker, false);
}

// Scans until nobody has anything to scan.
static void work(struct gc_worker *worker) {
  do
    drain_own(worker);
  while (gc_work_find(&worker->packet));
  gc_packet_put_empty(worker->packet);
  gc_work_leave(&worker->marked);
}

void gc_mark_help(void) {
  struct gc_worker worker = {.packet = gc_packet_take_empty(), .parallel = true};
  if (worker.packet == NULL)
    return;
  if (gc_work_join())
    work(&worker);
  else
    gc_packet_put_empty(worker.packet);
}

// Pushes every marked object of a span again.
static void rescan_span(struct gc_span *span, void *context) {
  struct gc_worker *worker = context;
  if (span->noscan)
    return;
  for (uint64_t index = 0; index < span->object_count; index++)
    if (gc_bit(span->mark_bits, index)) {
      push(worker, (span->start + index * span->object_size) | (uint64_t)span->kind << GC_ENTRY_KIND_SHIFT);
      drain(worker, false);
    }
}

// Takes full packets until there is none. Alone.
static void drain_pool(struct gc_worker *worker) {
  drain(worker, false);
  for (struct gc_packet *packet = gc_packet_take_full(); packet != NULL; packet = gc_packet_take_full()) {
    gc_packet_put_empty(worker->packet);
    worker->packet = packet;
    drain(worker, false);
  }
}

static struct gc_packet *surely_take_empty(void) {
  struct gc_packet *packet = gc_packet_take_empty();
  while (packet == NULL) {
    // Giving up would lose objects, and the system may have two pages in a moment.
    (void)sched_yield();
    packet = gc_packet_take_empty();
  }
  return packet;
}

// Some objects were not scanned: goes over all marked ones until none is left out. Alone.
static void repair_overflow(struct gc_marked *marked) {
  struct gc_worker worker = {.packet = surely_take_empty(), .marked = *marked};
  while (atomic_exchange_explicit(&overflowed, false, memory_order_relaxed)) {
    gc_span_each(rescan_span, &worker);
    drain_pool(&worker);
  }
  gc_packet_put_empty(worker.packet);
  *marked = worker.marked;
}

static struct gc_marked mark_alone(void) {
  struct gc_worker worker = {.packet = surely_take_empty()};
  gc_roots_mark(&worker);
  drain_pool(&worker);
  gc_packet_put_empty(worker.packet);
  return worker.marked;
}

static struct gc_marked mark_together(unsigned threads) {
  struct gc_worker worker = {.packet = surely_take_empty(), .parallel = true};
  gc_work_open(threads);
  gc_helpers_wake_mark();
  gc_roots_mark(&worker);
  work(&worker);
  return gc_work_wait();
}

struct gc_marked gc_mark(unsigned threads) {
  struct gc_marked marked = threads > 1 ? mark_together(threads) : mark_alone();
  if (atomic_load_explicit(&overflowed, memory_order_relaxed))
    repair_overflow(&marked);
  return marked;
}

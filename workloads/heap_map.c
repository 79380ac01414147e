// heap_map.c: see heap_map.h.
#include "workloads/heap_map.h"

#include "adapters/ticks.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNK_SHIFT 16
#define CHUNK_SIZE  ((uintptr_t)1 << CHUNK_SHIFT)
#define TABLE_SIZE  (4u * HA_MAP_CHUNKS) // a power of two

enum { NAMED_FRAMES = 8, FRAMES = HA_MAP_FRAMES_MOST + NAMED_FRAMES, STATES = HA_RANGE_BLOCKS + 1 };

typedef struct chunk {
  uintptr_t number; // address >> CHUNK_SHIFT
  uint32_t live[HA_MAP_CHUNK_PAGES];
} chunk;

typedef struct frame {
  const char *phase; // NULL: taken by the interval
  uint64_t operations, ns;
  uint64_t live_bytes, live_blocks, outside_bytes, resident_bytes;
  uint64_t states[STATES]; // bytes, by the walk
  uint64_t room_bytes;     // by the walk: of blocks, live or not
  bool walked;
  uint32_t chunks;  // known then
  char *use, *kind; // HA_MAP_CHUNK_PAGES letters each; kind NULL without a walk
} frame;

static struct {
  const ha_alloc *alloc;
  ha_map_options options;
  uint64_t started_ns, operations, live_bytes, live_blocks, outside_bytes;
  uint32_t count;              // of chunks
  uint32_t table[TABLE_SIZE];  // open addressing: index of a chunk + 1; 0 empty
  chunk chunks[HA_MAP_CHUNKS]; // in the order in which they were first touched
  frame frames[FRAMES];
  unsigned frame_count;
} map;

static void *mapped(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static size_t letters_of(const frame *f) {
  return (size_t)f->chunks * HA_MAP_CHUNK_PAGES;
}

static void drop(frame *f) {
  if (f->use)
    munmap(f->use, letters_of(f));
  if (f->kind)
    munmap(f->kind, letters_of(f));
  f->use = f->kind = NULL;
}

bool ha_map_start(const ha_alloc *alloc, const ha_map_options *options) {
  for (unsigned i = 0; i < map.frame_count; i++)
    drop(&map.frames[i]);
  memset(&map, 0, sizeof map);
  map.alloc = alloc;
  map.options = *options;
  map.started_ns = ha_ticks_of_clock();
  return options->frames >= HA_MAP_FRAMES_LEAST && options->frames <= HA_MAP_FRAMES_MOST &&
         options->every >= 1;
}

// The chunk with that number; NULL if it is not known, and `add` is false or there is no room.
static chunk *chunk_of(uintptr_t number, bool add) {
  uint32_t at = (uint32_t)((number * 0x9e3779b97f4a7c15u) >> 32) % TABLE_SIZE;
  while (map.table[at] && map.chunks[map.table[at] - 1].number != number)
    at = (at + 1) % TABLE_SIZE;
  if (map.table[at])
    return &map.chunks[map.table[at] - 1];
  if (!add || map.count == HA_MAP_CHUNKS)
    return NULL;
  chunk *fresh = &map.chunks[map.count];
  fresh->number = number;
  map.table[at] = ++map.count;
  return fresh;
}

// Adds `sign` times a block's bytes to the pages that it touches.
static void count_block(uintptr_t at, size_t size, int sign) {
  uintptr_t end = at + (size ? size : 1); // a block of no bytes has an address, too
  if (end < at)
    return;
  while (at < end) {
    chunk *c = chunk_of(at >> CHUNK_SHIFT, sign > 0);
    uintptr_t next = (at | (HA_MAP_PAGE - 1)) + 1;
    uint64_t part = (next < end ? next : end) - at;
    uint32_t *page = c ? &c->live[(at & (CHUNK_SIZE - 1)) / HA_MAP_PAGE] : NULL;
    if (!page)
      map.outside_bytes += sign > 0 ? part : (map.outside_bytes < part ? -map.outside_bytes : -part);
    else if (sign > 0)
      *page += (uint32_t)part;
    else
      *page -= *page < part ? *page : (uint32_t)part;
    at = next;
  }
}

// ---- Frames

static bool resident_pages(uintptr_t start, unsigned char resident[HA_MAP_CHUNK_PAGES]) {
  // Fails for ranges that are not mapped, such as the end of the heap inside a chunk.
  return mincore((void *)start, CHUNK_SIZE, resident) == 0; // NOLINT(performance-no-int-to-ptr)
}

static void look_at_residency(const chunk *c, unsigned char resident[HA_MAP_CHUNK_PAGES]) {
  uintptr_t start = c->number << CHUNK_SHIFT;
  if (resident_pages(start, resident))
    return;
  for (unsigned i = 0; i < HA_MAP_CHUNK_PAGES; i++) {
    void *page = (void *)(start + (uintptr_t)i * HA_MAP_PAGE); // NOLINT(performance-no-int-to-ptr)
    if (mincore(page, HA_MAP_PAGE, &resident[i]) != 0)
      resident[i] = 0;
  }
}

static void draw_use(frame *f) {
  static const char alphabet[] = "0123456789abcdefghijklmnopqrstuv";
  for (uint32_t i = 0; i < f->chunks; i++) {
    unsigned char resident[HA_MAP_CHUNK_PAGES];
    look_at_residency(&map.chunks[i], resident);
    for (unsigned page = 0; page < HA_MAP_CHUNK_PAGES; page++) {
      uint32_t live = map.chunks[i].live[page];
      uint32_t share = live >= HA_MAP_PAGE ? 15 : (live * 15 + HA_MAP_PAGE - 1) / HA_MAP_PAGE;
      f->use[i * HA_MAP_CHUNK_PAGES + page] = alphabet[share | (resident[page] & 1u) << 4];
      f->resident_bytes += resident[page] & 1u ? HA_MAP_PAGE : 0;
    }
  }
}

static char kind_letter(const ha_heap_range *range) {
  static const char states[] = {
      [HA_RANGE_RESERVED] = 'R', [HA_RANGE_RELEASED] = 'P', [HA_RANGE_FREE] = 'F', [HA_RANGE_BLOCKS] = 'z'};
  if (range->state != HA_RANGE_BLOCKS || range->block_size == 0)
    return states[range->state];
  char letter = 'a';
  for (size_t size = 16; size < range->block_size && letter < 'k'; size *= 2)
    letter++;
  return letter;
}

// The walk's visitor: the range's pages in the frame that is being drawn.
static void draw_range(const ha_heap_range *range, void *context) {
  frame *f = context;
  char letter = kind_letter(range);
  f->states[range->state] += range->size;
  f->room_bytes += range->blocks * range->block_size;
  for (uintptr_t at = range->start; at < range->start + range->size;) {
    uintptr_t next = (at | (CHUNK_SIZE - 1)) + 1;
    uintptr_t end = range->start + range->size < next ? range->start + range->size : next;
    const chunk *c = chunk_of(at >> CHUNK_SHIFT, false);
    if (c && c < &map.chunks[f->chunks]) {
      char *pages = &f->kind[(size_t)(c - map.chunks) * HA_MAP_CHUNK_PAGES];
      for (uintptr_t page = at; page < end; page += HA_MAP_PAGE)
        pages[(page & (CHUNK_SIZE - 1)) / HA_MAP_PAGE] = letter;
    }
    at = next;
  }
}

static void take(frame *f, const char *phase) {
  *f = (frame){.phase = phase,
               .operations = map.operations,
               .ns = ha_ticks_of_clock() - map.started_ns,
               .live_bytes = map.live_bytes,
               .live_blocks = map.live_blocks,
               .outside_bytes = map.outside_bytes,
               .chunks = map.count};
  if (map.count == 0 || !(f->use = mapped(letters_of(f))))
    f->chunks = 0;
  draw_use(f);
  if (!map.alloc->walk || (f->chunks && !(f->kind = mapped(letters_of(f)))))
    return;
  if (f->kind)
    memset(f->kind, '.', letters_of(f));
  f->walked = map.alloc->walk(draw_range, f);
}

// Every second frame that has no name goes; those at multiples of the doubled interval stay.
static void thin(void) {
  unsigned kept = 0, unnamed = 0;
  for (unsigned i = 0; i < map.frame_count; i++)
    if (map.frames[i].phase || unnamed++ % 2 == 1)
      map.frames[kept++] = map.frames[i];
    else
      drop(&map.frames[i]);
  map.frame_count = kept;
  map.options.every *= 2;
}

static unsigned unnamed_frames(void) {
  unsigned count = 0;
  for (unsigned i = 0; i < map.frame_count; i++)
    count += !map.frames[i].phase;
  return count;
}

static void operation(void) {
  if (++map.operations % map.options.every != 0)
    return;
  take(&map.frames[map.frame_count++], NULL);
  if (unnamed_frames() == map.options.frames)
    thin();
}

void ha_map_came(void *block, size_t requested) {
  map.live_bytes += requested;
  map.live_blocks++;
  count_block((uintptr_t)block, requested, 1);
  operation();
}

void ha_map_went(void *block, size_t requested) {
  map.live_bytes -= requested < map.live_bytes ? requested : map.live_bytes;
  map.live_blocks -= map.live_blocks > 0;
  count_block((uintptr_t)block, requested, -1);
  operation();
}

void ha_map_frame(const char *phase) {
  unsigned named = map.frame_count - unnamed_frames();
  if (named < NAMED_FRAMES)
    take(&map.frames[map.frame_count++], phase);
}

// ---- Print

static void print_frame(FILE *out, const frame *f) {
  static const char *const states[] = {"reserved", "released", "free", "blocks"};
  fprintf(out,
          "{\"phase\":\"%s\",\"operations\":%llu,\"ms\":%.3f,\"live_bytes\":%llu,\"live_blocks\":%llu,"
          "\"outside_bytes\":%llu,\"resident_bytes\":%llu,\"chunks\":%u",
          f->phase ? f->phase : "", (unsigned long long)f->operations, (double)f->ns / 1e6,
          (unsigned long long)f->live_bytes, (unsigned long long)f->live_blocks,
          (unsigned long long)f->outside_bytes, (unsigned long long)f->resident_bytes, f->chunks);
  if (f->walked) {
    for (unsigned i = 0; i < STATES; i++)
      fprintf(out, ",\"%s_bytes\":%llu", states[i], (unsigned long long)f->states[i]);
    fprintf(out, ",\"room_bytes\":%llu,\"kind\":\"%.*s\"", (unsigned long long)f->room_bytes,
            (int)letters_of(f), f->kind ? f->kind : "");
  }
  fprintf(out, ",\"use\":\"%.*s\"}", (int)letters_of(f), f->use ? f->use : "");
}

void ha_map_print(FILE *out) {
  fprintf(out, "{\"page\":%d,\"chunk_pages\":%d,\"every\":%llu,\"chunks\":[", HA_MAP_PAGE, HA_MAP_CHUNK_PAGES,
          (unsigned long long)map.options.every);
  for (uint32_t i = 0; i < map.count; i++)
    fprintf(out, "%s%llu", i ? "," : "", (unsigned long long)map.chunks[i].number);
  fputs("],\"frames\":[", out);
  for (unsigned i = 0; i < map.frame_count; i++) {
    fputs(i ? ",\n" : "\n", out);
    print_frame(out, &map.frames[i]);
  }
  fputs("]}\n", out);
}

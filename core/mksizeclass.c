// Generates size_class_table.h by the rules of Go's mksizeclasses.go, adapted as size_class.h tells.
// Usage: mksizeclass > size_class_table.h. A test compares its output with the checked-in file.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  PAGE = 8192,
  MIN_ALIGN = 8,
  SMALL_MAX = 32 << 10,
  LARGE_ALIGN = 128, // sizes above FINE_MAX are multiples of this, or the coarse lookup would not work
  FINE_MAX = 1024,   // the fine lookup has one entry per 8 bytes up to here
  COUNT_MAX = 100,
  SPAN_TARGET = 16384, // our spans: about this many bytes...
  SPAN_OBJECTS = 2,    // ...and at least this many objects...
  SPAN_MAX = 262144,   // ...but no more bytes than this
  CELLS_MAX = 4096,    // 64 bitmap words of 64 bits
};

struct class {
  unsigned size;
  unsigned go_pages; // the fewest pages with at most 12.5 % tail waste: Go's choice
  unsigned pages;    // ours
  uint32_t magic;
};

static struct class classes[COUNT_MAX];
static unsigned class_count = 1; // class 0 stands for large objects

static bool power_of_two(unsigned value) {
  return (value & (value - 1)) == 0;
}

// Alignment grows with size: 12.5 % steps between powers of two.
static unsigned alignment_from(unsigned size, unsigned align) {
  if (!power_of_two(size))
    return align;
  if (size >= 2048)
    return 256;
  if (size >= 128)
    return size / 8;
  return size >= 32 ? 16 : align;
}

static unsigned fewest_pages(unsigned size) {
  unsigned bytes = PAGE;
  while (bytes % size > bytes / 8)
    bytes += PAGE;
  return bytes / PAGE;
}

static void make_classes(void) {
  unsigned align = MIN_ALIGN;
  for (unsigned size = align; size <= SMALL_MAX; size += align) {
    align = alignment_from(size, align);
    unsigned pages = fewest_pages(size);
    struct class *last = &classes[class_count - 1];
    // A class that holds as many objects in as many pages as its predecessor replaces it.
    if (class_count > 1 && pages == last->go_pages && pages * PAGE / size == pages * PAGE / last->size) {
      last->size = size;
      continue;
    }
    if (class_count == COUNT_MAX)
      exit(1);
    classes[class_count++] = (struct class){.size = size, .go_pages = pages};
  }
}

// Larger objects, if as many fit the same pages.
static void stretch_sizes(void) {
  for (unsigned i = 1; i < class_count; i++) {
    unsigned bytes = classes[i].go_pages * PAGE;
    unsigned stretched = bytes / (bytes / classes[i].size) / LARGE_ALIGN * LARGE_ALIGN;
    if (stretched > classes[i].size)
      classes[i].size = stretched;
  }
}

static unsigned objects(unsigned size, unsigned pages) {
  unsigned fit = pages * PAGE / size;
  return fit < CELLS_MAX ? fit : CELLS_MAX;
}

static unsigned tail_waste(unsigned size, unsigned pages) {
  return pages * PAGE - objects(size, pages) * size;
}

// The page count at or above the target, by at most half, that wastes the smallest share of its span.
static unsigned choose_pages(unsigned size) {
  unsigned bytes = SPAN_TARGET;
  if (bytes < SPAN_OBJECTS * size)
    bytes = SPAN_OBJECTS * size;
  if (bytes > CELLS_MAX * size)
    bytes = CELLS_MAX * size;
  if (bytes > SPAN_MAX)
    bytes = SPAN_MAX;
  unsigned first = (bytes + PAGE - 1) / PAGE;
  while (tail_waste(size, first) * 8 > first * PAGE) // as Go asks for
    first++;
  unsigned best = first;
  for (unsigned pages = first; pages <= first + (first + 1) / 2 && pages <= SPAN_MAX / PAGE; pages++)
    if ((uint64_t)tail_waste(size, pages) * best < (uint64_t)tail_waste(size, best) * pages)
      best = pages;
  return best;
}

// floor(offset / size) == offset * magic >> 32 for every offset in a span: checked, not assumed.
static void make_magic(struct class *class) {
  class->magic = UINT32_MAX / class->size + 1;
  for (uint64_t offset = 0; offset < (uint64_t) class->pages * PAGE; offset++)
    if (offset / class->size != (offset * class->magic) >> 32)
      exit(2);
}

static unsigned class_for(unsigned size) {
  for (unsigned i = 1; i < class_count; i++)
    if (classes[i].size >= size && (classes[i].size % 16 == 0 || classes[i].size < 16))
      return i;
  exit(3);
}

static void print_waste_table(void) {
  printf("// Sizes and their waste. `tail`: bytes of a span after its last object. `most`: the largest share "
         "of a span\n"
         "// that can be lost when every request is the smallest one of its class, tail included.\n//\n"
         "// class  bytes/obj  Go's pages  pages  bytes/span  objects  tail    most\n");
  unsigned previous = 0;
  for (unsigned i = 1; i < class_count; i++) {
    const struct class *c = &classes[i];
    unsigned bytes = c->pages * PAGE;
    unsigned used = (previous + 1) * objects(c->size, c->pages);
    bool served = class_for(c->size) == i;
    printf("// %5u %10u %11u %6u %11u %8u %5u ", i, c->size, c->go_pages, c->pages, bytes,
           objects(c->size, c->pages), tail_waste(c->size, c->pages));
    if (served)
      printf("%6.2f%%\n", 100.0 * (bytes - used) / bytes);
    else
      printf("  serves no malloc request\n");
    previous = served ? c->size : previous;
  }
}

static void print_array(const char *type, const char *name, const char *length, unsigned count,
                        uint64_t (*value)(unsigned)) {
  printf("\nstatic const %s %s[%s] = {", type, name, length);
  for (unsigned i = 0; i < count; i++)
    printf("%s%llu,", i % 12 == 0 ? "\n    " : " ", (unsigned long long)value(i));
  printf("\n};\n");
}

static uint64_t size_at(unsigned i) {
  return classes[i].size;
}
static uint64_t go_pages_at(unsigned i) {
  return classes[i].go_pages;
}
static uint64_t pages_at(unsigned i) {
  return classes[i].pages;
}
static uint64_t objects_at(unsigned i) {
  return i == 0 ? 0 : objects(classes[i].size, classes[i].pages);
}
static uint64_t magic_at(unsigned i) {
  return classes[i].magic;
}
static uint64_t fine_at(unsigned i) {
  return class_for(i * 8);
}
static uint64_t coarse_at(unsigned i) {
  return class_for(FINE_MAX + i * 128);
}

int main(void) {
  make_classes();
  stretch_sizes();
  for (unsigned i = 1; i < class_count; i++) {
    classes[i].pages = choose_pages(classes[i].size);
    make_magic(&classes[i]);
  }
  printf("// Generated by mksizeclass.c; do not edit. See size_class.h for the rules.\n//\n");
  print_waste_table();
  printf(
      "\n#ifndef GOMALLOC_SIZE_CLASS_TABLE_H\n#define GOMALLOC_SIZE_CLASS_TABLE_H\n\n// clang-format off\n\n"
      "#include <stdint.h>\n\n"
      "#define SIZE_CLASS_COUNT    %u\n#define SIZE_CLASS_MAX      %u\n#define SIZE_CLASS_FINE_MAX %u\n",
      class_count, SMALL_MAX, FINE_MAX);
  print_array("uint16_t", "size_class_size", "SIZE_CLASS_COUNT", class_count, size_at);
  print_array("uint8_t", "size_class_go_pages", "SIZE_CLASS_COUNT", class_count, go_pages_at);
  print_array("uint8_t", "size_class_pages", "SIZE_CLASS_COUNT", class_count, pages_at);
  print_array("uint16_t", "size_class_objects", "SIZE_CLASS_COUNT", class_count, objects_at);
  print_array("uint32_t", "size_class_magic", "SIZE_CLASS_COUNT", class_count, magic_at);
  print_array("uint8_t", "size_class_fine", "SIZE_CLASS_FINE_MAX / 8 + 1", FINE_MAX / 8 + 1, fine_at);
  print_array("uint8_t", "size_class_coarse", "(SIZE_CLASS_MAX - SIZE_CLASS_FINE_MAX) / 128 + 1",
              (SMALL_MAX - FINE_MAX) / 128 + 1, coarse_at);
  printf("\n// clang-format on\n\n#endif\n");
  return 0;
}

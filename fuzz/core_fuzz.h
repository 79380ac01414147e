// core_fuzz.h: the target `core`: each part of gomalloc's core against a naive model of it. An input's first byte
// names the component (core_fuzz.c), all further bytes are its operations: every byte string is a valid input.
#ifndef HEAPARENA_FUZZ_CORE_FUZZ_H
#define HEAPARENA_FUZZ_CORE_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct core_input {
  const uint8_t *at;
  const uint8_t *end;
} core_input;

// Whether bytes are left; after the last one, all readers give 0.
static inline bool core_more(const core_input *input) {
  return input->at < input->end;
}

// The next byte of the input; 0 behind its end.
static inline uint8_t core_byte(core_input *input) {
  return core_more(input) ? *input->at++ : 0;
}

// A number below `limit` (at least 1): one byte where that is enough, else two or four.
uint32_t core_below(core_input *input, uint32_t limit);

// Eight bytes.
uint64_t core_word(core_input *input);

// Ends the process with a line when the core is not what its model is.
#define CORE_REQUIRE(condition, what)                                                                        \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      core_wrong(__FILE__, __LINE__, #condition, what);                                                      \
  } while (0)
__attribute__((noreturn, cold)) void core_wrong(const char *file, int line, const char *condition,
                                                const char *what);

// The components: each runs one input from a fresh core (core_world_begin) to its end.
void core_fuzz_bits(core_input *input);    // a chunk's bitmap and its summary
void core_fuzz_pages(core_input *input);   // page allocator and page cache
void core_fuzz_spans(core_input *input);   // objects of a span, lists of spans
void core_fuzz_classes(core_input *input); // size classes
void core_fuzz_arenas(core_input *input);  // arenas and the map of pages, both layouts
void core_fuzz_states(core_input *input);  // the four states of address space
void core_fuzz_fixed(core_input *input);   // memory for gomalloc's own structures
void core_fuzz_heap(core_input *input); // page heap, kept large blocks, and what goes back to the system when

#endif

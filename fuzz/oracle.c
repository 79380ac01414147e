// oracle.c: the oracles' names, and what they say to people.
#include "fuzz/shadow.h"

#include <string.h>

static const struct {
  const char *name, *rule;
} oracles[FUZZ_ORACLES] = {
    [FUZZ_ORACLE_OVERLAP] = {"overlap",
                             "No byte may belong to two live blocks. The allocator handed out memory that "
                             "overlaps a block which was not freed: writing to one changes the other."},
    [FUZZ_ORACLE_ALIGNMENT] = {"alignment",
                               "A block must be aligned to what the call asked for, and without that to 16 "
                               "bytes, or to the largest power of two not above its size if that is less."},
    [FUZZ_ORACLE_USABLE] = {"usable",
                            "The usable size of a live block is at least the requested size, and stays the "
                            "same while the block is not resized."},
    [FUZZ_ORACLE_WRITABLE] = {"writable",
                              "Every usable byte of a live block may be read and written. Touching one that "
                              "the allocator calls usable ended in a fault."},
    [FUZZ_ORACLE_ZEROED] = {"zeroed", "calloc must return memory whose bytes are all zero."},
    [FUZZ_ORACLE_CONTENTS] = {"contents",
                              "The bytes of a live block belong to the program: nothing that the allocator "
                              "does may change them. They were not what the program had written."},
    [FUZZ_ORACLE_REALLOC] = {"realloc", "realloc must keep the first min(old, new) bytes of the block."},
    [FUZZ_ORACLE_FAILED] = {"failed",
                            "A call that fails must change nothing: live blocks keep their sizes and "
                            "contents, and posix_memalign leaves the pointer as it was."},
    [FUZZ_ORACLE_ERRNO] = {"errno",
                           "A failed allocation sets errno to ENOMEM (posix_memalign returns the error "
                           "instead), and free leaves errno as it was (POSIX 2024)."},
    [FUZZ_ORACLE_REFUSED] = {"refused",
                             "A small request failed although the system refused the allocator nothing."},
    [FUZZ_ORACLE_IMPOSSIBLE] = {"impossible",
                                "A request larger than any object can be (above PTRDIFF_MAX, or an "
                                "overflowing product) must fail; it was met, so the block is too small."},
    [FUZZ_ORACLE_HEAP] = {"heap", "The allocator's own check of its heap found faults (printed above)."},
    [FUZZ_ORACLE_COUNTERS] =
        {"counters", "The allocator's counts of live blocks and bytes must be those of the program."},
    [FUZZ_ORACLE_EMPTY] =
        {"empty", "When every block was freed, the allocator must count none as live, and, the other "
                  "threads gone and the heap purged, hold no more pages than at the start."},
    [FUZZ_ORACLE_FORK] = {"fork",
                          "After fork both processes must be able to use their blocks and the allocator; the "
                          "child found a fault, crashed or hung."},
    [FUZZ_ORACLE_CRASH] = {"crash", "A call of the allocator with valid arguments ended in a signal."},
    [FUZZ_ORACLE_HANG] = {"hang", "A call of the allocator did not return."},
    [FUZZ_ORACLE_DIFFERENTIAL] = {"differential",
                                  "Allocators disagree on whether a call must succeed or fail."},
    [FUZZ_ORACLE_DEADLOCK] =
        {"deadlock", "Calls on several threads must end. Every thread that is inside a call waits for a "
                     "lock that none of them will let go of, or for a wake-up that nobody will send."},
    [FUZZ_ORACLE_LIVELOCK] =
        {"livelock", "Calls on several threads must end. They went on and on although each thread was "
                     "let run in turn."},
    [FUZZ_ORACLE_MISUSE] =
        {"misuse", "The allocator promises to find every double, interior and foreign free, and every "
                   "realloc and usable size of a freed block: it must report each such call, once, and do "
                   "nothing else."},
};

const char *fuzz_oracle_name(fuzz_oracle oracle) {
  return oracle < FUZZ_ORACLES ? oracles[oracle].name : "?";
}

const char *fuzz_oracle_rule(fuzz_oracle oracle) {
  return oracle < FUZZ_ORACLES ? oracles[oracle].rule : "?";
}

static bool bits_of(const char *word, size_t length, uint32_t *bits) {
  if (length == 3 && memcmp(word, "all", 3) == 0) {
    *bits = FUZZ_ALL_ORACLES;
    return true;
  }
  for (unsigned i = 0; i < FUZZ_ORACLES; i++)
    if (strlen(oracles[i].name) == length && memcmp(oracles[i].name, word, length) == 0) {
      *bits = 1u << i;
      return true;
    }
  return false;
}

bool fuzz_oracles_parse(const char *text, uint32_t *set, char *why, size_t why_size) {
  *set = text[0] == '-' ? FUZZ_ALL_ORACLES : 0; // "-errno": all but it
  while (*text != '\0') {
    size_t length = strcspn(text, ",");
    bool take_away = *text == '-';
    uint32_t bits;
    if (!bits_of(text + take_away, length - take_away, &bits)) {
      snprintf(why, why_size, "no oracle is called \"%.*s\"", (int)(length - take_away), text + take_away);
      return false;
    }
    *set = take_away ? *set & ~bits : *set | bits;
    text += length + (text[length] == ',');
  }
  return true;
}

// misuse.h: what heap bugs do under an allocator: the parts of heaparena-misuse.
//
// A trial is a forked child of a process that has the allocator preloaded: it warms the heap up by chance, does
// one wrong thing, and goes on with an aftermath of correct operations that a shadow checks. The child tells
// how far it came in memory that it shares with its parent; the parent gives the verdict from that, from how
// the child ended, and from what was written to stderr.
//
// The shadow here is a smaller one than shadow.h: it writes and checks the bytes that the program asked for and
// none beyond them (a write within a block's slack does no harm to a program), and it knows memory that is no
// heap's: buffers on the stack, static and mapped ones.
//
// Nothing here takes memory from the heap under test but the trial's own operations.
//
// Ideas: mimalloc-bench's security suite and hardened_malloc's tests (one program per misuse), snmalloc's
// corruption scenarios in forked children, ArcHeap (overlap and shadow copies as proof; misuse_search.c).
#ifndef HEAPARENA_FUZZ_MISUSE_H
#define HEAPARENA_FUZZ_MISUSE_H

#include "adapters/alloc.h"

#define MISUSE_TEXT   240u
#define MISUSE_BLOCKS 192u

// How far a child came.
enum { MISUSE_PREPARING, MISUSE_WRONG, MISUSE_AFTERMATH, MISUSE_DONE };

typedef enum misuse_verdict {
  MISUSE_DETECTED,    // the allocator ended the program before the wrong operation returned
  MISUSE_FAULTED,     // SIGSEGV or SIGBUS before it returned
  MISUSE_NEUTRALISED, // shown to have had no effect
  MISUSE_LATE,        // the program ended during the aftermath
  MISUSE_SILENT,      // nothing seen, no corruption proven
  MISUSE_CORRUPTION,  // proven: live blocks overlap, or a live block's bytes changed
  MISUSE_SKIPPED,     // the allocator has no such operation, or the trial could not be set up
  MISUSE_ERROR,       // ended before anything wrong was done: a fault of the allocator or of heaparena
  MISUSE_VERDICTS
} misuse_verdict;

// As in the matrix: "detected", "late", ...
const char *misuse_verdict_name(misuse_verdict verdict);

// Shared by child and parent.
typedef struct misuse_note {
  volatile int phase;
  misuse_verdict outcome; // when the child ran to its end: neutralised, silent, corruption, skipped
  long spoke;             // bytes on stderr that were written during the wrong operation
  char text[MISUSE_TEXT]; // one line: what was seen
} misuse_note;

// Memory that the program owns. Bytes [hole, hole + hole_size) of it are left out.
typedef struct misuse_block {
  unsigned char *at;
  size_t size, hole, hole_size;
  uint8_t seed;     // of its contents
  const char *what; // for people; a heap block may be freed by the aftermath
  bool heap, whole; // whole: every byte has contents, however large it is
} misuse_block;

typedef struct misuse_trial misuse_trial;

// One way to misuse a heap.
typedef struct misuse_case {
  const char *name;
  const char *summary;
  size_t least, most; // sizes in bytes for which it makes sense
  // Sets trial->victim up after the warm-up. May be NULL: the victim is then a live block.
  void (*prepare)(misuse_trial *trial);
  // The wrong operation, called by the owner or by another thread.
  void (*wrong)(misuse_trial *trial);
} misuse_case;

struct misuse_trial {
  const ha_alloc *alloc;
  const misuse_case *what;
  size_t size;
  bool other; // another thread does the wrong operation
  unsigned aftermath;
  uint64_t random;
  misuse_note *note;
  unsigned char *stack; // a buffer of MISUSE_REGION bytes on the stack of the main thread
  unsigned char *victim;
  unsigned char *pointer;       // that is passed to the wrong call
  size_t also;                  // a second size for the aftermath
  size_t written;               // bytes of an overflow
  bool freed;                   // the victim's memory is the allocator's
  unsigned handed_out;          // times that the aftermath got it back
  misuse_verdict clean;         // if clean_text is set: the verdict when the aftermath shows nothing
  char clean_text[MISUSE_TEXT]; // and why
  misuse_block blocks[MISUSE_BLOCKS];
  unsigned count;
  size_t live_bytes;
};

#define MISUSE_REGION ((size_t)8192)

// All cases, `*count` of them.
const misuse_case *misuse_cases(size_t *count);

// A number below `bound`, from the trial's own sequence.
uint64_t misuse_random(misuse_trial *trial, uint64_t bound);

// Gives the victim up, which is about to be freed with the size that is returned and is not its own.
size_t misuse_wrong_size(misuse_trial *trial);

// ---- C++'s operators (misuse_cpp.c): preparing, and wrong operations; they skip the trial where there are none ----

// Gives the trial its block: from operator new, from the one with an alignment.
void misuse_new(misuse_trial *trial);
void misuse_new_aligned(misuse_trial *trial);

// Hands the block to the operator delete of another size, to the aligned one of another size, and, a block of an
// aligned new, to the delete without alignment.
void misuse_delete_wrong_size(misuse_trial *trial);
void misuse_delete_aligned_wrong_size(misuse_trial *trial);
void misuse_delete_as_plain(misuse_trial *trial);

// ---- the shadow (misuse_shadow.c) ----

// The program owns `size` bytes at `at` from now on: they must overlap with nothing it owns; they are filled.
misuse_block *misuse_own(misuse_trial *trial, void *at, size_t size, const char *what, bool heap);
// Changes the part of a block that is left out, and fills the rest anew.
void misuse_leave_out(misuse_block *block, size_t hole, size_t hole_size);
// Fills and watches every byte of a block.
void misuse_watch_whole(misuse_block *block);
// The block that starts at `at`, or NULL.
misuse_block *misuse_find(misuse_trial *trial, const void *at);
// No longer owned; the last block takes its place in the table.
void misuse_disown(misuse_trial *trial, misuse_block *block);
// Ends the child with the verdict "corruption" if bytes of owned blocks are not what was written.
void misuse_verify_all(misuse_trial *trial, const char *when);
// Ends the child with a verdict of its own.
__attribute__((noreturn, format(printf, 3, 4))) void misuse_end(misuse_trial *trial, misuse_verdict verdict,
                                                                const char *format, ...);
// What the wrong operation itself showed: the verdict if the aftermath shows nothing worse.
__attribute__((format(printf, 3, 4))) void misuse_if_clean(misuse_trial *trial, misuse_verdict verdict,
                                                           const char *format, ...);
// Correct operations: first only allocations, then by chance; all checked.
void misuse_go_on(misuse_trial *trial, unsigned operations);
// Frees every heap block in random order, each checked before.
void misuse_free_all(misuse_trial *trial);

// ---- trials (misuse_trial.c) ----

// A trial's child: does everything and ends the process.
typedef void misuse_body(void *context, misuse_note *note);

// How a child ended.
typedef struct misuse_ending {
  int signal; // 0: it ran to its end
  int status; // exit status if it ran to its end
  bool hung;  // stopped for it took too long
  misuse_note note;
  char said[MISUSE_TEXT]; // first line on stderr
} misuse_ending;

// Forks a child that runs `body`, and waits for it: a second of processor time, two seconds without any.
misuse_ending misuse_fork(misuse_body *body, void *context);

typedef struct misuse_result {
  misuse_verdict verdict;
  char how[48];
  char text[MISUSE_TEXT]; // the allocator's message, or what proves the verdict
} misuse_result;

// Runs one trial in a child; of `trial` alloc, what, size, other, aftermath and random are read.
misuse_result misuse_try(const misuse_trial *trial);

// ---- the search (misuse_search.c) ----

typedef struct misuse_search {
  const char *misuse; // one of misuse_search_classes(); NULL: no search
  double seconds;
  uint64_t seed;
} misuse_search;

// Names of the classes, NULL at the end.
const char *const *misuse_search_classes(void);
// Searches and writes each finding, minimised, and at the end a summary, as JSON lines to stdout.
void misuse_search_run(const ha_alloc *alloc, const misuse_search *search);

// ---- output (misuse_json.c) ----

// `text` as a JSON string with its quotes into out, cut to fit; bytes that are no printable ASCII become '?'.
const char *misuse_quote(const char *text, char *out, size_t size);
// printf to stdout by write(2): no buffer from the heap.
__attribute__((format(printf, 1, 2))) void misuse_say(const char *format, ...);

#endif

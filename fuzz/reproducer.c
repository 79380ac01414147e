// reproducer.c: see reproducer.h. Each call is one step; equal neighbouring pairs of malloc and free become a
// loop.
#include "fuzz/reproducer.h"

#include "fuzz/reproducer_parts.h"
#include "fuzz/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Slots become block numbers in the order of their first use.
typedef struct numbering {
  int of[FUZZ_SLOTS + 1];
  int next;
} numbering;

static int block_of(numbering *numbers, uint16_t slot) {
  if (numbers->of[slot] < 0)
    numbers->of[slot] = numbers->next++;
  return numbers->of[slot];
}

static bool makes_block(const fuzz_event *event) {
  return fuzz_op_allocates((fuzz_op_kind)event->kind);
}

static bool frees(const fuzz_event *event) {
  return event->kind == FUZZ_OP_FREE || event->kind == FUZZ_OP_FREE_SIZED ||
         event->kind == FUZZ_OP_FREE_ALIGNED_SIZED;
}

// The expression that makes the call, as C.
static void write_call(FILE *out, const fuzz_event *e, int block, bool resizes) {
  size_t each = e->count > 1 && e->size != SIZE_MAX ? e->size / e->count : e->size;
  const char *given = resizes ? "give" : NULL;
  char pointer[32] = "NULL";
  if (given)
    snprintf(pointer, sizeof pointer, "give(%d)", block);
  if (e->count > 16 && e->size == SIZE_MAX)
    each = SIZE_MAX / 2; // the product overflowed
  switch ((fuzz_op_kind)e->kind) {
  case FUZZ_OP_CALLOC:
    fprintf(out, "calloc(%zuu, %zuu)", e->count, each);
    break;
  case FUZZ_OP_REALLOC:
    fprintf(out, "realloc(%s, %zuu)", pointer, e->size);
    break;
  case FUZZ_OP_REALLOCARRAY:
    fprintf(out, "reallocarray(%s, %zuu, %zuu)", pointer, e->count, each);
    break;
  case FUZZ_OP_ALIGNED_ALLOC:
    fprintf(out, "aligned_alloc(%zuu, %zuu)", e->alignment, e->size);
    break;
  case FUZZ_OP_POSIX_MEMALIGN:
    fprintf(out, "memalign_of(%zuu, %zuu)", e->alignment, e->size);
    break;
  default:
    fprintf(out, "malloc(%zuu)", e->size);
    break;
  }
}

static void write_allocation(FILE *out, const fuzz_event *e, int block, bool resizes) {
  unsigned seed = e->fill & 127u;
  bool hopeless = e->failed && (e->size >= (size_t)1 << 47 || e->kind == FUZZ_OP_POSIX_MEMALIGN);
  if (hopeless && !resizes) {
    fprintf(out, "errno = 0, must_fail(");
    write_call(out, e, block, false);
    fprintf(out, ");");
    return;
  }
  fprintf(out, "%s(%d, ",
          resizes                     ? "take_resized"
          : e->kind == FUZZ_OP_CALLOC ? "take_zeroed"
                                      : "take",
          block);
  write_call(out, e, block, resizes);
  if (resizes || e->kind == FUZZ_OP_CALLOC)
    fprintf(out, ", %zuu, %u);", e->size, seed);
  else
    fprintf(out, ", %zuu, %zuu, %u);", e->size, e->alignment, seed);
}

static void write_event(FILE *out, const fuzz_event *e, numbering *numbers, bool resizes) {
  if (makes_block(e)) {
    write_allocation(out, e, block_of(numbers, e->slot), resizes);
    return;
  }
  int block = frees(e) || e->kind == FUZZ_OP_USABLE ? block_of(numbers, e->slot) : -1;
  switch ((fuzz_op_kind)e->kind) {
  case FUZZ_OP_FREE:
    fprintf(out, "free(give(%d)), keeps_errno();", block);
    break;
  case FUZZ_OP_FREE_SIZED:
    fprintf(out, "give_back(give(%d), %zuu);", block, e->size);
    break;
  case FUZZ_OP_FREE_ALIGNED_SIZED:
    fprintf(out, "give_back_aligned(give(%d), %zuu, %zuu);", block, e->alignment, e->size);
    break;
  case FUZZ_OP_USABLE:
    fprintf(out, "touch(%d);", block);
    break;
  case FUZZ_OP_PURGE:
    fprintf(out, "purge();");
    break;
  case FUZZ_OP_CHECK_HEAP:
    fprintf(out, "check_heap();");
    break;
  case FUZZ_OP_FORK:
    fprintf(out, "forked(%zuu);", e->size);
    break;
  default:
    fprintf(out, ";");
    break; // a thread's end: its step's thread says so
  }
}

// How many times the pair of events at `at` (malloc and free of one block) follows upon itself.
static size_t pairs_at(const fuzz_reduced *r, size_t at) {
  const fuzz_event *e = r->events + at;
  size_t times = 0;
  while (at + 2 * times + 1 < r->event_count) {
    const fuzz_event *first = e + 2 * times, *second = first + 1;
    if (first->kind != FUZZ_OP_MALLOC || first->failed || second->kind != FUZZ_OP_FREE ||
        first->slot != second->slot || first->thread != second->thread || first->size != e->size ||
        first->slot != e->slot || first->fill != e->fill || first->thread != e->thread)
      break;
    times++;
  }
  return times;
}

// The next event from `at` on that is a call, not a switch inside one.
static size_t next_call(const fuzz_reduced *r, size_t at) {
  while (at < r->event_count && r->events[at].kind == FUZZ_OP_RACE)
    at++;
  return at;
}

// Writes the steps; the thread of each goes to `threads`, negative where the thread ends. Returns their number.
static size_t write_steps(FILE *out, const fuzz_reduced *r, numbering *numbers, int8_t *threads) {
  bool live[FUZZ_SLOTS + 1] = {false};
  size_t steps = 0;
  for (size_t i = next_call(r, 0); i < r->event_count; steps++) {
    const fuzz_event *e = &r->events[i];
    size_t times = pairs_at(r, i);
    fprintf(out, "  case %zu: ", steps);
    threads[steps] = (int8_t)(e->kind == FUZZ_OP_THREAD_EXIT ? -(int)e->thread : (int)e->thread);
    if (times > 1) {
      fprintf(out, "for (int k = 0; k < %zu; k++) {\n    ", times);
      write_event(out, e, numbers, false);
      fprintf(out, "\n    ");
      write_event(out, e + 1, numbers, false);
      fprintf(out, "\n  } break;\n");
      i = next_call(r, i + 2 * times);
      continue;
    }
    write_event(out, e, numbers, live[e->slot]);
    fprintf(out, " break;\n");
    if (makes_block(e) && !(e->failed && e->size != 0))
      live[e->slot] = !e->failed;
    else if (frees(e))
      live[e->slot] = false;
    i = next_call(r, i + 1);
  }
  return steps;
}

static void describe(FILE *out, const fuzz_campaign *campaign, const fuzz_reduced *r, const char *newline) {
  const fuzz_subject *subject = campaign->subjects[0];
  fprintf(out, "Oracle \"%s\": %s%s", fuzz_oracle_name(r->verdict.oracle),
          fuzz_oracle_rule(r->verdict.oracle), newline);
  fprintf(out, "Seen with %s %s: %s.%s", subject->alloc.name, subject->alloc.version, r->verdict.text,
          newline);
  if (r->verdict.block >= 0 && r->verdict.other >= 0)
    fprintf(out, "Blocks involved: slots %d and %d.%s", r->verdict.block, r->verdict.other, newline);
  else if (r->verdict.block >= 0)
    fprintf(out, "Block involved: slot %d.%s", r->verdict.block, newline);
}

static bool needs_more_than_calls(const fuzz_reduced *r) {
  for (size_t i = 0; i < r->count; i++) {
    fuzz_op_kind kind = fuzz_op_get_kind(&r->ops[i]);
    if (kind == FUZZ_OP_FAIL_MAP || kind == FUZZ_OP_CLOCK || kind == FUZZ_OP_MISUSE)
      return true;
  }
  return false;
}

bool fuzz_write_c(const fuzz_campaign *campaign, const fuzz_reduced *reduced, const char *path, char *why,
                  size_t why_size) {
  FILE *out = fopen(path, "w");
  int8_t *threads = fuzz_arena(reduced->event_count + 1);
  numbering numbers = {.next = 0};
  for (unsigned i = 0; i <= FUZZ_SLOTS; i++)
    numbers.of[i] = -1;
  char *steps = NULL;
  size_t steps_size = 0;
  FILE *body = open_memstream(&steps, &steps_size);
  if (out == NULL || body == NULL) {
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    if (out)
      fclose(out);
    if (body)
      fclose(body);
    return false;
  }
  size_t count = write_steps(body, reduced, &numbers, threads);
  fclose(body);
  fprintf(out, "/* Found by heaparena's fuzzer.\n * ");
  describe(out, campaign, reduced, "\n * ");
  fprintf(out,
          "Run it: cc -pthread %s && LD_PRELOAD=LIBRARY ./a.out (exit status 1 and one line, or the "
          "signal)\n",
          strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
  if (needs_more_than_calls(reduced))
    fprintf(out, " * The finding needs failing system calls or a moved clock, which these calls alone lack:\n"
                 " * replay the .fuzz file beside this one.\n");
  if (campaign->target->schedule)
    fprintf(out, " * The finding needs threads that are interleaved inside these calls, which a program "
                 "cannot say: here they\n"
                 " * run one after another. `heaparena-fuzz replay --target schedule` with the .fuzz file "
                 "beside this one\n"
                 " * runs them as they were found; the .txt file says where each was stopped.\n");
  fprintf(out, " */\n#define BLOCKS %d\n#define STEPS %zu\n#define ERRNO %d\n", numbers.next + 1, count,
          reduced->verdict.oracle == FUZZ_ORACLE_ERRNO); // else a deed that is let pass would end it before
  fputs(reproducer_head, out);
  fprintf(out, "\nstatic void step(int n) {\n  switch (n) {\n%s  }\n}\n", steps);
  fprintf(out, "\nstatic const signed char thread_of[STEPS + 1] = {");
  for (size_t i = 0; i < count; i++)
    fprintf(out, "%s%d", i == 0 ? "" : ", ", threads[i]);
  fprintf(out, "%s0};\n", count == 0 ? "" : ", ");
  fputs(reproducer_tail, out);
  free(steps);
  if (fclose(out) != 0) {
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    return false;
  }
  return true;
}

void fuzz_explain(FILE *out, const fuzz_campaign *campaign, const fuzz_reduced *reduced, const char *base) {
  describe(out, campaign, reduced, "\n");
  fprintf(out, "It took %zu records (%u trials); %u of 3 further runs ended the same way.\n\n",
          reduced->count, reduced->trials, reduced->repeats);
  fuzz_program_print(out, (fuzz_program){reduced->ops, reduced->count});
  const char *library = campaign->subjects[0]->alloc.library;
  if (campaign->target->schedule) {
    putc('\n', out);
    fuzz_schedule_explain(out, campaign->subjects[0], reduced->events, reduced->event_count);
    bool own = strcmp(campaign->subjects[0]->alloc.name, "gomalloc") == 0; // found beside the program
    fprintf(out, "\nAgain: heaparena-fuzz replay --target schedule --allocator %s%s%s %s.fuzz\n",
            campaign->subjects[0]->alloc.name, own ? "" : "=", own ? "" : library, base);
    fprintf(out, "The calls alone, one after another (%s.c), do not show it.\n", base);
    return;
  }
  fprintf(out, "\nAgain: heaparena-fuzz replay --target %s --allocator %s%s%s %s.fuzz\n",
          campaign->target->name, campaign->subjects[0]->alloc.name, library ? "=" : "",
          library ? library : "", base);
  fprintf(out, "As a plain program: cc -pthread %s.c -o repro && LD_PRELOAD=%s ./repro\n", base,
          library ? library : "LIBRARY");
}

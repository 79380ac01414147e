// schedule_subject.c: gomalloc with yield points as a subject, and the schedule of a finding in words. See schedule.h.
#include "fuzz/schedule.h"

#include "adapters/library.h"
#include "fuzz/schedule_gate.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const fuzz_subject *fuzz_schedule_open(const char *spec, char *const argv[], char *why, size_t why_size) {
  static const char *const names[] = {"libheaparena-schedule.so", NULL};
  char path[PATH_MAX], named[PATH_MAX + 64];
  if (strcmp(spec, "gomalloc") == 0) {
    if (!ha_library_find(names, path, sizeof path)) {
      snprintf(why, why_size,
               "schedule: %s is not beside this program; it is built with it, unless a sanitizer is",
               names[0]);
      return NULL;
    }
    snprintf(named, sizeof named, "gomalloc=%s:gm_", path);
    spec = named;
  } else if (strchr(spec, '=') == NULL) {
    snprintf(
        why, why_size,
        "schedule: %.64s has no yield points: this target explores gomalloc alone (--allocator gomalloc)",
        spec);
    return NULL;
  }
  const fuzz_subject *subject = fuzz_subject_open(spec, argv, why, why_size);
  if (subject == NULL)
    return NULL;
  if (subject->handle == NULL || dlsym(subject->handle, SCHEDULE_GATE_SYMBOL) == NULL) {
    snprintf(why, why_size,
             "schedule: %.64s has no yield points; give gomalloc, or a build of libheaparena-schedule.so",
             subject->alloc.name);
    return NULL;
  }
  return subject;
}

// ---- In words ----

// "push_pending at mcache.c:240 < mcache_announce_remote at mcache.c:252": innermost first, what was inlined too.
static void print_place(FILE *out, const char *library, size_t offset) {
  char command[PATH_MAX + 64], name[256], line[PATH_MAX];
  snprintf(command, sizeof command, "addr2line -i -f -e '%s' 0x%zx 2>/dev/null", library, offset - 1);
  FILE *in = strchr(library, '\'') == NULL ? popen(command, "r") : NULL;
  unsigned frames = 0;
  while (in != NULL && fgets(name, sizeof name, in) && fgets(line, sizeof line, in)) {
    name[strcspn(name, "\n")] = '\0';
    line[strcspn(line, " \n")] = '\0';
    const char *file = strrchr(line, '/');
    if (name[0] != '?' && file != NULL)
      fprintf(out, "%s%s at %s", frames++ == 0 ? "" : " < ", name, file + 1);
  }
  if (in != NULL)
    (void)pclose(in);
  if (frames == 0)
    fprintf(out, "offset 0x%zx of the library", offset);
}

void fuzz_schedule_explain(FILE *out, const fuzz_subject *subject, const fuzz_event *events, size_t count) {
  static const char *const accesses[SCHEDULE_ACCESSES] = {
      [SCHEDULE_READ] = "before it reads",        [SCHEDULE_WRITE] = "before it writes",
      [SCHEDULE_LOAD] = "before it loads",        [SCHEDULE_STORE] = "before it stores",
      [SCHEDULE_UPDATE] = "before it exchanges",  [SCHEDULE_WAIT] = "waiting for a lock",
      [SCHEDULE_WAKE] = "having woken who waits", [SCHEDULE_SLEEP] = "sleeping for a while"};
  const struct schedule_gate *gate = dlsym(subject->handle, SCHEDULE_GATE_SYMBOL);
  Dl_info place;
  if (gate == NULL || dladdr(gate->library, &place) == 0)
    return;
  size_t base = (size_t)((const char *)gate->library - (const char *)place.dli_fbase);
  unsigned switches = 0;
  for (size_t i = 0; i < count; i++) {
    const fuzz_event *event = &events[i];
    if (event->kind != FUZZ_OP_RACE)
      continue;
    if (switches++ == 0)
      fprintf(out, "Schedule (each thread runs until it is stopped):\n");
    if (event->thread == FUZZ_THREADS)
      fprintf(out, "  the scavenger");
    else
      fprintf(out, "  t%u in record %u", event->thread, event->op);
    fprintf(out, " stops at point %zu, ", event->count);
    if (event->size == 0) {
      fprintf(out, "the clock ahead");
    } else {
      fprintf(out, "%s, in ", accesses[event->fill % SCHEDULE_ACCESSES]);
      print_place(out, subject->alloc.library, event->size + base);
    }
    if (event->slot == FUZZ_THREADS)
      fprintf(out, "; the scavenger runs\n");
    else
      fprintf(out, "; t%u runs\n", event->slot);
  }
  if (switches == 0)
    fprintf(out, "No thread was stopped inside a call.\n");
}

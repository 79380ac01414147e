// Roots: stacks, registers, ranges, visitors. See marksweep.h.
#include "core/gc/marksweep.h"

#include "core/errors.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RANGES_MAX = 1024, VISITORS_MAX = 64 };

// Changed under the world lock.
static struct {
  struct {
    uintptr_t start;
    uintptr_t end;
  } ranges[RANGES_MAX];
  size_t range_count;
  struct {
    gm_gc_visitor *visit;
    void *context;
  } visitors[VISITORS_MAX];
  size_t visitor_count;
} roots;

void gc_roots_clear(void) {
  roots.range_count = 0;
  roots.visitor_count = 0;
}

// The kernel reads a byte of each page for us, so that a bad one is an error and not a fault.
static bool is_readable(uintptr_t start, size_t size) {
  uintptr_t page = 4096;
  for (uintptr_t at = start; at < start + size; at = gm_align_down(at, page) + page) {
    unsigned char byte = 0;
    struct iovec local = {&byte, 1};
    struct iovec remote = {(void *)at, 1};
    if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1 && errno == EFAULT)
      return false; // other errors: the system does not allow to ask
  }
  return true;
}

struct request {
  uintptr_t start;
  size_t size;
  gm_gc_visitor *visit;
  void *context;
  int error;
};

static void add_range(void *argument) {
  struct request *request = argument;
  gc_world_lock();
  if (roots.range_count == RANGES_MAX) {
    request->error = ENOMEM;
  } else {
    roots.ranges[roots.range_count].start = request->start;
    roots.ranges[roots.range_count].end = request->start + request->size;
    roots.range_count++;
  }
  gc_world_unlock();
}

static void remove_range(void *argument) {
  struct request *request = argument;
  request->error = EINVAL;
  gc_world_lock();
  for (size_t i = 0; i < roots.range_count; i++)
    if (roots.ranges[i].start == request->start) {
      roots.ranges[i] = roots.ranges[--roots.range_count];
      request->error = 0;
      break;
    }
  gc_world_unlock();
}

static void add_visitor(void *argument) {
  struct request *request = argument;
  gc_world_lock();
  if (roots.visitor_count == VISITORS_MAX) {
    request->error = ENOMEM;
  } else {
    roots.visitors[roots.visitor_count].visit = request->visit;
    roots.visitors[roots.visitor_count].context = request->context;
    roots.visitor_count++;
  }
  gc_world_unlock();
}

// A registered thread must not keep a collector waiting while it waits for the lock.
static int change(void (*work)(void *argument), struct request *request) {
  if (gc_self != NULL)
    gc_while_safe(work, request);
  else
    work(request);
  if (request->error == 0)
    return 0;
  errno = request->error;
  return -1;
}

int gm_gc_root_add(const void *start, size_t size) {
  struct request request = {.start = (uintptr_t)start, .size = size};
  if (request.start % sizeof(void *) != 0 || size % sizeof(void *) != 0 || size == 0 ||
      request.start > UINTPTR_MAX - size)
    request.error = EINVAL;
  else if (!is_readable(request.start, size))
    request.error = EFAULT;
  if (request.error != 0) {
    errno = request.error;
    return -1;
  }
  return change(add_range, &request);
}

int gm_gc_root_remove(const void *start) {
  struct request request = {.start = (uintptr_t)start};
  return change(remove_range, &request);
}

int gm_gc_root_visitor(gm_gc_visitor *visitor, void *context) {
  if (visitor == NULL) {
    errno = EINVAL;
    return -1;
  }
  struct request request = {.visit = visitor, .context = context};
  return change(add_visitor, &request);
}

static void mark_stack(struct gc_worker *worker, const struct gc_mutator *mutator) {
  if (mutator->stack_pointer < mutator->stack_start || mutator->stack_pointer >= mutator->stack_end)
    gm_fatal("gomalloc: a registered thread was stopped on a stack that is not its own\n");
  gc_mark_range(worker, mutator->stack_pointer, mutator->stack_end);
  gc_mark_range(worker, (uintptr_t)mutator->registers, (uintptr_t)(mutator->registers + 6));
}

static void mark_words(void *marker, void *const *words, size_t count) {
  gc_mark_range(marker, (uintptr_t)words, (uintptr_t)(words + count));
}

void gc_roots_mark(struct gc_worker *worker) {
  for (const struct gc_mutator *mutator = gc_mutators(); mutator != NULL; mutator = mutator->next)
    mark_stack(worker, mutator);
  for (size_t i = 0; i < roots.range_count; i++)
    gc_mark_range(worker, roots.ranges[i].start, roots.ranges[i].end);
  for (size_t i = 0; i < roots.visitor_count; i++)
    roots.visitors[i].visit(mark_words, worker, roots.visitors[i].context);
}

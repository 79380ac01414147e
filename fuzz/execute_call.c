// execute_call.c: one call of the allocator, and everything that is checked about it. See execute_call.h.
#include "fuzz/execute_call.h"

#include "fuzz/feedback.h"
#include "fuzz/os_hook.h"
#include "fuzz/permitted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SENTINEL      4095                // no errno has this number
#define SMALL_REQUEST ((size_t)1 << 20)   // one that nobody may refuse while the system has memory
#define MOST_MALLOC   ((size_t)64 << 20)  // larger blocks are not kept
#define MOST_COPIED   ((size_t)4 << 20)   // calloc and realloc may touch every byte
#define MOST_LIVE     ((size_t)256 << 20) // usable bytes of all live blocks
#define ADDRESS_SPACE ((size_t)1 << 47)   // more than a process has
#define PURGED_PAGES  8u // that may have to come back for each program of a campaign, in the mean
#define UNTOUCHED     ((void *)(uintptr_t)16) // what posix_memalign must leave

// ---- Entering and leaving the subject ----

static void limit_address_space(rlim_t soft) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0) {
    limit.rlim_cur = soft;
    (void)setrlimit(RLIMIT_AS, &limit);
  }
}

// The subject's errno on this thread, asked for once.
static int *errno_location(const executor *x) {
  static __thread struct {
    int *(*location_of)(void);
    int *location;
  } asked;
  if (asked.location_of != x->subject->errno_location) {
    asked.location_of = x->subject->errno_location;
    asked.location = asked.location_of();
  }
  return asked.location;
}

static void enter(executor *x) {
  int *location = errno_location(x);
  x->failures = fuzz_os.failures;
  if (x->limited)
    limit_address_space(4096);
  *location = SENTINEL;
  fuzz_os_inside = true;
  x->state->phase = FUZZ_PHASE_CALL;
}

// Returns errno as the call left it.
static int leave(executor *x) {
  int error = *errno_location(x);
  x->state->phase = FUZZ_PHASE_TOUCH;
  fuzz_os_inside = false;
  if (x->limited)
    limit_address_space(RLIM_INFINITY);
  return error;
}

// The system refused the allocator something during the call, or may have.
static bool was_refused(const executor *x) {
  return x->limited || fuzz_os.failures != x->failures;
}

// Notes the call before it is made: a reproducer needs the one that does not return. The result says whether it
// failed, for the caller to set; it goes nowhere when there is no log.
static bool *record(executor *x, fuzz_op_kind kind, const fuzz_request *request, size_t count) {
  static bool nowhere;
  x->state->histogram[kind]++;
  fuzz_log *log = x->options->log;
  if (log == NULL)
    return &nowhere;
  fuzz_event *event = &log->events[log->count < log->capacity ? log->count : log->capacity - 1];
  *event = (fuzz_event){.op = x->op,
                        .kind = (uint8_t)kind,
                        .thread = (uint8_t)x->thread,
                        .slot = (uint16_t)request->slot,
                        .fill = (uint8_t)(request->seed | (request->whole ? 128 : 0)),
                        .size = request->requested,
                        .count = count,
                        .alignment = request->alignment};
  log->count++;
  return &event->failed;
}

void fuzz_call_note(executor *x, fuzz_op_kind kind, size_t size) {
  fuzz_request request = {.requested = size, .alignment = 1};
  (void)record(x, kind, &request, 1);
}

size_t fuzz_call_size(const executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot) {
  const fuzz_block *block = &x->shadow.blocks[slot];
  size_t size = fuzz_op_size(op, block->address ? block->requested : 0);
  if (size >= ADDRESS_SPACE)
    return size;
  bool copies = kind != FUZZ_OP_MALLOC && kind != FUZZ_OP_ALIGNED_ALLOC && kind != FUZZ_OP_POSIX_MEMALIGN;
  size_t most = copies ? MOST_COPIED : MOST_MALLOC;
  if (!(op->fill &
        128)) // what is large is rare: a page that is touched first costs as much as a hundred calls
    most >>= 8;
  if (x->shadow.live_usable > MOST_LIVE)
    most = 4096;
  return size > most ? size & (most - 1) : size; // all limits are powers of two
}

// ---- What a failed call owes ----

static bool permits(const executor *x, fuzz_oracle oracle, fuzz_op_kind kind, const fuzz_request *request,
                    int error) {
  fuzz_deed deed = {.oracle = oracle,
                    .kind = kind,
                    .requested = request->requested,
                    .alignment = request->alignment,
                    .live = x->shadow.blocks[request->slot].address != 0,
                    .error = error};
  return x->options->permits && fuzz_permitted(x->subject, &deed);
}

static bool check_refusal(executor *x, fuzz_op_kind kind, const fuzz_request *request, bool impossible,
                          int error) {
  bool asked = request->requested != 0; // of nothing, NULL is an answer
  if (x->options->feedback)
    fuzz_feedback_allocated((unsigned)kind, 0, request->requested, 0);
  if (!impossible && asked && request->requested <= SMALL_REQUEST && request->alignment <= SMALL_REQUEST &&
      !was_refused(x) &&
      !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_REFUSED, (int)request->slot, -1,
                        "%s of %zu bytes, alignment %zu, failed with error %d", fuzz_op_name(kind),
                        request->requested, request->alignment, error))
    return false;
  bool kind_of_error = error == ENOMEM || (kind == FUZZ_OP_ALIGNED_ALLOC && error == EINVAL && impossible);
  if (asked && !kind_of_error && x->subject->abilities & FUZZ_SETS_ERRNO &&
      !permits(x, FUZZ_ORACLE_ERRNO, kind, request, error) &&
      !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_ERRNO, (int)request->slot, -1,
                        "failed %s of %zu bytes: errno is %d, not ENOMEM", fuzz_op_name(kind),
                        request->requested, error == SENTINEL ? 0 : error))
    return false;
  return fuzz_shadow_unchanged(&x->shadow, x->subject, request->slot);
}

static bool check_met(executor *x, fuzz_op_kind kind, const fuzz_request *request, bool impossible) {
  return !impossible || fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_IMPOSSIBLE, (int)request->slot, -1,
                                         "%s of %zu bytes, alignment %zu, was met", fuzz_op_name(kind),
                                         request->requested, request->alignment);
}

// ---- Allocation ----

// Elements whose product is the request or, where that overflows, more than any size.
static size_t split(const fuzz_op *op, size_t *size, bool *overflows) {
  size_t count = fuzz_op_count(op);
  size_t product;
  if (count > 16) { // overflowing on purpose
    *overflows = __builtin_mul_overflow(count, *size, &product);
    return count;
  }
  *size = *size / count + (*size % count != 0);
  *overflows = __builtin_mul_overflow(count, *size, &product);
  return count;
}

static bool bad_alignment(size_t alignment) {
  return alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0;
}

// posix_memalign says its errors by value and leaves the pointer.
static void *call_posix_memalign(executor *x, const fuzz_request *request, bool *good, int *error) {
  void *block = UNTOUCHED;
  enter(x);
  int result = x->subject->alloc.posix_memalign(&block, request->alignment, request->requested);
  leave(x);
  *error = result;
  if (result == 0)
    return block;
  if (block != UNTOUCHED && !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_FAILED, (int)request->slot, -1,
                                              "posix_memalign returned %d and changed the pointer", result))
    *good = false;
  int expected = bad_alignment(request->alignment) ? EINVAL : ENOMEM;
  if (result != expected && !(expected == EINVAL && result == ENOMEM) &&
      !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_ERRNO, (int)request->slot, -1,
                        "posix_memalign(%zu, %zu) returned %d, not %d", request->alignment,
                        request->requested, result, expected))
    *good = false;
  *error = ENOMEM;
  return NULL;
}

static void *call(executor *x, fuzz_op_kind kind, const fuzz_request *request, size_t count, size_t each,
                  bool *good, int *error) {
  const ha_alloc *alloc = &x->subject->alloc;
  void *block;
  if (kind == FUZZ_OP_POSIX_MEMALIGN)
    return call_posix_memalign(x, request, good, error);
  enter(x);
  switch (kind) {
  case FUZZ_OP_CALLOC:
    block = alloc->calloc(count, each);
    break;
  case FUZZ_OP_REALLOC:
    block = alloc->realloc(NULL, request->requested);
    break;
  case FUZZ_OP_REALLOCARRAY:
    block = alloc->reallocarray(NULL, count, each);
    break;
  case FUZZ_OP_ALIGNED_ALLOC:
    block = alloc->aligned_alloc(request->alignment, request->requested);
    break;
  default:
    block = alloc->malloc(request->requested);
    break;
  }
  *error = leave(x);
  return block;
}

static bool free_unseen(executor *x, void *block) {
  enter(x);
  x->subject->alloc.free(block);
  leave(x);
  return true;
}

bool fuzz_call_allocate(executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot, size_t size) {
  bool aligned = kind == FUZZ_OP_ALIGNED_ALLOC || kind == FUZZ_OP_POSIX_MEMALIGN;
  bool overflows = false;
  size_t each = size;
  size_t count = 1;
  if (kind == FUZZ_OP_CALLOC || kind == FUZZ_OP_REALLOCARRAY)
    count = split(op, &each, &overflows);
  fuzz_request request = {.slot = slot,
                          .requested = overflows ? SIZE_MAX : count * each,
                          .alignment = aligned ? fuzz_op_alignment(op) : 1,
                          .seed = op->fill & 127,
                          .owner = (uint8_t)x->thread,
                          .whole = (op->fill & 128) != 0,
                          .zeroed = kind == FUZZ_OP_CALLOC,
                          .aligned = kind == FUZZ_OP_ALIGNED_ALLOC};
  bool refusable = kind == FUZZ_OP_POSIX_MEMALIGN && bad_alignment(request.alignment);
  bool impossible = request.requested >= ADDRESS_SPACE || refusable;
  bool good = true;
  int error = 0;
  x->state->block = (int32_t)slot;
  bool *failed = record(x, kind, &request, count);
  void *block = call(x, kind, &request, count, each, &good, &error);
  if (block == NULL && error == EINVAL && request.aligned && request.requested % request.alignment != 0 &&
      !impossible) {
    // C11 allowed a library to want a multiple (scudo does): it gets one.
    request.requested += request.alignment - request.requested % request.alignment;
    *failed = true;
    failed = record(x, kind, &request, count);
    block = call(x, kind, &request, count, request.requested, &good, &error);
  }
  *failed = block == NULL;
  if (!good)
    return false;
  if (block == NULL)
    return check_refusal(x, kind, &request, impossible, error);
  if (!check_met(x, kind, &request, impossible))
    return false;
  if (impossible) // met, and nobody holds it against the allocator: of no use either
    return free_unseen(x, block);
  if (((uintptr_t)block & (request.alignment - 1)) != 0 &&
      permits(x, FUZZ_ORACLE_ALIGNMENT, kind, &request, 0))
    request.alignment = 1;
  if (!fuzz_shadow_add(&x->shadow, x->subject, block, &request))
    return false;
  if (x->options->feedback)
    fuzz_feedback_allocated((unsigned)kind, (uintptr_t)block, request.requested,
                            x->shadow.blocks[slot].usable);
  return true;
}

bool fuzz_call_reallocate(executor *x, fuzz_op_kind kind, const fuzz_op *op, uint32_t slot) {
  const ha_alloc *alloc = &x->subject->alloc;
  size_t each = fuzz_call_size(x, kind, op, slot);
  bool overflows = false;
  size_t count = kind == FUZZ_OP_REALLOCARRAY ? split(op, &each, &overflows) : 1;
  size_t size = overflows ? SIZE_MAX : count * each;
  bool impossible = size >= ADDRESS_SPACE;
  if (size == 0 && (x->limited || kind == FUZZ_OP_REALLOCARRAY))
    size = each = 1, count = 1; // NULL would say two things
  x->state->block = (int32_t)slot;
  if (!fuzz_shadow_verify(&x->shadow, slot))
    return false;
  fuzz_block old = fuzz_shadow_remove(&x->shadow, slot);
  fuzz_request request = {.slot = slot,
                          .requested = size,
                          .alignment = 1,
                          .seed = op->fill & 127,
                          .owner = (uint8_t)x->thread,
                          .whole = (op->fill & 128) != 0,
                          .resized = true};
  if (x->options->feedback)
    fuzz_feedback_freed((unsigned)kind, old.address, old.usable);
  bool *failed = record(x, kind, &request, count);
  enter(x);
  void *block = kind == FUZZ_OP_REALLOC ? alloc->realloc((void *)old.address, size)
                                        : alloc->reallocarray((void *)old.address, count, each);
  int error = leave(x);
  *failed = block == NULL;
  if (block == NULL) {
    if (size == 0)
      return true; // it freed the block
    fuzz_shadow_restore(&x->shadow, slot, &old);
    return check_refusal(x, kind, &request, impossible, error);
  }
  if (!check_met(x, kind, &request, impossible))
    return false;
  if (impossible)
    return free_unseen(x, block);
  size_t kept = old.requested < size ? old.requested : size;
  if (!fuzz_shadow_kept(&x->shadow, &old, block, kept, (int)slot) ||
      !fuzz_shadow_add(&x->shadow, x->subject, block, &request))
    return false;
  if (x->options->feedback)
    fuzz_feedback_allocated((unsigned)kind, (uintptr_t)block, request.requested,
                            x->shadow.blocks[slot].usable);
  return true;
}

// ---- Free and the rest ----

static bool check_errno_kept(executor *x, int error, fuzz_op_kind kind, uint32_t slot) {
  if (error == SENTINEL || !(x->subject->abilities & FUZZ_SETS_ERRNO))
    return true;
  return fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_ERRNO, (int)slot, -1, "%s changed errno to %d",
                          fuzz_op_name(kind), error);
}

// C23: what malloc, calloc and realloc gave may be freed with the size that was asked for.
static bool takes_size(const executor *x, const fuzz_block *block) {
  const fuzz_deed deed = {.oracle = FUZZ_ORACLE_ALIGNMENT,
                          .kind = FUZZ_OP_FREE_SIZED,
                          .requested = block->requested,
                          .alignment = block->alignment,
                          .live = block->resized};
  return x->subject->alloc.free_sized && block->alignment <= 1 &&
         !(x->options->permits && fuzz_permitted(x->subject, &deed));
}

bool fuzz_call_free(executor *x, fuzz_op_kind kind, uint32_t slot, const fuzz_op *op) {
  const ha_alloc *alloc = &x->subject->alloc;
  (void)op;
  x->state->block = (int32_t)slot;
  if (!fuzz_shadow_verify(&x->shadow, slot))
    return false;
  fuzz_block block = fuzz_shadow_remove(&x->shadow, slot);
  fuzz_request request = {.slot = slot, .requested = block.requested, .alignment = block.alignment};
  if (kind == FUZZ_OP_FREE_SIZED && !takes_size(x, &block))
    kind = FUZZ_OP_FREE;
  // What aligned_alloc gave, with its alignment too.
  if (kind == FUZZ_OP_FREE_ALIGNED_SIZED && (alloc->free_aligned_sized == NULL || !block.aligned))
    kind = FUZZ_OP_FREE;
  (void)record(x, kind, &request, 1);
  x->freed = block.address;
  enter(x);
  if (kind == FUZZ_OP_FREE_SIZED)
    alloc->free_sized((void *)block.address, block.requested);
  else if (kind == FUZZ_OP_FREE_ALIGNED_SIZED)
    alloc->free_aligned_sized((void *)block.address, block.alignment, block.requested);
  else
    alloc->free((void *)block.address);
  int error = leave(x);
  if (x->options->feedback)
    fuzz_feedback_freed((unsigned)kind, block.address, block.usable);
  return check_errno_kept(x, error, kind, slot);
}

// ---- Misuse ----

static bool frees_first(fuzz_misuse way) {
  return way == FUZZ_MISUSE_FREE_TWICE || way == FUZZ_MISUSE_REALLOC_FREED || way == FUZZ_MISUSE_USABLE_FREED;
}

// The address that is misused, 0: none here.
static uintptr_t misused_address(executor *x, fuzz_misuse way, const fuzz_op *op, uint32_t slot) {
  static uint64_t foreign[8];
  const fuzz_block *block = &x->shadow.blocks[slot];
  switch (way) {
  case FUZZ_MISUSE_FREE_FOREIGN:
    return (uintptr_t)&foreign[op->high % 8];
  case FUZZ_MISUSE_FREE_INTERIOR:
    return block->address && block->usable > 1 ? block->address + 1 + op->high % (block->usable - 1) : 0;
  default: // a freed block, unless another one lies there by now
    return fuzz_shadow_holds(&x->shadow, x->freed) ? 0 : x->freed;
  }
}

bool fuzz_call_misuse(executor *x, const fuzz_op *op, uint32_t slot) {
  const ha_alloc *alloc = &x->subject->alloc;
  fuzz_misuse way = fuzz_op_misuse(op);
  if (frees_first(way) && (x->shadow.blocks[slot].address == 0 || !fuzz_call_free(x, FUZZ_OP_FREE, slot, op)))
    return x->shadow.verdict->failed == false;
  uintptr_t address = misused_address(x, way, op, slot);
  if (address == 0)
    return true;
  fuzz_request request = {.slot = slot, .requested = (size_t)way, .alignment = 1};
  (void)record(x, FUZZ_OP_MISUSE, &request, 1);
  x->state->block = (int32_t)slot;
  (void)x->subject->misuse.set_action(FUZZ_MISUSE_COUNTS);
  uint64_t before = x->subject->misuse.count();
  fuzz_os_mute = true;
  enter(x);
  void *result = NULL;
  if (way == FUZZ_MISUSE_REALLOC_FREED)
    result = alloc->realloc((void *)address, op->high + 1u);
  else if (way == FUZZ_MISUSE_USABLE_FREED)
    (void)alloc->usable_size((void *)address);
  else
    alloc->free((void *)address);
  (void)leave(x);
  fuzz_os_mute = false;
  uint64_t found = x->subject->misuse.count() - before;
  (void)x->subject->misuse.set_action(FUZZ_MISUSE_ABORTS);
  static const char *const names[FUZZ_MISUSES] = {"second free",          "late second free",
                                                  "interior free",        "foreign free",
                                                  "realloc after a free", "usable size after a free"};
  return (found == 1 && result == NULL) ||
         fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_MISUSE, (int)slot, -1,
                          "%s of %p was reported %llu times, not once%s", names[way], (void *)address,
                          (unsigned long long)found, result ? ", and met" : "");
}

bool fuzz_call_free_null(executor *x) {
  enter(x);
  x->subject->alloc.free(NULL);
  return check_errno_kept(x, leave(x), FUZZ_OP_FREE, 0);
}

bool fuzz_call_may_purge(const executor *x) {
  return x->options->check_every <= 1 || x->quiet == 0;
}

// Pages of the process that are in memory.
static size_t resident_pages(void) {
  static int file = -1;
  char text[128] = "";
  if (file < 0)
    file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0 || pread(file, text, sizeof text - 1, 0) <= 0)
    return 0;
  const char *second = strchr(text, ' ');
  return second ? strtoull(second, NULL, 10) : 0;
}

static void purge(executor *x) {
  bool campaign = x->options->check_every > 1;
  size_t before = campaign ? resident_pages() : 0;
  enter(x);
  (void)x->subject->alloc.purge();
  leave(x);
  if (x->options->feedback)
    fuzz_feedback_other();
  size_t after = campaign ? resident_pages() : 0;
  x->quiet = before > after ? (unsigned)((before - after) / PURGED_PAGES) : 0;
}

bool fuzz_call_purge(executor *x) {
  fuzz_request request = {0};
  (void)record(x, FUZZ_OP_PURGE, &request, 1);
  purge(x);
  return true;
}

bool fuzz_call_usable(executor *x, const fuzz_op *op, uint32_t slot) {
  if (!fuzz_shadow_verify(&x->shadow, slot))
    return false;
  fuzz_block old = x->shadow.blocks[slot];
  x->state->block = (int32_t)slot;
  enter(x);
  size_t usable = x->subject->alloc.usable_size((void *)old.address);
  leave(x);
  fuzz_request request = {.slot = slot,
                          .requested = old.requested,
                          .alignment = old.alignment,
                          .seed = op->fill & 127,
                          .owner = old.owner,
                          .whole = true,
                          .aligned = old.aligned,
                          .resized = old.resized};
  (void)record(x, FUZZ_OP_USABLE, &request, 1);
  if (usable != old.usable &&
      !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_USABLE, (int)slot, -1,
                        "usable size of slot %u's block is %zu, was %zu", slot, usable, old.usable))
    return false;
  (void)fuzz_shadow_remove(&x->shadow, slot);
  return fuzz_shadow_add(&x->shadow, x->subject, (void *)old.address, &request);
}

bool fuzz_call_check_counters(executor *x) {
  ha_alloc_stats now;
  if (!(x->subject->abilities & FUZZ_COUNTS_EXACTLY) || !x->subject->alloc.stats(&now))
    return true;
  uint64_t objects = now.mallocs - now.frees - x->base_objects;
  uint64_t bytes = now.live_bytes - x->base_bytes;
  if (objects == x->shadow.live && bytes == x->shadow.live_usable)
    return true;
  fuzz_oracle oracle = x->shadow.live == 0 ? FUZZ_ORACLE_EMPTY : FUZZ_ORACLE_COUNTERS;
  return fuzz_shadow_fail(&x->shadow, oracle, -1, -1,
                          "the allocator counts %lld live blocks with %lld bytes, there are %u with %zu",
                          (long long)objects, (long long)bytes, x->shadow.live, x->shadow.live_usable);
}

// Nothing is live, and the first thread is the only one: once purged, the heap holds what it held at the start. What it
// holds beyond that is lost, although no count of blocks shows it. Two places may keep spans that a purge does not reach:
// the cache of a thread for which there was no memory, and, in the child of a fork, the sets of threads that are not there.
static bool check_nothing_held(executor *x) {
  ha_alloc_stats now;
  bool sees_all = x->subject->abilities & FUZZ_COUNTS_EXACTLY && fuzz_os.failures == 0 && !x->child;
  if (!sees_all || x->shadow.live != 0 || fuzz_threads_any() || !fuzz_call_may_purge(x))
    return true;
  purge(x);
  if (!x->subject->alloc.stats(&now) || now.inuse_bytes == x->base_inuse)
    return true;
  return fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_EMPTY, -1, -1,
                          "no block is live, but after a purge %llu bytes are in use, %llu were at the start",
                          (unsigned long long)now.inuse_bytes, (unsigned long long)x->base_inuse);
}

bool fuzz_call_check_heap(executor *x) {
  if (x->subject->alloc.check_heap) {
    fuzz_request request = {0};
    (void)record(x, FUZZ_OP_CHECK_HEAP, &request, 1);
    enter(x);
    int faults = x->subject->alloc.check_heap();
    leave(x);
    if (faults != 0 && !fuzz_shadow_fail(&x->shadow, FUZZ_ORACLE_HEAP, -1, -1,
                                         "the allocator's check found %d faults", faults))
      return false;
  }
  return fuzz_call_check_counters(x) && check_nothing_held(x);
}

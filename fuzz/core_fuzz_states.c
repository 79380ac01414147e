// core_fuzz_states.c: the four states of address space (core/sys_mem.h) against one entry per kernel page: what the
// picture there allows is done and recorded, what it does not is refused, a request that the kernel refuses changes
// nothing, and what is accessible holds what was written, or zero once it was given back.
#include "core/sys_mem.h"
#include "fuzz/core_fuzz.h"
#include "fuzz/core_fuzz_world.h"

#include <errno.h>
#include <string.h>

enum { PAGES = 48, OPERATIONS = 9 };

#define KERNEL_PAGE ((size_t)4096)

#define BASE ((uintptr_t)0x220000000000)

static struct {
  enum sys_state state[PAGES];
  unsigned char content[PAGES]; // the first byte of an accessible page
} model;

// A transition over [first, first + count): from which states, to which; what the content is then.
static const struct transition {
  const char *name;
  unsigned from; // a bit per state
  enum sys_state to;
  bool may_fail; // by the kernel
  enum { KEEPS, ZEROES } content;
} transitions[OPERATIONS] = {
    {"sys_reserve", 1U << SYS_NONE, SYS_RESERVED, true, ZEROES},
    {"sys_map", 1U << SYS_RESERVED, SYS_PREPARED, true, ZEROES},
    {"sys_used", 1U << SYS_PREPARED, SYS_READY, false, KEEPS},
    {"sys_unused", 1U << SYS_READY, SYS_PREPARED, false, ZEROES},
    {"sys_fault", 1U << SYS_PREPARED | 1U << SYS_READY, SYS_RESERVED, true, ZEROES},
    {"sys_free", 1U << SYS_RESERVED | 1U << SYS_PREPARED | 1U << SYS_READY, SYS_NONE, false, ZEROES},
    {"sys_let_read", 1U << SYS_RESERVED, SYS_RESERVED, true, ZEROES},
    {"sys_drop_huge_page", 1U << SYS_PREPARED, SYS_PREPARED, false, ZEROES},
    {"sys_huge_page", 1U << SYS_RESERVED | 1U << SYS_PREPARED | 1U << SYS_READY, SYS_NONE, false, KEEPS},
};
enum { HINT = OPERATIONS - 1 }; // no transition

typedef struct attempt {
  unsigned operation;
  uintptr_t start;
  size_t size;
  bool done;
} attempt;

static void run(void *context) {
  attempt *this = context;
  this->done = true;
  switch (this->operation) {
  case 0:
    this->done = sys_reserve(this->start, this->size) == (void *)this->start;
    break;
  case 1:
    this->done = sys_map(this->start, this->size);
    break;
  case 2:
    sys_used(this->start, this->size);
    break;
  case 3:
    sys_unused(this->start, this->size);
    break;
  case 4:
    this->done = sys_fault(this->start, this->size);
    break;
  case 5:
    sys_free(this->start, this->size);
    break;
  case 6:
    this->done = sys_let_read(this->start, this->size);
    break;
  case 7:
    sys_drop_huge_page(this->start, this->size);
    break;
  default:
    sys_huge_page(this->start, this->size);
    sys_no_huge_page(this->start, this->size);
  }
}

static bool accessible(size_t page) {
  return model.state[page] == SYS_PREPARED || model.state[page] == SYS_READY;
}

static void check_all(void) {
  for (size_t i = 0; i < PAGES; i++) {
    uintptr_t address = BASE + i * KERNEL_PAGE;
    CORE_REQUIRE(sys_state_of(address) == model.state[i], "a page's state");
    CORE_REQUIRE(sys_state_of(address + KERNEL_PAGE - 1) == model.state[i], "the state of a page's end");
    if (accessible(i))
      CORE_REQUIRE(*(unsigned char *)address == model.content[i], "a page's content");
  }
  CORE_REQUIRE(sys_state_of(BASE - 1) == SYS_NONE && sys_state_of(BASE + PAGES * KERNEL_PAGE) == SYS_NONE,
               "the state of what lies beside");
}

static bool is_legal(unsigned operation, size_t page) {
  return (transitions[operation].from >> model.state[page] & 1) != 0;
}

// As many pages from `first` on as the operation is legal for, at most `count`.
static size_t legal_pages(unsigned operation, size_t first, size_t count) {
  size_t legal = 0;
  while (legal < count && is_legal(operation, first + legal))
    legal++;
  return legal;
}

// An operation on pages of which one is in another state: refused, and the core in no state to go on with. False when
// all of them are in one that allows it.
static bool try_illegal(unsigned operation, size_t first, size_t count) {
  attempt this = {operation, BASE + first * KERNEL_PAGE, count * KERNEL_PAGE, false};
  if (legal_pages(operation, first, count) == count || operation == 0 || operation == HINT)
    return false; // a place that is taken is not reserved again, but another one
  CORE_REQUIRE(core_world_is_fatal(run, &this), "a transition that is not in the picture");
  return true;
}

static void transition(core_input *input, unsigned operation, size_t first, size_t count) {
  uint8_t how = core_byte(input);
  while (!is_legal(operation, first)) // some operation is
    operation = (operation + 1) % OPERATIONS;
  const struct transition *rule = &transitions[operation];
  count = legal_pages(operation, first, count);
  attempt this = {operation, BASE + first * KERNEL_PAGE, count * KERNEL_PAGE, false};
  if (how >= 0xc0)
    core_world_fail(0, 1);
  core_world_lock_pages((how & 1) != 0);
  errno = EXDEV;
  run(&this);
  core_world_lock_pages(false);
  bool failing = core_world_stop_failing() > 0 && rule->may_fail; // else there is another way
  CORE_REQUIRE(errno == EXDEV, "errno belongs to the program");
  CORE_REQUIRE(this.done == !failing, "whether a transition is done");
  if (failing || operation == HINT)
    return;
  for (size_t i = first; i < first + count; i++) {
    model.state[i] = rule->to;
    if (rule->content == ZEROES)
      model.content[i] = 0;
  }
}

static void write_some(size_t first, size_t count, unsigned char value) {
  for (size_t i = first; i < first + count; i++)
    if (model.state[i] == SYS_READY)
      *(unsigned char *)(BASE + i * KERNEL_PAGE) = model.content[i] = value;
}

// Somewhere, and given back at once.
static void reserve_aligned(core_input *input) {
  size_t size = (1 + core_below(input, 64)) * KERNEL_PAGE;
  size_t align = KERNEL_PAGE << core_below(input, 16);
  uint8_t failing = core_byte(input);
  core_world_scatter((failing & 1) != 0);
  if (failing >= 0xc0)
    core_world_fail(failing >> 1 & 1, 1);
  uintptr_t start = (uintptr_t)sys_reserve_aligned(0, size, align);
  core_world_scatter(false);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE((start == 0) == (refused > 0), "whether an aligned reservation is refused");
  if (start == 0)
    return;
  CORE_REQUIRE(start % align == 0, "alignment of a reservation");
  CORE_REQUIRE(sys_state_of(start) == SYS_RESERVED && sys_state_of(start + size - 1) == SYS_RESERVED,
               "what is reserved");
  CORE_REQUIRE(sys_state_of(start - 1) == SYS_NONE && sys_state_of(start + size) == SYS_NONE,
               "what was trimmed");
  sys_free(start, size);
}

static void alloc(core_input *input) {
  size_t size = (1 + core_below(input, 64)) * KERNEL_PAGE;
  if (core_byte(input) >= 0xc0)
    core_world_fail(0, 1);
  unsigned char *memory = sys_alloc(size);
  unsigned refused = core_world_stop_failing();
  CORE_REQUIRE((memory == NULL) == (refused > 0), "whether memory is refused");
  if (memory == NULL)
    return;
  CORE_REQUIRE(sys_state_of((uintptr_t)memory) == SYS_READY && memory[0] == 0 && memory[size - 1] == 0,
               "new memory");
  memset(memory, 1, size);
  sys_free((uintptr_t)memory, size);
}

void core_fuzz_states(core_input *input) {
  memset(&model, 0, sizeof model);
  while (core_more(input)) {
    uint8_t operation = core_byte(input);
    size_t first = core_below(input, PAGES);
    size_t count = 1 + core_below(input, PAGES) % (PAGES - first);
    unsigned which = operation % (OPERATIONS + 3);
    if (operation >= 0xfa && try_illegal(operation % OPERATIONS, first, count))
      return;
    if (which == OPERATIONS)
      write_some(first, count, operation | 1);
    else if (which == OPERATIONS + 1)
      reserve_aligned(input);
    else if (which == OPERATIONS + 2)
      alloc(input);
    else
      transition(input, which, first, count);
    check_all();
  }
}

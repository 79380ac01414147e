// The four states of address space, as sys_mem.h and the notes on Go's memory tell them: what an access does in
// each, which transitions there are, that all others are refused, and that Prepared becomes Ready without the
// kernel. Built with the record of states (sys_state.c) in every build type.
#include "core/sys_mem.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef NDEBUG
#error "sys_state.c compiles itself away: build this test without NDEBUG"
#endif

enum { SIZE = 1 << 20, KERNEL_PAGE = 4096, STATES = 4 };

// A range in `state`, reached on the way that the picture in sys_mem.h shows.
static uintptr_t range_in(enum sys_state state) {
  uintptr_t start = (uintptr_t)sys_reserve(0, SIZE);
  assert_int_not_equal(start, 0);
  if (state == SYS_NONE)
    sys_free(start, SIZE);
  if (state >= SYS_PREPARED)
    assert_true(sys_map(start, SIZE));
  if (state >= SYS_READY)
    sys_used(start, SIZE);
  assert_int_equal(sys_state_of(start), state);
  assert_int_equal(sys_state_of(start + SIZE - 1), state);
  return start;
}

static void drop(uintptr_t start) {
  if (sys_state_of(start) != SYS_NONE)
    sys_free(start, SIZE);
}

// ---- What an access does ----

static sigjmp_buf after_fault;
static volatile int fault_code;

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  fault_code = info->si_code;
  siglongjmp(after_fault, 1);
}

// 0: the byte could be read (or written); else the si_code of the SIGSEGV that came.
static int access_byte(uintptr_t address, bool writes) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  struct sigaction before;
  sigaction(SIGSEGV, &action, &before);
  fault_code = 0;
  if (sigsetjmp(after_fault, 1) == 0) {
    volatile char *byte = (volatile char *)address;
    if (writes)
      *byte = 1;
    else
      (void)*byte;
  }
  sigaction(SIGSEGV, &before, NULL);
  return fault_code;
}

static size_t resident_pages(uintptr_t start) {
  unsigned char pages[SIZE / KERNEL_PAGE];
  size_t count = 0;
  assert_int_equal(mincore((void *)start, SIZE, pages), 0);
  for (size_t i = 0; i < sizeof pages; i++)
    count += pages[i] & 1;
  return count;
}

static bool is_mapped(uintptr_t start) {
  unsigned char pages[SIZE / KERNEL_PAGE];
  return mincore((void *)start, SIZE, pages) == 0 || errno != ENOMEM;
}

static void test_none_is_not_ours(void **state) {
  (void)state;
  uintptr_t start = range_in(SYS_NONE);
  assert_false(is_mapped(start));
  assert_int_equal(access_byte(start, false), SEGV_MAPERR);
  assert_int_equal(access_byte(start + SIZE - 1, true), SEGV_MAPERR);
}

static void test_reserved_is_ours_and_faults(void **state) {
  (void)state;
  uintptr_t start = range_in(SYS_RESERVED);
  assert_true(is_mapped(start)); // nobody else gets these addresses
  assert_int_equal(access_byte(start, false), SEGV_ACCERR);
  assert_int_equal(access_byte(start + SIZE - 1, true), SEGV_ACCERR);
  assert_int_equal(resident_pages(start), 0);
  drop(start);
}

static void test_prepared_costs_no_memory(void **state) {
  (void)state;
  uintptr_t start = range_in(SYS_PREPARED);
  assert_int_equal(resident_pages(start), 0);
  assert_int_equal(access_byte(start, false), 0); // Linux allows it
  assert_int_equal(*(volatile char *)start, 0);
  drop(start);
}

static void test_ready_is_safe(void **state) {
  (void)state;
  uintptr_t start = range_in(SYS_READY);
  for (size_t i = 0; i < SIZE; i += 511)
    assert_int_equal(((volatile char *)start)[i], 0);
  memset((void *)start, 0x5a, SIZE);
  assert_int_equal(resident_pages(start), SIZE / KERNEL_PAGE);
  assert_int_equal(((volatile char *)start)[SIZE - 1], 0x5a);
  // Given back: the memory is gone, the addresses are still ours, and zero when they are used again.
  sys_unused(start, SIZE);
  assert_int_equal(resident_pages(start), 0);
  sys_used(start, SIZE);
  assert_int_equal(*(volatile char *)start, 0);
  assert_int_equal(((volatile char *)start)[SIZE - 1], 0);
  drop(start);
}

// ---- How fast Prepared becomes Ready: without the kernel ----

typedef bool (*operation)(uintptr_t start);

static bool do_map(uintptr_t start) {
  return sys_map(start, SIZE);
}
static bool do_used(uintptr_t start) {
  sys_used(start, SIZE);
  return true;
}
static bool do_unused(uintptr_t start) {
  sys_unused(start, SIZE);
  return true;
}
static bool do_fault(uintptr_t start) {
  return sys_fault(start, SIZE);
}
static bool do_free(uintptr_t start) {
  sys_free(start, SIZE);
  return true;
}

// Runs the operation in a child that the kernel kills at its first system call but for its own end.
static int signal_without_kernel(operation run, uintptr_t start) {
  pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
      _exit(77);
    run(start);
    *(volatile char *)start = 1;
    syscall(SYS_exit, 0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    return -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_prepared_becomes_ready_without_the_kernel(void **state) {
  (void)state;
#ifdef GM_TSAN
  skip(); // its own thread in the child outlives the one that the kernel watches
  return;
#endif
  uintptr_t prepared = range_in(SYS_PREPARED);
  uintptr_t reserved = range_in(SYS_RESERVED);
  int quick = signal_without_kernel(do_used, prepared);
  if (quick < 0) {
    drop(prepared);
    drop(reserved);
    skip(); // no seccomp in this kernel
    return;
  }
  assert_int_equal(quick, 0);
  assert_int_equal(signal_without_kernel(do_map, reserved), SIGKILL); // that one needs mprotect
  drop(prepared);
  drop(reserved);
}

// ---- Every transition from every state ----

#define REFUSED (-1)

static const struct {
  const char *name;
  operation run;
  int to[STATES]; // by the state before: the state after, or REFUSED
} transitions[] = {
    {"sys_map", do_map, {REFUSED, SYS_PREPARED, REFUSED, REFUSED}},
    {"sys_used", do_used, {REFUSED, REFUSED, SYS_READY, REFUSED}},
    {"sys_unused", do_unused, {REFUSED, REFUSED, REFUSED, SYS_PREPARED}},
    {"sys_fault", do_fault, {REFUSED, REFUSED, SYS_RESERVED, SYS_RESERVED}},
    {"sys_free", do_free, {REFUSED, SYS_NONE, SYS_NONE, SYS_NONE}},
};

// Whether the operation ends a child with one line that names the record of states.
static bool is_refused(operation run, uintptr_t start) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    (void)signal(SIGABRT, SIG_DFL);
    dup2(ends[1], STDERR_FILENO);
    run(start);
    _exit(0);
  }
  close(ends[1]);
  char line[200] = "";
  ssize_t length = read(ends[0], line, sizeof line - 1);
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return length > 0 && strstr(line, "gomalloc: address-space state: ") == line && WIFSIGNALED(status) &&
         WTERMSIG(status) == SIGABRT;
}

static void test_every_transition(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++)
    for (int before = SYS_NONE; before < STATES; before++) {
      uintptr_t start = range_in((enum sys_state)before);
      int to = transitions[i].to[before];
      if (to == REFUSED) {
        if (!is_refused(transitions[i].run, start))
          fail_msg("%s from state %d was not refused", transitions[i].name, before);
        assert_int_equal(sys_state_of(start), before);
      } else {
        assert_true(transitions[i].run(start));
        assert_int_equal(sys_state_of(start), to);
        assert_int_equal(sys_state_of(start + SIZE - 1), to);
      }
      drop(start);
    }
}

static void test_a_range_of_two_states_is_refused(void **state) {
  (void)state;
  uintptr_t start = range_in(SYS_RESERVED);
  assert_true(sys_map(start, SIZE / 2));
  assert_true(is_refused(do_used, start));
  assert_true(is_refused(do_map, start));
  sys_used(start, SIZE / 2);
  assert_true(is_refused(do_unused, start));
  sys_free(start + SIZE / 2, SIZE / 2); // a hole of None: what is left may still go
  assert_true(is_refused(do_free, start));
  sys_free(start, SIZE / 2);
}

static void test_sys_alloc_is_ready_at_once(void **state) {
  (void)state;
  char *memory = sys_alloc(SIZE);
  assert_non_null(memory);
  assert_int_equal(sys_state_of((uintptr_t)memory), SYS_READY);
  memset(memory, 1, SIZE);
  sys_free((uintptr_t)memory, SIZE);
  assert_int_equal(sys_state_of((uintptr_t)memory), SYS_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_none_is_not_ours),
      cmocka_unit_test(test_reserved_is_ours_and_faults),
      cmocka_unit_test(test_prepared_costs_no_memory),
      cmocka_unit_test(test_ready_is_safe),
      cmocka_unit_test(test_prepared_becomes_ready_without_the_kernel),
      cmocka_unit_test(test_every_transition),
      cmocka_unit_test(test_a_range_of_two_states_is_refused),
      cmocka_unit_test(test_sys_alloc_is_ready_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

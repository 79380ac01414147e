// core_mutant.c: the runner of the mutants that the target `core` must kill (mutants.cmake): each is linked with its own
// changed core.
//
//   fuzz_mutant_NAME NAME COMPONENT ORACLE WITHIN
//
// Random inputs of one component (its name as in core_fuzz.h; `all` takes turns) run in a child. Ends with 0 when the child
// dies within so many executions with a line that has ORACLE's words in it, or, ORACLE "none", when it does not die.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LENGTH_MAX = 600 };

static const char *const components[] = {"bits",   "pages", "spans", "classes",
                                         "arenas", "map",   "fixed", "heap"};
enum { COMPONENTS = sizeof components / sizeof components[0] };

// splitmix64: the same inputs on every machine.
static uint64_t next_random(uint64_t *state) {
  uint64_t value = *state += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

static void run_inputs(const char *component, unsigned within, volatile unsigned *executions) {
  uint8_t input[LENGTH_MAX];
  for (unsigned i = 1; i <= within; i++) {
    uint64_t random = i;
    bool all = strcmp(component, "all") == 0;
    size_t length = 40 + next_random(&random) % (LENGTH_MAX - 40);
    for (size_t at = 0; at < length; at++)
      input[at] = (uint8_t)next_random(&random);
    input[0] = (uint8_t)(all ? components[i % COMPONENTS] : component)[0];
    *executions = i;
    LLVMFuzzerTestOneInput(input, length);
  }
}

int main(int argc, char *argv[]) {
  unsigned within = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
  unsigned *executions = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ends[2];
  if (within == 0 || executions == MAP_FAILED || pipe(ends) != 0) {
    fprintf(stderr, "usage: %s NAME COMPONENT ORACLE WITHIN\n", argv[0]);
    return 2;
  }
  const char *oracle = argv[3];
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    (void)alarm(60); // a fault that hangs is not found
    run_inputs(argv[2], within, executions);
    _exit(0);
  }
  close(ends[1]);
  static char said[1 << 16]; // its last words, should it say more
  size_t length = 0;
  for (ssize_t got; (got = read(ends[0], said + length, sizeof said - 1 - length)) > 0;) {
    length += (size_t)got;
    if (length > sizeof said / 2) {
      memmove(said, said + length / 2, length - length / 2);
      length -= length / 2;
    }
  }
  said[length] = '\0';
  int status = 0;
  (void)waitpid(child, &status, 0);
  bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  if (strcmp(oracle, "none") == 0) {
    printf("%s: %s in %u executions\n", argv[1], died ? said : "nothing found", *executions);
    return died;
  }
  const char *words = died ? strstr(said, oracle) : NULL;
  printf("%s: %s after %u executions\n", argv[1],
         words != NULL ? oracle
         : died        ? said
                       : "not killed",
         *executions);
  return words == NULL;
}

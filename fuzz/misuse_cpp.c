// misuse_cpp.c: sized and aligned delete with what does not belong to the block. See misuse.h.
//
// C++ programs call operator delete with the size that the compiler knows: it is wrong when an object is deleted as
// another type. The operators are the allocator's own where it has any, else those of the C++ library, which call free.
#include "fuzz/misuse.h"

#include <dlfcn.h>
#include <string.h>

#define ALIGNMENT ((size_t)64)

typedef struct operators {
  void *(*make)(size_t size);
  void (*delete_sized)(void *block, size_t size);
  void *(*make_aligned)(size_t size, size_t alignment);
  void (*delete_aligned)(void *block, size_t size, size_t alignment);
} operators;

// As the Itanium ABI names them: new(size_t), delete(void *, size_t), and those with std::align_val_t.
static operators find(misuse_trial *trial) {
  static const char *const names[] = {"_Znwm", "_ZdlPvm", "_ZnwmSt11align_val_t", "_ZdlPvmSt11align_val_t"};
  operators found;
  void *symbols[4];
  _Static_assert(sizeof symbols == sizeof found, "one symbol each");
  void *process = dlsym(RTLD_DEFAULT, "malloc");
  if (memcmp(&process, &trial->alloc->malloc, sizeof process) != 0)
    misuse_end(trial, MISUSE_SKIPPED, "the program's operators are not this allocator's");
  void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
  for (unsigned i = 0; i < 4; i++) {
    symbols[i] = dlsym(RTLD_DEFAULT, names[i]);
    if (symbols[i] == NULL)
      misuse_end(trial, MISUSE_SKIPPED, "no C++ library: %s", library ? names[i] : "libstdc++.so.6");
  }
  memcpy(&found, symbols, sizeof found);
  return found;
}

// The victim is freed, and a block of operator new takes its place.
static void take_over(misuse_trial *trial, void *block) {
  misuse_own(trial, block, trial->size, "a block of operator new", true);
  trial->victim = trial->pointer = block;
}
static void give_up(misuse_trial *trial) {
  misuse_disown(trial, misuse_find(trial, trial->victim));
  trial->alloc->free(trial->victim);
}

void misuse_new(misuse_trial *trial) {
  operators cpp = find(trial);
  give_up(trial);
  take_over(trial, cpp.make(trial->size));
}

void misuse_new_aligned(misuse_trial *trial) {
  operators cpp = find(trial);
  give_up(trial);
  take_over(trial, cpp.make_aligned(trial->size, ALIGNMENT));
}

void misuse_delete_wrong_size(misuse_trial *trial) {
  operators cpp = find(trial);
  size_t size = misuse_wrong_size(trial);
  cpp.delete_sized(trial->victim, size);
}

void misuse_delete_aligned_wrong_size(misuse_trial *trial) {
  operators cpp = find(trial);
  size_t size = misuse_wrong_size(trial);
  cpp.delete_aligned(trial->victim, size, ALIGNMENT);
}

void misuse_delete_as_plain(misuse_trial *trial) {
  operators cpp = find(trial);
  misuse_disown(trial, misuse_find(trial, trial->victim));
  trial->freed = true;
  cpp.delete_sized(trial->victim, trial->size);
}

// C++'s operator new and delete in all their forms, for the shared library only. C++ programs that were built
// with any compiler reach them by their Itanium ABI names, so they are C functions with assembler labels: the
// library needs neither a C++ compiler nor libstdc++, and programs in C do not load it.
//
// A form of new that may not return NULL calls the program's new_handler until there is memory, and throws
// std::bad_alloc when there is no handler. Both live in the C++ library. They are weak here: the loader binds
// them when the program has libstdc++ (or libc++) from the start; when a plug-in brought it later, the
// failing call itself looks it up. The exception passes through these frames, hence -fexceptions for this
// file. Origin: C++ standard, [new.delete]; the labels are for targets where size_t is unsigned long.
#include "core/gomalloc.h"
#include "core/malloc_inline.h"

#include <dlfcn.h>
#include <errno.h>

static_assert(__builtin_types_compatible_p(size_t, unsigned long), "the m in the labels below");

typedef void (*new_handler)(void);

// std::get_new_handler() and std::__throw_bad_alloc().
extern new_handler get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

// A function of a C++ library that came with a dlopen into a scope of its own; NULL when there is none.
static GM_COLD void *find_later(const char *name) {
  static const char *const libraries[] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"};
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
    void *function = library != NULL ? dlsym(library, name) : NULL;
    if (library != NULL)
      (void)dlclose(library); // its other users keep it
    if (function != NULL)
      return function;
  }
  return NULL;
}

static GM_COLD new_handler current_handler(void) {
  new_handler (*get)(void) = get_new_handler;
  if (get == NULL) {
    void *found = find_later("_ZSt15get_new_handlerv");
    __builtin_memcpy(&get, &found, sizeof get);
  }
  return get != NULL ? get() : NULL;
}

__attribute__((noreturn)) static GM_COLD void fail_by_throwing(void) {
  void (*throw_it)(void) = throw_bad_alloc;
  if (throw_it == NULL) {
    void *found = find_later("_ZSt17__throw_bad_allocv");
    __builtin_memcpy(&throw_it, &found, sizeof throw_it);
  }
  if (throw_it != NULL)
    throw_it();
  gm_fatal("gomalloc: operator new: out of memory, and no C++ library to throw std::bad_alloc\n");
}

static void *allocate(size_t size, size_t align) {
  return align <= 8 ? malloc_inline(size) : gm_aligned_alloc(align, size);
}

// After the first attempt failed. A handler frees memory, throws, or ends the program.
static GM_COLD void *new_slow(size_t size, size_t align) {
  for (;;) {
    new_handler handler = current_handler();
    if (handler == NULL)
      fail_by_throwing();
    handler();
    void *object = allocate(size, align);
    if (object != NULL)
      return object;
  }
}

// The nothrow forms call the handler too, and must catch what it throws. C cannot catch, so after a first
// failure the C++ library's own function takes over: it calls the plain form (the one here) in a try block.
static GM_COLD void *nothrow_slow(const char *name, size_t size, size_t align, const void *tag) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL)
    found = find_later(name);
  if (found == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  if (align == 0) { // a form without alignment
    void *(*plain)(size_t, const void *) = NULL;
    __builtin_memcpy(&plain, &found, sizeof plain);
    return plain(size, tag);
  }
  void *(*aligned)(size_t, size_t, const void *) = NULL;
  __builtin_memcpy(&aligned, &found, sizeof aligned);
  return aligned(size, align, tag);
}

static void *new_plain(size_t size) {
  void *object = malloc_inline(size);
  return GM_LIKELY(object != NULL) ? object : new_slow(size, 8);
}

static void *new_aligned(size_t size, size_t align) {
  void *object = allocate(size, align);
  return GM_LIKELY(object != NULL) ? object : new_slow(size, align);
}

// The forms. `tag` is a reference to std::nothrow; std::align_val_t is passed as a size_t.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration, not an expression
#define FORM(name, label, ...)     GM_EXPORT void name(__VA_ARGS__) __asm__(label)
#define NEW_FORM(name, label, ...) GM_EXPORT void *name(__VA_ARGS__) __asm__(label)
// NOLINTEND(bugprone-macro-parentheses)

NEW_FORM(new_one, "_Znwm", size_t size);
NEW_FORM(new_array, "_Znam", size_t size);
NEW_FORM(new_one_nothrow, "_ZnwmRKSt9nothrow_t", size_t size, const void *tag);
NEW_FORM(new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t size, const void *tag);
NEW_FORM(new_one_aligned, "_ZnwmSt11align_val_t", size_t size, size_t align);
NEW_FORM(new_array_aligned, "_ZnamSt11align_val_t", size_t size, size_t align);
NEW_FORM(new_one_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", size_t size, size_t align,
         const void *tag);
NEW_FORM(new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", size_t size, size_t align,
         const void *tag);
FORM(delete_one, "_ZdlPv", void *pointer);
FORM(delete_array, "_ZdaPv", void *pointer);
FORM(delete_one_sized, "_ZdlPvm", void *pointer, size_t size);
FORM(delete_array_sized, "_ZdaPvm", void *pointer, size_t size);
FORM(delete_one_nothrow, "_ZdlPvRKSt9nothrow_t", void *pointer, const void *tag);
FORM(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", void *pointer, const void *tag);
FORM(delete_one_aligned, "_ZdlPvSt11align_val_t", void *pointer, size_t align);
FORM(delete_array_aligned, "_ZdaPvSt11align_val_t", void *pointer, size_t align);
FORM(delete_one_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", void *pointer, size_t align,
     const void *tag);
FORM(delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", void *pointer, size_t align,
     const void *tag);
FORM(delete_one_sized_aligned, "_ZdlPvmSt11align_val_t", void *pointer, size_t size, size_t align);
FORM(delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", void *pointer, size_t size, size_t align);

void *new_one(size_t size) {
  return new_plain(size);
}

void *new_array(size_t size) {
  return new_plain(size);
}

void *new_one_aligned(size_t size, size_t align) {
  return new_aligned(size, align);
}

void *new_array_aligned(size_t size, size_t align) {
  return new_aligned(size, align);
}

void *new_one_nothrow(size_t size, const void *tag) {
  void *object = malloc_inline(size);
  return GM_LIKELY(object != NULL) ? object : nothrow_slow("_ZnwmRKSt9nothrow_t", size, 0, tag);
}

void *new_array_nothrow(size_t size, const void *tag) {
  void *object = malloc_inline(size);
  return GM_LIKELY(object != NULL) ? object : nothrow_slow("_ZnamRKSt9nothrow_t", size, 0, tag);
}

void *new_one_aligned_nothrow(size_t size, size_t align, const void *tag) {
  void *object = allocate(size, align);
  return GM_LIKELY(object != NULL) ? object
                                   : nothrow_slow("_ZnwmSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

void *new_array_aligned_nothrow(size_t size, size_t align, const void *tag) {
  void *object = allocate(size, align);
  return GM_LIKELY(object != NULL) ? object
                                   : nothrow_slow("_ZnamSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

// Sizes and alignments are not needed and not checked: see gm_free_sized in gomalloc.h.
void delete_one(void *pointer) {
  free_inline(pointer);
}

void delete_array(void *pointer) {
  free_inline(pointer);
}

void delete_one_sized(void *pointer, size_t size) {
  (void)size;
  free_inline(pointer);
}

void delete_array_sized(void *pointer, size_t size) {
  (void)size;
  free_inline(pointer);
}

void delete_one_nothrow(void *pointer, const void *tag) {
  (void)tag;
  free_inline(pointer);
}

void delete_array_nothrow(void *pointer, const void *tag) {
  (void)tag;
  free_inline(pointer);
}

void delete_one_aligned(void *pointer, size_t align) {
  (void)align;
  free_inline(pointer);
}

void delete_array_aligned(void *pointer, size_t align) {
  (void)align;
  free_inline(pointer);
}

void delete_one_aligned_nothrow(void *pointer, size_t align, const void *tag) {
  (void)align;
  (void)tag;
  free_inline(pointer);
}

void delete_array_aligned_nothrow(void *pointer, size_t align, const void *tag) {
  (void)align;
  (void)tag;
  free_inline(pointer);
}

void delete_one_sized_aligned(void *pointer, size_t size, size_t align) {
  (void)size;
  (void)align;
  free_inline(pointer);
}

void delete_array_sized_aligned(void *pointer, size_t size, size_t align) {
  (void)size;
  (void)align;
  free_inline(pointer);
}

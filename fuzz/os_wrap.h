// os_wrap.h: for files that stand between gomalloc and the system. The linker's --wrap (CMakeLists.txt) leads calls of
// mmap in such a program to __wrap_mmap; __real_mmap is the C library's. So with the others.
#ifndef HEAPARENA_FUZZ_OS_WRAP_H
#define HEAPARENA_FUZZ_OS_WRAP_H

#include <stddef.h>
#include <sys/types.h>
#include <time.h>

// NOLINTBEGIN(bugprone-reserved-identifier)
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection);
int __real_munmap(void *address, size_t length);
int __wrap_munmap(void *address, size_t length);
int __real_madvise(void *address, size_t length, int advice);
int __wrap_madvise(void *address, size_t length, int advice);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
// NOLINTEND(bugprone-reserved-identifier)

#endif

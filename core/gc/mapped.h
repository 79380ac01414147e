// Whether memory may be touched, asked before it is: a root range that a program names is read and written at
// every collection. Units: bytes. Threads: any. Errors: what cannot be found out counts as not mapped.
#ifndef GOMALLOC_GC_MAPPED_H
#define GOMALLOC_GC_MAPPED_H

#include "core/base.h"

// Every byte of [start, start + bytes) is mapped readable and writable now. Reads /proc/self/maps without a
// heap.
bool mapped_writable(uintptr_t start, size_t bytes);

#endif

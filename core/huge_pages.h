// Huge pages for a heap that has become large.
//
// A fault that brings 2 MiB may cost no more than a few that bring 4 KiB each, and one entry of the processor's
// address cache then covers 512 pages. What it costs is memory: the last huge page of the heap is resident as a
// whole. And where the system must first find or make 2 MiB in one piece, each costs milliseconds; in virtual
// machines whose host takes free memory back, that is every time. So it is the user's choice: a heap with
// GOMALLOC_HUGE_PAGES bytes in spans (16MiB is a good figure; none unless said) grows by huge pages. The page
// allocator hands out low addresses first, so the memory in front of the newest chunks is dense. Chunks that a
// single large block asked for are left alone: programs touch such blocks as they like.
//
// Where the system gives huge pages on request (transparent_hugepage/enabled: madvise), the newest range of
// the heap asks for them, and the request for the range before it is withdrawn: huge pages that are there
// stay, but the kernel does not fill up what the scavenger gave back (khugepaged would: see Go's issue 55328).
// Where it always or never gives them, nothing is done.
//
// Origin: Go's sysHugePage and sysNoHugePage (runtime/mem_linux.go), and the limits of that in Go 1.21.1.
// Units: bytes. Threads: under the heap lock. Errors: none; a refused request changes nothing.
#ifndef GOMALLOC_HUGE_PAGES_H
#define GOMALLOC_HUGE_PAGES_H

#include "core/base.h"

// The heap, with `in_use` bytes in spans, has grown by [start, start + size), which nobody touched yet.
void huge_pages_note_growth(uintptr_t start, size_t size, size_t in_use);

// Free pages went back to the system. A huge page that was partly handed out is resident as a whole; when the
// newest range is all free, the rest of it goes back too.
void huge_pages_note_release(void);

// What the text of transparent_hugepage/enabled says: true for "always [madvise] never". For tests.
bool huge_pages_on_request(const char *text);

#endif

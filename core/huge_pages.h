// Huge pages for a heap that has become large.
//
// A fault that brings 2 MiB costs a third of those that bring as much in pages of 4 KiB, and one entry of the
// processor's address cache then covers 512 of them. What it costs is memory: the last huge page of the heap is
// resident as a whole. So a heap with GOMALLOC_HUGE_PAGES bytes in spans (16MiB unless said) grows by huge
// pages. The page allocator hands out low addresses first, so the memory in front of the newest chunks is dense.
// Chunks that a single large block asked for are left alone: programs touch such blocks as they like.
//
// Where the system must first find or make 2 MiB in one piece, each costs milliseconds; so it is, at times, in
// virtual machines whose host takes free memory back. Therefore the first huge page of each range is touched at
// once and its time taken. If it was dear, the range asks for no more, and the heap grows to four times its size
// before the next one may ask.
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

// The heap, with `in_use` bytes in spans, has grown by the chunk, which nobody touched yet.
void huge_pages_note_growth(uintptr_t chunk, size_t in_use);

// Free pages went back to the system. A huge page that was partly handed out is resident as a whole; when at least
// half of the newest chunk is not in use, the rest of it goes back too.
void huge_pages_note_release(void);

// Nanoseconds of processor time above which a huge page is dear: 2 microseconds for each page of 4 KiB in it, of
// which a fault of its own costs about one and a half. A variable for tests.
#define HUGE_PAGES_DEAR ((uint64_t)512 * 2000)
extern uint64_t huge_pages_dear;

// What the text of transparent_hugepage/enabled says: true for "always [madvise] never". For tests.
bool huge_pages_on_request(const char *text);

#endif

// The only door to the kernel's memory calls, and the states that address space can be in (Go: mem.go).
//
// Every byte of address space that gomalloc knows is in one of four states:
//
//   None      not ours: neither reserved nor mapped. The state of everything at the start.
//   Reserved  ours, but access faults. Costs address space only.
//   Prepared  ours and accessible in principle, but not meant to be backed by memory; on Linux an access is
//             legal and reads zero.
//   Ready     ours, accessible, and counted as used.
//
// Transitions (sys_free leads from any state to None):
//
//   None ----sys_reserve----> Reserved ----sys_map----> Prepared ----sys_used----> Ready
//   None ----sys_alloc------------------------------------------------------------> Ready
//   Reserved <---sys_fault--- Prepared or Ready         Prepared <---sys_unused--- Ready
//
// Debug builds keep a record of all ranges and abort on a transition that is not in this picture.
//
// Units: bytes; addresses and sizes are multiples of the kernel's page size. Ownership: the caller owns what
// it reserved until sys_free. Threads: any. Errors: NULL or false when the kernel refuses; errno is kept.
#ifndef GOMALLOC_SYS_MEM_H
#define GOMALLOC_SYS_MEM_H

#include "core/base.h"

// None -> Ready: zeroed memory for metadata. NULL when the kernel refuses.
void *sys_alloc(size_t size);

// None -> Reserved, at `hint` if the kernel can, else anywhere; `hint` may be 0.
void *sys_reserve(uintptr_t hint, size_t size);

// None -> Reserved, at a multiple of `align` (a power of two, at least the kernel's page).
void *sys_reserve_aligned(uintptr_t hint, size_t size, size_t align);

// Reserved, and stays so, but reads give zero: for tables that are looked up everywhere and filled here and there.
// False when the kernel refuses.
bool sys_let_read(uintptr_t start, size_t size);

// The limit on this process's address space (RLIMIT_AS), SIZE_MAX when there is none.
size_t sys_address_space_limit(void);

// Reserved -> Prepared. False when the kernel refuses (limits, overcommit); the state is then unchanged.
bool sys_map(uintptr_t start, size_t size);

// Prepared -> Ready. No system call on Linux: the kernel backs pages at first touch.
void sys_used(uintptr_t start, size_t size);

// Ready -> Prepared: the memory goes back to the system, its content is lost and reads zero afterwards.
void sys_unused(uintptr_t start, size_t size);

// Prepared or Ready -> Reserved: every later access faults. False when the kernel refuses.
bool sys_fault(uintptr_t start, size_t size);

// Hints, no transitions: the range would be better, or not be, backed by huge pages (Go: sysHugePage,
// sysNoHugePage). Any state but None.
void sys_huge_page(uintptr_t start, size_t size);
void sys_no_huge_page(uintptr_t start, size_t size);

// Has the kernel back the untouched, Prepared page at `address`, which goes on reading zero. Nanoseconds of the
// thread's processor time that this took.
uint64_t sys_touch(uintptr_t address);

// Prepared, and stays so: gives back what huge pages brought beside the bytes that were touched.
void sys_drop_huge_page(uintptr_t start, size_t size);

// Any -> None.
void sys_free(uintptr_t start, size_t size);

enum sys_state { SYS_NONE = 0, SYS_RESERVED = 1, SYS_PREPARED = 2, SYS_READY = 3 };

#ifndef NDEBUG
// The recorded state of one address (debug builds only; for tests).
enum sys_state sys_state_of(uintptr_t address);
#endif

#endif

// The debug build's record of which address range is in which state; sys_mem.c reports every transition here.
// Release builds compile it away.
#ifndef GOMALLOC_SYS_STATE_H
#define GOMALLOC_SYS_STATE_H

#include "core/sys_mem.h"

#define SYS_MASK(state) (1U << (state))

#ifdef NDEBUG
// Nobody watches.
GM_INLINE void sys_state_change(uintptr_t start, size_t size, unsigned from_mask, enum sys_state to) {
  (void)start, (void)size, (void)from_mask, (void)to;
}
GM_INLINE void sys_state_expect(uintptr_t start, size_t size, unsigned from_mask) {
  (void)start, (void)size, (void)from_mask;
}
#else
// Aborts unless all of [start, start+size) is in a state of from_mask; then records `to`.
void sys_state_change(uintptr_t start, size_t size, unsigned from_mask, enum sys_state to);

// Aborts alike, and changes nothing: before a system call that the kernel may refuse, or that would hit whoever
// has the range.
void sys_state_expect(uintptr_t start, size_t size, unsigned from_mask);
#endif

#endif

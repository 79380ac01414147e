// Grey packets and the workers that share them (Go: mgcwork.go). The idea of packets: Ossia et al. 2002.
//
// A marking is open from gc_work_open() until every worker that joined found nothing to take. Threads: any
// worker.
#ifndef GOMALLOC_GC_MARKSWEEP_PACKETS_H
#define GOMALLOC_GC_MARKSWEEP_PACKETS_H

#include "core/gc/marksweep.h"

// A grey object: its address with its kind above; a large object's may point at any piece of it.
typedef uint64_t gc_entry;

#define GC_ENTRY_KIND_SHIFT GM_ADDR_BITS
#define GC_ENTRY_ADDRESS    (((uint64_t)1 << GM_ADDR_BITS) - 1)

#define GC_PACKET_ENTRIES 1022

struct gc_packet {
  struct gc_packet *next;
  uint32_t count;
  gc_entry entries[GC_PACKET_ENTRIES];
};

static_assert(sizeof(struct gc_packet) == GM_PAGE_SIZE, "a packet is a page");

// An empty packet; NULL when the system gives no memory for one.
struct gc_packet *gc_packet_take_empty(void);
void gc_packet_put_empty(struct gc_packet *packet);

// Hands a packet over to whoever has no work.
void gc_packet_put_full(struct gc_packet *packet);

// For a marking with one worker: any full packet, or NULL.
struct gc_packet *gc_packet_take_full(void);

// Opens a marking for `most` workers, of which the caller is one.
void gc_work_open(unsigned most);

// Joins the marking that is open; false when none is, or enough have joined.
bool gc_work_join(void);

// Changes the worker's packet, which is empty, for a full one; waits for one as long as others are at work.
// False when nobody has any: the marking is over.
bool gc_work_find(struct gc_packet **packet);

// After gc_work_find returned false: adds what the worker marked.
void gc_work_leave(const struct gc_marked *marked);

// Waits until all have left, and returns what they marked.
struct gc_marked gc_work_wait(void);

extern _Atomic uint32_t gc_work_idle;

// Somebody has nothing to do, and there is no full packet for him.
bool gc_work_is_wanted(void);

// For tests: the most packets that the system may give.
extern _Atomic unsigned gc_packets_limit;

#endif

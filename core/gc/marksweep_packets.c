// The pool of packets, and when a marking is over. See marksweep_packets.h.
#include "core/gc/marksweep_packets.h"

#include "core/sys_mem.h"

#include <sched.h>

enum {
  PACKET_BATCH = 8, // packets taken from the system at a time
  IDLE_SPINS = 200, // before an idle worker sleeps
};

// Guarded by the lock, but for hints that are read without it.
static struct {
  struct gm_lock lock;
  _Atomic(struct gc_packet *) full; // a hint
  struct gc_packet *empty;
  bool open;       // workers may join
  unsigned most;   // so many
  unsigned joined; // of this marking
  unsigned left;   // of these: have ended
  struct gc_marked marked;
  _Atomic uint32_t news; // what idle workers sleep on
} pool;

_Atomic uint32_t gc_work_idle;

_Atomic unsigned gc_packets_limit = UINT32_MAX;
static _Atomic unsigned packets; // taken from the system

static void lock_pool(void) {
  lock_acquire(&pool.lock, LOCK_RANK_PACKETS);
}

static void unlock_pool(void) {
  lock_release(&pool.lock, LOCK_RANK_PACKETS);
}

static bool more_packets(void) {
  unsigned had = atomic_load_explicit(&packets, memory_order_relaxed);
  unsigned limit = atomic_load_explicit(&gc_packets_limit, memory_order_relaxed);
  if (had >= limit)
    return false;
  unsigned count = limit - had < PACKET_BATCH ? limit - had : PACKET_BATCH;
  struct gc_packet *fresh = sys_alloc(sizeof *fresh * count);
  if (fresh == NULL)
    return false;
  lock_pool();
  for (unsigned i = 0; i < count; i++) {
    fresh[i].next = pool.empty;
    pool.empty = &fresh[i];
  }
  unlock_pool();
  atomic_fetch_add_explicit(&packets, count, memory_order_relaxed);
  return true;
}

struct gc_packet *gc_packet_take_empty(void) {
  do {
    lock_pool();
    struct gc_packet *packet = pool.empty;
    if (packet != NULL)
      pool.empty = packet->next;
    unlock_pool();
    if (packet != NULL) {
      packet->count = 0;
      return packet;
    }
  } while (more_packets());
  return NULL;
}

static void put_empty_locked(struct gc_packet *packet) {
  packet->next = pool.empty;
  pool.empty = packet;
}

void gc_packet_put_empty(struct gc_packet *packet) {
  lock_pool();
  put_empty_locked(packet);
  unlock_pool();
}

static void wake_idle(void) {
  atomic_fetch_add_explicit(&pool.news, 1, memory_order_release);
  if (atomic_load_explicit(&gc_work_idle, memory_order_relaxed) > 0)
    gc_futex_wake_all(&pool.news);
}

void gc_packet_put_full(struct gc_packet *packet) {
  lock_pool();
  packet->next = atomic_load_explicit(&pool.full, memory_order_relaxed);
  atomic_store_explicit(&pool.full, packet, memory_order_relaxed);
  unlock_pool();
  wake_idle();
}

static struct gc_packet *take_full_locked(void) {
  struct gc_packet *packet = atomic_load_explicit(&pool.full, memory_order_relaxed);
  if (packet != NULL)
    atomic_store_explicit(&pool.full, packet->next, memory_order_relaxed);
  return packet;
}

struct gc_packet *gc_packet_take_full(void) {
  lock_pool();
  struct gc_packet *packet = take_full_locked();
  unlock_pool();
  return packet;
}

bool gc_work_is_wanted(void) {
  return atomic_load_explicit(&gc_work_idle, memory_order_relaxed) > 0 &&
         atomic_load_explicit(&pool.full, memory_order_relaxed) == NULL;
}

void gc_work_open(unsigned most) {
  lock_pool();
  pool.open = true;
  pool.most = most;
  pool.joined = 1;
  pool.left = 0;
  pool.marked = (struct gc_marked){0, 0};
  atomic_store_explicit(&gc_work_idle, 0, memory_order_relaxed);
  unlock_pool();
}

bool gc_work_join(void) {
  lock_pool();
  bool joined = pool.open && pool.joined < pool.most;
  pool.joined += joined;
  unlock_pool();
  return joined;
}

// One look: true when the search is over, with a packet or without. `idle` says whether this worker counts as
// idle already.
static bool look(struct gc_packet **packet, bool *found, bool idle) {
  lock_pool();
  struct gc_packet *full = take_full_locked();
  uint32_t others = atomic_load_explicit(&gc_work_idle, memory_order_relaxed) - idle;
  if (full == NULL && others + 1 == pool.joined)
    pool.open = false; // all idle, and nothing is left
  bool over = full != NULL || !pool.open;
  atomic_store_explicit(&gc_work_idle, others + !over, memory_order_relaxed);
  if (full != NULL) {
    put_empty_locked(*packet);
    *packet = full;
  }
  unlock_pool();
  *found = full != NULL;
  return over;
}

bool gc_work_find(struct gc_packet **packet) {
  bool found = false;
  bool idle = false;
  for (unsigned spins = 0;; spins++) {
    uint32_t news = atomic_load_explicit(&pool.news, memory_order_acquire);
    if (look(packet, &found, idle))
      break;
    idle = true;
    if (spins > IDLE_SPINS)
      gc_futex_wait(&pool.news, news, 0);
    else
      __builtin_ia32_pause();
  }
  if (!found)
    wake_idle(); // they see that the marking is over
  return found;
}

void gc_work_leave(const struct gc_marked *marked) {
  lock_pool();
  pool.marked.bytes += marked->bytes;
  pool.marked.objects += marked->objects;
  pool.left++;
  unlock_pool();
}

struct gc_marked gc_work_wait(void) {
  for (;;) {
    lock_pool();
    bool all_left = pool.left == pool.joined;
    struct gc_marked marked = pool.marked;
    unlock_pool();
    if (all_left)
      return marked;
    (void)sched_yield();
  }
}

// What a program (the mutator) sees of a collected heap: typed objects, roots, barriers, safepoints. One
// program text runs over every collector, over plain malloc and free, and is measured: the paths that a
// program takes all the time are inline, and everything else goes through the collector's table
// (collector.h).
//
// Vocabulary
//   type       size and pointer map of an object, or of an array's element; registered before use
//   reference  NULL, or the address of the first byte of an object of this heap
//   root       a place outside of the heap that holds a reference: a slot of a frame, a word of a global range
//   slot       a root on a thread's shadow stack; a moving collector reads it, and writes the object's new place
//   safepoint  a moment at which a collection may happen: inside gc_new(), gc_new_array(), gc_collect(), gc_safepoint()
//
// The one rule: at a safepoint every reference that will be used again stands in a slot, in a global range or
// in a mapped field of a reachable object. A reference held in a C variable only is worth nothing afterwards:
//
//   struct node { struct node *next; uint64_t value; };
//   static const uint32_t node_map[] = {offsetof(struct node, next)};
//   const struct gc_type *type = gc_type_register(heap, &(struct gc_type_spec){.name = "node",
//       .size = sizeof(struct node), .pointers = node_map, .pointer_count = 1}, why, sizeof why);
//
//   GC_FRAME(thread, frame, 1);                                // declares and links `frame`
//   struct node *n = gc_new(thread, type, sizeof *n);          // may collect; NULL: out of memory
//   gc_store(thread, n, (void **)&n->next, frame.slot[0]);     // every store of a reference into an object
//   frame.slot[0] = n;                                         // now it survives the next safepoint
//   GC_FRAME_END(thread, frame);                               // on every way out of the block
//
// Two compilations of one text (CMake: -DGC_MUTATOR_CONSERVATIVE): for collectors that find references on the
// machine stack and in registers by themselves (marksweep, boehm), and for manual freeing, frames are not
// linked and may live in registers, stores are plain, and allocation is a direct call, as a program written
// for such a collector would have it. For precise collectors frames are linked, stores have a barrier and
// allocation bumps a pointer inline. gc_thread_attach() refuses a thread whose program was compiled the wrong
// way.
//
// Ideas: shadow stack: Henderson, "Accurate garbage collection in an uncooperative environment" (2002);
// inline bump allocation: every copying runtime since Cheney (1970); a barrier that is two compares: OCaml's
// caml_modify.
//
// Units: bytes. Threads: functions that take a gc_thread are called by that thread only; the heap's functions
// by one thread at a time. Errors: NULL or false and one line in `why`, or errno ENOMEM where there is no
// `why`.
#ifndef GOMALLOC_GC_MUTATOR_H
#define GOMALLOC_GC_MUTATOR_H

#include "core/base.h"

#include <string.h>

#ifndef GC_MUTATOR_CONSERVATIVE
#define GC_MUTATOR_CONSERVATIVE 0
#endif

struct gc_heap;
struct gc_collector;
struct gc_thread;

// The word in front of each object of the linear collectors: count << 32 | type id << 8 | flags. Bit 0 is clear;
// while objects are being copied, a word with bit 0 set is the new address of the object, plus 1.
typedef uint64_t gc_header;
#define GC_HEADER_BYTES       sizeof(gc_header)
#define GC_HEADER_TYPE_SHIFT  8
#define GC_HEADER_COUNT_SHIFT 32
#define GC_MOST_TYPES         65536u     // ids are 1 .. GC_MOST_TYPES - 1; 0 is the filler of the linear heap
#define GC_MOST_COUNT         UINT32_MAX // elements of an array
#define GC_INLINE_COUNT       4096       // arrays of fewer elements are allocated inline if they fit

// What a program says of a type. Copied by gc_type_register(); need not outlive the call.
struct gc_type_spec {
  const char *name; // for messages and statistics
  uint32_t size;    // of an object, or of one element of an array: 1 .. 2^30. With pointers: a multiple of 8
  bool array;       // objects are made by gc_new_array()
  const uint32_t
      *pointers;          // offsets of the references in the object or element: multiples of 8, rising, each
                          // with its 8 bytes inside `size`; may be NULL if pointer_count is 0
  uint32_t pointer_count; // 0: the object holds no references and is never scanned
};

// A registered type; owned by the heap, constant, valid until gc_heap_stop().
struct gc_type {
  gc_header tag; // header of an object with one element
  uint32_t size;
  uint32_t id;
  uint32_t pointer_count;
  bool array;
  const uint32_t *pointers;
  const char *name;
};

// A linked group of slots. `count` slots follow it in memory; all are NULL or references.
struct gc_frame {
  struct gc_frame *up;
  size_t count;
};

// One mutator thread, as its inline paths see it. The collector owns it and may extend it
// (`collector_thread`).
struct gc_thread {
  // [cursor, limit) is zeroed memory that this thread may take; empty where the collector has no such thing.
  unsigned char *cursor;
  unsigned char *limit;
  // References into [young_base, young_base + young_size) that are stored into objects outside of it are
  // reported to gc_thread.record. young_size is 0 where the collector needs no barrier.
  uintptr_t young_base;
  uintptr_t young_size;
  struct gc_frame *frames; // innermost first
  _Atomic bool stop;       // somebody wants this thread at a safepoint
  bool manual;             // objects live until gc_free()
  void *(*alloc)(struct gc_thread *thread, const struct gc_type *type, size_t count);
  void (*record)(struct gc_thread *thread, void **field);
  void (*release)(struct gc_thread *thread, void *object); // NULL unless manual
  void (*poll)(struct gc_thread *thread);
  struct gc_heap *heap;
  void *collector_thread;
};

// How a heap is to behave. All zero is a good default.
struct gc_options {
  size_t heap_limit; // the most that objects may take, 1 MiB .. 1 TiB; 0: three quarters of the memory
  unsigned
      goal_percent; // collect when the heap has grown by this over what was live (Go's GOGC), 10..10000; 0: 100
  size_t nursery_bytes; // generational: of the nursery, 64 KiB .. a quarter of the limit; 0: 4 MiB
  uint64_t stress;      // collect at each n-th allocation of a thread; 0: only when needed
  bool verify;          // check the whole heap after each collection; a fault ends the program with a line
};

// Starts a heap over `collector`. NULL and a line in `why` for options out of range or memory that the system
// does not give. Several heaps may live at once unless the collector says otherwise (GC_ONE_HEAP).
struct gc_heap *gc_heap_start(const struct gc_collector *collector, const struct gc_options *options,
                              char *why, size_t why_size);

// Ends the heap: all objects are gone. No thread may be attached.
void gc_heap_stop(struct gc_heap *heap);

// Makes a type known. NULL and a line in `why` for a size out of range or a pointer map that is not inside
// the object, not aligned or not rising; nothing is registered then.
const struct gc_type *gc_type_register(struct gc_heap *heap, const struct gc_type_spec *spec, char *why,
                                       size_t why_size);

// Declares `bytes` at `start` (both multiples of 8) as roots: every word is NULL or a reference, from now
// until gc_roots_remove() or the heap's end. False and a line in `why` for a range that is not mapped
// readable and writable as a whole (a moving collector writes there), is misaligned, or overlaps a range that
// is registered.
bool gc_roots_add(struct gc_heap *heap, void *start, size_t bytes, char *why, size_t why_size);
// Takes back a range as it was added; false if there is no such one.
bool gc_roots_remove(struct gc_heap *heap, void *start);

// Makes the calling thread a mutator. NULL and a line in `why` when the collector takes no further threads,
// or when this program's compilation does not fit it. gc_thread_detach() ends that; its frames must be gone.
struct gc_thread *gc_thread_attach_as(struct gc_heap *heap, bool conservative, char *why, size_t why_size);
void gc_thread_detach(struct gc_thread *thread);

// Attaches the calling thread as this mutator was compiled: with precise frames or a conservative stack.
GM_INLINE struct gc_thread *gc_thread_attach(struct gc_heap *heap, char *why, size_t why_size) {
  return gc_thread_attach_as(heap, GC_MUTATOR_CONSERVATIVE, why, why_size);
}

// Collects the whole heap now: afterwards exactly the reachable objects are there (conservative collectors:
// at least those). False when there was not the memory to do it; nothing is lost then. Manual heaps: true.
bool gc_collect(struct gc_thread *thread);

// `count` slots, NULL at first, linked as the thread's innermost frame until GC_FRAME_END.
#if GC_MUTATOR_CONSERVATIVE
#define GC_FRAME(thread, name, slots)                                                                        \
  struct {                                                                                                   \
    void *slot[slots];                                                                                       \
  } /* NOLINT(bugprone-macro-parentheses): declares it */ name = {{NULL}}
#define GC_FRAME_END(thread, name) ((void)(name))
#else
#define GC_FRAME(thread, name, slots)                                                                        \
  struct {                                                                                                   \
    struct gc_frame frame;                                                                                   \
    void *slot[slots];                                                                                       \
  } /* NOLINT(bugprone-macro-parentheses): declares it */ name = {{(thread)->frames, (slots)}, {NULL}};      \
  (thread)->frames = &(name).frame
#define GC_FRAME_END(thread, name) ((void)((thread)->frames = (name).frame.up))
#endif

// Bytes that an object of the linear collectors takes, header included. An empty array has a word of its own,
// so that its address is nobody else's.
GM_INLINE size_t gc_whole_bytes(size_t bytes) {
  return gm_align_up((bytes > 0 ? bytes : 1) + GC_HEADER_BYTES, 8);
}

// A zeroed object of a fixed size; `bytes` is type->size, passed so that the compiler knows it. Aligned to 8
// bytes at least. A safepoint. NULL with errno ENOMEM: the heap is as it was and everything reachable is
// intact.
GM_INLINE void *gc_new(struct gc_thread *thread, const struct gc_type *type, size_t bytes) {
  GM_ASSERT(bytes == type->size && !type->array);
#if !GC_MUTATOR_CONSERVATIVE
  unsigned char *at = thread->cursor;
  if (GM_LIKELY((size_t)(thread->limit - at) >= gc_whole_bytes(bytes))) {
    thread->cursor = at + gc_whole_bytes(bytes);
    memcpy(at, &type->tag, sizeof type->tag);
    return at + GC_HEADER_BYTES;
  }
#else
  (void)bytes;
#endif
  return thread->alloc(thread, type, 1);
}

// A zeroed array of 0 .. GC_MOST_COUNT elements; else as gc_new(). A request above the heap's limit fails at
// once.
GM_INLINE void *gc_new_array(struct gc_thread *thread, const struct gc_type *type, size_t count) {
  GM_ASSERT(type->array);
#if !GC_MUTATOR_CONSERVATIVE
  unsigned char *at = thread->cursor;
  if (GM_LIKELY(count < GC_INLINE_COUNT)) {
    size_t whole = gc_whole_bytes(count * type->size);
    if (GM_LIKELY((size_t)(thread->limit - at) >= whole)) {
      gc_header header = type->tag + ((gc_header)(count - 1) << GC_HEADER_COUNT_SHIFT);
      thread->cursor = at + whole;
      memcpy(at, &header, sizeof header);
      return at + GC_HEADER_BYTES;
    }
  }
#endif
  return thread->alloc(thread, type, count);
}

// *field = reference, where `field` lies in `object`. All stores of references into objects go through here, the first
// ones too. Not a safepoint.
GM_INLINE void gc_store(struct gc_thread *thread, void *object, void **field, void *reference) {
  *field = reference;
#if !GC_MUTATOR_CONSERVATIVE
  if ((uintptr_t)reference - thread->young_base < thread->young_size &&
      (uintptr_t)object - thread->young_base >= thread->young_size)
    thread->record(thread, field);
#else
  (void)thread;
  (void)object;
#endif
}

// Whether the program itself must free. Programs ask before they walk what is only walked to be freed.
GM_INLINE bool gc_is_manual(const struct gc_thread *thread) {
#if GC_MUTATOR_CONSERVATIVE
  return thread->manual;
#else
  (void)thread;
  return false;
#endif
}

// Ends an object's life where the program frees, does nothing where a collector does. NULL is accepted.
GM_INLINE void gc_free(struct gc_thread *thread, void *object) {
  if (gc_is_manual(thread))
    thread->release(thread, object);
}

// For loops that do not allocate: stops here if another thread wants to collect.
GM_INLINE void gc_safepoint(struct gc_thread *thread) {
  if (GM_UNLIKELY(__atomic_load_n((bool *)&thread->stop, __ATOMIC_RELAXED)))
    thread->poll(thread);
}

#endif

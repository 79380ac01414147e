// frag.c: fragmentation, where compaction pays. In each phase a burst of arrays of one size is allocated and
// all but some are dropped at random; the next phase wants a larger size. What an allocator of fixed places
// has free then are holes of the wrong size between survivors; a compactor has one piece.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

#define SURVIVORS_OF 8 // one of this many stays

void GC_WORK(frag)(gc_run *run) {
  static const uint32_t sizes[] = {32, 48, 80, 128, 208, 336, 544, 880};
  uint64_t phases = ha_scaled(run->run, "phases");
  uint64_t burst = ha_param_number(run->run, "burst");
  uint64_t places = ha_param_number(run->run, "survivors");
  const struct gc_type *bytes = gc_program_type(run, "bytes", 1, true, NULL, 0);
  GC_FRAME(run->thread, frame, 2);
  // slot[0]: survivors of all phases, a ring; slot[1]: the burst
  frame.slot[0] = gc_make_array(run, gc_references(run), places);
  frame.slot[1] = gc_make_array(run, gc_references(run), burst);
  uint64_t next = 0;
  for (uint64_t phase = 0; phase < phases; phase++) {
    size_t size = sizes[phase % (sizeof sizes / sizeof *sizes)];
    for (uint64_t i = 0; i < burst; i++) {
      uint64_t *object = gc_make_array(run, bytes, size);
      object[0] = object[size / 8 - 1] = phase * burst + i;
      void **table = frame.slot[1];
      gc_store(run->thread, (void *)table, &table[i], object);
    }
    void **table = frame.slot[1], **kept = frame.slot[0];
    for (uint64_t i = 0; i < burst; i++) {
      uint64_t *object = table[i];
      if (object[0] != phase * burst + i || object[size / 8 - 1] != object[0])
        gc_wrong(run, "an object lost its contents");
      table[i] = NULL;
      if (ha_random_below(&run->random, SURVIVORS_OF) != 0) {
        gc_free(run->thread, object);
        continue;
      }
      uint64_t *before = kept[next];
      if (before)
        run->checksum = run->checksum * 31 + before[0];
      gc_free(run->thread, before);
      gc_store(run->thread, (void *)kept, &kept[next], object);
      next = next + 1 == places ? 0 : next + 1;
    }
  }
  void **kept = frame.slot[0];
  for (uint64_t i = 0; i < places; i++) {
    const uint64_t *object = kept[i];
    run->checksum = run->checksum * 31 + (object ? object[0] : 1);
    gc_free(run->thread, kept[i]);
  }
  gc_free(run->thread, frame.slot[1]);
  gc_free(run->thread, frame.slot[0]);
  GC_FRAME_END(run->thread, frame);
}

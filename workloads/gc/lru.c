// lru.c: a cache that drops what was used least recently: a hash table whose entries are linked in order of
// use. Every miss evicts the oldest entry, so objects die old, in the order in which they were born or used:
// what generational collectors do not expect.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

struct entry {
  struct entry *newer, *older, *chained;
  uint64_t *value; // value[0] is its length in words
  uint64_t key;
};

static const uint32_t entry_map[] = {offsetof(struct entry, newer), offsetof(struct entry, older),
                                     offsetof(struct entry, chained), offsetof(struct entry, value)};

// slot[0]: the table; slot[1]: the list's anchor, whose `older` is the newest entry; slot[2]: a new entry.
typedef struct cache {
  gc_run *run;
  struct gc_thread *thread;
  const struct gc_type *entry, *words, *table;
  uint64_t chains, count, most;
} cache;

static uint64_t chain_of(const cache *c, uint64_t key) {
  return (key * 0x9e3779b97f4a7c15u) >> 20 & (c->chains - 1);
}

static void link_newest(const cache *c, struct entry *anchor, struct entry *entry) {
  struct entry *second = anchor->older;
  gc_store(c->thread, entry, (void **)&entry->older, second);
  gc_store(c->thread, entry, (void **)&entry->newer, anchor);
  gc_store(c->thread, second, (void **)&second->newer, entry);
  gc_store(c->thread, anchor, (void **)&anchor->older, entry);
}

static void unlink_entry(const cache *c, struct entry *entry) {
  gc_store(c->thread, entry->older, (void **)&entry->older->newer, entry->newer);
  gc_store(c->thread, entry->newer, (void **)&entry->newer->older, entry->older);
}

static void evict_oldest(cache *c, struct entry **table, struct entry *anchor) {
  struct entry *oldest = anchor->newer, *before = NULL;
  struct entry **chain = &table[chain_of(c, oldest->key)];
  struct entry *entry = *chain;
  for (; entry && entry != oldest; entry = entry->chained)
    before = entry;
  if (!entry)
    gc_wrong(c->run, "an entry is in the list of use and not in the table");
  if (before)
    gc_store(c->thread, before, (void **)&before->chained, oldest->chained);
  else
    gc_store(c->thread, (void *)table, (void **)chain, oldest->chained);
  unlink_entry(c, oldest);
  c->run->checksum = c->run->checksum * 31 + oldest->key;
  gc_free(c->thread, oldest->value);
  gc_free(c->thread, oldest);
  c->count--;
}

static void add(cache *c, void **slots, uint64_t key) {
  if (c->count == c->most)
    evict_oldest(c, slots[0], slots[1]);
  slots[2] = gc_make(c->run, c->entry, sizeof(struct entry));
  uint64_t words = 4 + key % 61;
  uint64_t *value = gc_make_array(c->run, c->words, words);
  value[0] = words;
  value[words - 1] = key;
  struct entry *entry = slots[2];
  slots[2] = NULL;
  entry->key = key;
  gc_store(c->thread, entry, (void **)&entry->value, value);
  struct entry **table = slots[0];
  struct entry **chain = &table[chain_of(c, key)];
  gc_store(c->thread, entry, (void **)&entry->chained, *chain);
  gc_store(c->thread, (void *)table, (void **)chain, entry);
  link_newest(c, slots[1], entry);
  c->count++;
}

static void use(cache *c, void **slots, uint64_t key) {
  struct entry **table = slots[0];
  struct entry *entry = table[chain_of(c, key)];
  while (entry && entry->key != key)
    entry = entry->chained;
  if (!entry) {
    add(c, slots, key);
    return;
  }
  if (entry->value[entry->value[0] - 1] != key)
    gc_wrong(c->run, "a value is not what was stored");
  c->run->checksum += entry->value[0];
  unlink_entry(c, entry);
  link_newest(c, slots[1], entry);
}

void GC_WORK(lru)(gc_run *run) {
  uint64_t steps = ha_scaled(run->run, "ops");
  cache c = {.run = run, .thread = run->thread, .most = ha_param_number(run->run, "entries"), .chains = 64};
  while (c.chains < c.most)
    c.chains *= 2;
  c.entry = gc_program_type(run, "entry", sizeof(struct entry), false, entry_map, 4);
  c.words = gc_program_type(run, "words", sizeof(uint64_t), true, NULL, 0);
  c.table = gc_references(run);
  GC_FRAME(c.thread, frame, 3);
  frame.slot[0] = gc_make_array(run, c.table, c.chains);
  struct entry *anchor = frame.slot[1] = gc_make(run, c.entry, sizeof *anchor);
  gc_store(c.thread, anchor, (void **)&anchor->newer, anchor);
  gc_store(c.thread, anchor, (void **)&anchor->older, anchor);
  for (uint64_t step = 0; step < steps; step++) {
    // The lesser of two draws: small keys are asked for more often.
    uint64_t one = ha_random_below(&run->random, 4 * c.most);
    uint64_t other = ha_random_below(&run->random, 4 * c.most);
    use(&c, frame.slot, one < other ? one : other);
  }
  while (c.count > 0)
    evict_oldest(&c, frame.slot[0], frame.slot[1]);
  gc_free(c.thread, frame.slot[0]);
  gc_free(c.thread, frame.slot[1]);
  GC_FRAME_END(c.thread, frame);
}

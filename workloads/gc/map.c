// map.c: a hash map from numbers to byte strings that grows by doubling its table; keys are added, their
// values replaced, and some removed.
#include "workloads/gc/programs.h"
#include "workloads/kit.h"

struct entry {
  struct entry *next;
  unsigned char *value; // value[0] is its length
  uint64_t key;
};

static const uint32_t entry_map[] = {offsetof(struct entry, next), offsetof(struct entry, value)};

// slot[0]: the table, an array of chains; slot[1]: a new value or table on its way in.
typedef struct map {
  gc_run *run;
  struct gc_thread *thread;
  const struct gc_type *entry, *bytes, *table;
  uint64_t capacity, count;
} map;

static uint64_t bucket_of(const map *m, uint64_t key) {
  return (key * 0x9e3779b97f4a7c15u) >> 20 & (m->capacity - 1);
}

static unsigned char *make_value(const map *m, uint64_t key, uint64_t stamp) {
  size_t length = 8 + (key ^ stamp) % 57;
  unsigned char *value = gc_make_array(m->run, m->bytes, length);
  value[0] = (unsigned char)length;
  value[length - 1] = (unsigned char)(key + stamp);
  return value;
}

static uint64_t sum_value(const unsigned char *value) {
  return value[value[0] - 1] + value[0];
}

// Puts all entries into a table of twice the size; `old` is a slot.
static void grow(map *m, void **old) {
  struct entry **table = gc_make_array(m->run, m->table, 2 * m->capacity);
  struct entry **before = *old;
  uint64_t chains = m->capacity;
  m->capacity *= 2;
  for (uint64_t i = 0; i < chains; i++)
    for (struct entry *entry = before[i], *next; entry; entry = next) {
      next = entry->next;
      struct entry **chain = &table[bucket_of(m, entry->key)];
      gc_store(m->thread, entry, (void **)&entry->next, *chain);
      gc_store(m->thread, (void *)table, (void **)chain, entry);
    }
  gc_free(m->thread, (void *)before);
  *old = (void *)table;
}

static struct entry *look_up(const map *m, struct entry **table, uint64_t key) {
  struct entry *entry = table[bucket_of(m, key)];
  while (entry && entry->key != key)
    entry = entry->next;
  return entry;
}

static void put(map *m, void **slots, uint64_t key, uint64_t stamp) {
  slots[1] = make_value(m, key, stamp);
  struct entry *entry = look_up(m, slots[0], key);
  if (entry) {
    m->run->checksum += sum_value(entry->value);
    gc_free(m->thread, entry->value);
    gc_store(m->thread, entry, (void **)&entry->value, slots[1]);
    return;
  }
  if (m->count == m->capacity)
    grow(m, &slots[0]);
  entry = gc_make(m->run, m->entry, sizeof *entry);
  struct entry **table = slots[0];
  struct entry **chain = &table[bucket_of(m, key)];
  entry->key = key;
  gc_store(m->thread, entry, (void **)&entry->value, slots[1]);
  gc_store(m->thread, entry, (void **)&entry->next, *chain);
  gc_store(m->thread, (void *)table, (void **)chain, entry);
  m->count++;
}

static void take_out(map *m, struct entry **table, uint64_t key) {
  struct entry **chain = &table[bucket_of(m, key)], *before = NULL, *entry = *chain;
  for (; entry && entry->key != key; entry = entry->next)
    before = entry;
  if (!entry)
    return;
  m->run->checksum += 3 * sum_value(entry->value);
  if (before)
    gc_store(m->thread, before, (void **)&before->next, entry->next);
  else
    gc_store(m->thread, (void *)table, (void **)chain, entry->next);
  gc_free(m->thread, entry->value);
  gc_free(m->thread, entry);
  m->count--;
}

static void clear(map *m, struct entry **table) {
  uint64_t found = 0;
  for (uint64_t i = 0; i < m->capacity; i++)
    for (struct entry *entry = table[i], *next; entry; entry = next) {
      next = entry->next;
      m->run->checksum += 7 * sum_value(entry->value);
      found++;
      gc_free(m->thread, entry->value);
      gc_free(m->thread, entry);
    }
  if (found != m->count)
    gc_wrong(m->run, "the map lost entries");
  gc_free(m->thread, (void *)table);
}

void GC_WORK(map)(gc_run *run) {
  uint64_t keys = ha_param_number(run->run, "keys");
  uint64_t steps = ha_scaled(run->run, "ops");
  map m = {.run = run, .thread = run->thread, .capacity = 64};
  m.entry = gc_program_type(run, "entry", sizeof(struct entry), false, entry_map, 2);
  m.bytes = gc_program_type(run, "bytes", 1, true, NULL, 0);
  m.table = gc_references(run);
  GC_FRAME(m.thread, frame, 2);
  frame.slot[0] = gc_make_array(run, m.table, m.capacity);
  for (uint64_t step = 0; step < steps; step++) {
    uint64_t key = ha_random_below(&run->random, keys);
    if (step % 8 == 7)
      take_out(&m, frame.slot[0], key);
    else
      put(&m, frame.slot, key, step);
  }
  clear(&m, frame.slot[0]);
  GC_FRAME_END(m.thread, frame);
}

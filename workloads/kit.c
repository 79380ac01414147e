// kit.c: see kit.h.
#include "workloads/kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Share of the machine's memory that a workload may ask for: the rest is the system's and the allocator's.
#define MOST_OF_MEMORY 0.8

bool ha_slots_clear(ha_run *run, ha_slot *slots, uint64_t count) {
  bool intact = true;
  for (uint64_t i = 0; i < count; i++) {
    ha_slot *s = &slots[i];
    if (!s->block)
      continue;
    if (ha_keeps_contents(run) && !ha_block_check(s->block, s->size, s->tag, run->verify))
      intact = ha_fail(run, "a block of %u bytes that was live to the end lost its contents", s->size);
    run->alloc->free(s->block);
    s->block = NULL;
  }
  return intact;
}

void ha_shuffle(uint32_t *order, uint32_t count, uint64_t *random) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t j = (uint32_t)ha_random_below(random, (uint64_t)i + 1);
    order[i] = order[j];
    order[j] = i;
  }
}

uint64_t ha_scaled(const ha_run *run, const char *key) {
  double value = (double)ha_param_number(run, key) * run->scale;
  return value < 1 ? 1 : (uint64_t)value;
}

bool ha_fits(ha_run *run, double live, double total) {
  double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  double need = run->alloc->traits & HA_TRAIT_SHARED_BLOCKS ? 0
                : run->alloc->traits & HA_TRAIT_NEVER_FREES ? total
                                                            : live;
  if (need <= MOST_OF_MEMORY * memory)
    return true;
  return ha_fail(
      run, "%s needs about %.0f MiB with these parameters and %s, this machine has %.0f MiB: choose less",
      run->workload->name, need / (double)HA_MIB, run->alloc->name, memory / (double)HA_MIB);
}

bool ha_read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

uint64_t ha_resident_bytes(void) {
  char text[128];
  if (!ha_read_text("/proc/self/statm", text, sizeof text))
    return 0;
  const char *second = strchr(text, ' '); // total, resident, shared ... in pages
  return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void ha_note_requests(ha_run *run, uint64_t least, uint64_t most) {
  snprintf(run->note, sizeof run->note, "least_request=%llu most_request=%llu", (unsigned long long)least,
           (unsigned long long)most);
}

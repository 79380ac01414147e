// synthetic_test.c: every workload of the catalog, small: it repeats, passes its own verification over sound
// allocators, notices an allocator that lends a live block, and survives an allocation that fails at any
// point.
#include "adapters/registry.h"
#include "workloads/catalog.h"
#include "workloads/races_seen.h"
#include "workloads/runner.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// Small enough that all of them together take seconds, under a sanitizer too.
static const char *const small[] = {
    "fastpath:ops=2000:depth=4",
    "fastpath:ops=2000:depth=8:link=yes",
    "fastpath-deep:ops=2000",
    "fastpath-classes:ops=2000",
    "batch:ops=2000:blocks=300",
    "batch-lifo:ops=2000:blocks=300",
    "batch-random:ops=2000:blocks=300",
    "realloc-grow:ops=400:to=20000",
    "realloc-one:ops=3000:live=8:to=100",
    "calloc:ops=1500:live=200",
    "aligned:ops=1500:live=200",
    "sizedfree:ops=1500:live=200",
    "churn:ops=1500:live=200",
    "churn-even:ops=1500:live=200",
    "churn-even:ops=1500:live=200:fill=before",
    "churn-pareto:ops=1500:live=200",
    "churn-measured:ops=1500:live=200",
    "stack:ops=3000:depth=200",
    "stack:ops=100:depth=1",
    "tree:ops=2000:depth=6:lasting=8",
    "tree:ops=200:depth=4:lasting=1:size=24",
    "strings:ops=2000:window=40",
    "hashmap:ops=2000:entries=300",
    "lru:ops=3000:keys=2000:limit=1:max=4096",
    "interpreter:ops=5000:globals=50",
    "larson:live=50:ops=200:rounds=4",
    "prodcons:ops=2000:batch=16:depth=4",
    "prodcons:ops=1500:batch=16:depth=4:producers=2:consumers=3",
    "msgpass:ops=2000:batch=16:depth=4",
    "msgpass:ops=1000:batch=8:depth=2:producers=2:proxies=2:consumers=3",
    "sh6:ops=3000:group=64",
    "sh8:ops=3000:group=64",
    "threadchurn:lives=20:blocks=60",
    "threadchurn:lives=3:blocks=10:left=100",
    "falseshare-active:ops=200:writes=5",
    "falseshare-passive:ops=200:writes=5",
    "oneclass:ops=2000:places=200",
    "frag-robson:live=1:rounds=1:min=512:max=4096",
    "frag-survivor:group=1:rounds=2:min=512:max=2048",
    "frag-survivor:group=1:rounds=1:min=8192:max=16384:span=64",
    "frag-sawtooth:live=1:waves=3",
    "frag-phases:live=1:waves=6",
    "blowup:live=1:chain=3:turns=5",
    "large:live=3:ops=100:min=1:max=2:stride=65536",
    "huge:live=2:ops=60:min=2:max=8:stride=1048576",
    "spikes:ops=60:query=20:steady=300",
    "drain:live=1:wait=0",
    "fleet:heap=1:ops=2000",
    "fleet0:heap=1:ops=2000",
    "fleet1:heap=1:ops=2000",
    "fleet2:heap=1:ops=2000",
    "fleet3:heap=1:ops=2000",
    "fleet4:heap=1:ops=2000",
    "fleet5:heap=1:ops=2000",
    "fleet6:heap=1:ops=2000",
    "fleet7:heap=1:ops=2000",
    "fleet8:heap=1:ops=2000",
    "fleet9:heap=1:ops=2000",
};

#define SMALL (sizeof small / sizeof small[0])

static bool names(const char *spec, const char *name) {
  return strncmp(spec, name, strlen(name)) == 0 && (spec[strlen(name)] == ':' || spec[strlen(name)] == '\0');
}

static void test_every_workload_is_tested_here(void **state) {
  (void)state;
  size_t count;
  const ha_workload *const *all = ha_catalog(&count);
  assert_true(count >= 30);
  for (size_t w = 0; w < count; w++) {
    if (all[w]->params[0].key && strcmp(all[w]->params[0].key, "file") == 0)
      continue; // needs a recorded program
    if (all[w]->mutator)
      continue; // gc/programs_test.c
    bool tested = false;
    for (size_t i = 0; i < SMALL; i++)
      tested = tested || names(small[i], all[w]->name);
    if (!tested)
      fail_msg("%s is in the catalog and not in this test", all[w]->name);
  }
}

static void test_every_workload_explains_itself(void **state) {
  (void)state;
  size_t count;
  const ha_workload *const *all = ha_catalog(&count);
  for (size_t w = 0; w < count; w++) {
    assert_null(strchr(all[w]->summary, '\n'));
    assert_true(strlen(all[w]->summary) < 100);
    if (strlen(all[w]->explain) < 200 || strlen(all[w]->explain) > 1000)
      fail_msg("%s explains itself in %zu letters", all[w]->name, strlen(all[w]->explain));
    for (size_t other = 0; other < w; other++)
      assert_string_not_equal(all[w]->name, all[other]->name);
  }
}

// Defaults are what the parameter allows, and so pass the check that a user's value must pass.
static void test_defaults_are_allowed(void **state) {
  (void)state;
  size_t count;
  const ha_workload *const *all = ha_catalog(&count);
  for (size_t w = 0; w < count; w++) {
    size_t params = 0;
    for (const ha_param *p = all[w]->params; p->key; p++, params++) {
      if (p->least == 0 && p->most == 0 && !p->allowed)
        continue;
      char spec[256];
      ha_run run = {.threads = 1};
      bool wants_file = strcmp(all[w]->params[0].key, "file") == 0;
      snprintf(spec, sizeof spec, "%s:%s%s=%s", all[w]->name, wants_file ? "x:" : "", p->key, p->fallback);
      if (!ha_catalog_parse(&run, spec))
        fail_msg("%s", run.why);
    }
    assert_true(params <= HA_MAX_PARAMS);
  }
}

static ha_run fresh_run(const char *spec, const ha_alloc *alloc, unsigned threads, bool verify) {
  ha_run run = {.alloc = alloc, .threads = threads, .seed = 42, .scale = 1, .verify = verify};
  if (!ha_catalog_parse(&run, spec))
    fail_msg("%s", run.why);
  return run;
}

// Runs `check` in a process of its own, which no endless wait outlives and whose tables
// go with it.
static void in_child(bool (*check)(const char *spec), const char *spec) {
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(100);
    _exit(check(spec) ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status))
    fail_msg("%s: ended by signal %d (%s)", spec, WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status))
    fail_msg("%s: see above", spec);
}

// The same operations whatever the allocator, the pass and the order in which threads come along. Of one thread alone
// ThreadSanitizer has nothing to say: it takes long for that.
static bool repeats(const char *spec) {
  static const char *const allocators[] = {"template", "bump", "null"};
  for (unsigned threads = RACES_ARE_SEEN ? 3 : 1; threads <= 3; threads += 2) {
    ha_measurement first = {0};
    for (unsigned n = 0; n < 6; n++) {
      const ha_alloc *alloc = ha_registry_find(allocators[n / 2])->linked;
      if (RACES_ARE_SEEN && (alloc->traits & HA_TRAIT_SHARED_BLOCKS))
        continue;
      ha_run run = fresh_run(spec, alloc, threads, n % 2);
      ha_measurement now;
      bool good = ha_run_once(&run, &now);
      if (n == 0)
        first = now;
      if (good && now.operations > 0 && now.wall_seconds > 0 && now.peak_live_bytes > 0 &&
          now.operations == first.operations && now.checksum == first.checksum)
        continue;
      fprintf(stderr, "%s over %s, %u threads, pass %u: %llu operations, first %llu; \"%s\"\n", spec,
              alloc->name, threads, n, (unsigned long long)now.operations,
              (unsigned long long)first.operations, run.why);
      return false;
    }
  }
  return true;
}

static void test_runs_repeat_over_every_allocator(void **state) {
  (void)state;
  for (size_t i = 0; i < SMALL; i++)
    in_child(repeats, small[i]);
}

static void test_the_seed_matters_and_scale_multiplies(void **state) {
  (void)state;
  const ha_alloc *alloc = ha_registry_find("template")->linked;
  ha_run run = fresh_run("churn:ops=1000:live=10", alloc, 1, false);
  ha_run other = fresh_run("churn:ops=1000:live=10", alloc, 1, false);
  ha_measurement m = {0}, n = {0};
  other.seed = 43;
  other.scale = 3;
  assert_true(ha_run_once(&run, &m) && ha_run_once(&other, &n));
  assert_int_not_equal(m.checksum, n.checksum);
  assert_int_equal(m.operations, 10 + 2000);
  assert_int_equal(n.operations, 10 + 6000);
}

static void note_live(void *argument) {
  ha_run *run = argument;
  run->counters[0].value = (double)atomic_load(&run->live_bytes);
}

static void ignore(void *argument) {
  (void)argument;
}

// What is made before the clock starts is there when a pass begins to watch, unless it asks to see that too.
static void test_a_live_set_made_before(void **state) {
  (void)state;
  for (unsigned sees_fill = 0; sees_fill < 2; sees_fill++) {
    ha_run run = fresh_run("churn:ops=1000:live=10:law=fixed:min=64:fill=before",
                           ha_registry_find("template")->linked, 3, false);
    ha_observer observer = {.starts = note_live, .ended = ignore, .argument = &run, .sees_fill = sees_fill};
    ha_measurement m = {0};
    assert_true(ha_run_observed(&run, &m, &observer));
    assert_int_equal((int)run.counters[0].value, sees_fill ? 0 : 3 * 10 * 64);
    assert_int_equal(m.operations, 3 * 2000);
    assert_in_range(m.peak_live_bytes, 3 * 10 * 64, 4 * 10 * 64);
  }
}

// A faulty allocator over bump, which never hands memory out twice. Every `lend_every`th block is one that is
// live, and allocation number `fail_at` returns NULL.
#define LENDABLE 16u

static struct {
  pthread_mutex_t lock;
  uint64_t calls, lend_every, fail_at;
  struct {
    void *block;
    size_t size;
  } live[LENDABLE]; // the last blocks handed out and not freed
  unsigned next;
} faulty = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const ha_alloc *bump(void) {
  return ha_registry_find("bump")->linked;
}

static void *lend(size_t alignment, size_t size) {
  for (unsigned back = 1; back <= LENDABLE; back++) {
    unsigned i = (faulty.next - back) % LENDABLE;
    if (faulty.live[i].block && faulty.live[i].size >= size &&
        (uintptr_t)faulty.live[i].block % alignment == 0)
      return faulty.live[i].block;
  }
  return NULL;
}

static void *faulty_aligned_alloc(size_t alignment, size_t size) {
  pthread_mutex_lock(&faulty.lock);
  uint64_t call = ++faulty.calls;
  void *block = NULL;
  if (faulty.lend_every && call % faulty.lend_every == 0)
    block = lend(alignment, size);
  if (!block && call != faulty.fail_at)
    block = bump()->aligned_alloc(alignment, size);
  faulty.live[faulty.next].block = block;
  faulty.live[faulty.next].size = size;
  faulty.next = (faulty.next + 1) % LENDABLE;
  pthread_mutex_unlock(&faulty.lock);
  return block;
}

static void faulty_free(void *block) {
  pthread_mutex_lock(&faulty.lock);
  for (unsigned i = 0; i < LENDABLE; i++)
    if (faulty.live[i].block == block)
      faulty.live[i].block = NULL;
  pthread_mutex_unlock(&faulty.lock);
}

static void *faulty_malloc(size_t size) {
  return faulty_aligned_alloc(16, size);
}

static void *faulty_calloc(size_t count, size_t size) {
  return faulty_malloc(count * size);
} // bump's pages are zero

static void *faulty_realloc(void *block, size_t size) {
  size_t old = bump()->usable_size(block);
  void *fresh = faulty_malloc(size);
  if (fresh && block) {
    memmove(fresh, block, old < size ? old : size);
    faulty_free(block);
  }
  return fresh;
}

static const ha_alloc faulty_alloc = {.name = "faulty",
                                      .version = "1",
                                      .malloc = faulty_malloc,
                                      .free = faulty_free,
                                      .calloc = faulty_calloc,
                                      .realloc = faulty_realloc,
                                      .aligned_alloc = faulty_aligned_alloc};

static void arm(uint64_t lend_every, uint64_t fail_at) {
  faulty.calls = 0;
  faulty.lend_every = lend_every;
  faulty.fail_at = fail_at;
  faulty.next = 0;
  memset(faulty.live, 0, sizeof faulty.live);
}

static bool notices_overlap(const char *spec) {
  ha_run run = fresh_run(spec, &faulty_alloc, 1, true);
  ha_measurement m;
  arm(20, 0);
  if (!ha_run_once(&run, &m) && strstr(run.why, "contents"))
    return true;
  fprintf(stderr, "%s: a live block was lent and the run says \"%s\"\n", spec, run.why);
  return false;
}

static void test_overlap_is_noticed(void **state) {
  (void)state;
  for (size_t i = 0; i < SMALL; i++)
    if (!strstr(small[i], "depth=1")) // there only one block is live
      in_child(notices_overlap, small[i]);
}

// A first run counts the allocations; then one of them fails: each of the first eight, the 16th, the 32nd ...
static bool survives_failure(const char *spec) {
  for (unsigned threads = RACES_ARE_SEEN ? 2 : 1; threads <= 2; threads++) {
    ha_run sound = fresh_run(spec, &faulty_alloc, threads, false);
    ha_measurement m;
    arm(0, 0);
    if (!ha_run_once(&sound, &m)) {
      fprintf(stderr, "%s: %s\n", spec, sound.why);
      return false;
    }
    uint64_t calls = faulty.calls;
    for (uint64_t k = 1; k <= calls; k += k < 8 ? 1 : k) {
      ha_run run = fresh_run(spec, &faulty_alloc, threads, false);
      arm(0, k);
      bool good = ha_run_once(&run, &m);
      if (!good && strstr(run.why, "returned NULL"))
        continue;
      fprintf(stderr, "%s: allocation %llu of %llu failed and the run says \"%s\"\n", spec,
              (unsigned long long)k, (unsigned long long)calls, run.why);
      return false;
    }
  }
  return true;
}

static void test_a_failed_allocation_is_said(void **state) {
  (void)state;
  for (size_t i = 0; i < SMALL; i++)
    in_child(survives_failure, small[i]);
}

static void refused(const char *spec, const ha_alloc *alloc, unsigned threads, const char *part) {
  ha_run run = fresh_run(spec, alloc, threads, false);
  assert_false(run.workload->prepare(&run));
  if (!strstr(run.why, part))
    fail_msg("%s was refused with \"%s\", which does not say \"%s\"", spec, run.why, part);
}

static void test_too_large_is_said_before_the_start(void **state) {
  (void)state;
  static const char *const specs[] = {
      "churn:live=100000000:law=fixed:min=1000000:max=1000000",
      "batch:blocks=100000000:law=fixed:min=1000000:max=1000000",
      "calloc:live=100000000:law=fixed:min=1000000:max=1000000",
      "larson:live=10000000:law=fixed:min=10000000:max=10000000",
      "realloc-grow:live=1000000:to=1073741824",
      "stack:depth=100000000:law=fixed:min=1000000:max=1000000",
      "tree:lasting=24:size=65536",
      "strings:window=100000000:words=100000",
      "hashmap:entries=100000000:law=fixed:min=1000000:max=1000000",
      "lru:limit=1048576",
      "interpreter:globals=100000000",
      "prodcons:depth=65536:batch=1024:producers=256:consumers=256",
      "msgpass:depth=65536:batch=1024:producers=64:proxies=64",
      "sh8:group=10000000:law=fixed:min=1000000:max=1000000",
      "threadchurn:blocks=10000000:law=fixed:min=1000000:max=1000000",
      "oneclass:places=16777216:size=1048576",
      "frag-robson:live=1048576",
      "frag-survivor:group=65536",
      "frag-sawtooth:live=1048576",
      "blowup:live=1048576:min=1024",
      "large:live=100000:min=1024:max=1024",
      "spikes:steady=100000000:law=fixed:min=1000000:max=1000000",
      "drain:live=1048576:min=4096",
      "fleet8:heap=131072",
  };
  const ha_alloc *alloc = ha_registry_find("template")->linked;
  for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
    refused(specs[i], alloc, 1024, "MiB");
}

static void test_parameters_that_contradict_each_other(void **state) {
  (void)state;
  const ha_alloc *alloc = ha_registry_find("template")->linked;
  refused("fastpath:min=128:max=64", alloc, 1, "min=128 is above max=64");
  refused("realloc-one:from=600", alloc, 1, "from=600 is above to=512");
  refused("aligned:max_align=48", alloc, 1, "not a power of two");
  refused("lru:limit=1:max=1000000", alloc, 1, "must fit into the limit");
  refused("frag-robson:min=128:max=64", alloc, 1, "min must not be above max");
  refused("frag-survivor:min=128:max=64", alloc, 1, "min must not be above max");
  refused("frag-phases:live=1:max=8192", alloc, 1, "must fit into live");
  refused("large:min=9:max=8", alloc, 1, "min is above max");
}

static void test_notes_say_what_was_different(void **state) {
  (void)state;
  ha_measurement m;
  ha_run run = fresh_run("drain:live=1:wait=0", ha_registry_find("template")->linked, 1, false);
  assert_true(ha_run_once(&run, &m));
  assert_non_null(strstr(run.note, "rss_after_0ms="));
  run = fresh_run("sizedfree:ops=10:live=10", ha_registry_find("template")->linked, 1, false);
  assert_true(ha_run_once(&run, &m));
  assert_string_equal(run.note, "free_sized=absent,free_instead");
  run = fresh_run("large:live=2:ops=200:min=16:max=16", bump(), 1, false);
  assert_true(ha_run_once(&run, &m));
  assert_non_null(strstr(run.note, "stride="));
}

static void *misaligned_alloc(size_t alignment, size_t size) {
  return (char *)bump()->aligned_alloc(alignment, size + 16) + (alignment > 64 ? 16 : 0);
}

static void test_misalignment_is_counted_or_fails(void **state) {
  (void)state;
  ha_alloc alloc = faulty_alloc;
  ha_measurement m;
  arm(0, 0);
  alloc.aligned_alloc = misaligned_alloc;
  ha_run run = fresh_run("aligned:ops=1000:live=100", &alloc, 1, true);
  assert_true(ha_run_once(&run, &m));
  assert_non_null(strstr(run.note, "misaligned_blocks="));
  run = fresh_run("aligned:ops=1000:live=100:misaligned=fail", &alloc, 1, true);
  assert_false(ha_run_once(&run, &m));
  assert_non_null(strstr(run.why, "not aligned"));
  alloc.aligned_alloc = NULL;
  refused("aligned", &alloc, 1, "allocator has no aligned_alloc");
}

static void *dirty_calloc(size_t count, size_t size) {
  void *block = faulty_malloc(count * size);
  return block ? memset(block, 1, count * size) : NULL;
}

static void test_calloc_that_does_not_clear_fails(void **state) {
  (void)state;
  ha_alloc alloc = faulty_alloc;
  ha_measurement m;
  arm(0, 0);
  alloc.calloc = dirty_calloc;
  ha_run run = fresh_run("calloc:ops=1000:live=100", &alloc, 1, false);
  assert_false(ha_run_once(&run, &m));
  assert_non_null(strstr(run.why, "not zero"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_workload_is_tested_here),
      cmocka_unit_test(test_every_workload_explains_itself),
      cmocka_unit_test(test_defaults_are_allowed),
      cmocka_unit_test(test_runs_repeat_over_every_allocator),
      cmocka_unit_test(test_the_seed_matters_and_scale_multiplies),
      cmocka_unit_test(test_a_live_set_made_before),
      cmocka_unit_test(test_overlap_is_noticed),
      cmocka_unit_test(test_a_failed_allocation_is_said),
      cmocka_unit_test(test_too_large_is_said_before_the_start),
      cmocka_unit_test(test_parameters_that_contradict_each_other),
      cmocka_unit_test(test_notes_say_what_was_different),
      cmocka_unit_test(test_misalignment_is_counted_or_fails),
      cmocka_unit_test(test_calloc_that_does_not_clear_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
